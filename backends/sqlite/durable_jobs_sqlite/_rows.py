"""Rows and their index entries, in SQL. Everything here happens within a transaction of the caller's.

A row's entry is the column `entry`, apart from its `wake`. A commit sets both to the same instant; a claim
or a `Defer` moves the entry only, and says so in `held`. So an entry that differs from `wake` is a hold if
`held` is 1, and lost if it is 0: that is how a load knows which to put back (R-6).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from durable_jobs_core.backend import (
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Outcome,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.words import Key, Kind
from durable_jobs_sqlite._errors import is_damage

INSTANT_MAX = 2**63 - 1
COMMITTED = Committed()

_INSERT = (
    "INSERT INTO rows (kind, job, id, revision, wake, entry, held, status, blob)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6, ?7) ON CONFLICT DO NOTHING"
)
_UPDATE = (
    "UPDATE rows SET revision = ?4, wake = ?5, entry = ?5, held = 0, status = ?6, blob = ?7"
    " WHERE kind = ?1 AND job = ?2 AND id = ?3 AND revision = ?8"
)
_DELETE = "DELETE FROM rows WHERE kind = ? AND job = ? AND id = ? AND revision = ?"
_DELETE_DAMAGED = "DELETE FROM rows WHERE kind = ? AND job = ? AND id = ?"
_DEFER = "UPDATE rows SET entry = ?5, held = 1 WHERE kind = ?1 AND job = ?2 AND id = ?3 AND revision = ?4"
_DEFER_DAMAGED = "UPDATE rows SET entry = ?4, held = 1 WHERE kind = ?1 AND job = ?2 AND id = ?3"
_MOVE = "UPDATE rows SET entry = ?, held = 1 WHERE n = ?"
_PUT_BACK = "UPDATE rows SET entry = wake, held = 0 WHERE n = ?"
_CELLS = "revision, wake, entry, held, status, blob"
_LOAD = f"SELECT n, {_CELLS} FROM rows WHERE kind = ? AND job = ? AND id = ?"
_LOAD_N = f"SELECT {_CELLS} FROM rows WHERE n = ?"
_DUE = f"SELECT n, id, {_CELLS} FROM rows WHERE kind = ? AND job = ? AND entry <= ? ORDER BY entry LIMIT ?"
_DUE_N = "SELECT n FROM rows WHERE kind = ? AND job = ? AND entry <= ? ORDER BY entry LIMIT ?"
_FIRST = "SELECT n, entry FROM rows WHERE kind = ? AND job = ? AND entry IS NOT NULL ORDER BY entry LIMIT ?"
_ID_OF = "SELECT id FROM rows INDEXED BY rows_key WHERE kind = ? AND job = ? AND n = ?"

Job: TypeAlias = tuple[Kind, str]


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


def put(connection: sqlite3.Connection, write: Write | Defer) -> Outcome:
    """Perform one write (R-2)."""
    statement, values = _statement(write)
    if connection.execute(statement, values).rowcount == 1:
        return COMMITTED
    found = load(connection, write.key)
    if found is None:
        return Conflicted(None)
    if isinstance(found.row, Damaged) and found.row.revision == write.expected:
        return _put_over_damage(connection, write)
    return Conflicted(found.row)


def _put_over_damage(connection: sqlite3.Connection, write: Write | Defer) -> Outcome:
    """A damaged row has no revision in its cells; the caller has shown that this one is meant (R-9)."""
    if isinstance(write, Defer):
        done = connection.execute(_DEFER_DAMAGED, (*write.key, write.wake))
    elif write.row is None:
        done = connection.execute(_DELETE_DAMAGED, write.key)
    else:
        return Refused(f"{write.key} is damaged: it can only be deleted", transient=False)
    if done.rowcount != 1:
        raise sqlite3.DatabaseError("an index disagrees with its table")
    return COMMITTED


def _statement(write: Write | Defer) -> tuple[str, tuple[Any, ...]]:
    key, row = write.key, None
    if isinstance(write, Defer):
        return _DEFER, (*key, write.expected, write.wake)
    row = write.row
    if row is None:
        return _DELETE, (*key, write.expected)
    values = (*key, row.revision, row.wake, row.status, row.blob)
    return (_INSERT, values) if write.expected is None else (_UPDATE, (*values, write.expected))


def put_back(connection: sqlite3.Connection, n: int) -> None:
    """Put the entry of a row back where its `wake` says (R-6)."""
    connection.execute(_PUT_BACK, (n,))


def move(connection: sqlite3.Connection, numbers: Sequence[int], until: int) -> None:
    """Move the entries of rows."""
    connection.executemany(_MOVE, [(until, n) for n in numbers])


# -- reading


def load(connection: sqlite3.Connection, key: Key) -> Stored | None:
    """What is stored under a key; `Damaged` if it cannot be read (R-9)."""
    try:
        found = connection.execute(_LOAD, key).fetchone()
    except UnicodeError:
        return None  # no stored id has lone surrogates
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return Stored(-1, _unreadable(key, error), False)
    if found is None:
        return None
    n, revision, wake, entry, held, status, blob = found
    row = make_row(key, revision, wake, status, blob)
    misfiled = wake is not None and (entry is None or (not held and entry > wake))
    return Stored(n, row, misfiled and isinstance(row, Row))


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
    kind, name = job
    for n, id, revision, wake, _, _, status, blob in connection.execute(_DUE, (kind, name, now, limit)):
        row = make_row(Key(kind, name, id), revision, wake, status, blob)
        if isinstance(row, Damaged):
            raise UnreadableError
        yield n, row


def due_with_damage(
    connection: sqlite3.Connection, job: Job, now: int, limit: int
) -> Iterator[tuple[int, Row | Damaged]]:
    """The same, row by row, so that one that cannot be read does not hide the others."""
    kind, name = job
    for (n,) in connection.execute(_DUE_N, (kind, name, now, limit)).fetchall():
        (id,) = connection.execute(_ID_OF, (kind, name, n)).fetchone() or ("",)
        yield n, load_n(connection, Key(kind, name, id), n)


def load_n(connection: sqlite3.Connection, key: Key, n: int) -> Row | Damaged:
    """The row of a number, which an index has given."""
    try:
        found = connection.execute(_LOAD_N, (n,)).fetchone()
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return _unreadable(key, error)
    if found is None:
        return _unreadable(key, LookupError("an index names a row that is not there"))
    revision, wake, _, _, status, blob = found
    return make_row(key, revision, wake, status, blob)


class UnreadableError(Exception):
    """A due row cannot be read."""


def first_entry(connection: sqlite3.Connection, job: Job, stuck: Collection[int] = ()) -> int | None:
    """The earliest entry of a job, but for those of the rows that are `stuck`."""
    for n, entry in connection.execute(_FIRST, (*job, 1 + len(stuck))).fetchall():
        if n not in stuck:
            return int(entry)
    return None


def _unreadable(key: Key, error: Exception) -> Damaged:
    return Damaged(key, _digest(repr(key).encode()), b"", str(error))


def _digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=24).digest()
