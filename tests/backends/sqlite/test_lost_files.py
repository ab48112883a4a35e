"""A file, or its log, that is lost while it is open: a typed error, and nothing acknowledged is lost."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_sqlite import SQLiteBackend, StoreError, StoreLostError, _file
from support.children import Spawn
from support.files import raw
from support.ports import PATIENCE_SECONDS, is_committed, refusal

from durable_jobs_core.backend import Batch, Write

FOREVER = 2**63 - 1


# -- the file is lost


def swap(path: Path) -> None:
    """Another store in place of this one, as when a backup is put back."""
    SQLiteBackend.open(f"sqlite:///{path}.other").close()
    os.replace(f"{path}.other", path)


LOSSES = [os.unlink, swap, lambda path: os.rename(path, f"{path}.moved")]


@pytest.mark.parametrize("lose", LOSSES)
def test_r3_a_file_that_was_replaced_or_unlinked_takes_no_writes(sqlite, path, lose) -> None:
    (row,) = sqlite.create("a", wake=10)
    lose(path)
    outcome = refusal(sqlite)
    assert not outcome.transient
    assert outcome.reason == f"{path}: it was replaced or unlinked while it was open"
    asks: list[Callable[[], Any]] = [
        lambda: sqlite.ask(Write(sqlite.key("n"), None, sqlite.row("n")), loads=(row.key,)),
        lambda: sqlite.load("a"),
        lambda: sqlite.claim(10),
        sqlite.scan,
        sqlite.backend.health,
    ]
    for ask in asks:
        with pytest.raises(StoreLostError, match="replaced or unlinked") as raised:
            ask()
        assert raised.value.path == str(path)
    sqlite.backend.wait(0.05)


@pytest.mark.parametrize("lose", [os.unlink, LOSSES[-1]])
def test_r10_nothing_makes_a_lost_file_anew(sqlite, path, lose) -> None:
    sqlite.create("a")
    lose(path)
    sqlite.backend.wait(0.05)
    refusal(sqlite)
    sqlite.backend.close()
    assert not path.exists()


def test_what_has_the_name_of_a_lost_file_has_its_log_left_alone(sqlite, path) -> None:
    """It may be the log of the other by now."""
    sqlite.create("a")
    swap(path)
    log = Path(f"{path}-wal").read_bytes()
    refusal(sqlite)
    assert Path(f"{path}-wal").read_bytes() == log != b""


def move_away(path: Path) -> None:
    os.rename(path, f"{path}.moved")


def test_a_file_that_is_lost_before_the_lock_is_had_is_not_written_to(sqlite, path, monkeypatch) -> None:
    sqlite.create("a")
    exchanger = sqlite.backend._exchanger
    monkeypatch.setattr(exchanger._turns, "give_way", lambda: move_away(path))
    assert "it was replaced or unlinked" in refusal(sqlite).reason
    monkeypatch.undo()
    os.rename(f"{path}.moved", path)
    assert sqlite.scan() == ["a"]


def test_a_file_that_is_lost_while_it_is_connected_to_again_is_not_read(sqlite, path, monkeypatch) -> None:
    sqlite.create("a")
    connect = sqlite.backend._file._connect_again

    def connect_and_lose() -> sqlite3.Connection:
        connection = connect()
        move_away(path)
        return connection

    monkeypatch.setattr(sqlite.backend._file, "_connect_again", connect_and_lose)
    sqlite.backend._exchanger.close()
    with pytest.raises(StoreLostError, match="replaced or unlinked"):
        sqlite.load("a")


def test_a_file_that_is_put_back_is_the_same_again(sqlite, path) -> None:
    (row,) = sqlite.create("a")
    os.rename(path, f"{path}.moved")
    refusal(sqlite)
    os.rename(f"{path}.moved", path)
    assert sqlite.load("a") == row
    sqlite.create("b")


def test_a_file_that_is_put_back_after_another_was_made_has_all_that_was_acknowledged(sqlite, path) -> None:
    """Who makes a new one removes the log that has its name."""
    rows = sqlite.create("a", "b")
    os.rename(path, f"{path}.away")
    refusal(sqlite)
    sqlite.again().backend.close()
    os.replace(f"{path}.away", path)
    assert [sqlite.load("a"), sqlite.load("b")] == rows


def test_a_backup_that_is_put_in_its_place_gets_nothing_of_its_log(sqlite, path) -> None:
    """SQLite would take the log that is left for the backup's own, write it there, and remove it."""
    rows = sqlite.create("a", "b")
    with raw(path) as connection:
        connection.execute("VACUUM INTO ?", (f"{path}.backup",))
    rows += sqlite.create("c")
    os.rename(path, f"{path}.moved")
    shutil.copy(f"{path}.backup", path)
    backup = path.read_bytes()
    for act in (lambda: sqlite.load("a"), lambda: refusal(sqlite), sqlite.scan, sqlite.backend.health):
        with suppress(StoreLostError):
            act()
        sqlite.backend.wait(0.05)
    assert path.read_bytes() == backup
    os.replace(f"{path}.moved", path)
    assert [sqlite.load(row.key.id) for row in rows] == rows


