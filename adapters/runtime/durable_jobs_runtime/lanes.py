"""The threads in which a backend is asked: one for each of its lanes."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from durable_jobs_core.backend import Answer, Backend
from durable_jobs_core.engine import Answered, Exchange, Trouble
from durable_jobs_runtime.log import say


class LaneThread:
    """One thread that performs the exchanges of one lane, in order. `answered`: is told what came of each."""

    def __init__(self, backend: Backend, lane: int, answered: Callable[[int, Answered], None]) -> None:
        self._backend = backend
        self._lane = lane
        self._answered = answered
        self._told: Trouble | None = None
        self._work: queue.SimpleQueue[Exchange | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"durable-jobs-lane-{lane}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, exchange: Exchange) -> None:
        """Perform an exchange after those before it."""
        self._work.put(exchange)

    def stop(self) -> None:
        """End, after what was submitted. Blocks."""
        self._work.put(None)
        if self._thread.ident is not None:  # it was started
            self._thread.join()

    def _serve(self) -> None:
        while (exchange := self._work.get()) is not None:
            answer: Answer | BaseException
            try:
                answer = self._backend.exchange(self._lane, exchange.batch)
            except BaseException as error:
                answer = error
            self._answered(self._lane, Answered(exchange.id, answer))

    def tell(self, trouble: Trouble | None) -> None:
        """Log that exchanges cannot be done, seldom while it goes on, and that they can again: until then all
        that is due waits, and nobody else would know."""
        if trouble is None:
            if self._told is not None:
                text = "the backend answers again (lane %d, failed before: %d)"
                say(logging.WARNING, text, self._lane, self._told.times)
        elif trouble != self._told and trouble.times.bit_count() == 1:
            text = "the backend failed (lane %d, %d in a row): %s"
            say(logging.WARNING, text, self._lane, trouble.times, trouble.why.replace("\n ", ""))
        self._told = trouble
