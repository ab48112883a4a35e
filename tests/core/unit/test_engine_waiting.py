"""Waiting for a run (S-38)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from support.frames import framed
from support.rig import Rig, added, client, greeted, ticking
from support.samples import CHORE, LATEST, START, TICK

from durable_jobs_core import Retry
from durable_jobs_core.engine import HookRaised, HookReturned
from durable_jobs_core.events import (
    AddRequested,
    ClearRequested,
    FlushRequested,
    PauseRequested,
    SendRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)

RETRY = Retry(max_attempts=2, delay="1 second", jitter=0)


def test_S_38_without_a_wait_the_answer_follows_the_commit_that_makes_the_run_due() -> None:
    rig = ticking()

    result = rig.ask(TICK, TriggerRequested())

    assert (result.triggered, result.outcome) == (True, "accepted")


@pytest.mark.parametrize(
    ("outcome", "options", "expected"),
    [
        (HookReturned(), {}, "succeeded"),
        (HookRaised(ValueError("no")), {"retry": RETRY}, "retrying"),
        (HookRaised(ValueError("no")), {"retry": None, "on_exhausted": "park"}, "parked"),
        (HookRaised(ValueError("no")), {"retry": None, "on_exhausted": "continue"}, "failed"),
        (HookRaised(ValueError("no")), {"retry": None, "on_exhausted": "terminate"}, "terminated"),
    ],
    ids=["succeeded", "retrying", "parked", "failed", "terminated"],
)
def test_S_38_a_waiting_trigger_is_answered_at_the_end_of_the_attempt(
    outcome: Any, options: dict[str, Any], expected: str
) -> None:
    rig = ticking(**options)
    call = rig.call(TICK, TriggerRequested(), wait_ms=30_000)
    rig.settle()
    rig.wait(5_000)
    assert call not in rig.replies

    rig.finish(outcome)
    rig.settle()

    result = rig.result(call)
    assert (result.triggered, result.outcome) == (True, expected)
    assert (result.error is not None) == (expected in {"retrying", "parked", "failed"})
    assert (result.retry_at is not None) == (expected == "retrying")


def test_S_34_S_38_a_trigger_that_joins_an_attempt_in_flight_waits_for_its_end() -> None:
    rig = greeted()
    rig.ask(TICK, START)
    call = rig.call(TICK, TriggerRequested(), wait_ms=30_000)
    rig.settle()
    rig.wait(5_000)
    assert call not in rig.replies

    rig.finish()
    rig.settle()

    assert (rig.result(call).joined, rig.result(call).outcome) == (True, "succeeded")


def test_S_38_the_wait_is_over_before_the_run_and_that_changes_nothing() -> None:
    rig = ticking()
    call = rig.call(TICK, TriggerRequested(), wait_ms=1_000)
    rig.settle()
    row = rig.row(TICK)

    rig.wait(1_000)

    assert (rig.result(call).outcome, rig.row(TICK), rig.cancels) == ("pending", row, [])
    assert rig.t == 1_000


def test_S_38_nothing_is_left_of_a_wait_that_is_over() -> None:
    rig = ticking()
    other = client(rig)
    call = other.call(TICK, TriggerRequested(), wait_ms=1_000)
    other.settle()

    other.wait(1_000)

    assert other.result(call).outcome == "pending"
    assert (other.engine._state.keepers, other.engine.idle) == ({}, True)


def test_S_38_who_goes_before_the_commit_does_not_wait() -> None:
    rig = ticking()
    other = client(rig)
    other.abandon(other.call(TICK, TriggerRequested(), wait_ms=30_000))
    other.settle()

    assert (other.engine._state.keepers, other.engine.idle) == ({}, True)


@pytest.mark.parametrize("what", ["newer", "damaged"])
def test_S_6_S_38_who_waits_for_a_run_of_what_nobody_can_read_any_more_is_told_that_it_is_pending(
    what: str,
) -> None:
    rig = ticking()
    other = client(rig)
    call = other.call(TICK, TriggerRequested(), wait_ms=1_000)
    other.settle()
    row = rig.row(TICK)
    assert row is not None
    unreadable = framed(row, schema=9) if what == "newer" else evolve(row, blob=row.blob[:-1] + b"?")
    rig.stores[0]._store.rows[TICK] = unreadable

    other.wait(1_000)

    assert other.result(call).outcome == "pending"


def reads(rig: Rig) -> int:
    """How often an instance was read."""
    return sum(len(batch.loads) for batch in rig.batches)


def test_S_38_a_run_of_its_own_is_waited_for_without_reading() -> None:
    rig = ticking()
    call = rig.call(TICK, TriggerRequested(), wait_ms=30_000)
    rig.settle()
    before = reads(rig)

    rig.wait(5_000)
    rig.finish()
    rig.settle()

    assert (rig.result(call).outcome, reads(rig)) == ("succeeded", before)


@pytest.mark.parametrize("busy", ["the write is on its way", "the write waits for its turn"])
def test_S_38_who_waits_does_not_look_while_the_key_is_written(busy: str) -> None:
    rig = ticking()
    other = client(rig)
    other.call(TICK, TriggerRequested(), wait_ms=30_000)
    other.settle()
    before = reads(other)
    if busy == "the write waits for its turn":
        other.call(CHORE, StatusRequested())
        before += 1
    other.call(TICK, PauseRequested())
    other.t += 100
    other.tick()
    while other.exchanges:
        other.answer()

    assert reads(other) == before


def test_S_38_the_wait_counts_from_the_commit_and_is_not_the_deadline_of_the_request() -> None:
    rig = ticking()
    call = rig.call(TICK, TriggerRequested(), deadline=1_000, wait_ms=5_000)
    rig.settle()
    rig.wait(4_000)
    assert call not in rig.replies

    rig.finish()
    rig.settle()

    assert rig.result(call).outcome == "succeeded"


def test_S_38_any_node_may_wait_by_polling_the_record() -> None:
    rig = ticking()
    other = client(rig)
    call = other.call(TICK, TriggerRequested(), wait_ms=30_000)
    other.settle()
    rig.nudge()
    rig.settle()
    rig.finish()
    rig.settle()

    other.wait(1_000)

    assert other.result(call).outcome == "succeeded"
    assert other.engine.idle


def test_S_38_polling_slows_down_to_once_a_second() -> None:
    rig = ticking()
    other = client(rig)
    other.call(TICK, TriggerRequested(), wait_ms=100_000)
    other.settle()
    drains = len(other.drains)

    other.wait(20_000)

    loads = sum(bool(drain) for drain in other.drains[drains:])
    assert 20 <= loads <= 27


def test_S_38_hints_shorten_the_wait_and_a_spurious_one_changes_nothing() -> None:
    rig = ticking()
    other = client(rig)
    call = other.call(TICK, TriggerRequested(), wait_ms=30_000)
    other.settle()
    other.wait(10_000)
    other.nudge()
    other.settle()
    assert call not in other.replies
    rig.t = other.t
    rig.nudge()
    rig.settle()
    rig.finish()
    rig.settle()

    other.nudge()
    other.settle()

    assert other.result(call).outcome == "succeeded"
    assert other.t == 10_000


def test_S_38_a_life_that_ended_while_a_trigger_waited_answers_terminated() -> None:
    rig = ticking()
    other = client(rig)
    call = other.call(TICK, TriggerRequested(), wait_ms=30_000)
    other.settle()
    rig.ask(TICK, TerminateRequested())
    rig.ask(TICK, START)

    other.wait(1_000)

    assert other.result(call).outcome == "terminated"


def test_S_38_who_waits_is_told_though_an_inline_hook_of_the_same_key_runs_meanwhile() -> None:
    rig = greeted()
    other = client(rig)
    other.ask_inline(CHORE, SendRequested(event=1))
    call = other.call(CHORE, TriggerRequested(), wait_ms=60_000)
    other.settle()
    other.call(CHORE, SendRequested(event=2))
    rig.nudge()
    rig.settle()
    other.wait(100)
    rig.finish()
    rig.settle()
    other.call(CHORE, SendRequested(event=3))
    other.wait(10_000)

    assert other.result(call).outcome == "succeeded"


def test_S_38_many_may_wait_for_one_run() -> None:
    rig = ticking()
    calls = [rig.call(TICK, TriggerRequested(), wait_ms=1_000 * n) for n in range(1, 5)]
    rig.settle()
    rig.wait(2_500)
    rig.abandon(calls[2])
    rig.finish()
    rig.settle()

    assert [rig.result(call).outcome for call in (*calls[:2], calls[3])] == [
        "pending",
        "pending",
        "succeeded",
    ]
    assert calls[2] not in rig.replies
    assert (rig.engine._state.calls.watching, rig.engine._state.calls.bytes) == ({}, 0)


def test_S_38_who_waits_and_goes_leaves_nothing_behind() -> None:
    rig = ticking()
    other = client(rig)
    call = other.call(TICK, TriggerRequested(), wait_ms=30_000)
    other.settle()

    other.abandon(call)
    other.settle()

    assert (other.engine.idle, other.engine._state.keepers, other.replies) == (True, {}, {})


def test_S_38_a_flush_waits_for_the_last_attempt_it_made_due() -> None:
    rig = added(1)
    rig.wait(1_000)
    assert [invoke.ctx.flush_reason for invoke in rig.invokes] == ["flushAfter"]
    rig.ask(LATEST, AddRequested(event=2))
    call = rig.call(LATEST, FlushRequested(), wait_ms=30_000)
    rig.settle()
    rig.finish()
    rig.settle()
    assert call not in rig.replies
    assert [invoke.ctx.flush_reason for invoke in rig.invokes] == ["manual"]

    rig.finish()
    rig.settle()

    result = rig.result(call)
    assert (result.flushed, result.outcome, result.event_count) == (True, "succeeded", 2)


def test_S_38_a_flush_is_answered_by_the_first_attempt_that_does_not_succeed() -> None:
    rig = added(1, retry=RETRY)
    call = rig.call(LATEST, FlushRequested(), wait_ms=30_000)
    rig.settle()

    rig.finish(HookRaised(ValueError("no")))
    rig.settle()

    result = rig.result(call)
    assert (result.flushed, result.outcome, result.error.message) == (False, "retrying", "no")


def test_S_44_S_38_a_clear_while_a_flush_waits_answers_it() -> None:
    rig = added(1, retry=RETRY)
    other = client(rig)
    call = other.call(LATEST, FlushRequested(), wait_ms=30_000)
    other.settle()
    rig.ask(LATEST, ClearRequested())

    other.wait(1_000)

    assert (other.result(call).outcome, other.result(call).flushed) == ("cleared", False)


def test_S_44_a_flush_of_nothing_is_answered_at_once_though_it_would_wait() -> None:
    rig = greeted()

    result = rig.ask(LATEST, FlushRequested(), wait_ms=30_000)

    assert (result.flushed, result.reason, rig.t) == (False, "empty", 0)


def test_S_38_an_outcome_is_kept_long_enough_for_who_looks_seldom() -> None:
    rig = added(1)
    other = client(rig)
    call = other.call(LATEST, FlushRequested(), wait_ms=30_000)
    other.settle()
    rig.nudge()
    rig.settle()
    rig.finish()
    rig.settle()
    other.exchanges.clear()

    other.wait(2_000)

    assert other.result(call).flushed
