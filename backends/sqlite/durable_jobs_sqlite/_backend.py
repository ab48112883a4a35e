"""The backend: one file, used by any number of processes of one machine."""

from __future__ import annotations

import sqlite3
import threading
import time

from durable_jobs_core.backend import Answer, Batch, Cursor, Health, Page, Query
from durable_jobs_core.words import Key
from durable_jobs_sqlite import _listing, _rows
from durable_jobs_sqlite._clock import Plan, read_clocks
from durable_jobs_sqlite._errors import SQLITE_ERRORS, StoreError, StoreLostError
from durable_jobs_sqlite._exchange import Exchanger
from durable_jobs_sqlite._file import StoreFile, read_plan
from durable_jobs_sqlite._url import parse

HINT_SECONDS = 0.025
"""How often `wait` looks whether another process has committed something.

A file has nobody who could tell: a look reads one number in memory that all its processes share, and costs
the same however many have it open. What could tell (sockets beside the file, inotify) leaves files behind
after a kill or is of one system only, and would have to be doubted all the same.
"""

WALL_WARN_MS = 1_000
WAL_WARN_BYTES = 256 * 1024 * 1024

_DURABILITY = {
    "full": "each commit is synced (WAL, synchronous=FULL): it survives a power cut if the disk does",
    "normal": "commits are in the operating system's hands (WAL, synchronous=NORMAL): they survive the end"
    " of the process; a power cut may take back the last ones",
}


class SQLiteBackend:
    """A store in an SQLite file. Made by `open`.

    `exchange` has a connection of its own; `scan`, `wait` and `health` open one for each use, so that they
    never hold up an exchange, nor each other.
    """

    lanes = 1

    def __init__(self, file: StoreFile, connection: sqlite3.Connection) -> None:
        self._file = file
        self._exchanger = Exchanger(file, connection)
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @classmethod
    def open(cls, url: str) -> SQLiteBackend:
        """Open, and if need be make, the store of `sqlite:///relative.db` or `sqlite:////absolute.db`.

        The option `?synchronous=normal` trades what a power cut may take for faster commits; the default
        is `full`. Raises `StorageError` for a URL that is not understood, and its subclass `StoreError`,
        which names the file and what is wrong with it.
        """
        file = StoreFile(parse(url))
        return cls(file, file.open())

    def lane(self, key: Key) -> int:
        """There is one lane."""
        return 0

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform a batch in at most one transaction. Raises `StoreError`: the outcome is unknown."""
        self._check_usable()
        with self._lock:
            self._check_usable()
            return self._exchanger.exchange(batch)

    def scan(self, query: Query, after: Cursor | None, limit: int) -> Page:
        """Rows in the order of their keys. A page may be short, even empty, before the end.

        Raises `StoreError`, and `ValidationError` for a cursor that is not of this backend.
        """
        self._check_usable()
        with self._file.reading() as connection:
            return _listing.page(connection, query, after, max(1, limit))

    def wait(self, timeout: float) -> None:
        """Return when there is work due sooner than the last claim was told, or after `timeout` seconds."""
        self._check_usable()
        until = time.monotonic() + timeout
        try:
            self._watch(until)
        except (*SQLITE_ERRORS, StoreError) as error:
            if isinstance(error, StoreLostError) and error.transient:  # for an exchange to leave the lost log
                until = min(until, time.monotonic() + HINT_SECONDS)
            self._closed.wait(max(0.0, until - time.monotonic()))

    def _watch(self, until: float) -> None:
        self._file.check()
        connection = self._file.connect()
        try:
            seen = _data_version(connection)
            news = self._is_news(connection, changed=False)
            while not news and not self._closed.wait(min(HINT_SECONDS, max(0.0, until - time.monotonic()))):
                if time.monotonic() >= until:
                    return
                self._file.check_log()
                version = _data_version(connection)
                if version != seen:
                    seen = version
                    news = self._is_news(connection, changed=True)
        finally:
            self._file.disconnect(connection)

    def _is_news(self, connection: sqlite3.Connection, *, changed: bool) -> bool:
        """Whether there is an entry earlier than the last claim was told; it is told of it once."""
        hint = self._exchanger.hint
        if hint is None:
            return changed
        jobs, known = hint
        entries = (_rows.first_entry(connection, job) for job in jobs)
        first = min((entry for entry in entries if entry is not None), default=None)
        if first is None or (known is not None and first >= known):
            return False
        self._exchanger.hint = jobs, first
        return True

    def health(self) -> Health:
        """What an acknowledgement means here, the clock, what is wrong, and the jobs there are."""
        self._check_usable()
        with self._file.reading() as connection:
            plan = read_plan(connection)
            jobs = tuple(_listing.jobs(connection))
        reading = read_clocks()
        return Health(
            durability=_DURABILITY[self._file.synchronous],
            clock=plan.clock(reading.ticks),
            warnings=(*self._own_warnings(plan), *self._exchanger.warnings),
            jobs=jobs,
        )

    def _own_warnings(self, plan: Plan) -> list[str]:
        warnings: list[str] = []
        ahead = plan.ahead(read_clocks())
        if abs(ahead) > WALL_WARN_MS:
            side = "ahead of" if ahead > 0 else "behind"
            warnings.append(
                f"the wall clock is {abs(ahead) / 1000:.1f} s {side} the store's clock, which follows it by"
                " 1 s a minute: it was stepped while the machine was up"
            )
        if self._file.wal_bytes > WAL_WARN_BYTES:
            size = self._file.wal_bytes // 2**20
            warnings.append(f"the write-ahead log has {size} MiB: a reader that does not end holds it up")
        return warnings

    def close(self) -> None:
        """End every `wait`, and close the file; the last process to do so tidies the log away."""
        self._closed.set()
        if not self._file.is_inherited:
            with self._lock:
                self._exchanger.close()
            self._file.close()

    def _check_usable(self) -> None:
        self._file.check_process()
        if self._closed.is_set():
            raise StoreError(self._file.path, "this backend is closed")


def _data_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
