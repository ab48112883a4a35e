"""The engine as a driver sees it: the numbered contract of the package, rules 1 to 10."""

from __future__ import annotations

import re
from typing import Any

import pytest
from attrs import astuple
from support.frames import framed
from support.rig import EPOCH, Rig, client, greeted, run_of, running, start
from support.samples import CHORE, FOLD, LATEST, START, TICK, jobs, tick, tick_key

from durable_jobs_core.backend import Answer, Committed, Conflicted, Refused, Row
from durable_jobs_core.engine import (
    Answered,
    Called,
    Engine,
    Exchange,
    HookCancelled,
    HookDetached,
    HookRaised,
    Ticked,
)
from durable_jobs_core.errors import ClosedError, ExecutionError, OutcomeUnknownError
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    PauseRequested,
    ResumeRequested,
    SendRequested,
    StatusRequested,
    TerminateRequested,
)
from durable_jobs_core.words import Key

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
