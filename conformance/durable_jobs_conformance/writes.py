"""R-1 to R-5: what a write does, and when it does nothing."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

from durable_jobs_conformance.check import check
from durable_jobs_conformance.clocks import clock_set_back
from durable_jobs_conformance.port import DONE, FOREVER, Port
from durable_jobs_core.backend import Claim, Conflicted, Defer, Outcome, Refused, Row, Write
from durable_jobs_core.words import INSTANT_MAX

REVISIONS = [None, b"", b"r", b"R0", b"r0\0", b"r00"]

LOADS = 10_000

# -- a row and its index entry change together or not at all


@check("R-1")
def a_row_and_its_entry_come_together(port: Port) -> None:
    port.create("a", wake=10)
    port.same(port.load("a"), port.row("a", wake=10))
    port.same(port.claim(10), ["a"])


@check("R-1")
def a_row_and_its_entry_go_together(port: Port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"r0", None))
    port.same(port.load("a"), None)
    port.same(port.claim(10), [])
    port.same(port.next_wake(), None)


@check("R-1")
def a_write_that_conflicts_leaves_row_and_entry(port: Port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"other", port.row("a", b"r1", wake=5, blob=b"new")))
    port.same(port.load("a"), port.row("a", wake=10))
    port.same(port.claim(9), [])
    port.same(port.claim(10), ["a"])


# -- a write takes effect only if the stored revision is the expected one


@check("R-2")
def create_update_delete(port: Port) -> None:
    key = port.key("a")
    one, two = port.row("a", b"r0", blob=b"1"), port.row("a", b"r1", status="busy", blob=b"2")
    port.same(port.ask(Write(key, None, one), loads=(key,)).rows, (one,))
    port.same(port.ask(Write(key, b"r0", two), loads=(key,)).rows, (two,))
    port.same(port.ask(Write(key, b"r1", None), loads=(key,)).rows, (None,))


@check("R-2", each=itertools.product(REVISIONS, (False, True)))
def another_revision_conflicts_with_the_row_there_is(port: Port, case: tuple[bytes | None, bool]) -> None:
    expected, deletes = case
    (stored,) = port.create("a", wake=10)
    row = None if deletes else port.row("a", b"r1")
    if deletes and expected is None:
        return  # a deletion expects a revision
    port.same(port.ask(Write(stored.key, expected, row)).outcomes, (Conflicted(stored),))
    port.same(port.load("a"), stored)


@check("R-2", each=[24, 256])
def revisions_are_bytes_of_any_value(port: Port, count: int) -> None:
    """An engine's are of 24 bytes, and no text."""
    key, revision = port.key("a"), bytes(reversed(range(256)))[:count]
    one, two = port.row("a", revision, wake=10), port.row("a", revision[:-1] + b"x", wake=10)
    port.same(port.ask(Write(key, None, one), loads=(key,)).rows, (one,))
    port.same(port.ask(Write(key, two.revision, two)).outcomes, (Conflicted(one),))
    port.same(port.ask(Write(key, revision, two), loads=(key,)).rows, (two,))
    port.same(port.ask(Defer(key, revision, 5)).outcomes, (Conflicted(two),))
    port.same(port.ask(Defer(key, two.revision, 5)).outcomes, (DONE,))


@check("R-2")
def what_is_not_there_conflicts_with_nothing(port: Port) -> None:
    key = port.key("a")
    writes = Write(key, b"r0", port.row("a")), Write(key, b"r0", None), Defer(key, b"r0", 5)
    for write in writes:
        port.same(port.ask(write).outcomes, (Conflicted(None),))
    port.same(port.load("a"), None)


@check("R-2")
def a_deletion_leaves_nothing(port: Port) -> None:
    port.create("a", wake=10)
    port.ask(Write(port.key("a"), b"r0", None))
    port.same(port.scan(), [])
    port.knows_jobs()
    port.create("a", wake=20)
    port.same(port.claim(19), [])


@check("R-2")
def rewriting_the_same_revision_is_judged_by_what_was_expected(port: Port) -> None:
    (stored,) = port.create("a")
    same = port.row("a", b"r0", blob=b"other")
    port.same(port.ask(Write(stored.key, b"rX", same)).outcomes, (Conflicted(stored),))
    port.same(port.ask(Write(stored.key, b"r0", same)).outcomes, (DONE,))


IDS = [
    *("a", "A", "a ", " a", "a:b", "a:b:c", "a\0", "a\0b", "%", "_", "'", '"', "\\", "a\\b", "{a}", "{a}b"),
    *("ä", "a\u0308", "ß", "ss", "ﬁ", "fi", "日本", "😀", "😁", "�", "?", "\ufeffa", "\u2028"),
    *("a\n", "a\r", "a\r\n", "a\t", "1", "01", "1.0", "1e0", "null", "None"),  # to who takes them for text
    *("a/b", "a//b", "a/./b", "/a/b", "..", ".", "a%3Ab", "a%00", "a+b", "a b"),  # or puts them into a URL
    *(long + end for long in ("x" * 511, "日" * 170 + "x") for end in ("", "y", "z")),
]
"""Each is another to somebody, and the same to somebody else; up to 512 bytes."""


