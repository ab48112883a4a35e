"""The thread that hears of due work which other processes made; losing a hint costs a poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from durable_jobs_core.backend import Backend

HINT_SECONDS = 1.0
HINT_REST_SECONDS = 0.005
"""After a hint: however many come, they are heard so often, and what they are about is done meanwhile."""


class HintThread:
    """Waits for the backend's hints. `nudge`: called for each, in this thread."""

    def __init__(self, backend: Backend, nudge: Callable[[], None]) -> None:
        self._backend = backend
        self._nudge = nudge
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="durable-jobs-hints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """End, once the backend has closed: then this thread uses nothing of it any more. Blocks."""
        self._ended.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(HINT_SECONDS)

    def _serve(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self._backend.wait(HINT_SECONDS)
            except Exception:
                self._ended.wait(HINT_SECONDS)
                continue
            if time.monotonic() - began < HINT_SECONDS:
                self._nudge()
                self._ended.wait(HINT_REST_SECONDS)
