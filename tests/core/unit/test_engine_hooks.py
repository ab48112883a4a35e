"""Calling hooks, cancelling them, and hearing of their ends (S-10, S-15, S-36)."""

from __future__ import annotations

from typing import Any

import pytest
from support.rig import EPOCH, LEASE, Rig, client, greeted, lease_of, running, second, writes
from support.samples import CHORE, FOLD, START, TICK, chore, folding, jobs, nothing, number

from durable_jobs_core import TaskContext
from durable_jobs_core.engine import (
    Attempt,
    HookCancelled,
    HookDetached,
    HookRaised,
    HookReturned,
    Invoke,
    entries,
)
from durable_jobs_core.errors import ExecutionError, StorageError
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    SendRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.results import SendResult
from durable_jobs_core.words import Key, to_datetime


def called(rig: Rig, hook: str = "on_event") -> int:
    """How often a hook was called."""
    needs = [need for drain in rig.drains for need in drain]
    return sum(isinstance(need, Invoke) and need.hook == hook for need in needs)


# -- terminate (S-36)


def test_S_36_terminate_cancels_the_handler_of_this_engine_at_once_and_does_not_wait_for_it() -> None:
    rig = running()

    result = rig.ask(TICK, TerminateRequested("enough"))

    assert (result.terminated, result.was_running, rig.row(TICK)) == (True, True, None)
    assert rig.cancels == [rig.invokes[0].id]
    assert rig.invokes[0].ctx.cancelled


def test_I_5_what_a_handler_returns_after_terminate_leaves_no_residue() -> None:
    rig = running(lambda ctx: ctx.set_state(1))
    rig.ask(TICK, TerminateRequested())

    rig.finish()
    rig.settle()
    rig.wait(100_000)

    assert (rig.row(TICK), rig.entry(TICK), rig.slots_taken) == (None, None, 0)
    assert rig.engine._state.keepers == {}


def test_S_36_a_new_life_does_not_run_here_before_the_old_handler_has_ended() -> None:
    rig = running()
    rig.ask(TICK, TerminateRequested())
    assert rig.ask(TICK, START).created
    rig.wait(5_000)
    assert len(rig.invokes) == 1
    first = rig.invokes[0]

    rig.finish(HookCancelled())
    rig.wait(5_000)

    (invoke,) = rig.invokes
    assert invoke.ctx.idempotency_key != first.ctx.idempotency_key


def test_S_12_the_old_handlers_success_is_nothing_to_a_new_life_of_the_same_id() -> None:
    rig = running(lambda ctx: ctx.set_state(1))
    rig.ask(TICK, TerminateRequested())
    rig.ask(TICK, START)

    rig.finish()
    rig.settle()

    assert rig.record(TICK).body.state == number(0)


def test_S_36_an_inline_hook_not_yet_committed_is_called_again_as_on_a_new_instance() -> None:
    rig = greeted()
    rig.ask_inline(CHORE, SendRequested(event=1))
    call = rig.call(CHORE, SendRequested(event=2))
    rig.settle()
    assert rig.invokes[0].ctx.state == [1]

    ended = rig.ask(CHORE, TerminateRequested())
    rig.finish()
    rig.settle()
    assert rig.invokes[0].ctx.state is None
    rig.finish()
    rig.settle()

    assert (ended.terminated, rig.result(call).created) == (True, True)
    assert rig.record(CHORE).body.state == number([2])


# -- detached threads (S-15, S-69)


def test_S_15_S_69_a_detached_thread_keeps_its_slot_until_it_returns() -> None:
    rig = running(limits={"concurrency": 1})
    other = Key("continuous", "tick", "b")
    rig.ask(other, START)

    first = rig.finish(HookDetached())
    rig.wait(60_000)
    held = (rig.slots_taken, list(rig.invokes), rig.engine.dropped_returns)
    rig.returned(first)
    rig.settle()

    assert held == (1, [], 0)
    assert rig.engine.dropped_returns == 1
    assert first.ctx.cancelled
    assert len(rig.invokes) == 1


def test_S_15_S_36_a_thread_that_goes_on_after_terminate_keeps_its_slot_until_it_returns() -> None:
    rig = running()
    rig.ask(TICK, TerminateRequested())

    first = rig.finish(HookDetached())
    rig.settle()
    held = rig.slots_taken
    rig.returned(first)
    rig.settle()

    assert (held, rig.slots_taken, rig.row(TICK)) == (1, 0, None)


