"""The rules of the port, R-1 to R-10, on every backend. A test's name begins with its rule."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_jobs_core.backend import (
    Claim,
    Committed,
    Conflicted,
    Defer,
    Query,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.errors import StorageError

DONE = Committed()

# -- a row and its index entry change together or not at all


def test_r1_a_row_and_its_entry_come_together(port) -> None:
    port.create("a", wake=10)
    assert port.load("a") == port.row("a", wake=10)
    assert port.claim(10) == ["a"]


def test_r1_a_row_and_its_entry_go_together(port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"r0", None))
    assert port.load("a") is None
    assert port.claim(10) == []
    assert port.next_wake() is None


def test_r1_a_write_that_conflicts_leaves_row_and_entry(port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"other", port.row("a", b"r1", wake=5, blob=b"new")))
    assert port.load("a") == port.row("a", wake=10)
    assert port.claim(9) == []
    assert port.claim(10) == ["a"]


# -- a write takes effect only if the stored revision is the expected one


def test_r2_create_update_delete(port) -> None:
    key = port.key("a")
    one, two = port.row("a", b"r0", blob=b"1"), port.row("a", b"r1", status="busy", blob=b"2")
    assert port.ask(Write(key, None, one), loads=(key,)).rows == (one,)
    assert port.ask(Write(key, b"r0", two), loads=(key,)).rows == (two,)
    assert port.ask(Write(key, b"r1", None), loads=(key,)).rows == (None,)


@pytest.mark.parametrize("expected", [None, b"", b"r", b"R0", b"r0\0", b"r00"])
@pytest.mark.parametrize("deletes", [False, True])
def test_r2_another_revision_conflicts_with_the_row_there_is(port, expected, deletes) -> None:
    (stored,) = port.create("a", wake=10)
    row = None if deletes else port.row("a", b"r1")
    if deletes and expected is None:
        pytest.skip("a deletion expects a revision")
    assert port.ask(Write(stored.key, expected, row)).outcomes == (Conflicted(stored),)
    assert port.load("a") == stored


def test_r2_what_is_not_there_conflicts_with_nothing(port) -> None:
    key = port.key("a")
    writes = Write(key, b"r0", port.row("a")), Write(key, b"r0", None), Defer(key, b"r0", 5)
    for write in writes:
        assert port.ask(write).outcomes == (Conflicted(None),)
    assert port.load("a") is None


def test_r2_a_deletion_leaves_nothing(port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"r0", None))
    assert port.scan() == []
    assert port.backend.health().jobs == ()
    port.create("a", wake=20)
    assert port.claim(19) == []


def test_r2_rewriting_the_same_revision_is_judged_by_what_was_expected(port) -> None:
    (stored,) = port.create("a")
    same = port.row("a", b"r0", blob=b"other")
    assert port.ask(Write(stored.key, b"rX", same)).outcomes == (Conflicted(stored),)
    assert port.ask(Write(stored.key, b"r0", same)).outcomes == (DONE,)


IDS = (
    "a",
    "A",
    "a ",
    " a",
    "a:b",
    "a:b:c",
    "a\0",
    "a\0b",
    "ä",
    "a\u0308",
    "ß",
    "ss",
    "%",
    "_",
    "'",
    "日本",
    "x" * 512,
)


def test_r2_keys_never_collide(port) -> None:
    keys = [port.key(id) for id in IDS]
    keys += [port.key("b", job="mail:a"), port.key("a:b", job="mail"), port.key("a", job="Mail")]
    keys += [port.key("a", kind="debounce"), port.key("a", kind="continuous"), port.key(".", job="mail.")]
    keys = sorted(set(keys))
    rows = [Row(key, b"r0", n, "idle", str(n).encode()) for n, key in enumerate(keys)]
    port.ask(*(Write(row.key, None, row) for row in rows))
    assert port.ask(loads=tuple(keys)).rows == tuple(rows)
    assert [row for page in port.pages(3) for row in page.rows] == rows


# -- every write has its own outcome


@pytest.mark.parametrize("count", [1, 3, 4, 5, 100, 512])
def test_r3_each_write_of_a_batch_has_its_own_outcome(port, count) -> None:
    ids = [f"{n:03}" for n in range(count)]
    rows = port.create(*ids[::2], wake=7)
    there = {row.key.id: row for row in rows}
    writes, outcomes = [], []
    for n, id in enumerate(ids):
        key, new = port.key(id), port.row(id, b"r1", wake=9)
        write, fits = [
            (Write(key, b"r0", new), True),
            (Write(key, None, new), False),
            (Defer(key, b"r0", 8), True),
            (Write(key, b"r0", None), True),
            (Write(key, b"rX", new), False),
        ][n % 5]
        if id not in there:
            fits = isinstance(write, Write) and write.expected is None
        writes.append(write)
        outcomes.append(DONE if fits else Conflicted(there.get(id)))
    assert port.ask(*writes).outcomes == tuple(outcomes)
    for write, outcome in zip(writes, outcomes, strict=True):
        stored = port.load(write.key.id)
        if isinstance(outcome, Conflicted) or isinstance(write, Defer):
            assert stored == there.get(write.key.id)
        else:
            assert stored == write.row


def test_r3_a_batch_without_conflicts_is_committed_whole(port) -> None:
    port.create(*(f"{n:03}" for n in range(300)), wake=5)
    writes = [Write(port.key(f"{n:03}"), b"r0", port.row(f"{n:03}", b"r1")) for n in range(300)]
    assert port.ask(*writes).outcomes == (DONE,) * 300
    assert port.claim(9) == []


@pytest.mark.parametrize("size", [0, 1, 4_000, 70_000, 4 * 1024 * 1024])
def test_r3_blobs_of_every_size_come_back(port, size) -> None:
    blob = bytes(n % 251 for n in range(size))
    (row,) = port.create("a", blob=blob, wake=1)
    assert port.load("a") == row
    claim = Claim({port.JOB: 1}, 5, 9)
    assert port.ask(claim=claim).claimed == (row,)


@pytest.mark.parametrize("wake", [0, -1, 253_402_300_799_999, 2**63 - 1, -(2**62)])
def test_r3_instants_of_every_size_come_back(port, wake) -> None:
    (row,) = port.create("a", wake=wake)
    assert port.load("a") == row
    assert port.next_wake() == wake


def test_r3_commits_survive_the_handle(port) -> None:
    (row,) = port.create("a", wake=10)
    other = port.again()
    port.backend.close()
    assert other.load("a") == row


# -- writes, then loads, then the claim, then the clock


def test_r4_loads_see_the_writes(port) -> None:
    row = port.row("a", b"r1")
    port.create("a")
    assert port.ask(Write(row.key, b"r0", row), loads=(row.key,)).rows == (row,)


def test_r4_the_claim_sees_the_writes(port) -> None:
    rows = port.row("a", wake=3), port.row("b", wake=30)
    answer = port.ask(*(Write(row.key, None, row) for row in rows), claim=Claim({port.JOB: 5}, 10, 99))
    assert answer.claimed == rows[:1]
    assert answer.next_wake == 30


def test_r4_the_claim_sees_what_the_loads_put_back(port) -> None:
    (row,) = port.create("a", wake=3)
    port.ask(Defer(row.key, b"r0", None))
    answer = port.ask(loads=(row.key,), claim=Claim({port.JOB: 5}, 10, 99))
    assert answer.claimed == (row,)


def test_r4_loads_come_in_their_order(port) -> None:
    port.create("a", "b", "c")
    keys = tuple(port.key(id) for id in ("c", "x", "a", "b"))
    assert port.ask(loads=keys).rows == (port.row("c"), None, port.row("a"), port.row("b"))


# -- a write after its deadline is refused


def test_r5_a_write_after_its_deadline_is_refused_and_nothing_happened(port) -> None:
    port.create("a", wake=10)
    late = port.ask().clock - 1
    writes = (
        Write(port.key("a"), b"r0", port.row("a", b"r1")),
        Write(port.key("b"), None, port.row("b")),
        Defer(port.key("a"), b"r0", None),
    )
    for write in writes:
        (outcome,) = port.ask(write, not_after=late).outcomes
        assert isinstance(outcome, Refused)
        assert outcome.transient
    assert port.load("a") == port.row("a", wake=10)
    assert port.load("b") is None
    assert port.claim(10) == ["a"]


def test_r5_loads_and_claims_have_no_deadline(port) -> None:
    (row,) = port.create("a", wake=10)
    late = port.ask().clock - 1
    write = Write(port.key("b"), None, port.row("b"))
    answer = port.ask(write, loads=(row.key,), claim=Claim({port.JOB: 5}, 10, 99), not_after=late)
    assert answer.rows == answer.claimed == (row,)
    assert port.ask(loads=(row.key,), not_after=late, settle=True).rows == (row,)


def test_r5_a_write_in_time_is_committed(port) -> None:
    not_after = port.ask().clock + 60_000
    assert port.ask(Write(port.key("a"), None, port.row("a")), not_after=not_after).outcomes == (DONE,)


# -- the index entry


def test_r6_a_commit_sets_the_entry_also_when_the_alarm_is_the_same(port) -> None:
    port.create("a", wake=10)
    assert port.claim(10) == ["a"]
    assert port.claim(10) == []
    port.ask(Write(port.key("a"), b"r0", port.row("a", b"r1", wake=10)))
    assert port.claim(10) == ["a"]


def test_r6_a_commit_without_an_alarm_takes_the_entry_away(port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"r0", port.row("a", b"r1", wake=None)))
    assert port.claim(99) == []
    assert port.next_wake() is None


def test_r6_claim_and_defer_leave_row_and_revision(port) -> None:
    (row,) = port.create("a", wake=10)
    port.claim(10)
    assert port.load("a") == row
    assert port.ask(Defer(row.key, b"r0", 77)).outcomes == (DONE,)
    assert port.load("a") == row
    assert port.next_wake() == 77


def test_r6_defer_moves_the_entry_either_way(port) -> None:
    (row,) = port.create("a", wake=10)
    port.ask(Defer(row.key, b"r0", 50))
    assert port.claim(49) == []
    port.ask(Defer(row.key, b"r0", 5))
    assert port.claim(5) == ["a"]


def test_r6_defer_needs_the_revision(port) -> None:
    (row,) = port.create("a", wake=10)
    assert port.ask(Defer(row.key, b"r1", 50)).outcomes == (Conflicted(row),)
    assert port.claim(10) == ["a"]


def test_r6_a_load_puts_back_an_entry_that_is_missing(port) -> None:
    (row,) = port.create("a", wake=10)
    port.ask(Defer(row.key, b"r0", None))
    assert port.claim(99) == []
    assert port.load("a") == row
    assert port.claim(10) == ["a"]


def test_r6_a_load_does_not_end_a_hold(port) -> None:
    (row,) = port.create("a", wake=10)
    assert port.claim(10, until=500) == ["a"]
    port.load("a")
    assert port.claim(499) == []
    assert port.claim(500) == ["a"]
    port.ask(Defer(row.key, b"r0", 900))
    port.load("a")
    assert port.claim(899) == []


def test_r6_a_load_makes_no_entry_for_a_row_without_an_alarm(port) -> None:
    port.create("a", wake=None)
    port.load("a")
    assert port.next_wake() is None


# -- claims


def test_r7_what_is_due_comes_earliest_first(port) -> None:
    wakes = {"a": 30, "b": 10, "c": 41, "d": 20, "e": 40}
    rows = [port.row(id, wake=wake) for id, wake in wakes.items()]
    port.ask(*(Write(row.key, None, row) for row in rows))
    assert port.claim(40) == ["b", "d", "a", "e"]


def test_r7_an_entry_is_due_at_its_instant_and_not_before(port) -> None:
    port.create("a", wake=10)
    assert port.claim(9) == []
    assert port.claim(10) == ["a"]


def test_r7_limits_are_per_job(port) -> None:
    jobs = [("task", "mail"), ("task", "post"), ("debounce", "mail"), ("task", "other")]
    keys = [port.key(f"{n}", job=job, kind=kind) for n in range(4) for kind, job in jobs]
    port.ask(*(Write(key, None, Row(key, b"r0", int(key.id), "idle", b"")) for key in sorted(keys)))
    limits = {("task", "mail"): 2, ("debounce", "mail"): 3, ("task", "post"): 1, ("task", "none"): 5}
    claimed = port.ask(claim=Claim(limits, 99, 999)).claimed
    counts = {job: sum((row.key.kind, row.key.job) == job for row in claimed) for job in limits}
    assert counts == {**limits, ("task", "none"): 0}
    assert {row.key.id for row in claimed} == {"0", "1", "2"}


def test_r7_a_claimed_row_comes_again_when_its_hold_ends(port) -> None:
    port.create("a", wake=10)
    assert port.claim(10, until=50) == ["a"]
    assert port.claim(49) == []
    assert port.claim(50) == ["a"]


def test_r7_at_least_one_row_and_no_more_bytes_than_asked_for(port) -> None:
    port.create("a", "b", "c", "d", wake=10, blob=b"x" * 100)
    assert len(port.claim(10, max_bytes=1)) == 1
    assert len(port.claim(10, max_bytes=200)) == 2
    assert len(port.claim(10, max_bytes=199)) == 1


def test_r7_two_claims_never_return_the_same_entry(port) -> None:
    ids = [f"{n:03}" for n in range(200)]
    port.create(*ids, wake=10)
    handles = [port.again() for _ in range(4)]

    def work(handle) -> list[str]:
        taken: list[str] = []
        while claimed := handle.claim(10, limit=7):
            taken += claimed
        return taken

    with ThreadPoolExecutor() as threads:
        taken = [id for ids in threads.map(work, handles) for id in ids]
    assert sorted(taken) == ids


# -- time


def test_r8_next_wake_is_the_earliest_of_the_jobs_named_after_the_claim(port) -> None:
    rows = [port.row("a", wake=10), port.row("b", wake=60), port.row("c", wake=5, job="post")]
    port.ask(*(Write(row.key, None, row) for row in rows))
    assert port.next_wake() == 10
    assert port.next_wake(("task", "post")) == 5
    assert port.next_wake(("task", "mail"), ("task", "post")) == 5
    assert port.next_wake(("task", "none")) is None
    assert port.ask(claim=Claim({port.JOB: 9}, 10, 40)).next_wake == 40
    assert port.ask(claim=Claim({port.JOB: 9}, 40, 80)).next_wake == 60


def test_r8_next_wake_is_told_to_claims_only(port) -> None:
    port.create("a", wake=10)
    assert port.ask(loads=(port.key("a"),)).next_wake is None


def test_r8_the_clock_is_the_wall_clock_and_never_goes_back(port) -> None:
    handles = [port, port.again(), port.again()]
    before = 0
    for n in range(60):
        clock = handles[n % 3].ask(*([Write(port.key(f"{n}"), None, port.row(f"{n}"))] * (n % 2))).clock
        assert clock >= before
        before = clock
    assert abs(before - time.time() * 1000) < 2_000


# -- threads


def test_r10_wait_ends_when_another_makes_work_due(port) -> None:
    other = port.again()
    assert port.next_wake() is None
    threading.Timer(0.03, other.create, ["a"], {"wake": 10}).start()
    began = time.monotonic()
    port.backend.wait(20)
    assert time.monotonic() - began < 10


def test_r10_wait_lasts_no_longer_than_asked(port) -> None:
    port.next_wake()
    port.backend.wait(0)
    port.backend.wait(0.05)


def test_r10_close_ends_every_wait_and_may_be_called_again(port) -> None:
    began = time.monotonic()
    waits = [threading.Thread(target=port.backend.wait, args=(30,)) for _ in range(3)]
    for wait in waits:
        wait.start()
    port.backend.close()
    for wait in waits:
        wait.join(10)
        assert not wait.is_alive()
    port.backend.close()
    assert time.monotonic() - began < 10


def test_r10_closing_one_handle_does_not_end_the_waits_of_another(port) -> None:
    other = port.again()
    other.backend.wait(0)
    port.backend.close()
    began = time.monotonic()
    other.backend.wait(0.1)
    other.backend.wait(0.1)
    assert time.monotonic() - began > 0.15


def test_r10_after_close_it_says_so(port) -> None:
    port.backend.close()
    with pytest.raises(StorageError, match="closed"):
        port.ask()
    with pytest.raises(StorageError, match="closed"):
        port.scan()


def test_r10_others_work_while_exchanges_go_on(port) -> None:
    ids = [f"{n:02}" for n in range(50)]
    port.create(*ids)
    stop = threading.Event()

    def look() -> int:
        looks = 0
        while not stop.is_set():
            assert port.scan(7) == ids
            assert port.backend.health().jobs == (port.JOB,)
            looks += 1
        return looks

    with ThreadPoolExecutor() as threads:
        looks = threads.submit(look)
        for id in ids[:40]:
            row = port.row(id, b"r1")
            assert port.ask(Write(row.key, b"r0", row)).outcomes == (DONE,)
        stop.set()
        assert looks.result() > 0


# -- listing (S-66)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_scan_lists_every_row_once(port, limit) -> None:
    ids = [f"{n}" for n in range(1, 8)]
    port.create(*ids)
    assert port.scan(limit) == ids
    assert all(len(page.rows) <= limit for page in port.pages(limit))


def test_scan_lists_what_is_asked_for(port) -> None:
    rows = [
        port.row("a", status="idle"),
        port.row("b", status="busy"),
        port.row("a", status="busy", kind="debounce"),
        port.row("c", status="busy", job="post"),
    ]
    port.ask(*(Write(row.key, None, row) for row in rows))

    def listed(**query) -> list[Row]:
        return [row for page in port.pages(1, **query) for row in page.rows]

    assert listed() == sorted(rows, key=lambda row: row.key)
    assert listed(kind="task") == [rows[0], rows[1], rows[3]]
    assert listed(job="mail") == [rows[2], rows[0], rows[1]]
    assert listed(kind="task", job="mail", status="busy") == [rows[1]]
    assert listed(status="busy") == [rows[2], rows[1], rows[3]]
    assert listed(status="none") == listed(job="none") == listed(kind="continuous") == []


def test_scan_misses_nothing_while_rows_come_and_go(port) -> None:
    ids = [f"{n:02}" for n in range(20)]
    port.create(*ids)
    seen: list[str] = []
    for page in port.pages(3):
        for row in page.rows:
            seen.append(row.key.id)
            port.ask(Write(row.key, b"r0", None))
        port.create(f"{seen[-1]}-later-{len(seen)}")
    assert set(ids) <= set(seen)
    assert len(seen) == len(set(seen))


def test_scan_refuses_a_cursor_that_is_none(port) -> None:
    for cursor in ("", "nonsense", "[1]", "7", '"abc"', "[1, 2, 3]", "null"):
        with pytest.raises(StorageError, match="cursor"):
            port.backend.scan(Query(), cursor, 5)


def test_health_says_what_there_is(port) -> None:
    port.create("a")
    port.ask(Write(port.key("a", kind="debounce"), None, port.row("a", kind="debounce")))
    health = port.backend.health()
    assert health.jobs == (("debounce", "mail"), ("task", "mail"))
    assert health.durability
    assert health.warnings == ()
    assert abs(health.clock - port.ask().clock) < 1_000
