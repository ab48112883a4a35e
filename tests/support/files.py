"""Files of stores, past the backend."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

NOBODY = 65534

FRAME_HEAD = 24
"""Of a frame of a write-ahead log; a page follows."""


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere; within this block the process is nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def no_more_files(free: int = 0) -> Iterator[None]:
    """This process has as many files open as it may, but for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def raw(path: Path | str) -> AbstractContextManager[sqlite3.Connection]:
    """A connection past the backend."""
    return closing(sqlite3.connect(path, isolation_level=None, timeout=5))


def page_size(path: Path | str) -> int:
    """The bytes of a page."""
    with raw(path) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(size)


def count_commits(path: Path | str) -> int:
    """How many frames of its write-ahead log end a transaction: their heads tell the size of the file."""
    log = Path(f"{path}-wal").read_bytes()
    frame = FRAME_HEAD + int.from_bytes(log[8:12], "big")
    return sum(any(log[start + 4 : start + 8]) for start in range(32, len(log), frame))


def spoil(path: Path, statement: str, *args: object) -> None:
    """Change the file past the rules of its table."""
    with raw(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', '')")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL,', ',')")
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(statement, args)
