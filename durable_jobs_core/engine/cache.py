"""Rows kept after their commit, to be written from (D-7). Bounded in bytes.

What is kept is text, not records: they would be some ten objects each for the garbage collector to visit
again and again, and most rows are not used before they are dropped. It soon leaves plain tuples alone.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from attrs import define, field

from durable_jobs_core.backend import Row
from durable_jobs_core.words import Key, Kind

_OVERHEAD = 500
"""Roughly what a row takes in memory beyond its text, in bytes."""

_Entry: TypeAlias = tuple[bytes, int | None, str, bytes, int]


@define(eq=False)
class Cache:
    """Least recently used first; an entry is a row's cells and the stamp it is known by."""

    limit: int
    size: int = 0
    entries: OrderedDict[tuple[Kind, str, str], _Entry] = field(factory=OrderedDict)

    def put(self, row: Row, stamp: int) -> None:
        """Keep a row, and drop the oldest ones that no longer fit; one that fits in no case drops none."""
        size = len(row.blob) + _OVERHEAD
        if size > self.limit:
            return
        self.entries[*row.key,] = (row.revision, row.wake, row.status, row.blob, stamp)
        self.size += size
        while self.size > self.limit:
            _, (_, _, _, blob, _) = self.entries.popitem(last=False)
            self.size -= len(blob) + _OVERHEAD

    def take(self, key: Key) -> tuple[Row, int] | None:
        """Take a row out, with its stamp."""
        entry = self.entries.pop(key, None)
        if entry is None:
            return None
        revision, wake, status, blob, stamp = entry
        self.size -= len(blob) + _OVERHEAD
        return Row(key, revision, wake, status, blob), stamp
