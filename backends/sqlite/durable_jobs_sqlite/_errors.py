"""What can be wrong with the file, in words, and what SQLite's errors say of it.

StorageError
└── StoreError         the file cannot be used, or could not be just now
    ├── NewerStoreError    a newer release has written it
    └── StoreLostError     it was replaced or unlinked while it was open
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack

from durable_jobs_core.errors import StorageError

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises: the second for a message of SQLite's that quotes a damaged file."""

_FILES = 4
"""Of a connection: the file, its log, the log's index, and for a moment their folder."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_TRANSIENT = (*_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)
_WHOLE = (*_TRANSIENT, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT)
_CAUSES = {
    sqlite3.SQLITE_BUSY: "another process holds its lock",
    sqlite3.SQLITE_LOCKED: "another process holds its lock",
    sqlite3.SQLITE_PROTOCOL: "another process holds its lock",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR_LOCK: "its file system has no locks, or failed",
    sqlite3.SQLITE_IOERR_SHMMAP: "its file system has no memory that processes share, or there is none left",
    sqlite3.SQLITE_IOERR_SHMSIZE: "the disk is full",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database",
    sqlite3.SQLITE_READONLY: "it, or its directory, is read-only",
}


class StoreError(StorageError):
    """The file of a store cannot be used.

    `path`: which file; `cause`: what is wrong, in words; `transient`: trying again later may help. Raised
    by `open`, nothing was changed; raised by `exchange`, the outcome of its writes is unknown.
    """

    changed = None

    def __init__(self, path: str, cause: str, *, transient: bool = False) -> None:
        self.path, self.cause, self.transient = path, cause, transient
        super().__init__(f"{path}: {cause}")

    @classmethod
    def of(cls, path: str, error: Exception, doing: str = "") -> StoreError:
        """The typed form of what `sqlite3` raised."""
        cause = f"{doing}: {cause_of(error)}" if doing else cause_of(error)
        return cls(path, cause, transient=is_transient(error))


class NewerStoreError(StoreError):
    """A newer release has written the file, which alone may use it: `found` and `known` versions."""

    def __init__(self, path: str, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(path, f"it has the schema version {found}; this release knows {known}")


class StoreLostError(StoreError):
    """The file was replaced or unlinked while it was open: what is written now would be lost.

    Nothing is written while it is so; to use what is there instead, open it anew.
    """


def cause_of(error: Exception) -> str:
    """What SQLite's error means, with its own words behind."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    cause = _CAUSES.get(_full_code(error)) or _CAUSES.get(_code(error))
    if _code(error) == sqlite3.SQLITE_CANTOPEN and (lack := _lack_of_files()):
        cause = f"{cause}: {lack}"
    return f"{cause} ({name})" if cause else f"{error} ({name})"


def _lack_of_files() -> str | None:
    """Why this process cannot open as many more files as a connection does; SQLite does not say."""
    try:
        with ExitStack() as files:
            for _ in range(_FILES):
                files.enter_context(open(os.devnull))
    except OSError as error:
        return error.strerror
    return None


def is_busy(error: Exception) -> bool:
    """Whether another process was in the way."""
    return _code(error) in _BUSY


def is_out_of_room(error: BaseException | None) -> bool:
    """Whether a write was cut short, for the disk is full."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_full(error: BaseException | None) -> bool:
    """Whether a file could not grow: the disk is full, or a quota, which SQLite calls a failed write."""
    failed = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
    return is_out_of_room(error) or _full_code(error) in failed


def is_transient(error: Exception) -> bool:
    """Whether trying again later may help."""
    return _code(error) in _TRANSIENT


def is_damage(error: Exception) -> bool:
    """Whether what is stored cannot be read: a malformed page, or text that is no text."""
    return _code(error) == sqlite3.SQLITE_CORRUPT


def concerns_all(error: Exception) -> bool:
    """Whether the error is about the file as a whole, rather than about one statement."""
    return _code(error) in _WHOLE


def _code(error: BaseException | None) -> int:
    if not hasattr(error, "sqlite_errorcode") and "decode" in str(error):
        return sqlite3.SQLITE_CORRUPT
    return _full_code(error) & 0xFF


def _full_code(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
