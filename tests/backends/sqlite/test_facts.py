"""What the backend believes of SQLite (ADR 1). If one of these fails, a newer SQLite has changed its ways,
and the code that cites it may be simpler or has to be more careful."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from durable_jobs_conformance.forks import forked
from support.files import FRAME_HEAD, page_size, raw


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A database with a write-ahead log and a table, closed."""
    path = tmp_path / "facts.db"
    with raw(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
    return path


def numbers(path: Path) -> list[int]:
    with raw(path) as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]


# -- forks


@pytest.mark.parametrize("inherited", [False, True])
def test_a_commit_of_a_fork_is_lost_if_its_parent_had_the_file_open(table, inherited) -> None:
    """SQLite takes the parent's locks for its own; so the parent, which closes last as it believes, deletes
    the log under the child."""
    parent = sqlite3.connect(table, isolation_level=None)
    parent.execute("SELECT * FROM t").fetchall()
    if not inherited:
        parent.close()
    from_parent, to_child = os.pipe()

    def commit(say: int) -> None:
        child = sqlite3.connect(table, isolation_level=None)
        child.execute("SELECT * FROM t").fetchall()
        os.write(say, b"read")
        os.read(from_parent, 1)
        child.execute("INSERT INTO t VALUES (2)")
        os.write(say, b"done")
        os.kill(os.getpid(), signal.SIGKILL)

    with forked(commit) as (_, said):
        if not inherited:
            parent = sqlite3.connect(table, isolation_level=None)
            parent.execute("SELECT * FROM t").fetchall()
        assert said.read(4) == "read"
        parent.close()
        os.write(to_child, b"x")
        assert said.read(4) == "done"
    os.close(from_parent)
    os.close(to_child)

    assert numbers(table) == ([1] if inherited else [1, 2])


# -- damage


def test_a_transaction_that_met_damage_cannot_commit(table) -> None:
    with raw(table) as connection:
        connection.execute("CREATE TABLE damaged (x)")
        connection.execute("INSERT INTO damaged VALUES (?)", (b"x" * 100,))
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'damaged'").fetchone()
    with open(table, "r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    with raw(table) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in ("SELECT * FROM damaged", "INSERT INTO t VALUES (2)", "COMMIT"):
            with pytest.raises(sqlite3.DatabaseError, match="malformed"):
                connection.execute(statement).fetchall()
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            connection.execute("SELECT * FROM damaged")
        connection.execute("INSERT INTO t VALUES (3)")
    assert numbers(table) == [1, 3]


# -- lost commits


def test_a_lost_commit_is_found_by_a_recovery_unless_another_has_overwritten_it(table) -> None:
    """A COMMIT whose `fsync` fails has raised; but its frames stand at the end of the log, after those that
    the other processes know of. The next commit is written in their place, and what is left of them fits
    its checksums no longer."""

    def log_after(statement: str) -> bytes:
        """The log with one commit more; the file is left as it was."""
        for end in ("", "-wal"):
            shutil.copy(f"{table}{end}", f"{table}.copy{end}")
        with raw(f"{table}.copy") as connection:
            connection.execute(statement)
            return Path(f"{table}.copy-wal").read_bytes()

    with raw(table) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        before = Path(f"{table}-wal").read_bytes()
        lost = log_after("INSERT INTO t SELECT 100 + x FROM t, (SELECT randomblob(9000) UNION SELECT 1)")
        other = log_after("UPDATE t SET x = 3 WHERE x = 2")
        shutil.copy(table, f"{table}.crashed")
    assert len(before) < len(other) <= len(lost)

    def recovered(log: bytes) -> list[int]:
        crashed = Path(f"{table}.crashed")
        shutil.copy(crashed, f"{crashed}.now")
        Path(f"{crashed}.now-wal").write_bytes(log)
        return numbers(Path(f"{crashed}.now"))

    assert recovered(before) == [1, 2]
    assert len(recovered(lost)) > 2
    assert recovered(other + lost[len(other) :]) == [1, 3]


# -- full disks


@pytest.mark.parametrize(("psow", "frames"), [(0, 2), (1, 1)])
def test_the_frame_that_commits_is_the_last_one_written_if_the_file_was_opened_so(
    table, psow, frames
) -> None:
    """Else its sector is filled up with copies of it: if there is no room for one of them, it has landed."""
    with closing(sqlite3.connect(f"file:{table}?psow={psow}", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("INSERT INTO t VALUES (2)")
        before = os.path.getsize(f"{table}-wal")
        connection.execute("INSERT INTO t VALUES (3)")
        assert os.path.getsize(f"{table}-wal") - before == frames * (FRAME_HEAD + page_size(table))
