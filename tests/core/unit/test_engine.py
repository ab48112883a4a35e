"""The engine as a driver sees it: the numbered contract of the package, rule by rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from attrs import astuple
from support.frames import framed
from support.rig import EPOCH, Rig, client, greeted, running, start
from support.samples import CHORE, FOLD, LATEST, START, TICK, chore, jobs, nothing, number, tick, tick_key

from durable_jobs_core import create_durable_jobs
from durable_jobs_core.backend import Answer, Committed, Conflicted, Refused, Row
from durable_jobs_core.engine import (
    Abandoned,
    Answered,
    Called,
    Engine,
    Exchange,
    Finished,
    HookCancelled,
    HookDetached,
    HookRaised,
    HookReturned,
    Returned,
    Stopping,
    Ticked,
)
from durable_jobs_core.errors import (
    ClosedError,
    DefinitionError,
    DriverError,
    ExecutionError,
    OutcomeUnknownError,
)
from durable_jobs_core.events import (
    AddRequested,
    AlarmFired,
    FlushRequested,
    PauseRequested,
    ResumeRequested,
    SendRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.words import Key


def run_of(rig: Rig, key: Key = TICK) -> Any:
    return rig.record(key).body.run


# -- 1. turn, 2. time


def test_rule_1_each_need_is_given_once() -> None:
    rig = greeted()
    rig.call(TICK, START)

    assert rig.engine.needs() == ()


def test_rule_1_several_inputs_may_be_fed_before_their_needs_are_taken() -> None:
    rig = greeted()
    for call in range(10):
        rig.engine.feed(rig.t, Called(call, LATEST, AddRequested(event=call), 30_000))
    rig.drain()
    rig.settle()

    assert [rig.result(call).event_count for call in range(10)] == list(range(1, 11))
    assert sum(len(batch.writes) for batch in rig.batches) == 1


@pytest.mark.parametrize("input_", ["tick", "nudge"])
def test_rule_1_spurious_ticks_and_nudges_change_nothing(input_: str) -> None:
    rig = running()
    rig.ask(LATEST, AddRequested(event=1))
    rows = {key: rig.row(key) for key in (TICK, LATEST)}
    for _ in range(50):
        getattr(rig, input_)()
        rig.settle()

    assert {key: rig.row(key) for key in rows} == rows
    assert (len(rig.invokes), rig.cancels, rig.slots_taken) == (1, [], 1)


def test_rule_1_a_late_tick_is_as_good_as_one_in_time() -> None:
    rig = greeted()
    rig.ask(LATEST, AddRequested(event=1))

    rig.t = 1_000_000
    rig.tick()
    rig.settle()

    assert [invoke.ctx.state for invoke in rig.invokes] == [1]


def test_rule_2_the_engine_knows_no_time_before_the_first_answer_and_starts_nothing() -> None:
    rig = Rig()
    rig.call(TICK, START)
    assert (rig.engine.now, len(rig.exchanges), rig.exchanges[0].batch.writes) == (None, 1, ())

    rig.answer()

    assert rig.engine.now == EPOCH


def test_rule_2_with_nothing_to_do_it_wakes_once_a_poll_and_losing_a_hint_costs_one() -> None:
    rig = greeted(poll=1_000)
    start(rig, "tick", "a")

    rig.wait(1_000)

    assert len(rig.invokes) == 1


def test_rule_2_a_first_question_that_is_lost_is_asked_again() -> None:
    rig = Rig()
    for _ in range(3):
        rig.fail()
        rig.t = rig.engine.next_wakeup or 0
        rig.tick()

    rig.settle()

    assert rig.engine.now == rig.now()


# -- 3. exchanges


def test_rule_3_at_most_one_exchange_is_outstanding_a_lane() -> None:
    rig = Rig(lanes=2, lane=lambda key: int(key.id) % 2)
    for name in range(8):
        rig.call(tick_key(name), START)
        rig.nudge()
        rig.wait(100, settle=False)

    assert sorted(exchange.lane for exchange in rig.exchanges) == [0, 1]


def test_rule_3_a_lane_that_does_not_answer_does_not_hold_up_another() -> None:
    rig = Rig(lanes=2, lane=lambda key: int(key.id) % 2)
    rig.settle()
    stuck = rig.call(tick_key(0), START)

    call = rig.call(tick_key(1), START)
    rig.answer(lane=1)

    assert (stuck in rig.replies, rig.result(call).created) == (False, True)


MALFORMED: list[dict[str, Any]] = [
    {"outcomes": None},
    {"outcomes": (Conflicted("a row"),)},  # type: ignore[arg-type]
    {"rows": None},
    {"claimed": None},
    {"claimed": (None,)},
    {"claimed": (Row(("continuous", "tick", "b"), b"", None, "running", b""),)},  # type: ignore[arg-type]
    {"claimed": (Row(TICK, "1", None, "running", b""),)},  # type: ignore[arg-type]
    {"claimed": (Row(TICK, b"1", None, "running", "text"),)},  # type: ignore[arg-type]
    {"next_wake": "soon"},
    {"next_wake": EPOCH + 0.5},
]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(clock=EPOCH), id="no outcomes"),
        pytest.param(Answer(outcomes=(Committed(), Committed()), clock=EPOCH), id="too many outcomes"),
        pytest.param(Answer(outcomes=(Committed(),), rows=(None,), clock=EPOCH), id="a row too many"),
        pytest.param(Answer(outcomes=(Committed(),), clock=EPOCH * 1_000), id="a clock of microseconds"),
        pytest.param(Answer(outcomes=(Committed(),), clock=EPOCH + 0.5), id="a fraction"),  # type: ignore[arg-type]
        pytest.param(Answer(outcomes=(Committed(),), clock=None), id="no clock"),  # type: ignore[arg-type]
        *(
            pytest.param(Answer(**{"outcomes": (Committed(),), "clock": EPOCH, **wrong}), id=f"{wrong}")
            for wrong in MALFORMED
        ),
        pytest.param(KeyboardInterrupt(), id="an exception"),
        pytest.param(BaseExceptionGroup("many", [SystemExit()]), id="a group"),
    ],
)
def test_rule_3_rule_12_an_answer_that_does_not_fit_its_exchange_is_an_unknown_outcome(answer: Any) -> None:
    rig = greeted()
    call = rig.call(TICK, START, deadline=1_000_000)

    rig.answer(answer)
    told = dict(rig.replies)
    rig.wait(20_000)

    assert told == {}
    assert isinstance(rig.result(call), OutcomeUnknownError)  # a creation, still absent when it cannot land


def test_rule_12_rows_nobody_asked_for_and_outcomes_of_no_sense_do_no_harm() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    rig.nudge()

    rig.answer(Answer(claimed=(row, row, row), next_wake=-5, clock=EPOCH - 1_000))  # type: ignore[arg-type]
    rig.settle()

    assert len(rig.invokes) == 1
    assert rig.slots_taken == 1


# -- 4. hooks


def test_rule_4_a_hook_that_was_cancelled_is_waited_for() -> None:
    rig = running()
    rig.ask(TICK, TerminateRequested())
    rig.wait(100_000)

    assert (rig.engine.idle, rig.slots_taken) == (False, 1)
    rig.finish(HookCancelled())
    rig.settle()
    assert (rig.engine.idle, rig.slots_taken) == (True, 0)


# -- 8. one hand


def test_rule_8_a_key_has_at_most_one_inline_hook() -> None:
    rig = greeted()
    for event in range(5):
        rig.call(FOLD, AddRequested(event=event))
        rig.settle()

    assert len(rig.invokes) == 1


def test_rule_8_inline_and_leased_hooks_of_a_debounce_may_run_side_by_side() -> None:
    rig = greeted()
    rig.ask_inline(FOLD, AddRequested(event=1))
    rig.ask(FOLD, FlushRequested())
    call = rig.call(FOLD, AddRequested(event=2))
    rig.settle()
    assert [(invoke.hook, invoke.leased) for invoke in rig.invokes] == [
        ("execute", True),
        ("on_event", False),
    ]

    while rig.invokes:
        rig.finish()
        rig.settle()

    assert rig.result(call).event_count == 1


# -- 9. pure


def test_rule_9_equal_construction_and_equal_feeds_give_equal_needs() -> None:
    def story() -> list[Any]:
        rig = greeted(node=42, lanes=2, lane=lambda key: len(key.id) % 2, queued_requests=9)
        rig.ask_inline(CHORE, SendRequested(event=1))
        for name in range(12):
            rig.call(tick_key(name), START)
        rig.fail(lane=rig.exchanges[0].lane, landed=True)
        rig.wait(20_000)
        while rig.invokes:
            rig.finish()
        rig.wait(3_000)
        rig.stop(1_000)
        rig.wait(20_000)
        return [repr(drain).replace(hex(id(rig)), "") for drain in rig.drains]

    def told(story: list[Any]) -> list[str]:
        import re

        return [re.sub(r"0x[0-9a-f]+", "", text) for text in story]

    assert told(story()) == told(story())


def test_rule_9_engines_of_other_nodes_draw_other_lives() -> None:
    lives = set()
    for node in range(1, 6):
        rig = greeted(node=node)
        rig.ask(TICK, START)
        lives.add(rig.record(TICK).revision.life)

    assert len(lives) == 5


# -- 10. bounded


def test_rule_10_nothing_is_kept_of_instances_but_what_the_cache_may_hold() -> None:
    rig = greeted(cache_bytes=10_000)
    for name in range(200):
        rig.ask(Key("debounce", "latest", str(name)), AddRequested(event=1))
    for name in range(20):
        rig.ask_inline(Key("debounce", "fold", str(name)), AddRequested(event=1))
    rig.wait(2_000)
    while rig.invokes:
        rig.finish()
        rig.settle()

    state = rig.engine._state
    assert (state.keepers, state.ready, state.delayed) == ({}, {}, {})
    assert state.cache.size <= 10_000
    assert not any((lane.writes or lane.loads or lane.defers) for lane in state.lanes)
    assert (state.calls.by_id, state.calls.watching, state.calls.bytes) == ({}, {}, 0)
    assert not any(astuple(state.handlers, recurse=False))


# -- 11. stopping


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


# -- 12. faults


def no_exchange(rig: Rig) -> None:
    rig.feed(Answered(99, Answer(clock=EPOCH)))


def another_exchange(rig: Rig) -> None:
    rig.call(CHORE, StatusRequested())
    no_exchange(rig)


def second_answer(rig: Rig) -> None:
    rig.call(LATEST, AddRequested(event=1))
    exchange = rig.answer()
    rig.settle()
    rig.feed(Answered(exchange.id, Answer(clock=EPOCH)))


def no_invocation(rig: Rig) -> None:
    rig.feed(Finished(99, HookReturned()))


def second_end(rig: Rig) -> None:
    invoke = rig.finish()
    rig.settle()
    rig.feed(Finished(invoke.id, HookReturned()))


def not_detached(rig: Rig) -> None:
    rig.feed(Returned(rig.invokes[0].id))


def second_return(rig: Rig) -> None:
    invoke = rig.finish(HookDetached())
    rig.returned(invoke)
    rig.settle()
    rig.feed(Returned(invoke.id))


def second_call(rig: Rig) -> None:
    rig.call(LATEST, AddRequested(event=1))
    rig.feed(Called(rig.calls, TICK, StatusRequested(), 30_000))


def time_goes_back(rig: Rig) -> None:
    rig.engine.feed(rig.t - 1, Ticked())


def seconds(rig: Rig) -> None:
    rig.engine.feed(rig.t + 0.5, Ticked())  # type: ignore[arg-type]


def not_an_input(input_: Any) -> Callable[[Rig], None]:
    def fault(rig: Rig) -> None:
        rig.engine.feed(rig.t + 1, input_)

    fault.__name__ = repr(input_)[:60]
    return fault


def no_outcome(outcome: Any) -> Callable[[Rig], None]:
    def fault(rig: Rig) -> None:
        rig.engine.feed(rig.t + 1, Finished(rig.invokes[0].id, outcome))

    fault.__name__ = repr(outcome)[:60]
    return fault


def called(**wrong: Any) -> Callable[[Rig], None]:
    given = {"call": 99, "key": TICK, "request": StatusRequested(), "deadline": 30_000, **wrong}
    return not_an_input(Called(**given))


FAULTS = [
    seconds,
    *map(not_an_input, (None, "tick", Ticked, HookReturned(), Stopping(0.5))),  # type: ignore[arg-type]
    *map(no_outcome, (None, 5, HookReturned, HookRaised("text"), HookRaised(ValueError))),  # type: ignore[arg-type]
    called(call=None),
    called(call=[]),
    called(key=tuple(TICK)),
    called(key=None),
    called(request=None),
    called(request=StatusRequested),
    called(request=AlarmFired()),  # an input of the engine's own
    called(deadline=None),
    called(deadline=1.5),
    called(wait_ms="1s"),
    called(size=None),
    no_exchange,
    second_answer,
    no_invocation,
    second_end,
    not_detached,
    second_return,
    second_call,
    time_goes_back,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_rule_12_feed_raises_only_DriverError_and_then_nothing_has_changed(
    fault: Callable[[Rig], None],
) -> None:
    rig = running()
    rig.wait(100)

    with pytest.raises(DriverError):
        fault(rig)

    before = (rig.t, len(rig.drains))
    assert rig.engine.needs() == ()
    while rig.invokes:
        rig.finish()
    rig.settle()
    assert before[0] == rig.t
    assert rig.slots_taken == 0
    assert rig.ask(TICK, StatusRequested()).status == "running"


def test_rule_12_a_driver_error_says_what_was_wrong() -> None:
    engine = Engine(jobs(), node=1)
    engine.feed(10, Ticked())

    with pytest.raises(DriverError, match="t went back from 10 to 9"):
        engine.feed(9, Stopping(0))

    assert engine._state.stop_at is None


@pytest.mark.parametrize("lane", [2, -1, None, True, "0"])
def test_rule_12_a_key_without_a_lane_is_a_driver_error_and_others_go_on(lane: Any) -> None:
    rig = greeted(lanes=2, lane=lambda key: lane if key == TICK else 0)

    with pytest.raises(DriverError, match=r"^lane\(continuous:tick:a\): expected a number from 0 to 1, got "):
        rig.call(TICK, START)

    assert rig.ask(CHORE, StatusRequested()).status == "not_found"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (seconds, r"^t: expected whole milliseconds, got float \d+\.5 "),
        (not_an_input("tick"), "^expected an input of durable_jobs_core.engine, got str 'tick'"),
        (not_an_input(Stopping("5 s")), "^grace_ms: expected whole milliseconds, got str '5 s'"),  # type: ignore[arg-type]
        (no_outcome("done"), r"^expected an outcome such as HookReturned\(value\), got str 'done'"),
        (no_outcome(HookRaised(ValueError)), "^expected HookRaised with an exception, got type <class"),  # type: ignore[arg-type]
        (called(deadline=None), r"whole numbers for call, deadline and size, got \(99, None, 0\)"),
        (called(wait_ms="1s"), "^wait_ms: expected whole milliseconds or None, got str '1s'"),
        (called(request=None), "^expected a Key and a request, got Key Key.* and NoneType None"),
        (not_an_input(Abandoned([])), r"^call: expected a whole number, got list \[\]"),  # type: ignore[arg-type]
        (not_an_input(Finished([], HookReturned())), r"^invocation \[\] is not running"),  # type: ignore[arg-type]
        (not_an_input(Returned([])), r"^invocation \[\] is not detached"),  # type: ignore[arg-type]
        (no_exchange, "^exchange 99 is not in flight"),
        (another_exchange, "^exchange 99 is not in flight"),
        (no_invocation, "^invocation 99 is not running"),
        (not_detached, r"^invocation \d+ is not detached"),
        (second_call, r"^call \d+ was made before"),
    ],
)
def test_rule_12_each_fault_is_named(fault: Callable[[Rig], None], text: str) -> None:
    with pytest.raises(DriverError, match=text):
        fault(running())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"jobs": create_durable_jobs({"tick": tick()})},
            "Engine(jobs): expected definitions by (kind, name), ",
        ),
        (
            {"jobs": {"tick": tick()}},
            "Engine(jobs): expected definitions by (kind, name), as jobs.by_key, got",
        ),
        (
            {"jobs": [("continuous", "tick")]},
            "Engine(jobs): expected definitions by (kind, name), as jobs.by_key, got",
        ),
        ({"node": 1 << 64}, "Engine(node): expected 64 random bits, got 18446744073709551616"),
        ({"node": -1}, "Engine(node): expected 64 random bits, got -1"),
        ({"node": "host-1"}, "Engine(node): expected 64 random bits, got 'host-1'"),
        ({"lanes": 0}, "Engine(lanes): expected a whole number, 1 or more, got 0"),
    ],
)
def test_an_engine_that_could_never_work_is_refused_where_it_is_made(wrong: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(text)):
        Engine(**{"jobs": jobs(), "node": 1, **wrong})

    Engine(jobs(), node=(1 << 64) - 1)
    Engine({}, node=0)


# -- idle, next_wakeup


def test_idle_says_that_nothing_is_queued_running_in_flight_or_due() -> None:
    rig = Rig()
    seen = [rig.engine.idle]
    rig.settle()
    seen.append(rig.engine.idle)
    rig.call(TICK, START)
    seen.append(rig.engine.idle)
    rig.settle()
    seen.append(rig.engine.idle)
    rig.finish()
    seen.append(rig.engine.idle)
    rig.settle()
    seen.append(rig.engine.idle)

    assert seen == [False, True, False, False, False, True]


def test_idle_is_told_of_due_work_that_waits_for_a_slot() -> None:
    rig = greeted(concurrency=1)
    rig.ask(TICK, START)
    rig.ask(tick_key(2), START)
    first = rig.finish(HookDetached())
    rig.settle()
    seen = [rig.engine.idle]

    rig.returned(first)
    rig.settle()
    while rig.invokes:
        seen.append(rig.engine.idle)
        rig.finish()
        rig.settle()

    assert seen == [False, False]


def test_an_engine_has_one_lane_and_runs_jobs_unless_it_is_told_otherwise() -> None:
    engine = Engine(jobs(), node=1)
    (first,) = engine.needs()
    assert isinstance(first, Exchange)
    engine.feed(0, Answered(first.id, Answer(clock=EPOCH)))
    (second,) = engine.needs()

    assert isinstance(second, Exchange)
    assert second.batch.claim is not None


def test_an_engine_that_was_asked_nothing_yet_is_not_idle() -> None:
    assert not Engine(jobs(), node=1).idle


def test_needs_not_taken_yet_are_not_idle() -> None:
    rig = greeted()
    rig.engine.feed(rig.t, Called(1, Key("task", "nobody", "a"), StatusRequested(), 30_000))

    assert not rig.engine.idle


def test_telemetry_not_taken_yet_is_not_idle() -> None:
    rig = greeted(poll=1_000_000)
    rig.call(TICK, TerminateRequested())
    rig.settle()
    rig.call(LATEST, AddRequested(event=1))
    rig.settle()
    rig.abandon(rig.call(LATEST, TerminateRequested()))
    (exchange,) = rig.exchanges

    rig.engine.feed(rig.t, Answered(exchange.id, rig.perform(exchange)))

    assert (rig.engine._state.needs, rig.engine.idle) == ([], False)


def test_a_claim_in_flight_on_any_lane_is_not_idle() -> None:
    rig = greeted(lanes=2, poll=1_000_000)
    seen = {-1: rig.engine.idle}
    rig.nudge()
    while rig.exchanges:
        lane = rig.exchanges[0].lane
        seen[lane] = rig.engine.idle
        rig.answer(lane=lane)

    assert (seen, rig.engine.idle) == ({-1: True, 0: False, 1: False}, True)


def test_an_index_entry_to_be_put_back_is_not_idle() -> None:
    rig = greeted(poll=1_000_000)
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.stores[0]._store.rows[TICK] = framed(row, schema=9)
    rig.nudge()
    (exchange,) = rig.exchanges

    rig.engine.feed(rig.t, Answered(exchange.id, rig.perform(exchange)))
    rig.engine.needs()

    assert (rig.engine.idle, rig.engine._state.keepers) == (False, {})


def test_an_index_entry_that_waits_until_the_backend_is_asked_again_is_not_idle() -> None:
    rig = greeted(poll=1_000_000)
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.call(CHORE, StatusRequested())
    rig.call(LATEST, AddRequested(event=1), deadline=10)
    rig.nudge()
    rig.answer()
    refused = Answer(
        outcomes=(Refused("busy", transient=True),), claimed=(framed(row, schema=9),), clock=rig.now()
    )
    rig.answer(refused)

    rig.wait(10)

    assert (rig.exchanges, rig.engine._state.keepers, rig.engine.idle) == ([], {}, False)


@pytest.mark.parametrize("worker", [True, False])
def test_a_lane_that_has_not_answered_yet_is_not_idle(worker: bool) -> None:
    rig = Rig(lanes=2, worker=worker)
    rig.fail(lane=0)
    while any(exchange.lane == 1 for exchange in rig.exchanges):
        rig.answer(lane=1)
    assert (rig.exchanges, rig.engine.idle) == ([], False)

    rig.wait(1_000)

    assert rig.engine.idle


@pytest.mark.parametrize("lane", [0, 1])
def test_work_that_falls_due_on_any_lane_is_not_idle(lane: int) -> None:
    rig = greeted(lanes=2, lane=lambda key: int(key.id) % 2, poll=1_000_000)
    rig.ask(Key("debounce", "latest", str(lane)), AddRequested(event=1))
    seen = [rig.engine.idle]
    rig.engine.feed(rig.t + 1_000, Ticked())
    seen.append(rig.engine.idle)

    assert seen == [True, False]


def test_a_client_only_engine_wakes_for_deadlines_alone() -> None:
    rig = client(greeted())
    seen = [rig.engine.next_wakeup]
    rig.call(TICK, StatusRequested(), deadline=700)
    seen.append(rig.engine.next_wakeup)

    assert seen == [None, 700]


# -- several engines, and errors of the engine (S-61)


def test_S_61_each_error_of_the_engine_says_whether_anything_changed() -> None:
    rig = greeted(jobs(fold=jobs()["debounce", "fold"]))
    call = rig.call(FOLD, AddRequested(event=1))
    rig.settle()
    rig.finish(HookRaised(ValueError("the cause")))
    rig.settle()

    error = rig.result(call)
    assert isinstance(error, ExecutionError)
    assert "the cause" in str(error)
    assert [error.changed, ClosedError("x").changed, OutcomeUnknownError("x").changed] == [False, False, None]


def test_S_11_I_3_two_engines_share_due_runs_and_none_is_run_twice() -> None:
    one = greeted(concurrency=5)
    two = greeted(node=2, stores=one.stores, concurrency=5)
    start(one, "tick", *range(10))
    for _ in range(3):
        for rig in (one, two):
            rig.nudge()
        while one.exchanges or two.exchanges:
            for rig in (one, two):
                if rig.exchanges:
                    rig.answer()

    ran = [invoke.key.id for rig in (one, two) for invoke in rig.invokes]
    assert sorted(ran) == sorted(str(name) for name in range(10))


def test_I_8_when_one_engine_stalls_the_other_runs_what_is_due_after_the_hold() -> None:
    one = greeted(hold=5_000)
    start(one, "tick", "a")
    one.nudge()
    one.perform(one.exchanges[0])  # claimed, and never heard of again
    two = greeted(node=2, stores=one.stores)
    assert two.invokes == []
    one.t = two.t = 5_000

    two.wait(1_000)

    assert [invoke.key for invoke in two.invokes] == [TICK]


def test_I_4_I_8_whatever_is_lost_a_due_run_is_started_in_the_end() -> None:
    rig = greeted(jobs(tick=tick()))
    start(rig, "tick", "a")
    for round_ in range(40):
        if rig.exchanges:
            rig.fail(landed=round_ % 2 == 0)
        rig.t = max(rig.t, rig.engine.next_wakeup or 0)
        rig.tick()

    rig.wait(60_000)

    assert len(rig.invokes) == 1
    assert rig.entry(TICK) is not None


def test_a_commit_that_conflicts_with_nothing_known_is_read_again() -> None:
    rig = greeted()
    call = rig.call(TICK, START)

    rig.answer(Answer(outcomes=(Conflicted(None),), clock=EPOCH))
    rig.settle()

    assert rig.result(call).created
    assert isinstance(rig.row(TICK), Row)


def test_what_is_refused_for_the_moment_when_the_engine_stops_is_tried_until_it_closes() -> None:
    rig = greeted()
    call = rig.call(TICK, START)
    rig.stop()

    rig.answer(Answer(outcomes=(Refused("busy", transient=True),), clock=EPOCH))
    rig.wait(1_000)

    assert (rig.result(call).created, rig.invokes, rig.closed) == (True, [], True)


# -- revisions


def test_a_revision_has_the_number_after_the_largest_that_its_engine_knows() -> None:
    rig = greeted(worker=False)
    other = greeted(node=2, stores=rig.stores, worker=False)
    seen = []

    def pauses(rig: Rig, name: str) -> None:
        rig.ask(tick_key(name), START)
        rig.ask(tick_key(name), PauseRequested())
        seen.append(rig.record(tick_key(name)).revision.number)

    assert rig.ask(tick_key("z"), StatusRequested()).status == "not_found"
    pauses(rig, "a")
    pauses(rig, "b")
    assert rig.ask(tick_key("z"), StatusRequested()).status == "not_found"
    pauses(other, "c")
    other.ask(tick_key("b"), ResumeRequested())
    seen.append(rig.record(tick_key("b")).revision.number)
    pauses(other, "d")
    pauses(rig, "e")

    assert seen == [2, 4, 2, 5, 7, 6]


def test_S_12_a_token_is_the_revision_of_its_commit_whatever_else_that_holds() -> None:
    rig = greeted(poll=1_000_000)
    rig.call(LATEST, StatusRequested())  # the lane is busy
    rig.call(TICK, START)
    rig.call(TICK, PauseRequested())
    rig.settle()

    record = rig.record(TICK)
    assert (run_of(rig).lease.token, record.body.paused) == (record.revision[1:], True)
