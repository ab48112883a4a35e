"""The memory backend: the readable specification of the port (`durable_jobs_core.backend`).

Nothing survives the process. One lock makes an exchange one atom; the rules are cited as `R-1` to `R-10`.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Iterator

from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Cursor,
    Damaged,
    Defer,
    Health,
    Outcome,
    Page,
    Query,
    Refused,
    Row,
    Write,
    cursor_of,
    key_after,
)
from durable_jobs_core.errors import StorageError
from durable_jobs_core.words import Job, Key, job_of

__all__ = ["MemoryBackend"]

_STALE_MAX = 1_000


def _make_clock() -> Callable[[], int]:
    """The wall clock as it was at the start, and steady from there on."""
    offset = time.time() - time.monotonic()
    return lambda: int((time.monotonic() + offset) * 1000)


class MemoryBackend:
    """A handle on rows in a dictionary. `clock` gives milliseconds since the epoch and never goes back."""

    lanes = 1

    def __init__(self, clock: Callable[[], int] | None = None, *, store: _Store | None = None) -> None:
        self._store = store or _Store(clock or _make_clock())
        self._pid = os.getpid()
        self._closed = False
        self._heard = 0

    @classmethod
    def open(cls, url: str) -> MemoryBackend:
        """`memory://` is a store of its own; `memory://name` is shared by name within the process.

        Raises `StorageError` for an option: there are none, and it would be part of the name.
        """
        name, _, options = url.partition("://")[2].partition("?")
        if options:
            raise StorageError(f"{url!r}: expected no options, got {options!r}")
        name = name.strip("/")
        if not name:
            return cls()
        return cls(store=_SHARED.setdefault(name, _Store(_make_clock())))

    def lane(self, key: Key) -> int:
        """There is one lane."""
        return 0

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Writes, then loads, then the claim, then the clock, under one lock (R-4)."""
        self._check_usable()
        with self._store.lock:
            return self._store.exchange(batch)

    def scan(self, query: Query, after: Cursor | None, limit: int) -> Page:
        """Rows in the order of their keys; the cursor is the last key listed."""
        self._check_usable()
        last = key_after(after)
        with self._store.lock:
            rows = [row for row in self._store.rows.values() if _matches(query, row)]
        rows = sorted((row for row in rows if last is None or row.key > last), key=lambda row: row.key)
        page = tuple(rows[:limit])
        return Page(page, cursor_of(page[-1].key) if len(rows) > len(page) else None)

    def wait(self, timeout: float) -> None:
        """Sleep until something was indexed that this handle has not heard of."""
        self._check_process()
        with self._store.indexed:
            self._store.indexed.wait_for(lambda: self._closed or self._store.count > self._heard, timeout)
            self._heard = self._store.count

    def health(self) -> Health:
        """Nothing is durable here."""
        self._check_usable()
        with self._store.lock:
            jobs: set[Job] = {job_of(key) for key in self._store.rows}
        return Health(
            durability="none: lost with the process", clock=self._store.clock(), jobs=tuple(sorted(jobs))
        )

    def close(self) -> None:
        """End every `wait` of this handle; a shared store is kept for those who share it."""
        self._closed = True
        if os.getpid() == self._pid:
            with self._store.indexed:
                self._store.indexed.notify_all()

    def _check_usable(self) -> None:
        self._check_process()
        if self._closed:
            raise StorageError("this memory:// store is closed")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StorageError("this memory:// store belongs to the process it was opened in")


class _Store:
    """The rows, and the index: `entries` says when each is to be claimed, `due` has them in order.

    `count`: how often something was indexed, which `indexed` tells those who wait.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.indexed = threading.Condition(self.lock)
        self.count = 0
        self.rows: dict[Key, Row] = {}
        self._entries: dict[Key, int] = {}
        self._due: dict[Job, list[tuple[int, Key]]] = {}

    def exchange(self, batch: Batch) -> Answer:
        """One batch; the caller holds the lock."""
        outcomes = tuple(self._write(write, batch.not_after) for write in batch.writes)
        rows = tuple(self._load(key) for key in batch.loads)
        claimed = () if batch.claim is None else tuple(self._claim(batch.claim))
        next_wake = None if batch.claim is None else self._next_wake(batch.claim)
        return Answer(
            outcomes=outcomes,
            rows=rows,
            claimed=claimed,
            next_wake=next_wake,
            clock=self.clock(),
        )

    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        stored = self.rows.get(write.key)
        if self.clock() > not_after:
            return Refused("it came after its deadline", transient=True)
        if (None if stored is None else stored.revision) != write.expected:
            return Conflicted(stored)
        if isinstance(write, Defer):
            self._index(write.key, write.wake)  # the entry only
        elif write.row is None:
            del self.rows[write.key]
            self._index(write.key, None)
        else:
            self.rows[write.key] = write.row
            self._index(write.key, write.row.wake)
        return Committed()

    def _index(self, key: Key, wake: int | None) -> None:
        """Set the index entry. What the heap holds of an earlier one is stale, and passed over."""
        if wake is None:
            self._entries.pop(key, None)
            return
        self._entries[key] = wake
        heap = self._due.setdefault(job_of(key), [])
        heapq.heappush(heap, (wake, key))
        if len(heap) > 2 * len(self._entries) + _STALE_MAX:
            heap[:] = sorted(item for item in set(heap) if self._entries.get(item[1]) == item[0])
        self.count += 1
        self.indexed.notify_all()

    def _load(self, key: Key) -> Row | None:
        row = self.rows.get(key)
        if row is not None and row.wake is not None and key not in self._entries:
            self._index(key, row.wake)  # a load puts back an entry that is missing
        return row

    def _claim(self, claim: Claim) -> Iterator[Row]:
        taken = size = 0
        for job, limit in claim.limits.items():
            for _ in range(limit):
                first = self._earliest(job)
                if first is None or first[0] > claim.now:
                    break
                row = self.rows[first[1]]
                if taken and size + len(row.blob) > claim.max_bytes:
                    return
                taken, size = taken + 1, size + len(row.blob)
                self._index(row.key, claim.until)  # read and moved in one atom
                yield row

    def _earliest(self, job: Job) -> tuple[int, Key] | None:
        heap = self._due.get(job, [])
        while heap and self._entries.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _next_wake(self, claim: Claim) -> int | None:
        firsts = (self._earliest(job) for job in claim.limits)
        return min((first[0] for first in firsts if first is not None), default=None)


def _matches(query: Query, row: Row | Damaged) -> bool:
    assert isinstance(row, Row), "memory does not decay"
    wanted = (query.kind, query.job, query.status)
    found = (row.key.kind, row.key.job, row.status)
    return all(want in (None, have) for want, have in zip(wanted, found, strict=True))


_SHARED: dict[str, _Store] = {}
