"""Callers: one reply each, when, and which; deadlines, limits, and waiting for runs (S-3, S-38, S-61)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from support.frames import framed
from support.rig import EPOCH, Rig, client, greeted, start, writes
from support.samples import CHORE, FOLD, LATEST, START, TICK, jobs, latest, tick, tick_key

from durable_jobs_core import Retry
from durable_jobs_core.engine import Answered, HookRaised, HookReturned
from durable_jobs_core.errors import (
    InvalidStateError,
    JobNotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    StorageError,
)
from durable_jobs_core.events import (
    AddRequested,
    ClearRequested,
    FlushRequested,
    PauseRequested,
    ResumeRequested,
    SendRequested,
    StateRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.journal import Journal
from durable_jobs_core.words import Key

RETRY = Retry(max_attempts=2, delay="1 second", jitter=0)


def ticking(**options: Any) -> Rig:
    """An engine with a continuous instance that waits for its next tick."""
    rig = greeted(jobs(tick=tick(**options)))
    rig.ask(TICK, START)
    rig.finish()
    rig.settle()
    return rig


def added(*events: int, **options: Any) -> Rig:
    """An engine with a debounce that collects."""
    rig = greeted(jobs(latest=latest(**options)))
    for event in events:
        rig.ask(LATEST, AddRequested(event=event))
    return rig


# -- refused at once (S-61)


@pytest.mark.parametrize(
    ("kind", "name", "registered"),
    [
        ("continuous", "nobody", ("tick",)),
        ("task", "tick", ("chore",)),
        ("debounce", "tick", ("latest", "fold")),
    ],
)
def test_S_8_S_61_requests_for_an_unknown_name_or_a_wrong_kind_find_no_job(
    kind: Any, name: str, registered: tuple[str, ...]
) -> None:
    rig = greeted()

    error = rig.result(rig.call(Key(kind, name, "a"), StatusRequested()))

    assert isinstance(error, JobNotFoundError)
    assert (error.kind, error.name, error.registered) == (kind, name, registered)
    assert rig.exchanges == []


def test_S_61_OverloadedError_when_too_many_requests_wait_and_nothing_is_stored() -> None:
    rig = greeted(queued_requests=2)
    calls = [rig.call(tick_key(name), START) for name in range(4)]
    refused = [rig.result(call) for call in calls[2:]]
    rig.settle()

    assert [(type(error), error.limit, error.current) for error in refused] == [(OverloadedError, 2, 2)] * 2
    assert [rig.row(tick_key(name)) is not None for name in range(4)] == [True, True, False, False]


def test_S_61_OverloadedError_when_the_requests_that_wait_are_too_large() -> None:
    rig = greeted(queued_bytes=100)
    first = rig.call(tick_key(1), START, size=60)
    second = rig.call(tick_key(2), START, size=41)
    third = rig.call(tick_key(3), START, size=40)
    rig.settle()
    fourth = rig.ask(tick_key(2), START, size=100)

    error = rig.result(second)
    assert isinstance(error, OverloadedError)
    assert (error.limit, error.current) == (100, 60)
    assert rig.result(first).created
    assert rig.result(third).created
    assert fourth.created


@pytest.mark.parametrize("limits", [{"queued_requests": 3}, {"queued_bytes": 3}])
def test_rule_10_requests_whose_callers_went_are_counted_until_they_are_done(limits: dict[str, int]) -> None:
    rig = greeted(**limits)
    for name in range(3):
        rig.abandon(rig.call(tick_key(name), START, size=1))

    error = rig.result(rig.call(tick_key(3), START, size=1))
    rig.settle()

    assert isinstance(error, OverloadedError)
    assert rig.ask(tick_key(3), START, size=1).created


# -- one reply each (rule 5)


def test_rule_5_S_30_a_start_is_answered_after_its_creation_and_before_its_first_run() -> None:
    rig = greeted()
    call = rig.call(TICK, START)
    rig.tick()
    before = dict(rig.replies)

    rig.answer()

    assert before == {}
    assert (rig.result(call).created, len(rig.invokes)) == (True, 1)


def test_rule_5_a_caller_that_went_gets_no_reply_and_its_request_is_carried_out() -> None:
    rig = greeted()
    call = rig.call(TICK, START)

    rig.abandon(call)
    rig.settle()

    assert (rig.replies, rig.record(TICK).created_at) == ({}, EPOCH)


def test_rule_5_a_caller_may_go_before_after_and_twice() -> None:
    rig = greeted()
    call = rig.call(TICK, START)
    rig.abandon(call)
    rig.abandon(call)
    rig.abandon(99)
    rig.settle()
    other = rig.call(TICK, StatusRequested())
    rig.settle()
    rig.abandon(other)

    assert list(rig.replies) == [other]


def test_rule_5_a_caller_that_went_before_its_reply_is_taken_gets_none() -> None:
    rig = greeted()
    calls = [rig.call(TICK, START), rig.call(TICK, StatusRequested())]
    exchange = rig.exchanges.pop()

    rig.engine.feed(rig.t, Answered(exchange.id, rig.perform(exchange)))
    rig.abandon(calls[0])
    rig.settle()

    assert list(rig.replies) == calls[1:]


def test_rule_5_a_request_whose_caller_went_is_given_up_at_its_deadline_too() -> None:
    rig = greeted(poll=1_000_000)
    for _ in range(2):
        rig.nudge()
        rig.abandon(rig.call(TICK, START, deadline=1_000))
    rig.wait(1_000, settle=False)
    rig.settle()

    assert (rig.replies, rig.row(TICK)) == ({}, None)
    assert rig.engine._state.keepers == {}


def test_rule_10_of_requests_given_up_before_the_store_has_answered_nothing_is_kept() -> None:
    rig = Rig(jobs())
    asked = [rig.call(TICK, START, deadline=deadline) for deadline in (1_000, 1_000, 2_000)]
    rig.call(LATEST, StatusRequested(), deadline=1_000)

    rig.wait(1_000, settle=False)
    assert list(rig.engine._state.keepers) == [TICK]
    rig.wait(1_000, settle=False)

    assert (rig.engine._state.keepers, rig.engine._state.ready) == ({}, {})
    assert isinstance(rig.result(asked[-1]), StorageError)
    assert rig.ask(TICK, START).created


def test_I_7_a_request_whose_hook_fails_though_its_caller_went_changes_nothing() -> None:
    rig = greeted()
    rig.abandon(rig.call(FOLD, AddRequested(event=1)))
    rig.settle()

    rig.finish(HookRaised(ValueError()))
    rig.settle()

    assert (rig.replies, rig.row(FOLD), rig.engine.idle) == ({}, None, True)


# -- deadlines end in the truth (S-3, rule 5)


def test_S_3_a_request_not_sent_by_its_deadline_has_not_happened_and_never_will() -> None:
    rig = greeted()
    rig.nudge()
    call = rig.call(TICK, START, deadline=1_000)

    rig.wait(1_000, settle=False)
    rig.settle()

    assert isinstance(rig.result(call), StorageError)
    assert rig.row(TICK) is None


def test_S_61_a_request_not_done_in_time_is_told_what_the_backend_said_last() -> None:
    rig = greeted()
    fails = rig.call(TICK, StatusRequested(), deadline=1_000)
    rig.answer(StorageError("the server is gone"))

    rig.wait(1_000, settle=False)
    hangs = rig.call(LATEST, StatusRequested(), deadline=2_000)
    rig.answer()
    rig.wait(2_000, settle=False)

    told, later = str(rig.result(fails)), str(rig.result(hangs))
    assert told.endswith(
        "done in time; the backend fails: StorageError: the server is gone (nothing was changed)"
    )
    assert later.endswith("was not done in time (nothing was changed)")


@pytest.mark.parametrize("landed", [True, False])
def test_S_3_of_a_request_whose_write_was_sent_the_caller_is_told_that_no_one_knows(landed: bool) -> None:
    rig = greeted()
    call = rig.call(TICK, START, deadline=1_000)
    answer = rig.perform(rig.exchanges[0]) if landed else ConnectionError()

    rig.wait(1_000, settle=False)
    told = rig.result(call)
    rig.answer(answer)
    rig.wait(20_000)

    assert isinstance(told, OutcomeUnknownError)
    assert list(rig.replies) == [call]
    assert (rig.row(TICK) is not None) == landed


def test_rule_8_a_key_whose_request_was_given_up_while_it_was_written_is_known_until_that_has_ended() -> None:
    rig = greeted(worker=False)
    rig.call(LATEST, AddRequested(event=1), deadline=1_000)
    rig.wait(1_000, settle=False)
    call = rig.call(LATEST, AddRequested(event=2))
    rig.settle()

    assert rig.result(call).event_count == 2
    assert rig.engine._state.keepers == {}


def test_S_3_of_a_request_whose_outcome_is_unknown_at_its_deadline_the_caller_is_told_so() -> None:
    rig = greeted()
    call = rig.call(TICK, START, deadline=1_000)
    rig.fail()

    rig.wait(1_000, settle=False)

    assert isinstance(rig.result(call), OutcomeUnknownError)
    assert str(rig.result(call)).endswith("is not known; the backend fails: ConnectionError: lost")


def test_a_deadline_takes_only_its_own_request_from_the_ones_stepped_together() -> None:
    rig = greeted()
    rig.nudge()
    late = rig.call(LATEST, AddRequested(event=1), deadline=500)
    other = rig.call(LATEST, AddRequested(event=2))
    read = rig.call(LATEST, StatusRequested())

    rig.wait(500, settle=False)
    rig.settle()

    assert isinstance(rig.result(late), StorageError)
    assert (rig.result(other).event_count, rig.result(read).event_count) == (1, 1)


def test_requests_that_run_out_of_time_one_by_one_have_the_others_stepped_again_once() -> None:
    lines: list[bytes] = []
    rig = greeted(journal=Journal(lines.append))
    late = [rig.call(LATEST, AddRequested(event=n), deadline=1 + n) for n in range(10)]
    rest = [rig.call(LATEST, AddRequested(event=n), deadline=5_000) for n in range(10)]
    rig.refuse(transient=True)
    assert not rig.exchanges, "it waits before it tries again"
    lines.clear()

    for _ in late:
        rig.t += 1
        rig.tick()
    rig.wait(1_000)

    assert [type(rig.result(call)) for call in late] == [StorageError] * 10
    assert [rig.result(call).event_count for call in rest] == list(range(1, 11))
    stepped = [line for line in lines if b"AddRequested" in line]
    assert len(stepped) == 10


def test_requests_that_run_out_of_time_while_the_backend_hangs_likewise() -> None:
    lines: list[bytes] = []
    rig = greeted(journal=Journal(lines.append))
    rig.nudge()
    late = [rig.call(LATEST, AddRequested(event=n), deadline=1 + n) for n in range(10)]
    rest = [rig.call(LATEST, AddRequested(event=n), deadline=5_000) for n in range(10)]
    lines.clear()

    for _ in late:
        rig.t += 1
        rig.tick()
    assert len(rig.exchanges) == 1, "it is not answered"
    rig.settle()

    assert [type(rig.result(call)) for call in late] == [StorageError] * 10
    assert [rig.result(call).event_count for call in rest] == list(range(1, 11))
    stepped = [line for line in lines if b"AddRequested" in line]
    assert len(stepped) == 10


def test_a_request_that_runs_out_of_time_behind_a_hook_does_not_hold_up_what_is_to_be_written() -> None:
    rig = greeted()
    rig.ask_inline(FOLD, AddRequested(event=0))
    rig.nudge()
    done = rig.call(FOLD, AddRequested(event=1))
    rig.finish()
    rig.call(FOLD, AddRequested(event=2))
    late = rig.call(FOLD, AddRequested(event=3), deadline=500)

    rig.wait(500, settle=False)
    assert (len(rig.exchanges), len(rig.invokes)) == (1, 1), "neither has ended"
    rig.answer()
    (written,) = writes(rig.exchanges[0])
    rig.answer()

    assert (written.key, rig.result(done).event_count) == (FOLD, 2)
    assert isinstance(rig.result(late), StorageError)


def test_a_request_before_the_backends_first_answer_waits_for_it_until_its_deadline() -> None:
    rig = Rig()
    short, long = rig.call(TICK, START, deadline=100), rig.call(TICK, START)
    rig.wait(100, settle=False)
    assert list(rig.replies) == [short]

    rig.settle()

    assert isinstance(rig.result(short), StorageError)
    assert rig.result(long).created


# -- waiting for a run (S-38)


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


# -- reads (D-7, I-9)


def test_I_9_a_rejected_request_leaves_the_stored_bytes_unchanged() -> None:
    rig = added(1)
    row, entry = rig.row(LATEST), rig.entry(LATEST)

    errors = [rig.ask(LATEST, request) for request in (PauseRequested(), ResumeRequested(), START)]

    assert [type(error) for error in errors] == [InvalidStateError] * 3
    assert (rig.row(LATEST), rig.entry(LATEST)) == (row, entry)


@pytest.mark.parametrize("request_", [StatusRequested(), StateRequested()])
def test_S_36_after_terminate_by_another_nothing_of_that_life_is_read(request_: Any) -> None:
    rig = ticking()
    client(rig).ask(TICK, TerminateRequested())

    result = rig.ask(TICK, request_)

    assert getattr(result, "status", None) in {"not_found", None}
    assert getattr(result, "state", None) is None


def test_a_read_sees_what_another_engine_committed_before_it_was_asked() -> None:
    rig = ticking()
    client(rig).ask(TICK, PauseRequested())

    assert rig.ask(TICK, StatusRequested()).status == "paused"


def test_rule_6_replies_of_one_key_come_in_the_order_of_its_requests() -> None:
    rig = greeted()
    rig.nudge()
    calls = [rig.call(LATEST, AddRequested(event=n)) for n in range(20)]
    rig.settle()

    assert list(rig.replies) == calls
    assert [rig.result(call).event_count for call in calls] == list(range(1, 21))


def test_rule_8_a_key_has_at_most_one_write_in_flight() -> None:
    rig = greeted()
    for n in range(10):
        rig.call(LATEST, AddRequested(event=n))
    (exchange,) = rig.exchanges
    assert [write.key for write in writes(exchange)] == [LATEST]

    rig.answer()

    assert [len(writes(exchange)) for exchange in rig.exchanges] == [1]


def test_instances_started_by_another_run_here_and_answer_who_waits_there() -> None:
    rig = greeted()
    start(rig, "tick", 1, 2)
    rig.nudge()
    rig.settle()

    assert sorted(invoke.key.id for invoke in rig.invokes) == ["1", "2"]
