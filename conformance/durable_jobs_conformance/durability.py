"""What needs a capability: crashes (R-3) and damaged rows (R-9)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

from durable_jobs_conformance.check import check, registered_for_harnesses
from durable_jobs_conformance.forks import forked
from durable_jobs_conformance.harness import Harness
from durable_jobs_conformance.port import DONE, Broken, Port
from durable_jobs_core.backend import Claim, Conflicted, Damaged, Defer, Row, Write

KILLED_AFTER = 40
PATIENCE_SECONDS = 10.0


@check("R-3", needs="durable")
def commits_survive_a_crash(port: Port) -> None:
    rows = port.create("a", "b", "c", wake=10)
    gone, changed = rows[0], port.row("b", b"r1", wake=20)
    port.ask(Write(gone.key, b"r0", None), Write(changed.key, b"r0", changed))
    port.store.crash()
    after = port.again()
    port.same(after.ask(loads=tuple(row.key for row in rows)).rows, (None, changed, rows[2]))
    port.same(after.claim(19), ["c"])
    port.same(after.claim(20), ["b"])


@check("R-3", needs="durable")
def commits_survive_when_all_handles_are_closed(port: Port) -> None:
    (row,) = port.create("a", wake=10)
    port.backend.close()
    port.store.crash()
    after = port.again()
    port.same(after.load("a"), row)
    port.same(after.claim(10), ["a"])


@check("R-3", needs="durable")
def a_handle_goes_on_after_a_crash(port: Port) -> None:
    """What it had open is gone: it closes that, and opens another."""
    port.create("a", wake=10)
    port.scan()
    port.store.crash()
    for act in (partial(port.ask, claim=Claim({port.JOB: 1}, 10, 99)), port.scan, port.health):
        _comes_back(port, act)


def _comes_back(port: Port, act: Callable[[], object]) -> None:
    last: Exception | None = None
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        try:
            act()
            return
        except Broken:
            raise
        except Exception as error:  # unknown, as what was open is gone
            last = error
            time.sleep(0.05)
    why = f"the same handle, {PATIENCE_SECONDS:g} s after the crash"
    port.holds(False, "an answer", f"{type(last).__name__}: {last}", why)


@check("R-8", needs="durable")
def the_clock_does_not_go_back_at_a_crash(port: Port) -> None:
    before = port.ask().clock
    port.store.crash()
    clock = port.again().ask().clock
    port.holds(clock >= before, f"a clock of at least {before}", clock)


@registered_for_harnesses("R-3", needs="durable")
def what_a_killed_process_was_told_is_there(harness: Harness) -> None:
    """A child writes and says what was acknowledged; it gets a SIGKILL in the middle, or when it is done."""
    if sys.platform != "win32":
        for count in (10 * KILLED_AFTER, KILLED_AFTER):
            _kill_a_writer(harness, count)


def _kill_a_writer(harness: Harness, count: int) -> None:
    store = harness.fresh()

    def write(say: int) -> None:
        port = Port(store)
        for n in range(count):
            row = port.row(f"{n:04}", wake=n)
            if port.ask(Write(row.key, None, row)).outcomes == (DONE,):
                os.write(say, b"%04d\n" % n)
        signal.pause()

    try:
        with forked(write) as (child, said):
            acknowledged = [said.readline().strip() for _ in range(KILLED_AFTER)]
            os.kill(child, signal.SIGKILL)
            acknowledged += said.read().split()
        store.crash()
        port = Port(store)
        try:
            port.holds(all(acknowledged), f"{KILLED_AFTER} acknowledged writes before the kill", acknowledged)
            rows = port.ask(loads=tuple(port.key(id) for id in acknowledged)).rows
            lost = [id for id, row in zip(acknowledged, rows, strict=True) if row is None]
            port.same(lost, [], "acknowledged before the kill, and lost")
        finally:
            port.close_all()
    finally:
        store.discard()


# --


def damaged(port: Port) -> tuple[Port, Damaged]:
    """A handle on three rows, of which `b` is damaged."""
    port.create("a", "b", "c", wake=10)
    port.backend.close()
    port.store.damage(port.key("b"))
    after = port.again()
    found = after.load("b")
    after.holds(isinstance(found, Damaged), "Damaged", found, "a load of a row that cannot be read")
    return after, found


@check("R-9", needs="damage")
def a_damaged_row_is_told_and_disturbs_no_other(port: Port) -> None:
    after, row = damaged(port)
    after.same(row.key, port.key("b"))
    after.holds(row.why, "what is wrong with it, in words", row.why)
    keys = tuple(port.key(id) for id in "abc")
    after.same([type(row) for row in after.ask(loads=keys).rows], [Row, Damaged, Row])
    after.same(sorted(after.scan(2)), ["a", "b", "c"], "ids listed")
    claimed = after.ask(claim=Claim({port.JOB: 9}, 10, 99)).claimed
    after.same({row.key.id for row in claimed} >= {"a", "c"}, True, "the others are claimed")
    after.same(after.scan(2, status="idle"), ["a", "c"], "a damaged row has no status")


@check("R-9", needs="damage")
def a_damaged_row_that_is_due_is_claimed_as_such(port: Port) -> None:
    """One that is skipped stays due, and whoever asks when to come again never rests."""
    after, row = damaged(port)
    after.same(after.ask(Defer(row.key, row.revision, 5)).outcomes, (DONE,))
    answer = after.ask(claim=Claim({port.JOB: 9}, 5, 99))
    after.same(answer.claimed, (row,))
    after.same(answer.next_wake, 10)


@check("R-9", needs="damage")
def a_damaged_row_is_not_overwritten_unasked(port: Port) -> None:
    after, row = damaged(port)
    for expected in (None, b"another"):
        (outcome,) = after.ask(Write(row.key, expected, port.row("b", b"r1"))).outcomes
        after.same(outcome, Conflicted(row))
        after.holds(isinstance(after.load("b"), Damaged), "Damaged, as before", after.load("b"))


@check("R-9", needs="damage")
def a_damaged_row_can_be_deferred_and_deleted_by_its_revision(port: Port) -> None:
    after, row = damaged(port)
    after.same(after.ask(Defer(row.key, row.revision, 500)).outcomes, (DONE,))
    after.same(sorted(after.claim(499)), ["a", "c"])
    after.same(after.ask(Write(row.key, row.revision, None)).outcomes, (DONE,))
    after.same(after.load("b"), None)
    after.same(sorted(after.claim(1_499, until=2_000)), ["a", "c"], "nothing is left of it in the index")
    after.same(after.next_wake(), 2_000, "nothing is left of it in the index")
    after.same(sorted(after.scan()), ["a", "c"])
