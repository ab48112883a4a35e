"""`Keeper` and hooks: inline ones, attempts and their slots (S-10)."""

from __future__ import annotations

from typing import Any

import pytest
from support.bench import Bench, add, answers, debounce, effects, error_types, running, send, succeeded
from support.samples import CHORE, FOLD, LATEST, START, TICK, chore, folding, latest, nothing, number, tick

from durable_jobs_core.effects import CallHandler
from durable_jobs_core.engine.entries import Released
from durable_jobs_core.errors import ExecutionError
from durable_jobs_core.events import (
    AlarmFired,
    AlarmMisfiled,
    Event,
    FlushRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.operations import HookCall
from durable_jobs_core.step import step
from durable_jobs_core.telemetry import JobStale


def called(released: list[Released]) -> list[HookCall]:
    """The hooks to be called."""
    return [effect.call for effect in effects(released) if isinstance(effect, CallHandler)]


# -- inline hooks (S-10)


def test_an_inline_hook_is_called_with_nothing_written() -> None:
    bench = Bench(folding(), FOLD)

    released = bench.ask(add(1))

    assert [(call.hook, call.event, call.state) for call in bench.calls] == [("on_event", 1, None)]
    assert ([item.committed for item in released], bench.keeper.dirty) == ([False], False)


def test_a_request_whose_inline_hook_runs_is_not_stepped_again_before_that_has_ended() -> None:
    bench = Bench(folding(), FOLD)
    stepped: list[Event] = []

    def stepping(definition: Any, record: Any, event: Event, env: Any) -> Any:
        stepped.append(event)
        return step(definition, record, event, env)

    bench.keeper.stepping = stepping
    bench.ask(add(1))
    before = len(stepped)

    bench.ask(add(2))

    assert len(stepped) == before


def test_the_outcome_of_an_inline_hook_is_committed_with_its_event() -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(1))

    bench.finish()
    bench.commit()

    window = debounce(bench).window
    assert window is not None
    assert window.state.value == [1]


def test_S_10_if_an_inline_hook_fails_nothing_changed() -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(1))

    released = bench.finish(ValueError("no"))

    assert (error_types(released), bench.keeper.dirty, bench.stored) == ([ExecutionError], False, None)


def test_an_inline_hook_holds_the_requests_behind_it() -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(1))

    bench.ask(add(2))

    assert len(bench.calls) == 1


def test_an_inline_hook_does_not_hold_the_write_of_what_was_stepped_before_it() -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(1))
    bench.push(add(2))
    bench.finish()

    released = bench.commit()

    assert (len(bench.calls), [answer.event_count for answer in answers(released)]) == (2, [1])


@pytest.mark.parametrize(
    ("meanwhile", "calls"),
    [
        pytest.param(AlarmMisfiled(None), 2, id="what it was shown is the same"),
        pytest.param(add(9), 3, id="the state it was shown has changed"),
        pytest.param(TerminateRequested(), 3, id="the instance was terminated"),
    ],
)
def test_S_10_on_a_conflict_an_inline_hook_is_called_again_unless_it_was_shown_the_same(
    meanwhile: Event, calls: int
) -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(0))
    bench.finish()
    bench.commit()
    bench.ask(add(1))
    bench.finish()
    bench.other(meanwhile)

    bench.conflict()
    bench.proceed()

    assert len(bench.calls) == calls


def test_S_36_an_inline_hook_that_is_called_again_after_a_termination_sees_a_new_instance() -> None:
    bench = Bench(folding(), FOLD)
    bench.other(add(0))
    bench.ask(add(1))
    bench.finish()
    bench.other(TerminateRequested())
    bench.conflict()
    bench.proceed()

    bench.finish()
    released = bench.commit()

    assert bench.calls[-1].state is None
    assert [(answer.created, answer.event_count) for answer in answers(released)] == [(True, 1)]


def test_a_conflict_while_a_hook_runs_steps_what_came_before_it_again_at_once() -> None:
    bench = Bench(chore(), CHORE)
    bench.other(send(0))
    bench.ask(send(1))
    bench.push(TriggerRequested())
    bench.push(send(2))
    bench.finish()
    assert len(bench.calls) == 2
    bench.other(AlarmMisfiled(None))

    bench.conflict()
    bench.advance()

    assert [answer.__class__.__name__ for answer in answers(bench.commit())] == [
        "SendResult",
        "TriggerResult",
    ]


def test_there_is_one_inline_hook_at_a_time() -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(1))
    bench.push(add(2))
    bench.finish()
    bench.other(add(9))

    bench.conflict()
    bench.advance()

    assert len(bench.calls) == 2


@pytest.mark.parametrize("queued", [True, False], ids=["queued before the hook began", "during the hook"])
def test_S_36_terminate_overtakes_an_inline_hook(queued: bool) -> None:
    bench = Bench(folding(), FOLD)
    bench.other(add(0))
    bench.push(add(1))
    if queued:
        bench.push(TerminateRequested())
        bench.proceed()
    else:
        bench.proceed()
        bench.ask(TerminateRequested())

    assert [answer.terminated for answer in answers(bench.commit())] == [True]

    bench.proceed()
    bench.finish()
    bench.finish()  # it was called again, as on a new instance
    assert [answer.created for answer in answers(bench.commit())] == [True]
    assert bench.proceed() == []
    assert (bench.keeper.idle, bench.stored is None) == (True, False)


