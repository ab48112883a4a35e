"""Records kept after their commit, to be written from (DESIGN D-7). Bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

from durable_jobs_core.record import Record
from durable_jobs_core.words import Key

_OVERHEAD = 1_000
"""Roughly what a record takes in memory beyond its text, in bytes."""


@define(eq=False)
class Cache:
    """Least recently used first; an entry is (record, stamp, size)."""

    limit: int
    size: int = 0
    entries: OrderedDict[Key, tuple[Record, int, int]] = field(factory=OrderedDict)

    def put(self, key: Key, record: Record, stamp: int, size: int) -> None:
        """Keep a record, and drop the oldest ones that no longer fit."""
        self.entries[key] = (record, stamp, size + _OVERHEAD)
        self.size += size + _OVERHEAD
        while self.size > self.limit:
            _, (_, _, dropped) = self.entries.popitem(last=False)
            self.size -= dropped

    def take(self, key: Key) -> tuple[Record, int, int] | None:
        """Take a record out."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return None
        record, stamp, size = entry
        self.size -= size
        return record, stamp, size - _OVERHEAD