def test_S_15_the_engine_goes_on_without_a_detached_thread() -> None:
    rig = running(limits={"concurrency": 2})

    rig.finish(HookDetached())
    rig.wait(5_000)

    (invoke,) = rig.invokes
    assert (invoke.key, invoke.ctx.attempt, rig.slots_taken) == (TICK, 2, 2)


def test_S_11_a_lease_abandoned_with_its_thread_may_overlap_but_only_the_new_one_commits() -> None:
    rig = running(lambda ctx: ctx.set_state(ctx.attempt), limits={"concurrency": 2})
    first = rig.finish(HookDetached())
    rig.wait(5_000)

    first.ctx.set_state(99)
    rig.returned(first)
    rig.finish()
    rig.settle()

    assert rig.record(TICK).body.state == number(2)
    assert rig.slots_taken == 0


def test_S_15_a_hook_that_follows_a_detached_one_needs_a_slot_of_its_own() -> None:
    def fails(*args: Any) -> None:
        raise ValueError

    definition = chore(execute=fails, retry=None, on_error=nothing, timeout="1 second")
    rig = greeted(jobs(chore=definition), concurrency=1)
    rig.ask_inline(CHORE, SendRequested(event=1))
    rig.ask(CHORE, TriggerRequested())
    first = rig.finish(HookDetached())
    rig.wait(5_000)
    waiting = list(rig.invokes)

    rig.returned(first)
    rig.settle()

    assert (waiting, [invoke.hook for invoke in rig.invokes], rig.slots_taken) == ([], ["on_error"], 1)


# -- who holds the slots (S-69)


def test_attempts_are_those_that_hold_slots_the_longest_first() -> None:
    rig = running()
    began = to_datetime(rig.engine._state.clock.now)
    rig.wait(11_000)  # its lease is renewed, and it is filed behind the next one
    other = Key("continuous", "tick", "b")
    rig.ask(other, START)
    later = to_datetime(rig.engine._state.clock.now)

    both = rig.engine.attempts
    first = rig.finish(HookDetached())
    rig.finish()
    rig.settle()
    left = rig.engine.attempts
    rig.returned(first)

    assert both == (Attempt(TICK, "execute", began), Attempt(other, "execute", later))
    assert left == (Attempt(TICK, "execute", began, left_behind=True),)
    assert rig.engine.attempts == ()


def test_a_hook_inside_a_request_holds_no_slot() -> None:
    rig = greeted(jobs(fold=folding(on_event=nothing)))
    rig.call(FOLD, AddRequested(event=1))
    rig.settle()

    called = [invoke.hook for invoke in rig.invokes]
    running = rig.engine.attempts
    rig.finish(HookDetached())

    assert (called, running, rig.engine.attempts) == (["on_event"], (), ())


# -- hooks that follow, and slots


def test_S_10_the_commit_that_records_the_end_of_execute_claims_the_on_idle_that_follows() -> None:
    rig = greeted(jobs(chore=chore(on_idle=nothing)), concurrency=1)
    rig.call(CHORE, SendRequested(event=1))
    for _ in range(2):
        rig.settle()
        rig.finish()
    rig.settle()
    rig.ask(CHORE, TriggerRequested())
    commits = len(rig.drains)

    rig.finish()
    (exchange,) = rig.exchanges
    rig.settle()

    assert [write.key for write in writes(exchange)] == [CHORE]
    assert ([invoke.hook for invoke in rig.invokes], rig.slots_taken) == (["on_idle"], 1)
    assert len(rig.drains) == commits + 2


def test_I_7_a_leased_hook_is_called_after_the_commit_of_its_claim() -> None:
    rig = greeted()
    rig.call(TICK, START)
    rig.tick()
    before = list(rig.invokes)

    rig.answer()

    assert (before, [invoke.key for invoke in rig.invokes]) == ([], [TICK])


def test_I_7_a_claim_that_did_not_land_calls_nothing() -> None:
    rig = greeted()
    rig.call(TICK, START)

    rig.fail()

    assert rig.invokes == []


# -- inline hooks, what overtakes them (D-5), and conflicts (S-10)


