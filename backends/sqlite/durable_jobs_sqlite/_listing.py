"""Listing: rows by key, page by page, and the jobs there are (S-66, R-9)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, TypeAlias

from durable_jobs_core.backend import BATCH_MAX_BYTES, Cursor, Damaged, Page, Query, Row, cursor_of, key_after
from durable_jobs_core.words import Job, Key
from durable_jobs_sqlite._errors import is_damage
from durable_jobs_sqlite._rows import cell_of, job_in, load_n, make_row

LOOKED_AT_MAX = 10_000
"""A page looks at so many rows at most; one that finds few of a rare status is short."""

_NEXT_JOB = "SELECT job FROM rows WHERE job > ? ORDER BY job LIMIT 1"
_ROWS = (
    "SELECT id, status = ?, revision, wake, status,"
    " CASE WHEN ifnull(status = ?, TRUE) THEN blob END"
    " FROM rows WHERE job = ? AND id > ? ORDER BY id"
)
_NUMBERS = "SELECT id, n FROM rows INDEXED BY rows_key WHERE job = ? AND id > ? ORDER BY id"

Found: TypeAlias = tuple[str, Row | Damaged | None]


def page(connection: sqlite3.Connection, query: Query, after: Cursor | None, limit: int) -> Page:
    """One page, in the order of the keys; the cursor is the last key looked at. Large rows make it short."""
    rows: list[Row | Damaged] = []
    looked_at = size = 0
    last = key_after(after)
    for job, start in _places(connection, query, last):
        for id, row in _walk(connection, job, start, query.status):
            if len(rows) >= limit or looked_at >= LOOKED_AT_MAX or size >= BATCH_MAX_BYTES:
                assert last is not None, "a page has room for a row"
                return Page(tuple(rows), cursor_of(last))
            looked_at += 1
            last = Key(*job, id)
            if row is not None:
                rows.append(row)
                size += len(row.blob) if isinstance(row, Row) else len(row.raw)
    return Page(tuple(rows), None)


def jobs(connection: sqlite3.Connection) -> Iterator[Job]:
    """The jobs that have rows, in order, by jumping from one to the next in the index."""
    cell = ""
    while (found := connection.execute(_NEXT_JOB, (cell,)).fetchone()) is not None:
        _check_order((cell,), found)
        (cell,) = found
        try:
            yield job_in(cell)
        except LookupError as error:
            raise sqlite3.DatabaseError("the index of keys is damaged") from error


def _places(connection: sqlite3.Connection, query: Query, last: Key | None) -> Iterator[tuple[Job, str]]:
    """The jobs asked for, from that of the last key on, and the id after which to begin in each."""
    for job in jobs(connection):
        kind, name = job
        if query.kind not in (None, kind) or query.job not in (None, name):
            continue
        if last is None or job > last[:2]:
            yield job, ""
        elif job == last[:2]:
            yield job, last.id


def _walk(connection: sqlite3.Connection, job: Job, start: str, status: str | None) -> Iterator[Found]:
    """The rows of a job after an id; `None` in place of one of another status, as a damaged one is."""
    try:
        asked = connection.execute(_ROWS, (status, status, cell_of(job), start))
        for id, fits, revision, wake, found, blob in asked:
            _check_order((start,), (id,))
            start = id
            row = make_row(Key(*job, id), revision, wake, found, blob)
            yield id, row if status is None or (fits and isinstance(row, Row)) else None
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        yield from _walk_with_damage(connection, job, start, status)


def _walk_with_damage(
    connection: sqlite3.Connection, job: Job, start: str, status: str | None
) -> Iterator[Found]:
    """The same, row by row, so that one that cannot be read does not hide the others."""
    for id, n in connection.execute(_NUMBERS, (cell_of(job), start)):
        _check_order((start,), (id,))
        start = id
        row = load_n(connection, Key(*job, id), n)
        fits = status is None or (isinstance(row, Row) and row.status == status)
        yield id, row if fits else None


def _check_order(before: tuple[str, ...], found: tuple[Any, ...]) -> None:
    """Where an index is damaged, SQLite may find the same again and again, or what is no text."""
    if any(type(cell) is not str for cell in found) or found <= before:
        raise sqlite3.DatabaseError("the index of keys is damaged")
