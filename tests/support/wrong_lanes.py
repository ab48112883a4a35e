"""A backend of several lanes, and such as break a rule of lanes, with the check that has to catch each."""

from __future__ import annotations

import threading
from zlib import crc32

import attrs
from durable_jobs_conformance import Harness, Store
from durable_jobs_memory import MemoryBackend, _Store
from support.wrong_backends import steady

from durable_jobs_core.backend import Answer, Batch, Health, Page, Query
from durable_jobs_core.errors import Issue, ValidationError
from durable_jobs_core.words import Key

LANES = 3


class Lanes(MemoryBackend):
    """The right one: a memory backend a lane. Rows are listed lane by lane; a cursor begins with its lane."""

    lanes = LANES

    def __init__(self, stores: list[_Store]) -> None:
        super().__init__(store=stores[0])
        self.parts = [MemoryBackend(store=store) for store in stores]

    def lane(self, key: Key) -> int:
        return crc32(key.id.encode()) % LANES

    def exchange(self, lane: int, batch: Batch) -> Answer:
        self._check_usable()
        return self.parts[lane].exchange(0, batch)

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        self._check_usable()
        lane, _, rest = (after or "0 ").partition(" ")
        if lane not in map(str, range(LANES)):
            raise ValidationError("list", (Issue("after", "what the page before gave", after or ""),))
        page = self.parts[int(lane)].scan(query, rest or None, limit)
        if page.after is not None:
            return Page(page.rows, f"{lane} {page.after}")
        return Page(page.rows, f"{int(lane) + 1} " if int(lane) + 1 < LANES else None)

    def health(self) -> Health:
        jobs = {job for part in self.parts for job in part.health().jobs}
        return attrs.evolve(super().health(), jobs=tuple(sorted(jobs)))


class ClaimsOfAnother(Lanes):
    """Each lane claims what is the next one's."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, attrs.evolve(batch, claim=None))
        if batch.claim is None:
            return answer
        other = super().exchange((lane + 1) % LANES, Batch(claim=batch.claim, not_after=batch.not_after))
        return attrs.evolve(answer, claimed=other.claimed, next_wake=other.next_wake)


class WaitHoldsUpALane(Lanes):
    """Whoever waits has the lock of the last lane."""

    def wait(self, timeout: float) -> None:
        with self.parts[-1]._store.lock:
            while not self._closed and timeout > 0:
                super().wait(0.01)
                timeout -= 0.01


class WritesOfAnother(Lanes):
    """A lane writes to the next one."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        return super().exchange((lane + 1) % LANES if batch.writes else lane, batch)


class ClaimsInOneLaneOnly(Lanes):
    """What is due in the other lanes is never claimed."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        return super().exchange(lane, batch if lane == 0 else attrs.evolve(batch, claim=None))


class HoldsOneExchangeAtATime(Lanes):
    """Two lanes share a connection, and an answer that the other was to have."""

    def __init__(self, stores: list[_Store]) -> None:
        super().__init__(stores)
        self.busy = threading.Lock()

    def exchange(self, lane: int, batch: Batch) -> Answer:
        if not self.busy.acquire(blocking=False):
            raise ConnectionError("an answer to another exchange was read")
        try:
            threading.Event().wait(0.0002)  # on its way
            return super().exchange(lane, batch)
        finally:
            self.busy.release()


class LanesByHash(Lanes):
    """Another process computes another lane."""

    def lane(self, key: Key) -> int:
        return hash(key) % LANES


class Laned(Store):
    """A store of `handle`."""

    def __init__(self, handle: type[Lanes] = Lanes) -> None:
        clock = steady()
        self.stores = [_Store(clock) for _ in range(LANES)]
        self.handle = handle

    def open(self) -> Lanes:
        return self.handle(self.stores)


RIGHT = Harness("lanes", Laned)
WRONG: list[tuple[type[Lanes], str]] = [
    (LanesByHash, "harness-fresh_stores_are_empty_and_every_handle_is_another"),
    (ClaimsOfAnother, "R-7-what_is_due_comes_earliest_first"),
    (WritesOfAnother, "R-2-keys_never_collide"),
    (ClaimsInOneLaneOnly, "R-7-what_is_due_comes_earliest_first"),
    (WaitHoldsUpALane, "R-10-a_wait_holds_up_nothing"),
    (HoldsOneExchangeAtATime, "R-10-lanes_work_beside_each_other"),
]
SHELF: list[tuple[str, Harness, Harness, str]] = [
    (wrong.__name__, Harness("wrong", lambda wrong=wrong: Laned(wrong)), RIGHT, check)
    for wrong, check in WRONG
]
"""As in `wrong_backends`."""