def reducing(**limits: Any) -> Rig:
    """An engine in which a batch is executed while the reducer of the next window runs."""
    rig = greeted(poll=1_000_000, **limits)
    rig.ask_inline(FOLD, AddRequested(event=1))
    rig.ask(FOLD, FlushRequested())
    rig.call(FOLD, AddRequested(event=2))
    rig.settle()
    assert [invoke.hook for invoke in rig.invokes] == ["execute", "on_event"]
    return rig


def test_D_5_the_end_of_an_attempt_overtakes_an_inline_hook() -> None:
    rig = reducing()

    rig.finish()
    rig.settle()

    assert [invoke.hook for invoke in rig.invokes] == ["on_event"]
    assert (rig.record(FOLD).body.in_flight, rig.slots_taken) == (None, 0)


def test_D_5_a_renewal_overtakes_an_inline_hook() -> None:
    rig = reducing()

    rig.wait(10_000)

    assert lease_of(rig, FOLD).until == EPOCH + 10_000 + LEASE


def folded(rig: Rig) -> Any:
    return rig.record(FOLD).body.window.state.value


def add_by_another(rig: Rig, event: int) -> None:
    other = client(rig, node=50 + event)
    other.ask_inline(FOLD, AddRequested(event=event))


def test_S_10_on_a_conflict_an_inline_hook_is_called_again_if_what_it_was_shown_changed() -> None:
    rig = greeted()
    rig.ask_inline(FOLD, AddRequested(event=1))
    call = rig.call(FOLD, AddRequested(event=3))
    rig.settle()
    rig.finish()
    add_by_another(rig, 2)
    rig.settle()

    (again,) = rig.invokes
    assert again.ctx.state == [1, 2]
    rig.finish()
    rig.settle()

    assert (folded(rig), rig.result(call).event_count) == ([1, 2, 3], 3)


def test_S_10_on_a_conflict_an_inline_hook_that_was_shown_the_same_is_not_called_again() -> None:
    rig = greeted(jobs(chore=chore(on_idle=None)))
    rig.ask_inline(CHORE, SendRequested(event=1))
    call = rig.call(CHORE, SendRequested(event=2))
    rig.settle()
    rig.finish()
    other = second(rig)
    other.ask(CHORE, TriggerRequested())
    other.finish(HookReturned())
    other.settle()  # the run changed the counts of runs, which `on_event` is shown
    rig.settle()
    called_again = len(rig.invokes)
    rig.finish()
    client(rig).ask(CHORE, StatusRequested())
    rig.settle()

    assert (called_again, rig.result(call).created) == (1, False)


def test_S_11_inline_hooks_of_two_engines_may_overlap_and_each_is_applied_once() -> None:
    one = greeted()
    two = second(one)
    calls = [(rig, rig.call(FOLD, AddRequested(event=event))) for rig, event in ((one, 1), (two, 2))]
    one.settle()
    two.settle()
    assert len(one.invokes) == len(two.invokes) == 1
    for rig in (one, two):
        rig.finish()
    for rig in (one, two, two):
        rig.settle()
        while rig.invokes:
            rig.finish()
            rig.settle()

    assert sorted(folded(one)) == [1, 2]
    assert sorted(rig.result(call).event_count for rig, call in calls) == [1, 2]


def test_S_10_a_refused_write_does_not_call_the_hook_again() -> None:
    rig = greeted()
    call = rig.call(FOLD, AddRequested(event=1))
    rig.settle()
    rig.finish()

    rig.refuse(transient=True)
    rig.wait(1_000)

    assert (called(rig), rig.result(call).event_count) == (1, 1)


def test_rule_10_hooks_run_ahead_of_a_write_only_as_long_as_what_they_leave_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries, "OUTCOME_BYTES_MAX", len("[0,1]") + len("[0,1,2]") - 1)
    rig = greeted()
    rig.ask_inline(FOLD, AddRequested(event=0))
    rig.nudge()
    first = rig.call(FOLD, AddRequested(event=1))
    read = rig.call(FOLD, StatusRequested())
    calls = [first, *(rig.call(FOLD, AddRequested(event=n)) for n in range(2, 7))]

    ahead: list[int] = []
    while rig.invokes:
        ahead.append(rig.invokes[0].ctx._call.event_count)
        rig.finish()
    rig.answer()
    (written,) = writes(rig.exchanges[0])
    while rig.settle() or rig.invokes:
        rig.finish()

    assert (ahead, written.key) == ([2, 3], FOLD)
    assert [rig.result(call).event_count for call in calls] == [2, 3, 4, 5, 6, 7]
    assert rig.result(read).event_count == 2


