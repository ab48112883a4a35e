"""Listing: rows by key, page by page (S-66).

Each job has the ids of its instances in a sorted set of its own, which costs memory, and is what makes a
page exact: `SCAN` goes through all keys of the server, lists some twice, and has no order to continue in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from typing import Any, TypeAlias, cast

from durable_jobs_core.backend import BATCH_MAX_BYTES, Cursor, Damaged, Page, Query, Row, cursor_of, key_after
from durable_jobs_core.words import Job, Key
from durable_jobs_redis._errors import CallRefusedError, RedisStoreError
from durable_jobs_redis._names import Names, job_name, job_of
from durable_jobs_redis._wire import Line

LOOKED_AT_MAX = 10_000
"""A page looks at so many rows at most; one that finds few of a rare status is short."""

_AT_ONCE = 100
Load: TypeAlias = Callable[[Sequence[Key]], Sequence[Row | Damaged | None]]


def page(line: Line, names: Names, load: Load, query: Query, after: Cursor | None, limit: int) -> Page:
    """One page, in the order of the keys; the cursor is the last key looked at. Large rows make it short."""
    rows: list[Row | Damaged] = []
    looked_at = size = 0
    last = key_after(after)
    keys = _keys(line, names, query, last, min(limit + 1, _AT_ONCE))
    while chunk := next(keys, []):
        if len(rows) >= limit or size >= BATCH_MAX_BYTES:  # that there are more is enough
            return _part(rows, last)
        for key, row in zip(chunk, load(chunk), strict=True):
            if len(rows) >= limit or looked_at >= LOOKED_AT_MAX:
                return _part(rows, last)
            looked_at += 1
            last = key
            if row is not None and _matches(query, row):
                rows.append(row)
                size += len(row.blob) if isinstance(row, Row) else 0
    return Page(tuple(rows), None)


def _part(rows: Sequence[Row | Damaged], last: Key | None) -> Page:
    """A page that another follows."""
    assert last is not None, "a page has room for a row"
    return Page(tuple(rows), cursor_of(last))


def jobs(line: Line, names: Names) -> list[Job]:
    """The jobs that have instances, in order."""
    keys = [f"{names.tag(shard)}jobs".encode() for shard in range(names.shards)]
    told = line.ask([("SMEMBERS", key) for key in keys])
    found = [_told(one.answer, key) for key, one in zip(keys, told, strict=True)]
    return sorted({job_of(name) for members in found for name in _texts(members)})


def _keys(line: Line, names: Names, query: Query, last: Key | None, count: int) -> Iterator[list[Key]]:
    """The keys asked for, some at a time, from the last one on."""
    for job in jobs(line, names):
        kind, name = job
        if query.kind not in (None, kind) or query.job not in (None, name):
            continue
        if last is None or job > last[:2]:
            start = b"-"
        elif job == last[:2]:
            start = b"(" + last.id.encode()
        else:
            continue
        while ids := _ids(line, names, job, start, count):
            keys = [Key(kind, name, id.decode()) for id in _texts(ids)]
            if keys:
                yield keys
            start = b"(" + ids[-1]


def _ids(line: Line, names: Names, job: Job, start: bytes, count: int) -> list[bytes]:
    """The next ids of a job, of all shards."""
    keys = [names.tag(shard).encode() + b"ids:" + job_name(*job) for shard in range(names.shards)]
    told = line.ask([("ZRANGEBYLEX", key, start, "+", "LIMIT", 0, count) for key in keys])
    found = [_told(one.answer, key) for key, one in zip(keys, told, strict=True)]
    return list(merge(*found))[:count]


def _texts(members: Sequence[bytes]) -> Iterator[bytes]:
    """Those that may be of ours: what is no text was put there by others, and hides nothing."""
    for member in members:
        with suppress(UnicodeDecodeError):
            member.decode()
            yield member


def _told(answer: Any, key: bytes) -> list[bytes]:
    if isinstance(answer, CallRefusedError):
        raise answer
    if isinstance(answer, RedisStoreError):
        text = f"{key.decode()} cannot be listed: {answer.cause}"
        raise RedisStoreError(answer.server, text) from answer
    return cast(list[bytes], answer)


def _matches(query: Query, row: Row | Damaged) -> bool:
    return query.status is None or (isinstance(row, Row) and row.status == query.status)