def test_a_file_that_is_lost_while_it_is_opened_is_not_taken(path, monkeypatch) -> None:
    prepare = _file.StoreFile._prepare

    def prepare_and_lose(self: _file.StoreFile) -> sqlite3.Connection:
        connection = prepare(self)
        path.unlink()
        return connection

    monkeypatch.setattr(_file.StoreFile, "_prepare", prepare_and_lose)
    with pytest.raises(StoreLostError, match="unlinked"):
        SQLiteBackend.open(f"sqlite:///{path}").exchange(0, Batch(not_after=FOREVER))
    gc.collect()


# -- the log is lost


def test_a_log_that_was_unlinked_is_noticed_and_nothing_acknowledged_is_lost(sqlite, path) -> None:
    rows = sqlite.create("a", "b")
    os.unlink(f"{path}-wal")
    outcome = refusal(sqlite)
    assert outcome.reason == f"{path}: its -wal file was replaced or unlinked while it was open"
    assert [sqlite.load("a"), sqlite.load("b")] == rows
    sqlite.create("c")
    sqlite.backend.close()
    assert sqlite.again().scan() == ["a", "b", "c"]


LOST = [("-wal",), ("-shm",), ("-wal", "-shm")]


def unlink(path: Path, names: Sequence[str]) -> None:
    """Take parts of its log away from who has a store open."""
    for name in names:
        os.unlink(f"{path}{name}")


@pytest.mark.parametrize("names", LOST)
def test_a_log_that_several_have_lost_loses_nothing_acknowledged(sqlite, path, spawn: Spawn, names) -> None:
    rows = sqlite.create(*"abcdefgh", blob=b"x" * 3_000)
    child = spawn(FRIEND, f"sqlite:///{path}")
    assert child.hear() == "Committed"
    unlink(path, names)
    refusal(sqlite)
    assert sqlite.load("a") == rows[0]
    sqlite.create(*"ijkl", blob=b"x" * 3_000)
    child.tell()
    assert "file was replaced or unlinked" in child.hear()
    child.tell()
    assert child.hear() == "Committed"
    assert child.end() == []
    sqlite.create("m")
    sqlite.backend.close()
    again = sqlite.again()
    assert [again.load(row.key.id) for row in rows] == rows
    assert again.scan() == ["0", "2", *"abcdefghijklm"]


@pytest.mark.parametrize("names", LOST)
def test_a_log_that_is_lost_while_a_thread_watches_it_is_left_before_another_is_opened(
    sqlite, path, spawn: Spawn, names
) -> None:
    """SQLite has one index in a process, and would take it for that of whichever log is opened next."""
    sqlite.create("a")
    watcher = threading.Thread(target=sqlite.backend.wait, args=(60.0,))
    watcher.start()
    while len(sqlite.backend._file._connections) < 2:
        pass
    child = spawn(FRIEND, f"sqlite:///{path}")
    assert child.hear() == "Committed"
    unlink(path, names)
    child.tell()
    assert "was replaced or unlinked" in child.hear()
    child.tell()
    assert child.hear() == "Committed"
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_committed(sqlite, "b"):
        assert time.monotonic() < until
    assert child.end() == []
    sqlite.backend.close()
    watcher.join()
    again = sqlite.again()
    assert again.scan() == ["0", "2", "a", "b"]
    assert [again.load(id).key.id for id in ("0", "2", "a", "b")] == ["0", "2", "a", "b"]


