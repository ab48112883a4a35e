"""Rows and their index entries, in SQL. Everything here happens within a transaction of the caller's.

A row's entry is the column `entry`, apart from its `wake`. A commit sets both to the same instant; a claim
or a `Defer` moves the entry only, and says so in `held`. So an entry that differs from `wake` is a hold if
`held` is 1, and lost if it is 0: that is how a load knows which to put back (R-6).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from durable_jobs_core.backend import Committed, Conflicted, Damaged, Defer, Outcome, Refused, Row, Write
from durable_jobs_core.words import Job, Key, Kind
from durable_jobs_sqlite._errors import is_damage

INTEGER_MAX = 2**63 - 1
"""The largest number that SQLite keeps."""

COMMITTED = Committed()

_INSERT = (
    "INSERT INTO rows (revision, wake, entry, held, status, blob, job, id)"
    " VALUES (?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_UPDATE = (
    "UPDATE rows SET revision = ?, wake = ?, entry = ?, held = 0, status = ?, blob = ?"
    " WHERE job = ? AND id = ? AND revision = ?"
)
_DELETE = "DELETE FROM rows WHERE job = ? AND id = ? AND revision = ?"
_DELETE_DAMAGED = "DELETE FROM rows WHERE job = ? AND id = ?"
_DEFER = "UPDATE rows SET entry = ?, held = 1 WHERE job = ? AND id = ? AND revision = ?"
_DEFER_DAMAGED = "UPDATE rows SET entry = ?, held = 1 WHERE job = ? AND id = ?"
_MOVE = "UPDATE rows SET entry = ?, held = 1 WHERE n IN (SELECT value FROM json_each(?))"
_PUT_BACK = "UPDATE rows SET entry = wake, held = 0 WHERE n = ?"
_LOAD = "SELECT n, revision, wake, entry, held, status, blob FROM rows WHERE job = ? AND id = ?"
_LOAD_N = "SELECT id, revision, wake, status, blob FROM rows WHERE n = ?"
_DUE = (
    "SELECT n, id, revision, wake, status, blob FROM rows WHERE job = ? AND entry <= ? ORDER BY entry LIMIT ?"
)
_DUE_N = "SELECT n FROM rows WHERE job = ? AND entry <= ? ORDER BY entry LIMIT ?"
_FIRST = (
    "SELECT n, entry FROM rows WHERE job = ?"
    f" AND entry BETWEEN {-(2**63)} AND {INTEGER_MAX} ORDER BY entry LIMIT ?"  # no text, no infinity
)
_ID_OF = "SELECT id FROM rows INDEXED BY rows_key WHERE job = ? AND n = ?"

_LETTERS: Mapping[Kind, str] = {"continuous": "c:", "debounce": "d:", "task": "t:"}
_KINDS: Mapping[str, Kind] = {letter: kind for kind, letter in _LETTERS.items()}


def cell_of(job: Job) -> str:
    """How a job is named in its rows; in the order of kinds and names."""
    return _LETTERS[job[0]] + job[1]


def job_in(cell: str) -> Job:
    """The inverse of `cell_of`; raises `LookupError` for what is none."""
    return _KINDS[cell[:2]], cell[2:]


def _place(key: Key) -> tuple[str, str]:
    return _LETTERS[key[0]] + key[1], key[2]


class Stored(NamedTuple):
    """What is stored under a key. `misfiled`: its entry is missing, or later than `wake` and any hold."""

    n: int
    row: Row | Damaged
    misfiled: bool


# -- writing


def put_all(connection: sqlite3.Connection, writes: Sequence[Write | Defer]) -> bool:
    """Perform writes by the statement; whether every one of them took effect."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for write in writes:
        statement, values = _statement(write)
        groups.setdefault(statement, []).append(values)
    return all(
        connection.executemany(statement, rows).rowcount == len(rows) for statement, rows in groups.items()
    )


def put(connection: sqlite3.Connection, write: Write | Defer) -> bool:
    """Perform one write; whether it took effect (R-2)."""
    statement, values = _statement(write)
    return connection.execute(statement, values).rowcount == 1


def put_over_damage(connection: sqlite3.Connection, write: Write | Defer) -> Outcome:
    """Perform a write to a row that is damaged: it has no revision in its cells (R-9)."""
    if isinstance(write, Defer):
        done = connection.execute(_DEFER_DAMAGED, (write.wake, *_place(write.key)))
    elif write.row is None:
        done = connection.execute(_DELETE_DAMAGED, _place(write.key))
    else:
        return Refused(f"{write.key} is damaged: it can only be deleted", transient=False)
    return COMMITTED if done.rowcount == 1 else Conflicted(None)


def _statement(write: Write | Defer) -> tuple[str, tuple[Any, ...]]:
    place = _place(write.key)
    if isinstance(write, Defer):
        return _DEFER, (write.wake, *place, write.expected)
    row = write.row
    if row is None:
        return _DELETE, (*place, write.expected)
    # as `bytearray`: of `bytes`, `sqlite3` looks for an adapter each time, a fifth of what a write takes
    cells = (bytearray(row.revision), row.wake, row.wake, row.status, bytearray(row.blob), *place)
    return (_INSERT, cells) if write.expected is None else (_UPDATE, (*cells, bytearray(write.expected)))


