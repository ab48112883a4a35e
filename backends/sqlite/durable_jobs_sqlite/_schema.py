"""What a store looks like on disk, and how an older one is brought up to date.

The version is SQLite's `user_version`: the number of migrations the file has been through. The layout
was chosen by measurement; the figures are in `docs/adr/0001-sqlite-layout.md`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from durable_jobs_sqlite._errors import NewerStoreError, StoreError

APPLICATION_ID = int.from_bytes(b"DJOB", "big")
OLDEST_SQLITE = (3, 37)
_TABLES = "SELECT count(*) FROM sqlite_schema"

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # A row keeps its place on disk: in the order of creation, which is near the order in which rows
        # fall due. The small cells come first, all of a fixed size, so that moving an entry changes the
        # first page of a large row only.
        """
        CREATE TABLE rows (
            n        INTEGER PRIMARY KEY,
            job      TEXT    NOT NULL,    -- kind and name, as "c:name"; short, for both indexes have it
            id       TEXT    NOT NULL,
            revision BLOB    NOT NULL,
            wake     INTEGER,             -- the record's alarm, ms
            entry    INTEGER,             -- the index entry: when it is to be claimed, ms
            held     INTEGER NOT NULL,    -- 1: a claim or a Defer moved the entry; 0: it is `wake`
            status   TEXT    NOT NULL,
            blob     BLOB    NOT NULL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX rows_key ON rows (job, id)",
        "CREATE INDEX rows_due ON rows (job, entry) WHERE entry IS NOT NULL",
        """
        CREATE TABLE clock (
            one    INTEGER PRIMARY KEY CHECK (one = 1),
            schema INTEGER NOT NULL,      -- as `user_version`; here each exchange sees it for nothing
            boot   TEXT    NOT NULL,
            base   INTEGER NOT NULL,
            since  INTEGER NOT NULL,
            target INTEGER NOT NULL,
            mark   INTEGER NOT NULL
        ) STRICT
        """,
    ),
)


def check_library(path: str) -> None:
    """Raise `StoreError` unless the SQLite that Python was built with can do what is needed."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        found = sqlite3.sqlite_version
        raise StoreError(path, f"SQLite {oldest} or later is needed; this Python has {found}")


def version_of(connection: sqlite3.Connection, path: str) -> int:
    """The version of a file, 0 if it is empty; raises `StoreError` if it is not a store of ours."""
    application = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    if application == version == 0 and connection.execute(_TABLES).fetchone() == (0,):
        return 0
    if application != APPLICATION_ID:
        raise StoreError(path, "it is an SQLite database, but not a store of durable-jobs")
    check_version(version, path)
    return version


def check_file(connection: sqlite3.Connection, path: str) -> None:
    """Raise as `version_of` does, by one moment of the file: others may be making the store."""
    connection.execute("BEGIN")
    version_of(connection, path)
    connection.execute("ROLLBACK")


def check_version(version: int, path: str) -> None:
    """Raise `NewerStoreError` if a newer release has brought the file up to its version."""
    if version > len(MIGRATIONS):
        raise NewerStoreError(path, version, len(MIGRATIONS))


def set_wal(connection: sqlite3.Connection, path: str) -> None:
    """Have the file keep a write-ahead log. Not to be called in a transaction."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(path, f"it cannot keep a write-ahead log here (journal mode {mode!r})")


def migrate(connection: sqlite3.Connection, path: str) -> int:
    """Bring the file up to date, within a transaction that the caller has begun; the version it had."""
    version = version_of(connection, path)
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if version < len(MIGRATIONS):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("UPDATE clock SET schema = ?", (len(MIGRATIONS),))
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
