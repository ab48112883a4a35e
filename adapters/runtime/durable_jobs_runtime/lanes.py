"""The threads in which a backend is asked: one for each of its lanes."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from durable_jobs_core.backend import Answer, Backend, Batch, Refused, Unknown, flaw
from durable_jobs_core.engine import Exchange
from durable_jobs_core.failures import describe
from durable_jobs_runtime.trackers import say


class LaneThread:
    """One thread that performs the exchanges of one lane, in order, and tells what came of each.

    `trouble`: why the last of them could not be done, if so.
    """

    def __init__(
        self,
        backend: Backend,
        lane: int,
        answered: Callable[[int, Answer | BaseException], None],
    ) -> None:
        self._backend = backend
        self._lane = lane
        self._answered = answered
        self._failures = 0
        self.trouble: str | None = None
        self._work: queue.SimpleQueue[Exchange | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)

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
                trouble = _trouble(exchange.batch, answer)
            except BaseException as error:
                answer, trouble = error, str(describe(error))
            self._tell(trouble)
            self._answered(exchange.id, answer)

    def _tell(self, trouble: str | None) -> None:
        """Say that the backend fails, seldom while it goes on, and that it answers again: until then all
        that is due waits, and nobody else would know."""
        self.trouble = trouble
        if trouble is not None:
            self._failures += 1
            if self._failures.bit_count() == 1:
                text = "the backend failed (lane %d, %d in a row): %s"
                say(logging.WARNING, text, self._lane, self._failures, trouble)
        elif self._failures:
            text = "the backend answers again (lane %d, failed before: %d)"
            say(logging.WARNING, text, self._lane, self._failures)
            self._failures = 0


def _trouble(batch: Batch, answer: Answer) -> str | None:
    """Why what was asked could not be done, if it could not; of the writes, the last tells."""
    trouble = flaw(answer, batch)
    if trouble is not None:
        return trouble
    last = answer.outcomes[-1] if answer.outcomes else None
    return last.reason if isinstance(last, (Unknown, Refused)) else None