def test_S_36_a_hook_that_was_overtaken_by_terminate_is_called_again_as_on_a_new_instance() -> None:
    bench = Bench(folding(), FOLD)
    bench.other(add(0))
    bench.ask(add(1))
    bench.ask(TerminateRequested())
    bench.commit()

    bench.finish()

    assert [call.state is None for call in bench.calls] == [False, True]


@pytest.mark.parametrize("event", [AlarmFired(), AlarmMisfiled(None)], ids=["alarm", "repair"])
def test_inputs_of_the_engine_overtake_an_inline_hook(event: Event) -> None:
    bench = Bench(folding(), FOLD)
    bench.other(add(0))
    bench.now += 5_000
    bench.ask(add(1))

    bench.ask(event, urgent=True)

    assert bench.keeper.dirty


def test_a_hook_whose_request_was_given_up_changes_nothing() -> None:
    bench = Bench(folding(), FOLD)
    entry = bench.push(add(1))
    bench.proceed()

    certain = bench.keeper.forget(entry)
    released = bench.finish()

    assert (certain, effects(released), bench.keeper.idle) == (True, [], True)


def test_while_a_hook_runs_that_nobody_wants_any_more_no_other_is_called() -> None:
    bench = Bench(folding(), FOLD)
    entry = bench.push(add(1))
    bench.proceed()
    bench.keeper.forget(entry)

    bench.ask(add(2))

    assert len(bench.calls) == 1


# -- attempts and slots


def test_a_lease_takes_a_slot() -> None:
    bench = Bench(tick(), TICK, may_start=True)

    bench.ask(START)

    assert bench.slots_taken == 1


def test_S_14_a_lease_that_is_not_written_yet_has_not_crashed() -> None:
    bench = Bench(tick(), TICK, may_start=True)
    bench.ask(START)
    bench.now += 60_000

    bench.ask(AlarmFired(), urgent=True)

    assert [call.crashes for call in called(bench.commit())] == [0]


def test_what_comes_behind_the_alarm_of_a_lease_that_is_not_written_yet_is_stepped_with_it() -> None:
    bench = Bench(tick(), TICK)
    bench.other(START)
    bench.may_start = True
    bench.ask(TriggerRequested())
    bench.push(AlarmFired(), urgent=True)
    bench.push(StatusRequested())
    bench.advance()

    assert [type(answer).__name__ for answer in answers(bench.commit())] == [
        "TriggerResult",
        "ContinuousStatus",
    ]


def test_S_14_the_end_of_anothers_lease_is_seen_beside_a_request_that_is_not_written_yet() -> None:
    bench = Bench(latest(), LATEST)
    bench.other(add(0))
    bench.other(FlushRequested(), may_start=True)
    bench.now += 100_000
    bench.ask(add(1))
    bench.proceed()
    assert bench.keeper.dirty
    bench.may_start = True

    bench.ask(AlarmFired(), urgent=True)

    assert [call.crashes for call in called(bench.commit())] == [1]


def test_a_conflict_gives_back_the_slot_of_a_lease_that_was_not_taken() -> None:
    bench = Bench(tick(), TICK, may_start=True)
    bench.ask(START)
    bench.other(START, may_start=True)

    bench.conflict()
    bench.proceed()

    assert bench.slots_taken == 0


def test_the_end_of_an_attempt_gives_its_slot_back() -> None:
    bench = running(tick(), TICK, START)

    bench.ask(succeeded(bench), urgent=True, brings_slot=True)

    assert bench.slots_taken == 0


def test_a_hook_that_follows_an_attempt_keeps_its_slot() -> None:
    bench = running(chore(on_idle=nothing), CHORE, send(1), TriggerRequested())

    bench.ask(succeeded(bench), urgent=True, brings_slot=True)

    assert (bench.slots_taken, bench.keeper.steps[-1].leases) == (1, True)


def test_the_end_of_an_attempt_gives_its_slot_back_once_whatever_conflicts() -> None:
    bench = running(tick(), TICK, START)
    bench.ask(succeeded(bench), urgent=True, brings_slot=True)
    bench.other(AlarmMisfiled(None))
    bench.conflict()

    bench.proceed()

    assert bench.slots_taken == 0


def test_S_11_a_completion_that_conflicts_commits_without_calling_the_hook_again() -> None:
    bench = running(tick(), TICK, START)
    bench.ask(succeeded(bench, 5), urgent=True, brings_slot=True)
    bench.other(AlarmMisfiled(None))
    bench.conflict()

    bench.proceed()
    bench.commit()

    assert bench.record.body.state == number(5)  # type: ignore[union-attr]


def test_S_11_a_stale_completion_changes_nothing_and_is_reported() -> None:
    bench = running(tick(), TICK, START)
    completion = succeeded(bench, 5)
    bench.other(TerminateRequested())
    bench.other(START)

    bench.ask(completion, urgent=True, brings_slot=True)
    bench.conflict()
    released = bench.proceed()

    reported = [event for effect in effects(released) for event in effect.events]
    assert ([type(event) for event in reported], bench.keeper.dirty) == ([JobStale], False)
