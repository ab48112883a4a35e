"""Stopping: two phases, and what is told to whom (rule 11 of the contract, S-67)."""

from __future__ import annotations

import pytest
from support.rig import EPOCH, Rig, client, greeted, run_of, running, start
from support.samples import CHORE, FOLD, LATEST, START, TICK, chore, jobs, nothing, number, tick_key

from durable_jobs_core.backend import Answer, Refused
from durable_jobs_core.engine import HookCancelled, HookDetached, HookRaised, HookReturned
from durable_jobs_core.errors import ClosedError, OutcomeUnknownError
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    SendRequested,
    StatusRequested,
    TriggerRequested,
)
from durable_jobs_core.words import Key


def test_rule_11_S_67_after_stopping_nothing_is_claimed_started_or_accepted() -> None:
    rig = running()
    start(rig, "tick", "due")
    rig.stop(60_000)

    call = rig.call(LATEST, AddRequested(event=1))
    rig.wait(10_000)

    assert isinstance(rig.result(call), ClosedError)
    assert (len(rig.invokes), rig.row(LATEST), rig.closed) == (1, None, False)


def test_rule_11_S_67_handlers_have_their_grace_and_are_then_cancelled() -> None:
    rig = running()
    rig.stop(5_000)

    rig.wait(4_999)
    before = list(rig.cancels)
    rig.wait(1)

    assert (before, rig.cancels, rig.closed) == ([], [rig.invokes[0].id], False)


def test_rule_11_S_67_who_waits_for_an_inline_hook_is_told_when_the_grace_is_over() -> None:
    rig = greeted()
    call = rig.call(CHORE, SendRequested(event=1))
    rig.settle()
    rig.stop(5_000)
    before = dict(rig.replies)

    rig.wait(5_000)

    assert (before, rig.cancels) == ({}, [rig.invokes[0].id])
    assert isinstance(rig.result(call), ClosedError)


def test_S_67_a_handler_that_ends_within_its_grace_commits_and_the_engine_closes_at_once() -> None:
    rig = running()
    rig.stop(5_000)
    rig.wait(1_000)
    rig.invokes[0].ctx.set_state(7)

    rig.finish(HookReturned())
    rig.settle()

    assert (rig.record(TICK).body.state, rig.closed, rig.t) == (number(7), True, 1_000)


def test_S_67_a_failure_within_the_grace_is_a_failure() -> None:
    rig = running()
    rig.stop(5_000)

    rig.finish(HookRaised(ValueError("no")))
    rig.settle()

    assert (run_of(rig).attempt, rig.closed) == (2, True)


def test_S_67_a_hook_that_would_follow_is_not_started_but_due() -> None:
    rig = greeted(jobs(chore=chore(on_idle=nothing, execute=lambda ctx: ctx.set_state([9]))))
    rig.ask_inline(CHORE, SendRequested(event=1))
    rig.ask(CHORE, TriggerRequested())
    rig.stop(5_000)

    rig.finish()
    rig.settle()

    assert (rig.invokes, rig.closed) == ([], True)
    assert (run_of(rig, CHORE).hook, rig.entry(CHORE)) == ("on_idle", EPOCH)


def test_S_67_released_leases_are_due_now_and_another_engine_runs_the_same_attempt() -> None:
    rig = running()
    rig.stop()
    rig.finish(HookCancelled())
    rig.settle()
    assert rig.closed

    other = Rig(node=2, stores=rig.stores)
    other.settle()

    (invoke,) = other.invokes
    assert (invoke.ctx.attempt, invoke.ctx.crashes) == (1, 0)


def test_S_67_a_hook_that_is_cancelled_with_all_else_as_the_program_ends_is_handed_back() -> None:
    rig = running()
    rig.stop(5_000)

    rig.finish(HookCancelled())
    rig.settle()

    run = run_of(rig)
    assert (rig.cancels, run.attempt, run.crashes, run.lease, rig.closed) == ([], 1, 0, None, True)


def test_rule_11_leases_are_renewed_while_handlers_have_their_grace() -> None:
    rig = running()
    rig.stop(100_000)

    rig.wait(90_000)

    assert rig.cancels == []
    assert run_of(rig).lease.until > rig.now()


