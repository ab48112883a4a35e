"""What needs a capability: crashes (R-3) and damaged rows (R-9)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count as numbers
from itertools import takewhile

from durable_jobs_conformance.check import check, registered_for_harnesses
from durable_jobs_conformance.clocks import clock_set_back
from durable_jobs_conformance.forks import forked, forking
from durable_jobs_conformance.harness import Harness
from durable_jobs_conformance.port import DONE, FOREVER, Broken, Port
from durable_jobs_core.backend import (
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Outcome,
    Refused,
    Row,
    Unknown,
    Write,
)

KILLED_AFTER = 40
CUT_WRITES = 40
PARTS = (0.3, 0.5, 0.7, 0.9)
"""How much of a write may be done when a kill comes."""
PATIENCE_SECONDS = 10.0
REST_SECONDS = 0.05


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


@check("R-3", needs="durable")
def what_a_crash_cuts_off_no_one_can_tell(port: Port) -> None:
    """It is neither acknowledged nor refused, nor sent twice. What was told holds."""
    told, troubles = dict[str, Outcome](), ["nothing"]
    handle, answered, stop = port.again(), threading.Semaphore(0), threading.Event()

    def work() -> None:
        for n in takewhile(lambda _: not stop.is_set(), numbers()):
            rows = [port.row(f"{n:04}-{part:02}", wake=1, blob=b"x" * 2_000) for part in range(CUT_WRITES)]
            try:
                outcomes = handle.ask(*(Write(row.key, None, row) for row in rows)).outcomes
            except Broken:
                raise
            except Exception as error:  # unknown, or not sent
                failed = [f"{type(error).__name__}: {error}"]
            else:
                told.update((row.key.id, outcome) for row, outcome in zip(rows, outcomes, strict=True))
                failed = [repr(outcome) for outcome in outcomes if isinstance(outcome, Refused | Unknown)]
            if failed:  # it may not be there yet
                troubles.append(failed[0])
                time.sleep(REST_SECONDS)
            else:
                answered.release()

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        try:
            for part in PARTS:
                while answered.acquire(blocking=False):
                    pass
                began = time.monotonic()
                for _ in range(3):
                    goes_on = answered.acquire(timeout=PATIENCE_SECONDS) or working.done()
                    why = f"the same handle, {PATIENCE_SECONDS:g} s after a crash"
                    port.holds(goes_on, "an answer", troubles[-1], why)
                time.sleep((time.monotonic() - began) / 3 * part)
                port.store.crash()
        finally:
            stop.set()
        working.result()
    _verify_told(port.again(), told)


def _verify_told(port: Port, told: dict[str, Outcome]) -> None:
    due = list[str]()
    while claimed := port.claim(1, limit=1_000, until=9):
        port.same(sorted({*due} & {*claimed}), [], "claimed at 1, held until 9, and claimed at 1 again")
        due += claimed
    port.same(sorted(port.scan(1_000)), sorted(due), "listed after crashes, and claimed before that")
    rows = port.ask(loads=tuple(map(port.key, told))).rows
    there = {id for id, row in zip(told, rows, strict=True) if row is not None}
    for kind, wrong, why in (
        (Committed, told.keys() - there, "acknowledged, and lost at a crash"),
        (Refused, there, "refused, and written"),
        (Conflicted, told.keys(), "in conflict, where nothing was: what a crash cut off was sent again"),
    ):
        port.same(sorted(id for id in wrong if isinstance(told[id], kind)), [], why)


@check("R-6", needs="durable")
def holds_and_deferrals_survive_a_crash(port: Port) -> None:
    """A `Defer` was told as committed, and two claims never return the same entry."""
    _hold_and_defer(port)
    port.store.crash()
    _verify_held_and_deferred(port.again(), "after a crash")


@check("R-6", needs="durable")
def holds_and_deferrals_survive_when_all_handles_are_closed(port: Port) -> None:
    """Who opens a store does not make its index from the rows: in these is when they were written for."""
    _hold_and_defer(port)
    port.backend.close()
    _verify_held_and_deferred(port.again(), "all handles were closed, and the store opened again")


def _hold_and_defer(port: Port) -> None:
    later, _ = port.create("later", "sooner", wake=400)
    port.create("held", wake=10)
    port.same(port.claim(10, until=500), ["held"])
    port.ask(Defer(later.key, b"r0", 600), Defer(port.key("sooner"), b"r0", 20))


def _verify_held_and_deferred(after: Port, why: str) -> None:
    claimed = [after.claim(now) for now in (19, 20, 499, 500, 599, 600)]
    after.same(claimed, [[], ["sooner"], [], ["held"], [], ["later"]], why)


@check("R-8", needs="durable")
def the_clock_does_not_go_back_at_a_crash(port: Port) -> None:
    before = port.ask().clock
    port.store.crash()
    clock = port.again().ask().clock
    port.holds(clock >= before, f"a clock of at least {before}", clock)


@check("R-8", needs="durable")
@forking
def the_clock_does_not_go_back_in_another_process(port: Port) -> None:
    """One that has told nothing yet, where the clock of the machine is set back."""
    port.close_all()
    waits, begin = os.pipe()

    def tell(say: int) -> None:
        os.read(waits, 1)
        with clock_set_back():
            os.write(say, b"%d" % Port(port.store).ask().clock)

    with forked(tell) as (_, said):
        before = port.again().ask().clock
        os.write(begin, b".")
        clock = said.read()
    os.close(waits)
    os.close(begin)
    is_right = clock.isdigit() and int(clock) >= before
    port.holds(is_right, f"at least {before}", clock, "in another process, `time.time()` set back by an hour")


@contextmanager
def _killed(harness: Harness, count: int, part: float, *, crashes: bool) -> Generator[tuple[Port, list[str]]]:
    """A child writes and says what was acknowledged; it gets a SIGKILL in the middle, when `part` of a write
    may be done, or when all is. Then the store `crashes`, if it is to: long after, for a server, so once will
    do. A handle on what is there then, and the ids it was told of."""
    store = harness.fresh()

    def write(say: int) -> None:
        port = Port(store)
        for n in range(count):
            row = _written(n)
            if port.ask(Write(row.key, None, row)).outcomes == (DONE,):
                os.write(say, b"%04d\n" % n)
        signal.pause()

    try:
        with forked(write) as (child, said):
            acknowledged = [said.readline().strip()]
            began = time.monotonic()
            acknowledged += [said.readline().strip() for _ in range(KILLED_AFTER - 1)]
            time.sleep((time.monotonic() - began) / KILLED_AFTER * part)  # it has just said something
            os.kill(child, signal.SIGKILL)
            acknowledged += said.read().split()
        if crashes:
            store.crash()
        port = Port(store)
        try:
            port.holds(all(acknowledged), f"{KILLED_AFTER} acknowledged writes before the kill", acknowledged)
            yield port, acknowledged
        finally:
            port.close_all()
    finally:
        store.discard()


def _written(n: int) -> Row:
    return Port.row(f"{n:04}", wake=n, blob=b"%04d" % n * 500)


@registered_for_harnesses("R-3", needs="durable")
@forking
def what_a_killed_process_was_told_is_there(harness: Harness) -> None:
    for count in (10 * KILLED_AFTER, KILLED_AFTER):
        with _killed(harness, count, 0.5, crashes=count == KILLED_AFTER) as (port, acknowledged):
            rows = port.ask(loads=tuple(map(port.key, acknowledged))).rows
            lost = [id for id, row in zip(acknowledged, rows, strict=True) if row is None]
            port.same(lost, [], "acknowledged before the kill, and lost")


@registered_for_harnesses("R-1", needs="durable")
@forking
def what_a_killed_process_wrote_is_whole_with_its_entry(harness: Harness) -> None:
    count = 10 * KILLED_AFTER
    for part in PARTS:
        with _killed(harness, count, part, crashes=part == PARTS[-1]) as (port, acknowledged):
            claimed = port.ask(claim=Claim({port.JOB: count}, count, FOREVER - 1)).claimed
            found = sorted(claimed, key=lambda row: row.key)
            port.same(found, [_written(int(row.key.id)) for row in found], "claimed after a kill")
            ids = [row.key.id for row in found]
            port.same(
                sorted({*acknowledged} - {*ids}), [], "acknowledged before a kill, and not due after it"
            )
            port.same(port.listed(100), found, "listed after a kill, and claimed before that")
            port.same(port.next_wake(), FOREVER - 1, "nothing is due of what is not there")


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