@pytest.mark.parametrize("names", LOST)
def test_a_log_that_two_handles_of_a_process_have_lost_is_left_by_both_before_another_is_opened(
    sqlite, path, names
) -> None:
    rows = sqlite.create("a")
    other = sqlite.again()
    other.create("b")
    unlink(path, names)
    for _ in range(2):
        assert refusal(sqlite).transient
    assert refusal(other).transient
    sqlite.create("c")
    other.create("d")
    assert sqlite.backend.health().warnings == ()
    other.backend.close()
    assert sqlite.load("a") == rows[0]
    assert sqlite.scan() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("names", [("-shm",), ("-wal", "-shm")])
def test_who_opens_a_file_whose_log_others_have_lost_waits_until_they_have_left_it(
    sqlite, path, spawn: Spawn, monkeypatch, names
) -> None:
    """It would write a log of its own beside theirs, and one of the two would be lost."""
    child = spawn(FRIEND, f"sqlite:///{path}")
    assert child.hear() == "Committed"
    sqlite.backend.close()
    unlink(path, names)
    monkeypatch.setattr(_file, "OPEN_MAX_SECONDS", 0.05)
    with pytest.raises(StoreError, match="it is open without its -shm file: another process holds its lock"):
        sqlite.again()
    child.tell()
    assert "file was replaced or unlinked" in child.hear()
    sqlite.again().create("a")
    child.tell()
    assert child.hear() == "Committed"
    assert child.end() == []
    assert sqlite.again().scan() == ["0", "2", "a"]


@pytest.mark.parametrize("names", LOST)
def test_a_log_that_is_lost_before_the_lock_is_had_is_not_written_to(
    sqlite, path, monkeypatch, names
) -> None:
    """Another may have left it already, and begun a new one."""
    rows = sqlite.create("a")
    begin = sqlite.backend._exchanger._begin

    def late(*asked: Any) -> None:
        monkeypatch.setattr(sqlite.backend._exchanger, "_begin", begin)
        unlink(path, names)
        begin(*asked)

    monkeypatch.setattr(sqlite.backend._exchanger, "_begin", late)
    assert f"{names[0]} file was replaced or unlinked" in refusal(sqlite).reason
    refusal(sqlite)
    sqlite.create("b")
    assert sqlite.load("a") == rows[0]


def test_a_log_that_another_still_reads_is_kept_until_it_has_done_so(sqlite, path) -> None:
    """A new log would not have what this one has."""
    rows = sqlite.create("a")
    with raw(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM rows").fetchall()
        sqlite.create("b")
        os.unlink(f"{path}-wal")
        for _ in range(2):
            assert refusal(sqlite).transient
        for act in (sqlite.scan, lambda: sqlite.load("a")):
            with pytest.raises(StoreLostError, match="-wal file was replaced or unlinked"):
                act()
    refusal(sqlite)
    assert sqlite.load("a") == rows[0]
    assert sqlite.scan() == ["a", "b"]


def test_a_log_that_was_destroyed_is_said(sqlite, path) -> None:
    sqlite.create("a")
    sqlite.backend.close()
    handle = sqlite.again()
    handle.create("b")
    os.truncate(f"{path}-wal", 0)
    os.unlink(f"{path}-wal")
    assert refusal(handle).transient
    handle.load("a")
    (warning,) = handle.backend.health().warnings
    assert "a write-ahead log that was lost cannot be read: disk I/O error" in warning


def test_a_store_that_loses_its_clock_is_said(sqlite, path) -> None:
    with raw(path) as connection:
        connection.execute("DELETE FROM clock")
    with pytest.raises(StoreError, match="the store has lost its clock"):
        sqlite.ask()


FRIEND = """
import sys
from durable_jobs_sqlite import SQLiteBackend
from durable_jobs_core.backend import Batch, Row, Write
from durable_jobs_core.words import Key

backend = SQLiteBackend.open(sys.argv[1])
for n in range(3):
    key = Key("task", "mail", str(n))
    write = Write(key, None, Row(key, b"r0", None, "idle", b"{}"))
    (outcome,) = backend.exchange(0, Batch(writes=(write,), not_after=2**63 - 1)).outcomes
    print(getattr(outcome, "reason", type(outcome).__name__), flush=True)
    if n < 2:
        input()
backend.close()
"""