def test_S_67_requests_not_begun_are_refused_and_what_was_begun_is_finished() -> None:
    rig = greeted()
    begun = rig.call(LATEST, AddRequested(event=1))
    hooked = rig.call(FOLD, AddRequested(event=1))
    rig.settle()
    waiting = [rig.call(FOLD, AddRequested(event=2)), rig.call(FOLD, StatusRequested())]
    rig.stop(1_000)
    assert all(isinstance(rig.result(call), ClosedError) for call in waiting)

    rig.finish()
    rig.settle()

    assert (rig.result(begun).event_count, rig.result(hooked).event_count, rig.closed) == (1, 1, True)


def test_S_67_a_write_in_flight_at_the_stop_is_waited_for() -> None:
    rig = greeted()
    call = rig.call(LATEST, AddRequested(event=1))
    rig.stop()
    assert not rig.closed

    rig.answer()

    assert (rig.result(call).event_count, rig.closed) == (1, True)


def test_S_67_a_request_whose_hook_is_cancelled_by_the_shutdown_has_not_happened() -> None:
    rig = greeted(jobs(chore=chore(on_error=nothing)))
    call = rig.call(CHORE, SendRequested(event=1))
    rig.settle()
    rig.stop()
    assert rig.cancels == [rig.invokes[0].id]

    rig.finish(HookCancelled())
    rig.settle()

    assert isinstance(rig.result(call), ClosedError)
    assert (rig.invokes, rig.row(CHORE), rig.closed) == ([], None, True)


def test_S_67_a_request_whose_hook_is_cancelled_with_all_else_as_the_program_ends_has_not_happened() -> None:
    rig = greeted(jobs(chore=chore(on_error=nothing)))
    call = rig.call(CHORE, SendRequested(event=1))
    rig.settle()
    rig.stop(5_000)

    rig.finish(HookCancelled())
    rig.settle()

    assert isinstance(rig.result(call), ClosedError)
    assert (rig.cancels, rig.invokes, rig.row(CHORE), rig.closed) == ([], [], None, True)


def test_S_67_a_batch_that_is_cancelled_as_the_program_ends_leaves_the_reducer_beside_it_alone() -> None:
    rig = greeted()
    rig.ask_inline(FOLD, AddRequested(event=1))
    rig.ask(FOLD, FlushRequested())
    (batch,) = rig.invokes
    call = rig.call(FOLD, AddRequested(event=2))
    rig.settle()
    rig.stop(5_000)

    rig.finish(HookCancelled(), invoke=batch)
    rig.finish()
    rig.settle()

    assert (rig.result(call).event_count, rig.closed) == (1, True)


def test_S_67_who_waits_for_a_run_is_told_pending_when_the_engine_closes() -> None:
    rig = greeted()
    rig.ask(TICK, START)
    call = rig.call(TICK, TriggerRequested(), wait_ms=100_000)
    rig.settle()
    rig.stop()

    rig.finish(HookCancelled())
    rig.settle()

    assert (rig.result(call).outcome, rig.closed) == ("pending", True)


@pytest.mark.parametrize("grace", [(5_000, 10_000), (10_000, 5_000)], ids=["longer", "shorter"])
def test_rule_11_S_67_a_second_stop_may_shorten_the_grace_and_not_lengthen_it(grace: tuple[int, int]) -> None:
    rig = running()
    for ms in grace:
        rig.stop(ms)
    rig.wait(4_999)
    before = list(rig.cancels)

    rig.wait(1)

    assert (before, rig.cancels) == ([], [rig.invokes[0].id])


def test_rule_11_detached_threads_do_not_hold_it_up() -> None:
    rig = running()
    invoke = rig.finish(HookDetached())
    rig.settle()

    rig.stop()
    rig.settle()
    assert rig.closed
    rig.returned(invoke)

    assert (rig.engine.next_wakeup, rig.engine.needs()) == (None, ())


def test_rule_11_what_the_last_commit_tells_comes_before_the_end() -> None:
    rig = greeted()
    rig.ask(TICK, START)
    rig.stop(10_000)
    rig.finish()
    rig.settle()

    assert [type(need).__name__ for need in rig.drains[-1]] == ["Emit", "Closed"]


def test_rule_11_stopping_before_the_first_answer_closes_after_it() -> None:
    rig = Rig()
    call = rig.call(TICK, START)
    rig.stop()
    assert (type(rig.result(call)), rig.closed) == (ClosedError, False)

    rig.fail()

    assert rig.closed