def put_back(connection: sqlite3.Connection, n: int) -> None:
    """Put the entry of a row back where its `wake` says (R-6)."""
    connection.execute(_PUT_BACK, (n,))


def move(connection: sqlite3.Connection, numbers: Sequence[int], until: int) -> None:
    """Move the entries of rows."""
    connection.execute(_MOVE, (until, json.dumps(numbers)))


# -- reading


def find(connection: sqlite3.Connection, key: Key) -> Stored | None:
    """What is stored under a key; `Damaged` if it cannot be read (R-9)."""
    try:
        return load(connection, key)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return unreadable(key, error)


def load(connection: sqlite3.Connection, key: Key) -> Stored | None:
    """The same; raises `sqlite3.Error` if SQLite cannot read it."""
    try:
        found = connection.execute(_LOAD, _place(key)).fetchone()
    except UnicodeEncodeError:
        return None  # no stored id has lone surrogates
    if found is None:
        return None
    n, revision, wake, entry, held, status, blob = found
    row = make_row(key, revision, wake, status, blob)
    misfiled = (
        isinstance(row, Row) and wake is not None and (type(entry) is not int or (not held and entry > wake))
    )
    return Stored(n, row, misfiled)


def make_row(key: Key, revision: Any, wake: Any, status: Any, blob: Any) -> Row | Damaged:
    """The row of cells; `Damaged` if they are not what they ought to be."""
    if (
        type(revision) is bytes
        and type(blob) is bytes
        and type(status) is str
        and (wake is None or type(wake) is int)
    ):
        return Row(key, revision, wake, status, blob)
    cells = (revision, wake, status, blob)
    kinds = ", ".join(type(cell).__name__ for cell in cells)
    raw = repr(cells).encode()
    return Damaged(key, _digest(raw), raw, f"its cells (revision, wake, status, blob) are {kinds}")


def due(connection: sqlite3.Connection, job: Job, now: int, limit: int) -> Iterator[tuple[int, Row]]:
    """The rows of a job that are due, earliest first, with their numbers.

    Raises `sqlite3.Error` or `UnreadableError` at one that cannot be read; then `due_with_damage` can.
    """
    for n, *cells in connection.execute(_DUE, (cell_of(job), min(now, INTEGER_MAX), limit)):
        yield n, _readable(job, *cells)


def due_numbers(connection: sqlite3.Connection, job: Job, now: int, limit: int) -> list[int]:
    """Their numbers, by the index alone."""
    found = connection.execute(_DUE_N, (cell_of(job), min(now, INTEGER_MAX), limit))
    return [n for (n,) in found.fetchall()]


def due_row(connection: sqlite3.Connection, job: Job, n: int) -> Row:
    """One of them, by its number. Raises as `due` does."""
    found = connection.execute(_LOAD_N, (n,)).fetchone()
    if found is None:
        raise UnreadableError
    return _readable(job, *found)


def due_with_damage(
    connection: sqlite3.Connection, job: Job, now: int, limit: int
) -> Iterator[tuple[int, Row | Damaged]]:
    """The same as `due`, row by row, so that one that cannot be read does not hide the others."""
    for n in due_numbers(connection, job, now, limit):
        (id,) = connection.execute(_ID_OF, (cell_of(job), n)).fetchone() or ("",)
        yield n, load_n(connection, Key(*job, id if type(id) is str else ""), n)


def load_n(connection: sqlite3.Connection, key: Key, n: int) -> Row | Damaged:
    """The row of a key whose number an index has given; `Damaged` if it cannot be read."""
    try:
        found = connection.execute(_LOAD_N, (n,)).fetchone()
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return unreadable(key, error).row
    if found is None or found[0] != key.id:
        return unreadable(key, LookupError("an index names a row that is not there")).row
    return make_row(key, *found[1:])


class UnreadableError(Exception):
    """A due row cannot be read."""


def _readable(job: Job, id: Any, *cells: Any) -> Row:
    row = make_row(Key(*job, id), *cells)
    if isinstance(row, Damaged) or type(id) is not str:
        raise UnreadableError
    return row


def first_entry(connection: sqlite3.Connection, job: Job, stuck: Collection[int] = ()) -> int | None:
    """The earliest entry of a job, but for those of the rows that are `stuck`."""
    for n, entry in connection.execute(_FIRST, (cell_of(job), 1 + len(stuck))).fetchall():
        if n not in stuck:
            return int(entry)
    return None


def unreadable(key: Key, error: Exception) -> Stored:
    """What stands for a row that SQLite cannot read."""
    return Stored(-1, Damaged(key, _digest(repr(key).encode()), b"", str(error)), False)


def _digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=24).digest()