def test_rule_10_what_the_hooks_of_a_refused_request_have_left_counts_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def idle(ctx: TaskContext[list[int]]) -> None:
        if len(ctx.state) > 2:
            raise ValueError("no more")

    monkeypatch.setattr(entries, "OUTCOME_BYTES_MAX", len("[0,1]") + len("[0,1,2]") - 1)
    rig = greeted(jobs(chore=chore(on_idle=idle)))
    rig.ask_inline(CHORE, SendRequested(event=0))
    rig.nudge()
    calls = [rig.call(CHORE, SendRequested(event=n)) for n in range(1, 7)]

    ahead: list[tuple[str, int]] = []
    while rig.invokes:
        ahead.append((rig.invokes[0].hook, rig.invokes[0].ctx._call.event_count))
        rig.finish()
    while rig.settle() or rig.invokes:
        rig.finish()

    assert ahead == [("on_event", 2), ("on_idle", 2), ("on_event", 3), ("on_idle", 3)]
    assert [type(rig.result(call)) for call in calls] == [SendResult, *[ExecutionError] * 5]


# -- the deadline of a request whose hook runs


def test_a_hook_whose_request_is_out_of_time_is_cancelled_and_changes_nothing() -> None:
    rig = greeted()
    call = rig.call(FOLD, AddRequested(event=1), deadline=1_000)
    rig.settle()

    rig.wait(1_000)
    assert rig.cancels == [rig.invokes[0].id]
    rig.finish(HookReturned([1]))
    rig.settle()

    assert isinstance(rig.result(call), StorageError)
    assert (rig.row(FOLD), rig.engine.idle) == (None, True)


def test_what_waits_behind_a_hook_that_nobody_wants_is_called_when_it_has_ended() -> None:
    rig = greeted()
    rig.call(FOLD, AddRequested(event=1), deadline=1_000)
    call = rig.call(FOLD, AddRequested(event=2))
    rig.wait(1_000)
    first = rig.invokes[0]
    assert len(rig.invokes) == 1

    rig.finish(HookCancelled(), invoke=first)
    rig.finish()
    rig.settle()

    assert (folded(rig), rig.result(call).event_count) == ([2], 1)


def test_rule_8_a_hook_that_nobody_wants_is_still_the_one_of_its_key() -> None:
    rig = greeted()
    rig.call(FOLD, AddRequested(event=1), deadline=1_000)
    rig.wait(1_000)
    first = rig.invokes[0]

    call = rig.call(FOLD, AddRequested(event=2))
    rig.settle()
    assert rig.invokes == [first]

    rig.finish(HookCancelled())
    rig.finish()
    rig.settle()
    assert (folded(rig), rig.result(call).event_count) == ([2], 1)


def test_what_is_read_behind_a_hook_that_nobody_wants_is_answered_when_it_has_ended() -> None:
    rig = greeted()
    rig.call(FOLD, AddRequested(event=1), deadline=1_000)
    call = rig.call(FOLD, StatusRequested())
    rig.wait(2_000)
    waiting = call not in rig.replies

    rig.finish(HookCancelled())
    rig.settle()

    assert (waiting, rig.result(call).status) == (True, "not_found")


def test_an_exception_of_an_inline_hook_is_the_cause_of_what_the_caller_is_told() -> None:
    rig = greeted(jobs(fold=folding()))
    call = rig.call(FOLD, AddRequested(event=1))
    rig.settle()
    error = KeyError("gone")

    rig.finish(HookRaised(error))
    rig.settle()

    assert isinstance(rig.result(call), ExecutionError)
    assert rig.replies[call].cause is error


@pytest.mark.parametrize("outcome", [HookReturned(), HookRaised(ValueError())])
def test_S_16_a_hook_that_has_ended_is_told_so_by_its_context(outcome: Any) -> None:
    rig = running()
    (invoke,) = rig.invokes
    invoke.ctx.set_state(5)

    rig.finish(outcome)

    with pytest.raises(RuntimeError, match="execute of continuous:tick:a has ended"):
        invoke.ctx.set_state(6)


def test_S_15_a_detached_thread_may_ask_on_in_vain() -> None:
    rig = running()
    invoke = rig.finish(HookDetached())

    invoke.ctx.set_state(6)

    assert invoke.ctx.cancelled