def test_rule_11_a_backend_that_stays_away_holds_the_end_up_for_so_long_after_the_handlers() -> None:
    rig = running(limits={"settle": 10_000})
    rig.stop()
    rig.wait(30_000, settle=False)  # the hook takes long to end
    while rig.exchanges:
        rig.fail()
    rig.finish(HookCancelled())
    ended = rig.t
    while not rig.closed:
        while rig.exchanges:
            rig.fail()
        if not rig.closed:
            assert rig.engine.next_wakeup is not None
            rig.t = max(rig.t, rig.engine.next_wakeup)
            rig.tick()

    assert 9_000 <= rig.t - ended <= 16_000


def test_rule_11_a_lease_is_released_though_its_handler_took_long_to_end_and_the_backend_was_away() -> None:
    rig = running(limits={"settle": 10_000})
    rig.stop()
    rig.wait(15_000)
    rig.nudge()
    rig.finish(HookCancelled())
    rig.refuse(transient=True)

    rig.wait(5_000)

    assert (run_of(rig).lease, rig.closed) == (None, True)


def test_rule_2_rule_11_it_wakes_for_the_end_of_the_grace_if_for_nothing_else() -> None:
    rig = running(limits={"lease": 1_000_000, "poll": 1_000_000})

    rig.stop(5_000)

    assert rig.engine.next_wakeup == 5_000


def test_rule_2_rule_11_it_wakes_for_the_end_of_its_patience_while_it_backs_off() -> None:
    rig = greeted(settle=100, poll=1_000_000)
    rig.call(TICK, START)
    for _ in range(6):
        rig.fail()
        rig.t = max(rig.t, rig.engine.next_wakeup or 0)
        rig.tick()
    rig.stop()
    rig.fail()
    assert (rig.closed, rig.engine.next_wakeup) == (False, rig.t + 100)

    rig.wait(100)

    assert (rig.closed, rig.exchanges) == (True, [])


def test_rule_2_rule_3_it_wakes_for_one_lane_while_another_does_not_answer() -> None:
    rig = greeted(lanes=2, lane=lambda key: int(key.id) % 2, poll=1_000)
    rig.call(tick_key(0), StatusRequested())
    assert [exchange.lane for exchange in rig.exchanges] == [0]

    assert 750 < (rig.engine.next_wakeup or 0) <= 1_000


def test_rule_11_a_handler_called_after_the_stop_has_its_grace_and_its_end_the_whole_patience() -> None:
    rig = greeted(settle=10_000)
    rig.call(TICK, START)
    rig.stop(60_000)
    rig.settle()
    rig.wait(20_000)
    rig.nudge()
    rig.finish()
    rig.refuse(transient=True)
    assert not rig.closed

    rig.wait(5_000)

    assert (run_of(rig), rig.closed) == (None, True)


def test_rule_11_S_67_a_run_whose_lease_is_committed_after_the_grace_is_handed_back_uncalled() -> None:
    rig = greeted()
    call = rig.call(TICK, START)
    rig.stop()

    rig.settle()

    assert (rig.result(call).created, rig.invokes, rig.cancels, rig.closed) == (True, [], [], True)
    assert (run_of(rig).attempt, run_of(rig).crashes, rig.entry(TICK)) == (1, 0, EPOCH)


def test_rule_11_S_38_who_waits_for_a_run_that_is_handed_back_is_told_that_it_is_pending() -> None:
    rig = running()
    rig.finish()
    rig.settle()
    call = rig.call(TICK, TriggerRequested(), wait_ms=60_000)
    rig.stop()

    rig.settle()

    assert (rig.result(call).outcome, rig.invokes, rig.closed) == ("pending", [], True)


def test_rule_11_S_67_after_the_grace_no_inline_hook_is_called_again() -> None:
    rig = greeted()
    call = rig.call(CHORE, SendRequested(event=1))
    rig.settle()
    rig.finish()
    client(rig).ask_inline(CHORE, SendRequested(event=2))
    rig.stop()

    rig.settle()

    assert isinstance(rig.result(call), ClosedError)
    assert (rig.invokes, rig.closed, rig.record(CHORE).body.event_count) == ([], True, 1)