@check("R-2")
def keys_never_collide(port: Port) -> None:
    keys = [port.key(id) for id in IDS]
    keys += [port.key("b", job="mail:a"), port.key("a:b", job="mail"), port.key("a", job="Mail")]
    keys += [port.key("a", kind="debounce"), port.key("a", kind="continuous"), port.key(".", job="mail.")]
    keys = sorted(set(keys))
    rows = [Row(key, b"r0", n, "idle", str(key).encode()) for n, key in enumerate(keys)]
    port.ask(*(Write(row.key, None, row) for row in rows))
    port.same(port.ask(loads=tuple(keys)).rows, tuple(rows))
    port.same(port.listed(3), rows)


# -- every write has its own outcome


@check("R-3", each=[1, 3, 4, 5, 100, 512])
def each_write_of_a_batch_has_its_own_outcome(port: Port, count: int) -> None:
    ids = [f"{n:03}" for n in range(count)]
    rows = port.create(*ids[::2], wake=7)
    there = {row.key.id: row for row in rows}
    writes: list[Write | Defer] = []
    outcomes: list[Outcome] = []
    for n, id in enumerate(ids):
        key, new = port.key(id), port.row(id, b"r1", wake=9)
        cases: list[tuple[Write | Defer, bool]] = [
            (Write(key, b"r0", new), True),
            (Write(key, None, new), False),
            (Defer(key, b"r0", 8), True),
            (Write(key, b"r0", None), True),
            (Write(key, b"rX", new), False),
        ]
        write, fits = cases[n % 5]
        if id not in there:
            fits = isinstance(write, Write) and write.expected is None
        writes.append(write)
        outcomes.append(DONE if fits else Conflicted(there.get(id)))
    port.same(port.ask(*writes).outcomes, tuple(outcomes))
    for write, outcome in zip(writes, outcomes, strict=True):
        stored = port.load(write.key.id)
        if isinstance(outcome, Conflicted) or isinstance(write, Defer):
            port.same(stored, there.get(write.key.id))
        else:
            port.same(stored, write.row)


@check("R-3")
def a_batch_without_conflicts_is_committed_whole(port: Port) -> None:
    port.create(*(f"{n:03}" for n in range(300)), wake=5)
    writes = [Write(port.key(f"{n:03}"), b"r0", port.row(f"{n:03}", b"r1")) for n in range(300)]
    port.same(port.ask(*writes).outcomes, (DONE,) * 300)
    port.same(port.claim(9), [])


@check("R-3", each=[0, 1, 4_000, 70_000, 4 * 1024 * 1024])
def blobs_of_every_size_come_back(port: Port, size: int) -> None:
    blob = bytes(n % 251 for n in range(size))
    (row,) = port.create("a", blob=blob, wake=1)
    port.same(port.load("a"), row)
    claim = Claim({port.JOB: 1}, 5, 9)
    port.same(port.ask(claim=claim).claimed, (row,))


@check("R-3", each=[0, -1, INSTANT_MAX, 2**53 + 1, 2**63 - 1, -(2**62)])
def instants_of_every_size_come_back(port: Port, wake: int) -> None:
    (row,) = port.create("a", wake=wake)
    port.same(port.load("a"), row)
    port.same(port.next_wake(), wake)
    port.ask(Defer(row.key, b"r0", wake - 1))
    port.same(port.next_wake(), wake - 1)
    port.same(port.claim(wake, limit=1, until=wake), ["a"])


