"""An engine at saturation, with a store in memory: what a job takes of it, and what it asks of the store.

No event loop, no thread and no clock: all hooks that were called have ended before the store answers, as
when there is more work than time. So the same number of jobs always takes the same exchanges. Time passes
only where it is said to, and then at once.
"""

from __future__ import annotations

from collections import deque

from attrs import define
from durable_jobs_memory import MemoryBackend

from benchmarks.jobs import JOBS, Counter, at_once
from durable_jobs_core import Jobs
from durable_jobs_core.backend import Write
from durable_jobs_core.engine import (
    Answered,
    Called,
    Engine,
    Exchange,
    Finished,
    HookReturned,
    Invoke,
    Need,
    Reply,
    Ticked,
)
from durable_jobs_core.events import StartRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Key

NOW = 1_800_000_000_000
LATER = 3_600_000
START = StartRequested(Stored(1, JOBS.by_key["continuous", "count"].state.encode(Counter(0), "input")[0]))


@define
class Tally:
    """`exchanges`: of the store; `writes`: of records; `runs`: of the handler; `shared`: runs that each
    exchange with a write or a claim took part in, added up."""

    exchanges: int = 0
    writes: int = 0
    runs: int = 0
    shared: int = 0


class Embedded:
    """A client and a worker on one store: `accept`, then `drain`. `tally`: of the last of the two; `t`: how
    many milliseconds have passed."""

    def __init__(self, jobs: Jobs = JOBS) -> None:
        self.t = 0
        self._backend = MemoryBackend(lambda: NOW + self.t)
        self._client = Engine(jobs.by_key, node=3, worker=False)
        self._worker = Engine(jobs.by_key, node=7)
        self._exchanges: deque[Exchange] = deque()
        self.tally = Tally()

    def accept(self, count: int, first: int = 0) -> Tally:
        """Start instances, all asked for at once; `first`: the number of the first of them."""
        self.tally = Tally()
        for number in range(first, first + count):
            key = Key("continuous", "count", f"user-{number}")
            self._client.feed(self.t, Called(number, key, START, deadline=self.t + LATER))
        self._settle(self._client)
        return self.tally

    def drain(self, lasting: int = 0) -> Tally:
        """Run all that is due, and what falls due in so many milliseconds."""
        self.tally = Tally()
        wake: int | None = self.t
        until = self.t + lasting
        while wake is not None and wake <= until:
            self.t = wake
            self._worker.feed(wake, Ticked())
            self._settle(self._worker)
            wake = self._worker.next_wakeup
        self.t = until
        return self.tally

    def _settle(self, engine: Engine) -> None:
        while True:
            needs = engine.needs()
            for need in needs:
                self._perform(engine, need)
            if not needs:
                if not self._exchanges:
                    return
                self._exchange(engine, self._exchanges.popleft())

    def _perform(self, engine: Engine, need: Need) -> None:
        match need:
            case Exchange():
                self._exchanges.append(need)
            case Invoke():
                self.tally.runs += 1
                engine.feed(self.t, Finished(need.id, HookReturned(at_once(need.function.call(*need.args)))))
            case Reply() if need.error is not None:
                raise need.error
            case _:
                pass

    def _exchange(self, engine: Engine, exchange: Exchange) -> None:
        answer = self._backend.exchange(exchange.lane, exchange.batch)
        writes = sum(isinstance(write, Write) for write in exchange.batch.writes)
        self.tally.exchanges += 1
        self.tally.writes += writes
        self.tally.shared += writes + len(answer.claimed)
        engine.feed(self.t, Answered(exchange.id, answer))