def test_rule_11_S_67_after_the_grace_no_inline_hook_is_called_again_for_whom_nobody_waits() -> None:
    rig = greeted()
    call = rig.call(CHORE, SendRequested(event=1), deadline=1_000)
    rig.settle()
    rig.finish()
    client(rig).ask_inline(CHORE, SendRequested(event=2))
    rig.wait(1_000, settle=False)
    rig.stop()

    rig.settle()

    assert isinstance(rig.result(call), OutcomeUnknownError)
    assert (rig.invokes, rig.closed, rig.record(CHORE).body.event_count) == ([], True, 1)


def test_rule_11_an_exchange_on_any_lane_is_waited_for_whatever_it_takes() -> None:
    rig = greeted(lanes=2, lane=lambda key: int(key.id) % 2, settle=1_000, exchange=100_000)
    call = rig.call(Key("debounce", "latest", "0"), AddRequested(event=1), deadline=100_000)
    rig.stop()
    rig.t = 50_000
    rig.tick()
    before = rig.closed

    rig.answer(lane=0)

    assert (before, rig.result(call).created, rig.closed) == (False, True, True)


def test_rule_11_what_a_hook_returned_is_written_however_long_the_exchange_before_it_took() -> None:
    rig = running(limits={"settle": 1_000})
    rig.call(Key("continuous", "tick", "other"), StatusRequested())
    rig.stop(10_000)
    rig.finish()
    rig.wait(5_000, settle=False)

    rig.answer()
    rig.settle()

    assert (run_of(rig), rig.closed) == (None, True)


def test_rule_11_lanes_that_fail_in_turn_do_not_hold_up_the_end() -> None:
    """Else one would be asked again before the other has failed, as where all nodes of a Cluster hang."""
    rig = greeted(lanes=2, lane=lambda key: int(key.id) % 2, settle=20_000)
    keys = [Key("debounce", "latest", id) for id in "01"]
    calls = [rig.call(key, AddRequested(event=1), deadline=100_000) for key in keys]
    rig.stop()

    while rig.exchanges and rig.t < 60_000:
        rig.fail(lane=rig.exchanges[0].lane)
        rig.wait(6_000, settle=False)

    assert rig.closed
    assert [type(rig.result(call)) for call in calls] == [OutcomeUnknownError] * 2


@pytest.mark.parametrize(
    "answer", [ConnectionError("lost"), Answer(outcomes=(Refused("no", transient=True),), clock=EPOCH)]
)
def test_rule_11_from_the_end_of_its_patience_a_lane_that_fails_is_asked_no_more(
    answer: Answer | BaseException,
) -> None:
    rig = greeted(lanes=2, lane=lambda key: int(key.id) % 2, settle=100)
    for id in "01":
        rig.call(Key("debounce", "latest", id), AddRequested(event=1))
    rig.stop()
    rig.answer(answer, lane=1)

    rig.t += 100
    rig.tick()

    assert [exchange.lane for exchange in rig.exchanges] == [0]


def test_rule_11_what_is_undecided_when_it_closes_is_said_to_be_unknown() -> None:
    rig = greeted(settle=1_000)
    call = rig.call(TICK, START)
    rig.fail()
    rig.stop()
    rig.wait(500, settle=False)
    while not rig.closed:
        while rig.exchanges:
            rig.fail()
        rig.t = max(rig.t, rig.engine.next_wakeup or rig.t)
        rig.tick()

    assert isinstance(rig.result(call), OutcomeUnknownError)


def test_rule_11_after_it_has_closed_requests_are_refused_and_nothing_is_needed() -> None:
    rig = greeted()
    rig.stop()
    rig.settle()
    assert rig.closed

    call = rig.call(TICK, START)
    rig.tick()
    rig.nudge()
    rig.stop()

    assert isinstance(rig.result(call), ClosedError)
    assert (rig.engine.next_wakeup, rig.exchanges) == (None, [])


def test_rule_11_an_engine_that_is_dropped_instead_loses_nothing() -> None:
    rig = running()
    rig.ask(LATEST, AddRequested(event=1))

    other = Rig(node=2, stores=rig.stores, t=40_000)
    rig.t = 40_000
    other.wait(1_000)

    assert {(invoke.key, invoke.ctx.crashes) for invoke in other.invokes} == {(TICK, 1), (LATEST, 0)}
