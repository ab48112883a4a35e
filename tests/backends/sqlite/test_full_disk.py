"""A disk that is really full: SQLite meets its end at COMMIT, where a limit of pages stops it sooner."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from durable_jobs_sqlite import StoreError
from support.ports import is_committed, refusal

from durable_jobs_core.backend import Claim, Write

FULL = r"the disk is full \(SQLITE_FULL\)"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """The folder of the store is a disk of its own; this fills it, with a file that can be removed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a disk")

    def fill() -> Path:
        rest = tmp_path / "rest"
        with rest.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                return rest

    yield fill
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_r3_a_write_for_which_there_is_no_room_is_refused_and_reads_go_on(disk, sqlite) -> None:
    rows = sqlite.create("a", "b", wake=10)
    rest = disk()
    large = Write(sqlite.key("new"), None, sqlite.row("new", blob=b"x" * 50_000))
    while is_committed(sqlite):  # there was some room left in its log
        sqlite.ask(Write(sqlite.key("new"), b"r0", None))

    answer = sqlite.ask(large, loads=(rows[0].key,), claim=Claim({sqlite.JOB: 1}, 10, 20))
    assert answer.outcomes == (refusal(sqlite),)
    assert answer.outcomes[0].transient
    assert answer.rows == (rows[0],)
    assert (answer.claimed, answer.next_wake) == ((), 10)
    assert sqlite.scan() == ["a", "b"]
    assert sqlite.backend.health().jobs == (sqlite.JOB,)

    rest.unlink()
    assert is_committed(sqlite)
    assert sqlite.claim(10) == ["a", "b"]


def test_r7_a_claim_for_which_there_is_no_room_is_said_and_holds_up_no_load(disk, sqlite) -> None:
    """Nobody else would know why nothing runs."""
    rows = sqlite.create("a", wake=10)
    rest = disk()
    while is_committed(sqlite):
        sqlite.ask(Write(sqlite.key("new"), b"r0", None))
    claim = Claim({sqlite.JOB: 1}, 10, 20)

    with pytest.raises(StoreError, match=FULL) as raised:
        sqlite.ask(claim=claim)
    assert raised.value.transient
    answer = sqlite.ask(loads=(rows[0].key,), claim=claim)
    assert (answer.rows, answer.claimed, answer.next_wake) == (tuple(rows), (), 10)
    with pytest.raises(StoreError, match=FULL):
        sqlite.ask(loads=(rows[0].key,), settle=True)

    rest.unlink()
    assert sqlite.claim(10) == ["a"]


def test_a_store_is_opened_and_read_where_its_log_has_no_room_in_the_file(disk, sqlite) -> None:
    (row,) = sqlite.create("a", blob=b"x" * 100_000)
    rest = disk()
    again = sqlite.again()
    assert again.load("a") == row
    rest.unlink()
    assert is_committed(again)
