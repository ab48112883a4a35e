"""Several processes on one file, and processes that are killed."""

from __future__ import annotations

import itertools
import random
import threading
import time

import pytest
from durable_jobs_sqlite import SQLiteBackend, _exchange
from support.children import Child, Spawn
from support.files import raw
from support.storm import row

from durable_jobs_core.backend import Batch, Claim, Committed, Query, Row, Write
from durable_jobs_core.words import Key

FOREVER = 2**63 - 1
STORM = "import sys; from support.storm import main; main(sys.argv[1], sys.argv[2], int(sys.argv[3]))"


def check(url: str, name: str, count: int, acknowledged: int) -> int:
    """The rows of one process are all of one round, the last acknowledged one or the one after it."""
    backend = SQLiteBackend.open(url)
    keys = tuple(row(name, 0, id).key for id in range(count))
    rows = backend.exchange(0, Batch(loads=keys, not_after=FOREVER)).rows
    backend.close()
    if rows[0] is None:
        assert (acknowledged, set(rows)) == (0, {None})
        return 0
    assert isinstance(rows[0], Row)
    number = int(rows[0].revision)
    assert acknowledged <= number <= acknowledged + 1
    assert list(rows) == [row(name, number, id) for id in range(count)]
    return number


@pytest.mark.parametrize("option", ["", "?synchronous=normal"])
def test_r1_a_process_killed_in_the_middle_of_commits_loses_and_tears_nothing(
    spawn: Spawn, path, option
) -> None:
    url, chance = f"sqlite:///{path}{option}", random.Random(7)
    numbers = {"one": 0, "two": 0}
    for _ in range(4):
        storms = {name: spawn(STORM, url, name, 4 if name == "one" else 30) for name in numbers}
        for name, storm in storms.items():
            numbers[name] = hear(storm, chance.randrange(1, 25))
        for name in chance.sample(sorted(storms), 2):
            numbers[name] = int([str(numbers[name]), *storms[name].kill()][-1])
        for name, number in numbers.items():
            numbers[name] = check(url, name, 4 if name == "one" else 30, number)
    with raw(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert min(numbers.values()) > 4


def hear(storm: Child, lines: int) -> int:
    """The last of so many numbers."""
    return [int(storm.hear()) for _ in range(lines)][-1]


def test_r3_a_process_that_is_stopped_within_its_commit_is_waited_for_no_longer_than_it_lives(
    sqlite, path, spawn: Spawn
) -> None:
    """Its lock goes with it, and what it had not committed."""
    sqlite.create("a")
    child = spawn(
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        " c.execute('BEGIN IMMEDIATE'); c.execute('DELETE FROM rows'); print(); input()",
        path,
    )
    child.hear()
    write = Write(sqlite.key("b"), None, sqlite.row("b"))
    assert sqlite.ask(write).outcomes[0].transient
    child.kill()
    assert sqlite.ask(write).outcomes == (Committed(),)
    assert sqlite.scan() == ["a", "b"]


CLAIMER = """
import sys
from durable_jobs_sqlite import SQLiteBackend
from durable_jobs_core.backend import Batch, Claim

backend = SQLiteBackend.open(sys.argv[1])
print(flush=True)
input()
while claimed := backend.exchange(
    0, Batch(claim=Claim({("task", "mail"): 7}, 10, 99), not_after=2**63 - 1)
).claimed:
    print(*(row.key.id for row in claimed), flush=True)
backend.close()
"""


def test_r7_processes_never_claim_the_same_entry(sqlite, path, spawn: Spawn) -> None:
    ids = [f"{n:03}" for n in range(300)]
    sqlite.create(*ids, wake=10)
    claimers = [spawn(CLAIMER, f"sqlite:///{path}") for _ in range(2)]
    for claimer in claimers:
        assert claimer.hear() == ""
    for claimer in claimers:
        claimer.tell()
    taken = [id for claimer in claimers for line in claimer.end() for id in line.split()]
    assert sorted(taken) == ids


WRITER = """
import sys
from durable_jobs_sqlite import SQLiteBackend
from durable_jobs_core.backend import Batch, Row, Write
from durable_jobs_core.words import Key

backend = SQLiteBackend.open(sys.argv[1])
print(flush=True)
while (line := sys.stdin.readline()) != "\\n":
    id, wake = line.split()
    key = Key("task", "mail", id)
    write = Write(key, None, Row(key, b"r0", int(wake), "idle", b""))
    print(*backend.exchange(0, Batch(writes=(write,), not_after=2**63 - 1)).outcomes, flush=True)
backend.close()
"""


def test_r10_wait_ends_when_another_process_makes_work_due_sooner(sqlite, path, spawn: Spawn) -> None:
    sqlite.create("first", wake=1_000)
    assert sqlite.next_wake() == 1_000
    writer = spawn(WRITER, f"sqlite:///{path}")
    assert writer.hear() == ""
    began = time.monotonic()

    writer.tell("later 2000")
    assert writer.hear() == "Committed()"
    sqlite.backend.wait(0.1)
    assert time.monotonic() - began >= 0.1, "what is due later is no news"

    writer.tell("sooner 500")
    sqlite.backend.wait(60)
    assert writer.hear() == "Committed()"
    assert time.monotonic() - began < 50
    sqlite.backend.wait(0.05)

    assert sqlite.next_wake() == 500
    writer.tell()
    writer.end()


def test_r10_what_a_claim_was_told_when_it_took_something_is_no_news(sqlite) -> None:
    sqlite.create("a", wake=10)
    assert sqlite.claim(10, until=1_000) == ["a"]
    other = sqlite.again()
    with sqlite.backend._file.reading() as connection:
        assert not sqlite.backend._is_news(connection, changed=True)
    other.create("b", wake=900)
    with sqlite.backend._file.reading() as connection:
        assert sqlite.backend._is_news(connection, changed=True)


def test_r10_wait_before_any_claim_ends_with_any_commit(sqlite, path, spawn: Spawn) -> None:
    writer = spawn(WRITER, f"sqlite:///{path}")
    assert writer.hear() == ""
    over = threading.Event()

    def commit_often() -> None:
        for number in itertools.takewhile(lambda _: not over.is_set(), itertools.count()):
            writer.tell(f"{number} 5")
            assert writer.hear() == "Committed()"

    commits = threading.Thread(target=commit_often)
    commits.start()
    began = time.monotonic()
    sqlite.backend.wait(60)
    assert time.monotonic() - began < 50
    over.set()
    commits.join()
    writer.tell()
    writer.end()


def test_r10_a_scan_sees_one_state_while_others_write(sqlite, path, spawn: Spawn) -> None:
    """All rows of a page are of one round."""
    storm = spawn(STORM, f"sqlite:///{path}", "one", 30)
    hear(storm, 1)
    for _ in range(20):
        page = sqlite.backend.scan(Query(), None, 100)
        assert len({row.revision for row in page.rows if isinstance(row, Row)}) == 1
        hear(storm, 1)
    storm.kill()


def test_r3_busy_processes_share_and_nothing_is_refused(sqlite, path, spawn: Spawn, monkeypatch) -> None:
    """Counted in rounds of the other: how long one of them takes is up to the machine, and to its disk."""
    monkeypatch.setattr(_exchange, "BUSY_MAX_SECONDS", 20.0)
    storm = spawn(STORM, f"sqlite:///{path}", "one", 30)
    hear(storm, 1)
    key, other = Key("task", "mail", "mine"), row("one", 0, 0).key
    claim = Claim({("task", "mail"): 1}, 10, 20)
    revision, rounds = None, []
    for n in range(40):
        mine = Row(key, b"%d" % n, None, "idle", b"")
        answer = sqlite.ask(Write(key, revision, mine), loads=(other,), claim=claim)
        assert answer.outcomes == (Committed(),)
        revision = mine.revision
        rounds.append(int(answer.rows[0].revision))
    waited = sorted(later - sooner for sooner, later in itertools.pairwise(rounds))
    assert waited[-10] <= 5, (
        "it comes after a few rounds of the other, but for when it held the lock for long"
    )
    assert hear(storm, 40) > 40
    storm.kill()