@check("R-3")
def commits_survive_the_handle(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    other = port.again()
    port.backend.close()
    port.same(other.load("a"), row)


# -- writes, then loads, then the claim, then the clock


@check("R-4")
def a_handle_sees_what_another_wrote(port: Port) -> None:
    """Nothing that was read before is answered again: other processes write."""
    (one,) = port.create("a", wake=10)
    other, two = port.again(), port.row("a", b"r1", wake=20, blob=b"new")
    port.same((port.load("a"), other.load("a")), (one, one))
    port.ask(Write(one.key, b"r0", two))
    port.same(other.load("a"), two, "written by another handle")
    port.same(other.listed(9), [two], "written by another handle")
    port.same(other.ask(claim=Claim({port.JOB: 1}, 20, 99)).claimed, (two,), "written by another handle")
    other.ask(Write(one.key, b"r1", None))
    port.same(port.load("a"), None, "deleted by another handle")


@check("R-4")
def loads_see_the_writes(port: Port) -> None:
    row = port.row("a", b"r1")
    port.create("a")
    port.same(port.ask(Write(row.key, b"r0", row), loads=(row.key,)).rows, (row,))


@check("R-4")
def the_claim_sees_the_writes(port: Port) -> None:
    rows = port.row("a", wake=3), port.row("b", wake=30)
    answer = port.ask(*(Write(row.key, None, row) for row in rows), claim=Claim({port.JOB: 5}, 10, 99))
    port.same(answer.claimed, rows[:1])
    port.same(answer.next_wake, 30)


@check("R-4")
def the_claim_sees_what_the_loads_put_back(port: Port) -> None:
    (row,) = port.create("a", wake=3)
    port.ask(Defer(row.key, b"r0", None))
    answer = port.ask(loads=(row.key,), claim=Claim({port.JOB: 5}, 10, 99))
    port.same(answer.claimed, (row,))


@check("R-4")
def loads_come_in_their_order(port: Port) -> None:
    port.create("a", "b", "c")
    keys = tuple(port.key(id) for id in ("c", "x", "a", "b"))
    port.same(port.ask(loads=keys).rows, (port.row("c"), None, port.row("a"), port.row("b")))


@check("R-4")
def loads_have_no_limit(port: Port) -> None:
    """As many as there are requests that wait to be read for."""
    rows = port.create(*(f"{n:03}" for n in range(0, 500, 5)))
    there = {row.key: row for row in rows}
    keys = tuple(port.key(f"{n:03}") for n in range(LOADS))
    got = port.ask(loads=keys).rows
    wrong = [key.id for key, row in zip(keys, got, strict=True) if row != there.get(key)]
    port.same(wrong, [], f"ids of {LOADS} loads that were not answered by what is stored")


# -- a write after its deadline is refused


@check("R-5")
def a_write_after_its_deadline_is_refused_and_nothing_happened(port: Port) -> None:
    port.create("a", wake=10)
    late = port.ask().clock - 1
    writes = (
        Write(port.key("a"), b"r0", port.row("a", b"r1")),
        Write(port.key("a"), b"r0", None),
        Write(port.key("b"), None, port.row("b")),
        Defer(port.key("a"), b"r0", None),
    )
    for write in writes:
        (outcome,) = port.ask(write, not_after=late).outcomes
        is_refused = isinstance(outcome, Refused) and outcome.transient
        port.holds(is_refused, "Refused, transient", outcome)
    port.same(port.load("a"), port.row("a", wake=10))
    port.same(port.load("b"), None)
    port.same(port.claim(10), ["a"])


@check("R-5")
def a_late_write_stays_late_when_the_clock_of_the_machine_is_set_back(port: Port) -> None:
    """It is late by the clock of the store, whatever that of whoever sends it says."""
    other, late = port.again(), port.ask().clock - 1
    with clock_set_back():
        for handle in (port, other, port.again()):
            (outcome,) = handle.ask(Write(port.key("a"), None, port.row("a")), not_after=late).outcomes
            port.holds(isinstance(outcome, Refused), "Refused", outcome, "`time.time()` was set back")


@check("R-5")
def loads_and_claims_have_no_deadline(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    late = port.ask().clock - 1
    write = Write(port.key("b"), None, port.row("b"))
    answer = port.ask(write, loads=(row.key,), claim=Claim({port.JOB: 5}, 10, 99), not_after=late)
    port.same((answer.rows, answer.claimed), ((row,), (row,)))
    port.same(port.ask(loads=(row.key,), not_after=late, settle=True).rows, (row,))
    port.same(port.ask(loads=(row.key,), not_after=FOREVER, settle=True).rows, (row,))
    clock = port.ask().clock
    port.holds(
        clock - late < 3_600_000, f"about {late}", clock, "the clock, after a settle without a deadline"
    )


@check("R-5")
def a_write_in_time_is_committed(port: Port) -> None:
    not_after = port.ask().clock + 60_000
    port.same(port.ask(Write(port.key("a"), None, port.row("a")), not_after=not_after).outcomes, (DONE,))


@check("R-5")
def a_load_under_settle_waits_out_the_writes_in_progress(port: Port) -> None:
    """The deadline of a batch passes in its midst: what it committed, a settle begun later has seen."""
    ids = [f"{n:03}" for n in range(200)]
    rows, other = port.create(*ids, blob=b"x" * 1_000), port.again()
    began = time.monotonic()
    port.ask(*(Write(row.key, b"r0", row) for row in rows))
    lasts = (time.monotonic() - began) * 1_000
    stored = dict.fromkeys(ids, b"r0")
    for part in range(1, 9):
        revision = b"r%d" % part
        new = {id: port.row(id, revision, blob=b"x" * 1_000) for id in ids}
        not_after = other.clock_of_all() + round(lasts * part / 9) + 4 * part  # a thread has to be begun
        with ThreadPoolExecutor(1) as threads:
            writes = [Write(row.key, stored[id], row) for id, row in new.items()]
            written = threads.submit(port.ask, *writes, not_after=not_after)
            while other.clock_of_all() <= not_after:
                time.sleep(0)
            found = other.ask(loads=tuple(map(port.key, ids)), not_after=not_after, settle=True).rows
            outcomes = written.result().outcomes
        committed = [id for id, outcome in zip(ids, outcomes, strict=True) if outcome == DONE]
        seen = {id for id, row in zip(ids, found, strict=True) if row == new[id]}
        missed = [id for id in committed if id not in seen]
        port.same(missed, [], "committed, and not seen by a settle that began after their deadline")
        stored |= dict.fromkeys(committed, revision)
