"""Files of stores, past the backend."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

NOBODY = 65534


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


def raw(path: Path | str) -> AbstractContextManager[sqlite3.Connection]:
    """A connection past the backend."""
    return closing(sqlite3.connect(path, isolation_level=None, timeout=5))


def spoil(path: Path, statement: str, *args: object) -> None:
    """Change the file past the rules of its table."""
    with raw(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', '')")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL,', ',')")
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(statement, args)
