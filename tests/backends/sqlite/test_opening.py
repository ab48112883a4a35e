"""Opening a file: which URLs name one, what is refused and why, and that a refused file stays as it was."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from durable_jobs_sqlite import NewerStoreError, SQLiteBackend, StoreError, _file, _place, _schema, _turns
from durable_jobs_sqlite._schema import APPLICATION_ID, MIGRATIONS
from support.children import Spawn
from support.files import raw, unprivileged

from durable_jobs_core.backend import Batch, Refused, Write
from durable_jobs_core.errors import StorageError

FOREVER = 2**63 - 1
ENOUGH = 30


def refused(path: Path, error: type[StoreError] = StoreError) -> StoreError:
    """What opening a file raises: it names the file and its cause, and says that nothing has changed."""
    with pytest.raises(error) as raised:
        SQLiteBackend.open(f"sqlite:///{path}")
    assert raised.value.path == os.path.realpath(path)
    assert str(raised.value) == f"{raised.value.path}: {raised.value.cause}"
    return raised.value


# -- URLs


def test_a_relative_path_is_taken_from_the_current_directory(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    SQLiteBackend.open("sqlite:///jobs.db").close()
    assert (tmp_path / "jobs.db").exists()


def test_a_store_that_is_new_is_told_in_the_log_once(path, caplog) -> None:
    """Whose folder was not mounted finds an empty one."""
    with caplog.at_level(logging.INFO, "durable_jobs"):
        for _ in range(2):
            SQLiteBackend.open(f"sqlite:///{path}").close()
    assert caplog.messages == [f"{path}: a new store was made: there was none"]
    assert {record.name for record in caplog.records} == {"durable_jobs"}


@pytest.mark.parametrize(
    ("text", "name"), [("a%20b.db", "a b.db"), ("a%3Fb.db", "a?b.db"), ("%23.db", "#.db"), ("ä.db", "ä.db")]
)
def test_a_path_may_have_any_signs(tmp_path, text, name) -> None:
    backend = SQLiteBackend.open(f"sqlite:///{tmp_path}/{text}")
    backend.exchange(0, Batch(not_after=FOREVER))
    backend.close()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://jobs.db", "names no file"),
        ("sqlite:jobs.db", "names no file"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite:///\ud800.db", "no file can have that name here: surrogates not allowed"),
        ("sqlite:////\udcff.db", "no file can have that name here: surrogates not allowed"),
        ("sqlite://:memory:", "use memory://"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///x.db?sync=full", "unknown option 'sync'; known: synchronous"),
        ("sqlite:///x.db?synchronous", "synchronous is full or normal, not ''"),
        ("sqlite:///x.db?synchronous=off", "synchronous is full or normal, not 'off'"),
    ],
)
def test_a_url_that_names_no_store_is_refused(tmp_path, monkeypatch, url, says) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=says):
        SQLiteBackend.open(url)
    assert os.listdir(tmp_path) == []


def test_a_relative_name_in_a_folder_whose_own_is_no_text_is_refused(tmp_path, monkeypatch) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    with pytest.raises(StorageError, match="no file can have that name here: surrogates not allowed"):
        SQLiteBackend.open("sqlite:///jobs.db")


@pytest.mark.parametrize(
    ("option", "number", "says"),
    [("", 2, "survives a power cut"), ("?synchronous=full", 2, "FULL"), ("?synchronous=normal", 1, "NORMAL")],
)
def test_the_option_synchronous_is_what_it_says(path, option, number, says) -> None:
    backend = SQLiteBackend.open(f"sqlite:///{path}{option}")
    connection = backend._exchanger._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert says in backend.health().durability
    backend.close()


# -- files that are no stores


@pytest.mark.parametrize("content", [b"xy", b"hello " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_refused_and_stays(path, content) -> None:
    path.write_bytes(content)
    assert "not an SQLite database (SQLITE_NOTADB)" in refused(path).cause
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE rows (n)"],
        ["PRAGMA user_version = 1"],
        ["PRAGMA application_id = 7", "PRAGMA user_version = 1"],
    ],
)
def test_a_database_of_someone_else_is_refused_and_stays(path, statements) -> None:
    with raw(path) as connection:
        for statement in statements:
            connection.execute(statement)
    content = path.read_bytes()
    assert "not a store of durable-jobs" in refused(path).cause
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_a_directory_is_refused(path) -> None:
    path.mkdir()
    assert "cannot be opened" in refused(path).cause


def test_a_directory_that_does_not_exist_is_named(tmp_path) -> None:
    cause = refused(tmp_path / "no" / "jobs.db").cause
    assert f"there is no directory {tmp_path / 'no'}" in cause


def test_an_empty_file_becomes_a_store(path) -> None:
    path.touch()
    SQLiteBackend.open(f"sqlite:///{path}").close()
    with raw(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_file_without_its_clock_is_refused(sqlite, path) -> None:
    sqlite.backend.close()
    with raw(path) as connection:
        connection.execute("DROP TABLE clock")
    assert "no such table: clock" in refused(path).cause


def test_a_store_behind_a_link_is_one_store(sqlite, path, tmp_path) -> None:
    rows = sqlite.create("a")
    link = tmp_path / "link.db"
    link.symlink_to(path)
    backend = SQLiteBackend.open(f"sqlite:///{link}")
    for _ in range(2):
        assert list(backend.exchange(0, Batch(loads=(rows[0].key,), not_after=FOREVER)).rows) == rows
    backend.close()


def test_where_no_log_can_be_kept_it_is_said() -> None:
    """A database in memory has none."""
    with raw(":memory:") as memory, pytest.raises(StoreError, match="cannot keep a write-ahead log here"):
        _schema.set_wal(memory, "jobs.db")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("IOERR_SHMMAP", "no memory that processes share"),
        ("IOERR_LOCK", "no locks"),
        ("IOERR", "disk I/O error"),
    ],
)
def test_what_a_file_system_lacks_is_said(path, monkeypatch, code, says) -> None:
    def fail(*args: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, f"SQLITE_{code}"), f"SQLITE_{code}"
        raise error

    monkeypatch.setattr(_schema, "set_wal", fail)
    cause = refused(path).cause
    assert says in cause
    assert cause.endswith(f"(SQLITE_{code})")


def test_an_sqlite_that_is_too_old_is_refused(path, monkeypatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.36.9")
    assert refused(path).cause == "SQLite 3.37 or later is needed; this Python has 3.36.9"
    assert not path.exists()


@pytest.mark.parametrize("name", ["jobs.db", "a b\\c\n\t.db"])
def test_a_file_that_is_mounted_without_its_folder_is_refused(tmp_path, monkeypatch, name) -> None:
    """Whoever opens it elsewhere has another log: neither sees what the other committed."""
    path = tmp_path / name
    SQLiteBackend.open(f"sqlite:///{path}").close()
    written = os.fsencode(path)
    for sign in (b"\\", b" ", b"\n", b"\t"):
        written = written.replace(sign, b"\\%03o" % ord(sign))
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        b"36 35 98:0 / / rw - ext4 /dev/a rw\n37 36 98:0 /x %s rw - ext4 /dev/a rw\n" % written
    )
    monkeypatch.setattr(_place, "_MOUNTS", str(mounts))
    assert "mount its folder instead" in refused(path).cause
    SQLiteBackend.open(f"sqlite:///{tmp_path}/other.db").close()
    monkeypatch.setattr(_place, "_MOUNTS", str(tmp_path / "no such file"))
    SQLiteBackend.open(f"sqlite:///{path}").close()


# -- versions


def test_a_newer_store_is_refused_and_stays(sqlite, path) -> None:
    sqlite.create("a")
    sqlite.backend.close()
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    content = path.read_bytes()
    error = refused(path, NewerStoreError)
    assert (error.found, error.known) == (9, 1)
    assert path.read_bytes() == content


NEXT = ("ALTER TABLE rows ADD COLUMN extra TEXT",)


def test_an_older_store_is_brought_up_to_date(sqlite, path, monkeypatch) -> None:
    rows = sqlite.create("a", "b", wake=10)
    sqlite.backend.close()
    monkeypatch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, NEXT))
    newer = sqlite.again()
    assert newer.claim(10) == ["a", "b"]
    assert [newer.load("a"), newer.load("b")] == rows
    with raw(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT schema FROM clock").fetchone() == (2,)


def test_a_migration_that_fails_changes_nothing(sqlite, path, monkeypatch) -> None:
    rows = sqlite.create("a")
    sqlite.backend.close()
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, (*NEXT, "SELECT nonsense")))
        assert "no such column: nonsense" in refused(path).cause
    assert sqlite.again().load("a") == rows[0]


def test_a_process_of_the_old_release_stops_when_another_brings_the_file_up_to_date(
    sqlite, monkeypatch
) -> None:
    rows = sqlite.create("a")
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, NEXT))
        sqlite.again().create("b")
    with pytest.raises(NewerStoreError, match="schema version 2; this release knows 1"):
        sqlite.load("a")
    (outcome,) = sqlite.ask(Write(sqlite.key("c"), None, sqlite.row("c"))).outcomes
    assert "schema version 2; this release knows 1" in outcome.reason
    monkeypatch.setattr(_schema, "MIGRATIONS", (*MIGRATIONS, NEXT))
    newer = sqlite.again()
    assert newer.load("a") == rows[0]
    assert newer.scan() == ["a", "b"]


# -- rights


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_file_one_may_not_write_is_refused_and_nothing_is_left_beside_it(open_folder, mode) -> None:
    """A log of another user would keep out who may write it."""
    path = open_folder / "jobs.db"
    SQLiteBackend.open(f"sqlite:///{path}").close()
    path.chmod(0o444)
    open_folder.chmod(mode)
    with unprivileged():
        assert refused(path).cause == "it is read-only"
    assert os.listdir(open_folder) == ["jobs.db"]


def test_a_file_one_may_not_write_is_refused_while_others_write_it(open_folder) -> None:
    path = open_folder / "jobs.db"
    backend = SQLiteBackend.open(f"sqlite:///{path}")
    for file in open_folder.iterdir():
        file.chmod(0o644)
    with unprivileged():
        assert refused(path).cause == "it is read-only"
    backend.close()


def test_a_file_one_may_not_write_any_more_is_still_read(sqlite, open_folder) -> None:
    """After a failure, too, which has the connection made anew."""
    path, row = open_folder / "jobs.db", sqlite.row("a")
    backend = SQLiteBackend.open(f"sqlite:///{path}")
    backend.exchange(0, Batch(writes=(Write(row.key, None, row),), not_after=2**53))
    with raw(path) as other:
        other.execute(
            "SELECT * FROM rows"
        ).fetchall()  # it has the log too, so nobody moves it as the last one
        backend._exchanger.close()
        for file in open_folder.iterdir():
            file.chmod(0o444)
        with unprivileged():
            deletion = Write(row.key, row.revision, None)
            answer = backend.exchange(0, Batch(writes=(deletion,), loads=(row.key,), not_after=2**53))
    assert answer.rows == (row,)
    assert isinstance(answer.outcomes[0], Refused)
    assert "read-only" in answer.outcomes[0].reason
    backend.close()


def test_a_file_one_may_not_read_is_refused(open_folder) -> None:
    path = open_folder / "jobs.db"
    SQLiteBackend.open(f"sqlite:///{path}").close()
    path.chmod(0)
    with unprivileged():
        assert "cannot be opened" in refused(path).cause


@pytest.mark.parametrize("there", [False, True])
def test_a_directory_one_may_not_write_is_refused(open_folder, there) -> None:
    path = open_folder / "jobs.db"
    if there:
        SQLiteBackend.open(f"sqlite:///{path}").close()
        path.chmod(0o666)
    with unprivileged():
        assert "SQLITE_" in refused(path).cause
    assert os.listdir(open_folder) == ["jobs.db"] * there


# -- several at once


def test_any_number_may_make_the_same_store_at_once(path, spawn: Spawn) -> None:
    script = (
        "import sys; from durable_jobs_sqlite import SQLiteBackend as B; print(); input();"
        " b = B.open(sys.argv[1]); print(b.health().clock); input(); b.close()"
    )
    children = [spawn(script, f"sqlite:///{path}") for _ in range(4)]
    for child in children:
        assert child.hear() == ""
    for child in children:
        child.tell()
    assert all(int(child.hear()) for child in children)
    for child in children:
        child.tell()
        child.end()


def test_who_makes_a_store_beside_others_tries_less_and_less_often(path, monkeypatch) -> None:
    """Each try holds up all others: where a try takes long, none of them got through."""
    waits: list[float] = []
    monkeypatch.setattr(_file, "OPEN_MAX_SECONDS", 0.05)
    monkeypatch.setattr(_turns.random, "uniform", lambda _, longest: longest)
    monkeypatch.setattr(_turns.time, "sleep", waits.append)
    with raw(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "it is open without its -shm file" in refused(path).cause
    assert all(longer > 1.5 * wait for wait, longer in pairwise(waits[1:8]))
    assert max(waits) < 0.11


def test_a_store_that_another_makes_in_the_middle_of_a_look_is_no_foreign_file(path, monkeypatch) -> None:
    pragma, meanwhile = _schema._pragma, []

    def interrupted(connection: sqlite3.Connection, name: str) -> int:
        value = pragma(connection, name)
        if not meanwhile:
            meanwhile.append(name)
            other = sqlite3.connect(path, timeout=0, isolation_level=None)
            with closing(other), suppress(sqlite3.OperationalError):  # it has to wait for the look to end
                other.executescript(
                    f"BEGIN; CREATE TABLE rows (n); PRAGMA application_id = {APPLICATION_ID};"
                    " PRAGMA user_version = 1; COMMIT"
                )
        return value

    monkeypatch.setattr(_schema, "_pragma", interrupted)
    SQLiteBackend.open(f"sqlite:///{path}").close()
    assert meanwhile == ["application_id"]


def test_any_number_of_handles_may_be_opened_and_closed_at_once(sqlite) -> None:
    (row,) = sqlite.create("a")

    def use(_: int) -> object:
        handle = sqlite.again()
        found = handle.load("a")
        handle.backend.close()
        return found

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(40))) == [row] * 40


def test_a_store_may_be_opened_at_every_moment_in_which_another_is_connected_to(sqlite, path) -> None:
    opened: list[SQLiteBackend] = []

    def meanwhile(*_: object) -> object:
        """At each line, of Python's own modules too, as other threads may."""
        if len(opened) < ENOUGH:
            opened.append(SQLiteBackend.open(f"sqlite:///{path}-{len(opened)}"))
        return meanwhile

    before = sys.gettrace()
    sys.settrace(meanwhile)
    try:
        connection = sqlite.backend._file.connect()
    finally:
        sys.settrace(before)
    sqlite.backend._file.disconnect(connection)
    assert len(opened) == ENOUGH
    for backend in opened:
        backend.close()


def test_a_closed_store_is_one_file(sqlite, path) -> None:
    rows = sqlite.create("a")
    sqlite.backend.close()
    assert os.listdir(path.parent) == [path.name]
    shutil.move(path, path.with_name("moved.db"))
    moved = SQLiteBackend.open(f"sqlite:///{path.with_name('moved.db')}")
    assert list(moved.exchange(0, Batch(loads=(rows[0].key,), not_after=FOREVER)).rows) == rows
    moved.close()
