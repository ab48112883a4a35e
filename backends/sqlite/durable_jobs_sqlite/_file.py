"""The file of a store: connections to it, and whether it is still the one that was opened."""

from __future__ import annotations

import ctypes
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TypeAlias, TypeVar
from urllib.parse import quote

from durable_jobs_sqlite import _schema
from durable_jobs_sqlite._clock import Plan, boot_id, first_plan, read_clocks
from durable_jobs_sqlite._errors import SQLITE_ERRORS, StoreError, StoreLostError, is_busy
from durable_jobs_sqlite._place import check_place
from durable_jobs_sqlite._turns import BUSY_MAX_SECONDS, wait_a_little
from durable_jobs_sqlite._url import Location

T = TypeVar("T")
Identity: TypeAlias = tuple[int, int]

OPEN_MAX_SECONDS = 5.0
"""How long opening waits for others that hold the file."""

_log = logging.getLogger("durable_jobs")
_PLAN = "SELECT schema, boot, base, since, target, mark FROM clock"
_SET_PLAN = "REPLACE INTO clock (one, schema, boot, base, since, target, mark) VALUES (1, ?, ?, ?, ?, ?, ?)"


class StoreFile:
    """A file that this process has open.

    `path`, `synchronous`: as the URL says; `boot`: the boot in which it was opened, `plan`: how the clock ran
    then. `_log`: which write-ahead log its connections have, and which index of it.
    """

    def __init__(self, location: Location) -> None:
        self.path, self.synchronous = location.path, location.synchronous
        self.boot = boot_id()
        self.plan: Plan
        self.pid = os.getpid()
        self.identity: Identity | None = None
        self._log: dict[str, Identity | None] = {}
        self._connections: set[sqlite3.Connection] = set()
        self._closing = threading.Lock()

    def open(self) -> sqlite3.Connection:
        """Make the file a store of this release, and connect. Raises `StoreError`."""
        _schema.check_library(self.path)
        self._check_fork()
        try:
            connection = self.patiently(self._prepare, OPEN_MAX_SECONDS)
        except SQLITE_ERRORS as error:
            raise StoreError.of(self.path, error, self._where(error)) from error
        self.identity = _identity(self.path)
        self._note_log()
        _files[id(self)] = self
        return connection

    def close(self) -> None:
        """Forget the file; its connections are their users' to close."""
        _files.pop(id(self), None)

    def connect(self, *, create: bool = False) -> sqlite3.Connection:
        """A connection that never waits by itself, and begins no transaction unasked.

        Raises `StoreLostError` while there are connections to a log that was lost: SQLite has one index in a
        process, whichever log it opens.
        """
        identity = _identity(self.path)
        for file in _open_files():
            if file.identity == identity:
                with file._closing:
                    file.check_log()
        connection = sqlite3.connect(  # `psow`: the frame that commits is the last one written (ADR 1)
            f"file:{quote(self.path)}?psow=1&mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {self.synchronous}")  # opens the log
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        with self._closing:  # the last one, whose log is gone, may not be forgotten yet
            if not self._connections:
                self._note_log()
            self._connections.add(connection)
        return connection

    def disconnect(self, connection: sqlite3.Connection) -> None:
        """Close a connection; what it had not committed is undone."""
        with self._closing:  # of two that close at once neither is the last, which tidies the log away
            with self._sparing_the_log_of_others():
                connection.close()
            self._connections.discard(connection)

    def reconnect(self) -> sqlite3.Connection:
        """A connection in place of one that was given up, to the same file. Raises `StoreError`."""
        self.check()
        try:
            connection = self.patiently(self._connect_again, BUSY_MAX_SECONDS)
        except SQLITE_ERRORS as error:
            raise StoreError.of(self.path, error) from error
        self.check()
        return connection

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection of its own for one use, which sees one state of the store."""
        self.check()
        connection = None
        try:
            connection = self.patiently(self.connect, BUSY_MAX_SECONDS)
            connection.execute("BEGIN")
            self.patiently(partial(read_plan, connection), BUSY_MAX_SECONDS)
            yield connection
        except SQLITE_ERRORS as error:
            raise StoreError.of(self.path, error) from error
        finally:
            if connection is not None:
                self.disconnect(connection)

    def check(self) -> None:
        """Raise unless this process may use the file, and it is the one that was opened."""
        self.check_process()
        if self.identity is None or _identity(self.path) != self.identity:
            raise StoreLostError(self.path, "it was replaced or unlinked while it was open")

    def check_log(self) -> None:
        """The same of its write-ahead log and the log's index, which are parts of it while it is open."""
        if self._connections and (lost := self._lost_part()) is not None:
            text = f"its {lost} file was replaced or unlinked while it was open"
            raise StoreLostError(self.path, text, transient=True)

    def remove_log(self) -> None:
        """Remove what is left of a log that is empty: others, who have all of it, may empty it again.

        The index goes first: of two who open it meanwhile, neither may get an index of its own for one log.
        """
        for path, known in reversed(self._log.items()):
            if _identity(path) == known:
                with suppress(OSError):
                    os.unlink(path)

    def _note_log(self) -> None:
        self._log = {path: _identity(path) for path in (self._wal_path, self._index_path)}

    def _lost_part(self) -> str | None:
        """The part of its log that is no more what the connections have; none of a log not made yet."""
        for path, known in self._log.items():
            if known is not None and _identity(path) != known:
                return path.removeprefix(self.path)
        return None

    @contextmanager
    def _sparing_the_log_of_others(self) -> Generator[None]:
        """The last connection to a file removes what has the name of its log: also the next one of others."""
        spare = f"{self._wal_path}-spare"
        is_lost = self._lost_part() is not None
        try:
            if is_lost:
                with suppress(OSError):
                    os.link(self._wal_path, spare)
            yield
        finally:
            if is_lost:
                with suppress(OSError):
                    if os.stat(spare).st_size:
                        os.link(spare, self._wal_path)
                with suppress(OSError):
                    os.unlink(spare)

    @property
    def wal_bytes(self) -> int:
        """The size of the write-ahead log."""
        with suppress(OSError):
            return os.stat(self._wal_path).st_size
        return 0

    def check_process(self) -> None:
        """Raise in a forked child: SQLite's locks are not inherited, though it believes they are."""
        if self.is_inherited:
            raise StoreError(self.path, "it belongs to the process this one was forked from")

    @property
    def is_away(self) -> bool:
        """Whether it was unlinked or moved away, and there is no other yet: others would share its index."""
        return not self.is_inherited and not os.path.exists(self.path)

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one that opened the file."""
        return os.getpid() != self.pid

    def patiently(self, function: Callable[[], T], seconds: float) -> T:
        """Call until no other process is in the way; then its error is raised."""
        until = time.monotonic() + seconds
        tries = 0
        while True:
            try:
                return function()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > until:
                    raise
            tries = 0 if os.path.exists(self._index_path) else tries + 1  # without it a try holds up others
            wait_a_little(tries)

    def _connect_again(self) -> sqlite3.Connection:
        connection = self.connect()
        try:
            self._secure()
        except BaseException:
            self.disconnect(connection)
            raise
        return connection

    def _secure(self) -> None:
        """Have on the disk what the log has: a recovery finds also what was not synced when its process was
        killed, and what is told of it is to survive a power cut."""
        try:
            with suppress(FileNotFoundError), open(self._wal_path, "rb") as log:
                os.fsync(log.fileno())
        except OSError as error:
            raise StoreError(self.path, f"its log cannot be synced: {error}", transient=True) from error

    def _prepare(self) -> sqlite3.Connection:
        check_place(self.path)
        self._check_alone()
        connection = self.connect(create=True)
        try:
            _schema.check_file(connection, self.path)  # before a foreign file is changed in any way
            _schema.set_wal(connection, self.path)
            self._secure()
            version = self._bring_up_to_date(connection)
        except BaseException:
            self.disconnect(connection)
            raise
        if version == 0:
            _log.info("%s: a new store was made: there was none", self.path)
        return connection

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> int:
        """Make it a store of this release, and of this boot, if it is not; the version it had.

        One that others write just now need not wait for them if there is nothing to change.
        """
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            connection.execute("BEGIN")
        version = _schema.migrate(connection, self.path)
        self._adopt_clock(connection)
        connection.execute("COMMIT")
        return version

    def _check_alone(self) -> None:
        """Raise if others have the file open, and there is no index: then they have lost it, and their log
        perhaps, and who opens the file now would write another one."""
        if os.path.exists(self._index_path) or not os.path.exists(self.path):
            return
        with closing(sqlite3.connect(f"file:{quote(self.path)}?mode=rw", uri=True, timeout=0)) as connection:
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
            except SQLITE_ERRORS as error:
                if is_busy(error):
                    raise  # what else is wrong is found when it is opened

    def _adopt_clock(self, connection: sqlite3.Connection) -> None:
        found, reading = find_plan(connection), read_clocks()
        if found is None:
            plan = first_plan(len(_schema.MIGRATIONS), self.boot, reading, 0)
        else:
            plan = found.adopted(self.boot, reading)
        if plan != found:
            write_plan(connection, plan)
        self.plan = plan

    def _check_fork(self) -> None:
        """Refuse a file that the parent has open: SQLite would use the parent's locks (see ADR 1)."""
        identity = _identity(self.path)
        inherited = [file for file in _open_files() if file.pid != self.pid and file.identity == identity]
        if identity is not None and inherited:
            raise StoreError(
                self.path,
                "it was open when this process was forked; open it after the fork, or spawn instead",
            )

    def _where(self, error: Exception) -> str:
        folder = os.path.dirname(self.path)
        if not os.path.isdir(folder):
            return f"there is no directory {folder}"
        is_cut_off = is_busy(error) and not os.path.exists(self._index_path)
        return "it is open without its -shm file" if is_cut_off else ""

    @property
    def _wal_path(self) -> str:
        return f"{self.path}-wal"

    @property
    def _index_path(self) -> str:
        return f"{self.path}-shm"

    def leak(self) -> None:
        """Keep the connections from ever being closed: in a forked child that would harm the parent."""
        for connection in self._connections:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def read_plan(connection: sqlite3.Connection) -> Plan:
    """How the store's clock runs."""
    plan = find_plan(connection)
    if plan is None:
        raise sqlite3.DatabaseError("the store has lost its clock")
    return plan


def find_plan(connection: sqlite3.Connection) -> Plan | None:
    """The same; `None` in a store that has none yet."""
    found = connection.execute(_PLAN).fetchone()
    if found is None:
        return None
    plan = Plan(*found)
    if type(plan.boot) is not str or any(type(cell) is not int for cell in plan if cell is not plan.boot):
        raise sqlite3.DatabaseError("the store's clock is damaged")
    return plan


def write_plan(connection: sqlite3.Connection, plan: Plan) -> None:
    """Set how the store's clock runs."""
    connection.execute(_SET_PLAN, plan)


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


_files: weakref.WeakValueDictionary[int, StoreFile] = weakref.WeakValueDictionary()
"""Those that are open, by their `id`."""


def _open_files() -> list[StoreFile]:
    """As they are now: other threads open and close some meanwhile."""
    return [file for known in _files.valuerefs() if (file := known()) is not None]


def _leak_inherited() -> None:
    for file in _open_files():
        file.leak()


os.register_at_fork(after_in_child=_leak_inherited)
