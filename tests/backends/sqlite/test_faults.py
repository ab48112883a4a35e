"""What happens to a file that is open: each fault is a typed error that names the file and the cause, what
was acknowledged is there afterwards, and the backend goes on when the fault is over."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_conformance.forks import forked
from durable_jobs_sqlite import SQLiteBackend, StoreError, _exchange, _file, _turns
from support.children import Spawn
from support.files import count_commits, no_more_files, raw
from support.ports import refusal

from durable_jobs_core.backend import Claim, Committed, Query, Refused, Write
from durable_jobs_core.errors import StorageError

DONE = Committed()


# -- the disk is full


@contextmanager
def full(port) -> Iterator[None]:
    """The file may not grow. SQLite forgets it with the connection."""
    connection = port.backend._exchanger._connection
    connection.execute("PRAGMA max_page_count = 1")
    yield
    if port.backend._exchanger._connection is connection:
        connection.execute("PRAGMA max_page_count = 1000000")


BLOB = b"x" * 100_000


def test_r3_on_a_full_disk_writes_are_refused_and_reads_go_on(sqlite) -> None:
    (row,) = sqlite.create("a", wake=10)
    with full(sqlite):
        large = Write(sqlite.key("b"), None, sqlite.row("b", blob=BLOB))
        answer = sqlite.ask(large, loads=(row.key,), claim=Claim({sqlite.JOB: 1}, 10, 20))
    (outcome,) = answer.outcomes
    assert outcome == Refused(f"{sqlite.backend._file.path}: the disk is full (SQLITE_FULL)", transient=True)
    assert answer.rows == (row,)
    assert answer.claimed == ()
    assert answer.next_wake == 10
    assert sqlite.load("b") is None
    assert sqlite.ask(large).outcomes == (DONE,)
    assert sqlite.claim(10) == ["a"]


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_opening_where_there_is_no_room_for_the_index_says_so(sqlite) -> None:
    sqlite.backend.close()
    with limited_files(21_000), pytest.raises(StoreError, match=r"the disk is full \(SQLITE_IOERR_SHMSIZE\)"):
        sqlite.again()


def test_r3_a_log_that_cannot_grow_loses_nothing_acknowledged(sqlite) -> None:
    acknowledged = []
    with limited_files(200_000):
        for n in range(40):
            write = Write(sqlite.key(f"{n:02}"), None, sqlite.row(f"{n:02}", blob=b"x" * 9_000))
            try:
                outcomes = sqlite.ask(write).outcomes
            except StoreError:
                continue
            assert outcomes[0] == DONE or outcomes[0].transient
            acknowledged += [write.key.id] * (outcomes[0] == DONE)
    assert 0 < len(acknowledged) < 40
    (left,) = sqlite.create("left")
    assert set(acknowledged) <= set(sqlite.scan())
    sqlite.backend.close()
    again = sqlite.again()
    assert set(acknowledged) <= set(again.scan())
    assert again.load("left") == left


def test_r3_a_log_that_has_taken_all_the_room_is_emptied_and_work_goes_on(sqlite, path) -> None:
    names = [f"{n}" for n in range(10)]
    rows = [sqlite.create(name, blob=b"x" * 9_000)[0] for name in names]
    sqlite.backend.close()
    again, outcomes = sqlite.again(), []
    with raw(path) as other, limited_files(250_000):
        other.execute("SELECT count(*) FROM rows")  # while another has the file open, no close empties it
        for n in range(100):
            held = rows[n % 10]
            row = again.row(held.key.id, blob=b"%02d" % n * 4_500)
            try:
                (outcome,) = again.ask(Write(row.key, held.revision, row)).outcomes
            except StoreError:  # it was found at the COMMIT
                outcome = None
            if outcome == DONE:
                rows[n % 10] = row
            outcomes.append(outcome)
        assert outcomes.count(DONE) > 80
    assert [again.load(name) for name in names] == rows


def test_r3_no_frame_follows_the_one_that_commits_however_sqlite_was_built(sqlite, path, monkeypatch) -> None:
    """So what had no room did not land (ADR 1)."""
    connect = sqlite3.connect

    def built_otherwise(database: str, **options: Any) -> sqlite3.Connection:
        return connect(f"{database}&psow=0", **options)  # what is said first counts

    monkeypatch.setattr(sqlite3, "connect", built_otherwise)
    again = sqlite.again()
    before = count_commits(path)
    again.create("a")
    assert count_commits(path) == before + 1


# -- another process holds the lock


HOLDER = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
    " c.execute(sys.argv[2]); c.execute('SELECT * FROM rows').fetchone(); print(); input()"
)


@pytest.fixture
def held(sqlite, path, spawn: Spawn) -> Callable[[], None]:
    """The store with a row, and another process that holds its write lock until this is called."""
    sqlite.create("a", wake=10)
    child = spawn(HOLDER, path, "BEGIN IMMEDIATE")
    child.hear()

    def release() -> None:
        child.tell()
        child.end()

    return release


def test_r3_a_lock_that_is_held_for_long_refuses_writes_only(sqlite, held) -> None:
    outcome = refusal(sqlite, loads=(sqlite.key("a"),))
    assert outcome.transient
    assert "another process holds its lock (SQLITE_BUSY)" in outcome.reason
    assert sqlite.load("a") == sqlite.row("a", wake=10)
    assert sqlite.scan() == ["a"]
    assert sqlite.backend.health().jobs == (sqlite.JOB,)
    assert sqlite.next_wake() == 10
    held()
    sqlite.create("new")


def test_r7_a_claim_while_the_lock_is_held_takes_nothing_and_says_what_is_due(sqlite, held) -> None:
    answer = sqlite.ask(claim=Claim({sqlite.JOB: 1}, 10, 20))
    assert answer.claimed == ()
    assert answer.next_wake == 10
    held()
    assert sqlite.claim(10) == ["a"]


def gives_up(monkeypatch: pytest.MonkeyPatch, holder: sqlite3.Connection, first: Callable[[], None]) -> None:
    """Another connection has the lock until it is met; `first` this happens."""

    def meet() -> None:
        first()
        holder.rollback()

    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(_turns, "wait_a_little", meet)


def test_r5_a_settling_load_waits_out_whoever_writes(sqlite, path, held, monkeypatch) -> None:
    with pytest.raises(StoreError, match="another process holds its lock"):
        sqlite.ask(loads=(sqlite.key("a"),), settle=True)
    held()
    met: list[int] = []
    with raw(path) as holder:
        gives_up(monkeypatch, holder, lambda: met.append(1))
        assert sqlite.ask(loads=(sqlite.key("a"),), settle=True).rows == (sqlite.row("a", wake=10),)
    assert met == [1]


def test_r5_a_write_that_gets_the_lock_too_late_is_refused(sqlite, path, monkeypatch) -> None:
    not_after = sqlite.ask().clock + 20

    def passes() -> None:
        while sqlite.backend.health().clock <= not_after:
            pass

    with raw(path) as holder:
        gives_up(monkeypatch, holder, passes)
        assert refusal(sqlite, not_after=not_after).reason == "it came after its deadline"
    assert sqlite.load("new") is None


def test_r5_a_transaction_that_lasts_beyond_the_deadline_is_undone(sqlite, monkeypatch) -> None:
    begun = sqlite.ask().clock
    monkeypatch.setattr(_exchange, "ticks", lambda: 0)  # the first look finds it in time
    assert "it came after its deadline" in refusal(sqlite, not_after=begun - 1).reason


def test_opening_a_store_waits_for_nobody_who_writes_it(sqlite, held, monkeypatch) -> None:
    monkeypatch.setattr(_file, "wait_a_little", lambda tries: pytest.fail("it waits"))
    assert sqlite.again().load("a") == sqlite.row("a", wake=10)
    held()


def test_opening_a_store_of_another_boot_waits_for_the_lock_but_not_for_ever(
    sqlite, held, monkeypatch
) -> None:
    monkeypatch.setattr(_file, "OPEN_MAX_SECONDS", 0.05)
    monkeypatch.setattr(_file, "boot_id", lambda: "another")
    with pytest.raises(StoreError, match="another process holds its lock"):
        sqlite.again()
    held()
    assert sqlite.again().load("a") == sqlite.row("a", wake=10)


def test_r3_only_a_refused_write_takes_the_lock(sqlite, held) -> None:
    """Loads, an empty claim and an empty batch need no lock."""
    answer = sqlite.ask(loads=(sqlite.key("a"),), claim=Claim({sqlite.JOB: 1}, 9, 20))
    assert answer.rows == (sqlite.row("a", wake=10),)
    assert answer.next_wake == 10
    held()


# -- other faults of the whole file


def test_a_header_that_is_overwritten_is_said_and_what_is_put_right_is_there(sqlite, path) -> None:
    rows = sqlite.create("a")
    sqlite.backend.close()
    shutil.copy(path, f"{path}.good")
    handle = sqlite.again()
    with open(path, "r+b") as file:
        file.write(b"\xff" * 100)
    handle.backend._exchanger.close()
    for act in (handle.scan, handle.backend.health, lambda: handle.load("a")):
        with pytest.raises(StoreError, match=r"not an SQLite database|damaged") as raised:
            act()
        assert raised.value.path == str(path)
    assert not refusal(handle).transient
    with open(path, "r+b") as file, open(f"{path}.good", "rb") as good:
        file.write(good.read(100))
    assert handle.load("a") == rows[0]


def test_r10_a_page_that_cannot_be_had_for_want_of_files_is_an_error_of_the_store(sqlite) -> None:
    (row,) = sqlite.create("a")
    with no_more_files():
        for act in (sqlite.scan, sqlite.backend.health):
            with pytest.raises(StoreError, match="cannot be opened: Too many open files"):
                act()
        sqlite.backend.wait(0.01)
        assert sqlite.load("a") == row
    assert sqlite.scan() == ["a"]


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_store_that_cannot_be_opened_for_want_of_files_says_so(path, free) -> None:
    url = f"sqlite:///{path}"
    with no_more_files(free), pytest.raises(StoreError, match="Too many open files"):
        SQLiteBackend.open(url)
    SQLiteBackend.open(url).close()  # nothing that could not be read then is remembered


# -- the outcome of a commit


class LostCommit:
    """A connection whose COMMIT fails, before or after it takes effect."""

    def __init__(
        self, connection: sqlite3.Connection, landed: bool, name: str = "SQLITE_IOERR_FSYNC"
    ) -> None:
        self._connection, self._landed, self._name = connection, landed, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        if statement != "COMMIT" or self._landed:
            done = self._connection.execute(statement, *args)
        if statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, self._name), self._name
            raise error
        return done


@pytest.mark.parametrize("landed", [False, True])
def test_r3_a_commit_that_failed_is_unknown_and_settled_by_a_load(sqlite, landed) -> None:
    file, exchanger = sqlite.backend._file, sqlite.backend._exchanger
    real = exchanger._connection
    exchanger._connection = LostCommit(real, landed)
    file.disconnect = lambda connection: type(file).disconnect(file, real)
    with pytest.raises(StoreError, match=r"disk I/O error \(SQLITE_IOERR_FSYNC\)"):
        sqlite.create("a")
    del file.disconnect
    row = sqlite.row("a") if landed else None
    assert sqlite.ask(loads=(sqlite.key("a"),), settle=True).rows == (row,)
    sqlite.backend.close()
    assert sqlite.again().load("a") == row


def test_r3_a_commit_for_which_there_is_no_room_is_refused(sqlite, monkeypatch) -> None:
    file, exchanger = sqlite.backend._file, sqlite.backend._exchanger
    disconnect, real = file.disconnect, exchanger._connection
    exchanger._connection = LostCommit(real, False, "SQLITE_FULL")
    monkeypatch.setattr(file, "disconnect", lambda connection: disconnect(real))
    assert refusal(sqlite).reason == f"{file.path}: the disk is full (SQLITE_FULL)"
    monkeypatch.setattr(file, "disconnect", disconnect)
    assert sqlite.scan() == []
    sqlite.create("new")


def test_r5_a_settling_load_commits_something(sqlite, path) -> None:
    """So a commit that was lost, and may stand at the end of the log, is overwritten (ADR 1)."""
    sqlite.create("a")
    marks = []
    for _ in range(2):
        sqlite.ask(loads=(sqlite.key("a"),), settle=True)
        with raw(path) as connection:
            marks += connection.execute("SELECT mark FROM clock").fetchone()
    assert marks[0] < marks[1]


# -- use after close, after a fork


def uses(port) -> list[Callable[[], Any]]:
    """What may be asked of a backend."""
    return [
        lambda: port.load("a"),
        lambda: port.backend.scan(Query(), None, 1),
        lambda: port.backend.wait(0),
        port.backend.health,
    ]


def test_r10_a_closed_backend_is_refused(sqlite) -> None:
    sqlite.backend.close()
    for act in uses(sqlite):
        with pytest.raises(StorageError, match="this backend is closed"):
            act()


def in_a_fork(act: Callable[[], Any]) -> str:
    """What a forked child says when it acts: its result or its error."""

    def tell(say: int) -> None:
        os.write(say, str(act()).encode())

    with forked(tell) as (_, said):
        return said.read().rstrip()


def has_open(path: Path) -> bool:
    """Whether this process has a descriptor of the file."""
    for number in range(1_000):
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), path.stat()):
                return True
    return False


def test_r10_a_forked_child_is_refused_and_harms_nothing(sqlite, path) -> None:
    (row,) = sqlite.create("a", wake=10)
    for act in uses(sqlite):
        said = in_a_fork(act)
        assert said == f"StoreError: {path}: it belongs to the process this one was forked from"
    del act  # it has the backend
    assert "open it after the fork" in in_a_fork(sqlite.again)

    def drop() -> bool:
        sqlite.backend.close()
        del sqlite.backend
        gc.collect()
        return has_open(path)

    assert in_a_fork(drop) == "True"  # SQLite says that nobody may close it there
    assert sqlite.load("a") == row
    with raw(path) as connection, pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.execute("PRAGMA journal_mode = DELETE")  # the parent's lock is still there
    sqlite.create("b")


def test_r10_a_fork_may_open_what_its_parent_has_closed_or_never_had(sqlite, path) -> None:
    (row,) = sqlite.create("a")
    url = f"sqlite:///{path}-other"
    assert in_a_fork(lambda: SQLiteBackend.open(url).close()) == "None"
    sqlite.backend.close()
    assert in_a_fork(lambda: sqlite.again().load("a") == row) == "True"


def test_the_lock_is_left_alone_for_as_long_as_it_was_held_once_another_was_met(monkeypatch) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    turns = _turns.Turns()
    turns.release(99.9)
    turns.give_way()
    assert slept == []
    turns.meet()
    slept.clear()
    turns.give_way()
    assert slept == [pytest.approx(0.1)]
    now[0] += 60
    turns.give_way()
    assert len(slept) == 1
