"""The threads in which a backend is asked: one for each of its lanes."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable

from durable_jobs_core.backend import Answer, Backend
from durable_jobs_core.engine import Answered, Exchange, Trouble
from durable_jobs_runtime.log import say
from durable_jobs_runtime.loop import clock

REST_SECONDS = 10.0
"""After a trouble that has passed so long nothing is said of another, unless that stays: one row that cannot
be written fails again and again, for as long as all others can."""

STAYS_TIMES = 4
"""What has failed so often in a row does not pass by itself."""
HANGS_SECONDS = 10.0
"""What has not been answered for so long is told of, and again each time as much has passed."""


class LaneThread:
    """One thread that performs the exchanges of one lane, in order. `answered`: is told what came of each;
    `watch_at`: when to `watch` it, on the driver's clock.
    """

    def __init__(self, backend: Backend, lane: int, answered: Callable[[int, Answered], None]) -> None:
        self._backend = backend
        self._lane = lane
        self._answered = answered
        self._last: Trouble | None = None
        self._is_told = False
        self._rests_until = 0.0
        self._asked_at = self.watch_at = math.inf
        self._work: queue.SimpleQueue[Exchange | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"durable-jobs-lane-{lane}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, exchange: Exchange) -> None:
        """Perform an exchange; the one before has been answered."""
        self._asked_at = clock()
        self.watch_at = self._asked_at + HANGS_SECONDS
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
            self._asked_at = math.inf  # a loop that is busy may hear of it much later
            self._answered(self._lane, Answered(exchange.id, answer))

    def heard(self, trouble: Trouble | None) -> None:
        """The exchange is answered: `tell` what came of it."""
        self.watch_at = math.inf
        self.tell(trouble)

    @property
    def silence(self) -> str | None:
        """That the exchange in flight is not answered, once it takes too long."""
        seconds = clock() - self._asked_at
        return f"it has not answered for {seconds:.0f} s" if seconds >= HANGS_SECONDS else None

    def watch(self) -> None:
        """Tell of an exchange that is not answered, for the log would say nothing until it is."""
        if clock() < self.watch_at:
            return
        self.watch_at += HANGS_SECONDS
        if (why := self.silence) is not None:
            self.tell(Trouble(why, 1 if self._last is None else self._last.times + 1))

    def tell(self, trouble: Trouble | None) -> None:
        """Log that exchanges cannot be done, seldom while it goes on, and that they can again: until then all
        that is due waits, and nobody else would know. What soon passes, and comes again, is told seldom, too.
        """
        if trouble is None:
            if self._last is not None and self._is_told:
                text = "the backend answers again (lane %d, failed before: %d)"
                say(logging.WARNING, text, self._lane, self._last.times)
                self._rests_until = clock() + REST_SECONDS
            self._is_told = False
        elif trouble != self._last and self._is_worth(trouble):
            text = "the backend failed (lane %d, %d in a row): %s"
            say(logging.WARNING, text, self._lane, trouble.times, trouble.why.replace("\n ", ""))
            self._is_told = True
        self._last = trouble

    def _is_worth(self, trouble: Trouble) -> bool:
        if self._is_told:
            return trouble.times.bit_count() == 1
        return trouble.times >= STAYS_TIMES or clock() >= self._rests_until
