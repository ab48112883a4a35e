"""Threads that nobody has to wait for, for what blocks.

A thread cannot be stopped, so a hook whose time is up is left behind. The threads are daemons: one that
hangs does not keep the process alive, which the standard executor would.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

_IDLE_SECONDS = 10.0


class ThreadPool:
    """Runs functions in daemon threads, reusing those that are idle. It never refuses: the engine's
    `concurrency` bounds how many run."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._is_closed = False

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        done: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Call `function(*args)` in a thread, and there `done(value, error)`."""

        def work() -> None:
            try:
                value = function(*args)
            except BaseException as error:
                done(None, error)
            else:
                done(value, None)

        with self._lock:
            starts = self._idle == 0
            if not starts:
                self._idle -= 1
        if starts:
            threading.Thread(
                target=self._serve, args=([work],), name="durable-jobs-call", daemon=True
            ).start()
        else:
            self._work.put(work)

    def close(self) -> None:
        """Let threads end as soon as they have nothing to do: the idle ones now."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._work.put(lambda: None)

    def _serve(self, first: list[Callable[[], None]]) -> None:
        work = first.pop()  # else the thread keeps it, and what it was called with, until it ends
        while True:
            work()
            del work  # as an idle one would
            with self._lock:
                if self._is_closed:
                    return
                self._idle += 1
            try:
                work = self._work.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                work = self._work.get()  # `run` has counted on this thread: its work is coming
