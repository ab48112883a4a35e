"""What an operator should know of a store: told in the log when it is news, and by `health()` for a while."""

from __future__ import annotations

import logging
import math
import threading
import time

from durable_jobs_core.words import printable

WARNINGS_MAX = 8
PASSING_SECONDS = 60.0
"""What was wrong is told by `health()` for so long after it was met last; after that it is news again."""

_log = logging.getLogger("durable_jobs")


class Warnings:
    """The latest warnings of a backend, from any of its threads. `server`: of which."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def tell(self, text: str, level: int = logging.WARNING, seconds: float = PASSING_SECONDS) -> None:
        """It is so now: what does not run says nothing by itself."""
        now = time.monotonic()
        with self._lock:
            is_news = self._until.pop(text, -math.inf) < now
            self._until[text] = now + seconds
            while len(self._until) > WARNINGS_MAX:
                del self._until[next(iter(self._until))]
        if is_news:
            _log.log(level, "%s: %s", self._server, printable(text))

    def now(self) -> list[str]:
        """Those that have not passed, the latest last."""
        now = time.monotonic()
        with self._lock:
            return [text for text, until in self._until.items() if now <= until]
