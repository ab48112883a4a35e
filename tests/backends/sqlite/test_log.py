"""The write-ahead log: it is emptied when it is large, as soon as no reader is in the way."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from functools import partial
from typing import Any

import pytest
from durable_jobs_sqlite import StoreError, _backend, _exchange, _file
from support.files import raw

MIB = 2**20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits a test reaches."""
    monkeypatch.setattr(_exchange, "WAL_MAX_BYTES", 4 * MIB)
    monkeypatch.setattr(_exchange, "_EMPTY_SECONDS", 0.0)
    monkeypatch.setattr(_exchange, "_EMPTYING_MAX_SECONDS", 0.01)
    monkeypatch.setattr(_backend, "WAL_WARN_BYTES", 6 * MIB)


def storm(port, begin: int, count: int) -> int:
    """So many commits of a hundred KiB; the size of the largest log there was."""
    largest = 0
    for n in range(begin, begin + count):
        port.create(f"{n:04}", blob=os.urandom(100_000))
        largest = max(largest, port.backend._file.wal_bytes)
    return largest


@pytest.mark.usefixtures("small")
def test_the_log_stays_small_while_no_one_reads(sqlite) -> None:
    assert storm(sqlite, 0, 150) < 6 * MIB


@pytest.mark.usefixtures("small")
def test_a_reader_that_hangs_is_said_and_holds_nothing_up_and_its_end_empties_the_log(sqlite, path) -> None:
    sqlite.create("first")
    with raw(path) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM rows").fetchone() == (1,)
        assert storm(sqlite, 0, 100) > 8 * MIB
        (warning,) = sqlite.backend.health().warnings
        assert "a reader that does not end holds it up" in warning
        assert reader.execute("SELECT count(*) FROM rows").fetchone() == (1,)
    storm(sqlite, 100, 2)
    assert os.path.getsize(f"{path}-wal") < 4 * MIB
    sqlite.create("last")
    assert sqlite.backend.health().warnings == ()
    assert len(sqlite.scan()) == 104


@pytest.mark.usefixtures("small")
def test_between_two_tries_there_is_a_pause(sqlite, monkeypatch) -> None:
    tries = []
    monkeypatch.setattr(_exchange, "_EMPTY_SECONDS", 3_600.0)
    monkeypatch.setattr(_exchange.Exchanger, "_checkpoint", lambda self, connection: tries.append(1))
    storm(sqlite, 0, 100)
    assert tries == [1]


@pytest.mark.usefixtures("small")
def test_a_log_that_cannot_be_emptied_is_said_and_what_was_committed_stays(sqlite, monkeypatch) -> None:
    def fail(self: object, connection: object) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(_exchange.Exchanger, "_checkpoint", fail)
    storm(sqlite, 0, 100)
    assert "the write-ahead log cannot be emptied: disk I/O error" in sqlite.backend.health().warnings[0]
    assert len(sqlite.scan()) == 100


def test_a_file_that_was_cut_short_under_its_log_is_opened_and_what_is_left_is_read(sqlite, path) -> None:
    sqlite.create(*map(str, range(100, 200)), blob=os.urandom(4_000))
    with raw(path) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        (row,) = sqlite.create("last")
        os.truncate(path, os.path.getsize(path) // 8)
        sqlite.backend._exchanger.close()
        assert sqlite.load("last") == row
        assert sqlite.again().load("last") == row


def test_what_a_recovery_finds_is_synced_before_it_is_told(sqlite, path, monkeypatch) -> None:
    """Who wrote it may have been killed before it was synced: a power cut would take back what was told."""
    sqlite.create("a")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.path.samestat(os.fstat(file), log)))
    log = os.stat(f"{path}-wal")
    assert sqlite.again().load("a") is not None
    assert synced == [True]
    sqlite.backend._exchanger.close()
    assert sqlite.load("a") is not None
    assert synced == [True] * 2
    monkeypatch.setattr(os, "fsync", fail)
    sqlite.backend._exchanger.close()
    before = len(sqlite.backend._file._connections)
    with pytest.raises(StoreError, match="its log cannot be synced"):
        sqlite.load("a")
    assert len(sqlite.backend._file._connections) == before
    with pytest.raises(StoreError, match="its log cannot be synced"):
        sqlite.again()
    monkeypatch.undo()
    assert sqlite.load("a") is not None


def fail(file: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_warnings_are_few_and_the_latest(sqlite) -> None:
    for n in range(20):
        sqlite.backend._exchanger._warn(f"warning {n % 12}")
    warnings = sqlite.backend.health().warnings
    assert warnings == tuple(f"warning {n % 12}" for n in range(12, 20))


def test_a_warning_is_told_by_health_until_a_minute_after_it_and_is_news_again_then(
    sqlite, monkeypatch, caplog
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(_exchange.time, "monotonic", lambda: now)
    told = []
    for seconds in (0, 50, 50, 61, 0):  # since the one before
        now += seconds
        told.append(len(sqlite.backend.health().warnings))
        sqlite.backend._exchanger._warn("it fails")
    assert told == [0, 1, 1, 0, 1]
    assert len(caplog.messages) == 2


def test_of_connections_that_close_at_once_one_is_the_last_and_tidies_the_log_away(sqlite, path) -> None:
    sqlite.create("first")
    sqlite.backend.close()
    file = sqlite.backend._file
    together = threading.Barrier(2)

    def close(connection: sqlite3.Connection) -> None:
        together.wait()
        file.disconnect(connection)

    for _ in range(100):
        threads = [threading.Thread(target=close, args=(file.connect(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not os.path.exists(f"{path}-wal")


def test_who_connects_before_the_last_connection_is_forgotten_knows_its_own_log(
    sqlite, path, monkeypatch
) -> None:
    sqlite.create("first")
    sqlite.backend.close()
    file, connect = sqlite.backend._file, sqlite3.connect
    closed, connected = threading.Event(), threading.Event()

    class Last(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            closed.set()
            connected.wait()

    class Lock:
        """Tells who waits for it: whoever has connected meanwhile."""

        def __enter__(self) -> None:
            if closed.is_set():
                connected.set()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    def connect_meanwhile(*args: Any, **options: Any) -> sqlite3.Connection:
        closing.start()
        closed.wait()
        return connect(*args, **options)

    monkeypatch.setattr(_file.sqlite3, "connect", partial(connect, factory=Last))
    closing = threading.Thread(target=file.disconnect, args=(file.connect(),))
    lock, file._closing = file._closing, Lock()
    monkeypatch.setattr(_file.sqlite3, "connect", connect_meanwhile)
    with open(f"{path}-wal", "rb"):  # the next one has not its number then
        connection = file.connect()
    connected.set()
    closing.join()

    file.check_log()

    file.disconnect(connection)
