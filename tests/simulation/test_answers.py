"""What the observer takes for a violation: calls of hooks, answers, event ids, telemetry."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from durable_jobs_simulation import telling
from support.watching import (
    BEGAN,
    BOX,
    ONE,
    ORDER,
    TICK,
    TWO,
    UNTIL,
    W1,
    W2,
    ZERO,
    World,
    body_of,
    violates,
    waits,
)

from durable_jobs_core import events
from durable_jobs_core.engine import HookReturned
from durable_jobs_core.errors import OutcomeUnknownError, StorageError
from durable_jobs_core.record import (
    Batch,
    ContinuousBody,
    DebounceBody,
    Outcome,
    QueuedEvent,
    Run,
    Window,
)
from durable_jobs_core.results import AddResult, ContinuousStatus, StateResult, TerminateResult, TriggerResult
from durable_jobs_core.words import Revision, to_datetime


@pytest.fixture
def world() -> World:
    return World()


# -- I-7: hooks


def test_I_7_a_leased_hook_is_called_once_for_its_lease(world: World) -> None:
    world.attempt()
    world.end(HookReturned(None))

    with violates("I-7", "without a lease for it"):
        world.invoke()


@pytest.mark.parametrize(
    "wrong", [{"life": 2}, {"run": 2}, {"hook": "on_idle"}, {"attempt": 2}, {"crashes": 1}]
)
def test_I_7_it_is_told_which_attempt_it_is(world: World, wrong: dict[str, Any]) -> None:
    world.attempt(called=False)

    with violates("I-7", "without a lease for it"):
        world.invoke(**wrong)


def test_I_7_it_is_shown_the_state_that_was_committed(world: World) -> None:
    world.attempt(called=False)

    with violates("I-7", "a state that was not committed"):
        world.invoke(state=ONE)


def test_I_7_the_lease_of_another_is_none(world: World) -> None:
    world.attempt(called=False)

    with violates("I-7", "without a lease for it"):
        world.invoke(node=W2)


def test_S_10_two_hooks_of_a_key_do_not_run_at_a_time(world: World) -> None:
    world.invoke(leased=False)
    world.invoke(ORDER, leased=False, id=2)
    world.invoke(leased=False, id=3, node=W2)

    with violates("engine", "two hooks at a time in w1"):
        world.invoke(leased=False, id=4)


# -- answers


TRIGGERED = TriggerResult(instance_id="a", triggered=True)


def test_a_call_is_answered_once(world: World) -> None:
    world.call(events.TriggerRequested())
    world.commit(TICK, body_of(TICK))
    world.reply(TRIGGERED)

    with violates("engine", "call 1 was answered twice"):
        world.reply(TRIGGERED)


@pytest.mark.parametrize(("node", "fine"), [(W1, True), (W2, False), (None, False)])
def test_I_7_what_is_acknowledged_was_committed_by_who_says_so(world: World, node: Any, fine: bool) -> None:
    world.commit(TICK, body_of(TICK))
    world.call(events.TriggerRequested())
    if node is not None:
        world.commit(TICK, body_of(TICK), node)

    if fine:
        world.reply(TRIGGERED)
    else:
        with violates("I-7", "TriggerResult was given and nothing was committed"):
            world.reply(TRIGGERED)


def test_I_7_the_first_answer_follows_a_commit_too(world: World) -> None:
    world.call(events.TriggerRequested())

    with violates("I-7", "TriggerResult was given and nothing was committed"):
        world.reply(TRIGGERED)


@pytest.mark.parametrize(
    ("fault", "late", "fine"), [("crash", 20, True), ("crash", 21, False), ("stall", 21, True)]
)
def test_S_3_a_caller_is_answered_in_time(fault: str, late: int, fine: bool) -> None:
    world = World(**{fault: 0.1})
    world.call(events.TriggerRequested())
    world.now += 30_000 + late

    if fine:
        world.reply(error=StorageError("no"))
    else:
        with violates("S-3", f"answered {late - 20} ms late"):
            world.reply(error=StorageError("no"))


def test_S_3_a_read_shows_what_was_there_since_it_was_asked(world: World) -> None:
    for number, state in enumerate((ZERO, ONE, TWO)):
        world.commit(TICK, ContinuousBody(state=state, next_at=0), W2, revision=Revision(number, 1, 2))
        if number == 1:
            world.call(events.StateRequested(), id=7)
            world.call(events.StateRequested(), id=8)
            world.call(events.StateRequested(), id=9)

    world.reply(StateResult(instance_id="a", state=ONE), id=7)
    world.reply(StateResult(instance_id="a", state=TWO), id=8)
    with violates("S-3", r"\(0,\) was read; it was \(1,\), and then \[\(2,\)\]"):
        world.reply(StateResult(instance_id="a", state=ZERO), id=9)


def test_S_3_a_status_shows_what_was_there(world: World) -> None:
    world.commit(TICK, body_of(TICK))
    world.call(events.StatusRequested(), id=7)
    world.call(events.StatusRequested(), id=8)

    world.reply(ContinuousStatus(instance_id="a", status="running", run_count=2), id=7)
    with violates("S-3", "was read"):
        world.reply(ContinuousStatus(instance_id="a", status="running", run_count=1), id=8)


@pytest.mark.parametrize("outcome", ["succeeded", "retrying", "failed", "parked", "pending"])
def test_S_38_who_waits_is_told_of_an_attempt_that_has_ended_so(world: World, outcome: Any) -> None:
    world.commit(TICK, body_of(TICK, outcome=Outcome(1, outcome, BEGAN)))
    world.call(events.TriggerRequested())
    world.commit(TICK, body_of(TICK))
    result = TriggerResult(instance_id="a", triggered=True, outcome=outcome)

    if outcome == "pending":
        world.reply(result)
        return
    with violates("S-38", f"{outcome} was told, and no attempt has ended so"):
        world.reply(result)
    world.call(events.TriggerRequested(), id=2)
    world.commit(TICK, body_of(TICK, outcome=Outcome(1, outcome, BEGAN)))
    world.reply(result, id=2)


def test_I_5_what_was_terminated_lives_no_more(world: World) -> None:
    world.commit(TICK, body_of(TICK))
    world.call(events.TerminateRequested())

    with violates("I-5", "it was terminated, and lives on"):
        world.reply(TerminateResult(instance_id="a", terminated=True))


# -- I-1, I-9, S-60: ids


def adds(world: World, *ids: str, remembered: int = 60_000) -> None:
    """The ids that a write leaves in a window."""
    window = Window(state=ZERO, count=len(ids), started_at=BEGAN, due_at=BEGAN)
    kept = tuple((id, BEGAN + remembered) for id in ids)
    world.commit(BOX, DebounceBody(window=window, ids=kept))


ADDED = events.AddRequested(event=1, event_id="x")


def acknowledged() -> AddResult:
    return AddResult(instance_id="a", created=True, event_count=1, will_flush_at=to_datetime(BEGAN))


def test_I_1_an_acknowledged_event_is_there(world: World) -> None:
    world.call(ADDED, BOX)
    adds(world, "x")
    world.reply(acknowledged())

    world.call(ADDED, BOX, id=2)
    adds(world, "x")
    with violates("I-1", "event 'x' was acknowledged and is nowhere"):
        world.reply(acknowledged(), id=2)


@pytest.mark.parametrize(
    ("error", "fine"), [(StorageError("no"), False), (OutcomeUnknownError("who knows"), True)]
)
def test_I_9_a_refused_event_is_not_there(world: World, error: Any, fine: bool) -> None:
    world.call(ADDED, BOX)
    world.reply(error=error)

    if fine:
        adds(world, "x")
    else:
        with violates("I-9", "event 'x' was refused and is there"):
            adds(world, "x")


def test_I_9_an_event_that_is_there_is_not_refused(world: World) -> None:
    world.call(ADDED, BOX)
    adds(world, "x")

    with violates("I-9", "event 'x' was refused and is there"):
        world.reply(error=StorageError("no"))


@pytest.mark.parametrize(("later", "fine"), [(60_000, True), (59_999, False)])
def test_S_60_an_id_is_taken_again_when_it_was_forgotten(world: World, later: int, fine: bool) -> None:
    for id in (1, 2):
        world.call(ADDED, BOX, id=id)
    adds(world, "x")
    world.now += later

    if fine:
        adds(world, "x", remembered=60_000 + later)
    else:
        with violates("S-60", "the remembered 'x' was taken again"):
            adds(world, "x", remembered=60_000 + later)


def test_S_60_of_more_ids_than_are_remembered_some_may_have_come_and_gone(world: World) -> None:
    world.call(ADDED, BOX)
    for id in "abcd":
        world.call(events.AddRequested(event=1, event_id=id), BOX, id=ord(id), node=W2)
    adds(world, "a", "b", "c")

    world.reply(acknowledged())


# -- I-7: telemetry


def test_I_7_telemetry_follows_its_commit_and_is_told_once(world: World) -> None:
    world.commit(TICK, body_of(TICK), seq=2)
    world.emit(1, 2, None, None)

    with violates("I-7", "was told twice as 2"):
        world.emit(2)
    with violates("I-7", "was told before its commit"):
        world.emit(3)


def test_I_7_the_end_of_a_life_that_was_never_stored_is_told(world: World) -> None:
    world.emit(1, life=5, type="job.terminated")

    with violates("I-7", "was told before its commit"):
        world.emit(1, life=6)


def test_I_7_of_a_life_that_has_ended_the_end_may_be_told_twice(world: World) -> None:
    world.commit(TICK, body_of(TICK), seq=1)
    world.commit(TICK, None)

    world.emit(1, 2)
    world.emit(2, node=W2)


@pytest.mark.parametrize(
    ("told", "fine"),
    [
        ([(W1, 1), (W1, 2), (W1, 3)], True),
        ([(W1, 1), (W1, 3)], False),
        ([(W1, 1), (W1, 2)], False),
        ([(W1, 1), (W1, 3), (W1, 2)], False),
        ([(W1, 1), (W2, 3), (W1, 2)], True),
    ],
)
def test_I_7_in_the_end_all_is_told_in_order(world: World, told: list[tuple[Any, int]], fine: bool) -> None:
    world.commit(TICK, body_of(TICK), seq=3)
    for node, seq in told:
        world.emit(seq, node=node)

    histories = world.observer.histories.values()
    assert world.observer.history(TICK).untold == (len(told) < 3)
    if fine:
        telling.check_complete(histories)
    else:
        with violates("I-7", "telemetry of a life came as"):
            telling.check_complete(histories)


def test_S_14_without_faults_no_attempt_crashes(world: World) -> None:
    world.attempt(crashes=0)
    world.observer.check_no_crash()

    world.now = UNTIL
    world.attempt(crashes=1, node=W2)
    with violates("S-14", "an attempt crashed, and nothing had happened to it"):
        world.observer.check_no_crash()


def test_each_commit_is_looked_at_for_all_that_two_records_tell(world: World) -> None:
    work = Run(number=1, hook="on_event", due=0)
    held = body_of(ORDER, inbox=(QueuedEvent(event=0), QueuedEvent(event=1)), intake=work)
    window = Window(state=ZERO, count=2, started_at=BEGAN, due_at=0)
    world.commit(ORDER, held)
    world.commit(BOX, DebounceBody(window=window))

    with violates("S-51", f"{ORDER}, committed by w1: the inbox went from"):
        world.commit(ORDER, body_of(ORDER))
    with violates("I-6", "runs went back from 2 to 1"):
        world.commit(ORDER, evolve(held, runs=1))
    with violates("I-4", "something may start at 0 and the alarm is 1"):
        world.commit(ORDER, held, wake=1, at=0)
    with violates("I-2", "a window of 2 events became a batch of 1"):
        batch = Batch(state=ZERO, count=1, started_at=BEGAN, reason="timeout")
        world.commit(BOX, DebounceBody(batch=batch, run=waits(attempt=1), runs=1))
