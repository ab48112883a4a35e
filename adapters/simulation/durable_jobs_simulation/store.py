"""The shared store of a simulation: the port on a virtual clock, and a history of what was committed."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Outcome,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.words import Job, Key, Kind


class Watcher(Protocol):
    """Who is told what happens in a store."""

    def committed(self, engine: int, write: Write, before: Row | Damaged | None) -> None:
        """A write of that engine has taken effect."""
        ...

    def indexed(self, key: Key) -> None:
        """The index entry of a key was set, or taken out."""
        ...


class Store:
    """Rows, and the index: `entries` says when each row is to be claimed, `due` has them in order.

    `lanes`: how many parts it has, each with keys and an index of its own, as a cluster has.
    """

    def __init__(self, clock: Callable[[], int], watcher: Watcher, lanes: int = 1) -> None:
        self.clock = clock
        self.watcher = watcher
        self.lanes = lanes
        self.rows: dict[Key, Row | Damaged] = {}
        self.entries: dict[Key, int] = {}
        self._due: dict[tuple[int, Kind, str], list[tuple[int, Key]]] = {}

    def fork(self, clock: Callable[[], int], watcher: Watcher) -> Store:
        """Another store with the same rows."""
        new = Store(clock, watcher, self.lanes)
        new.rows, new.entries = self.rows.copy(), self.entries.copy()
        new._due = {job: heap.copy() for job, heap in self._due.items()}
        return new

    def lane(self, key: Key) -> int:
        """The lane of a key."""
        return zlib.crc32(str(key).encode()) % self.lanes if self.lanes > 1 else 0

    def perform(self, batch: Batch, write: Callable[[Write | Defer], Outcome], lane: int = 0) -> Answer:
        """One batch, in the order of the port. `write`: does one, or a fault befalls it."""
        assert self.lanes == 1 or self._is_of(lane, batch), "an exchange is of one lane"
        done = tuple(map(write, batch.writes))
        rows = tuple(self._load(key) for key in batch.loads)
        claimed = () if batch.claim is None else tuple(self._claim(batch.claim, lane))
        next_wake = None if batch.claim is None else self._next_wake(batch.claim, lane)
        return Answer(outcomes=done, rows=rows, claimed=claimed, next_wake=next_wake, clock=self.clock())

    def _is_of(self, lane: int, batch: Batch) -> bool:
        return all(self.lane(key) == lane for key in (*(one.key for one in batch.writes), *batch.loads))

    def write(self, engine: int, write: Write | Defer, not_after: int) -> Outcome:
        """One write: it takes effect, or is refused for coming too late, or in conflict."""
        stored = self.rows.get(write.key)
        if self.clock() > not_after:
            return Refused("it came after its deadline", transient=True)
        if (None if stored is None else stored.revision) != write.expected:
            return Conflicted(stored)
        if isinstance(write, Defer):
            self.index(write.key, write.wake)
            return Committed()
        if write.row is None:
            del self.rows[write.key]
        else:
            self.rows[write.key] = write.row
        self.index(write.key, None if write.row is None else write.row.wake)
        self.watcher.committed(engine, write, stored)
        return Committed()

    def index(self, key: Key, wake: int | None) -> None:
        """Set the index entry, or take it out."""
        if wake is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = wake
            heapq.heappush(self._due.setdefault((self.lane(key), key.kind, key.job), []), (wake, key))
        self.watcher.indexed(key)

    def replace(self, row: Row | Damaged, wake: int | None) -> None:
        """Put something there that no node wrote."""
        self.rows[row.key] = row
        self.index(row.key, wake)

    def _load(self, key: Key) -> Row | Damaged | None:
        row = self.rows.get(key)
        if isinstance(row, Row) and row.wake is not None and key not in self.entries:
            self.index(key, row.wake)
        return row

    def _claim(self, claim: Claim, lane: int) -> Iterator[Row | Damaged]:
        size = 0
        for job, limit in claim.limits.items():
            for _ in range(limit):
                first = self._earliest(lane, job)
                if first is None or first[0] > claim.now:
                    break
                row = self.rows[first[1]]
                bytes = len(row.blob) if isinstance(row, Row) else len(row.raw)
                if size and size + bytes > claim.max_bytes:
                    return
                size += bytes
                self.index(row.key, claim.until)
                yield row

    def _earliest(self, lane: int, job: Job) -> tuple[int, Key] | None:
        heap = self._due.get((lane, *job), [])
        while heap and self.entries.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _next_wake(self, claim: Claim, lane: int) -> int | None:
        firsts = (self._earliest(lane, job) for job in claim.limits)
        return min((first[0] for first in firsts if first is not None), default=None)
