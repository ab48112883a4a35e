"""What an engine should not hold: something of it is made wrong, and that is what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from durable_jobs_simulation.holds import stray
from support.rig import Rig
from support.samples import CHORE, START, TICK

from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.engine.state import State
from durable_jobs_core.events import StatusRequested

JOB = ("continuous", "tick")


def held(rig: Rig, hooks: Any = range(100)) -> str | None:
    found = stray(rig.engine, "w1", hooks)
    return None if found is None else str(found)


@pytest.fixture
def asking() -> Rig:
    """A request waits for what is stored of its key."""
    rig = Rig()
    rig.settle()
    rig.call(TICK, StatusRequested(), size=7)
    (exchange,) = rig.exchanges
    assert exchange.batch.loads == (TICK,)
    return rig


@pytest.fixture
def running() -> Rig:
    """A leased hook runs."""
    rig = Rig()
    rig.ask(TICK, START)
    rig.settle()
    assert rig.invokes
    return rig


@pytest.fixture
def writing() -> Rig:
    """A write is on its way, with a lease."""
    rig = Rig()
    rig.settle()
    rig.call(TICK, START)
    (exchange,) = rig.exchanges
    assert exchange.batch.writes
    return rig


def take(slots: Slots, count: int) -> None:
    slots._taken[JOB] += count


@pytest.mark.parametrize(
    ("count", "said"), [(1, "2 slots .* taken and 1 in use"), (-1, "0 slots .* and 1 in use")]
)
def test_S_69_slots_are_in_use(running: Rig, count: int, said: str) -> None:
    assert held(running) is None
    take(running.engine._state.slots, count)

    with pytest.raises(AssertionError, match=f"S-69: w1: {said}"):
        raise AssertionError(held(running))


def test_S_69_a_lease_in_a_write_uses_a_slot(writing: Rig) -> None:
    assert held(writing) is None
    take(writing.engine._state.slots, -1)

    assert held(writing) == "S-69: w1: 0 slots of continuous:tick are taken and 1 in use"


def test_S_3_callers_have_an_answer_when_their_time_is_up(asking: Rig) -> None:
    state = asking.engine._state
    (call,) = state.calls.by_id.values()
    call.deadline = state.t + 1
    assert held(asking) is None

    call.deadline = state.t
    assert held(asking) == f"S-3: w1: call 1 of {TICK} has no answer, and its time is up"


def counts_another_request(state: State) -> None:
    state.calls.bytes += 1


def keeps_who_watched(state: State) -> None:
    (call,) = state.calls.by_id.values()
    state.calls.watching = {TICK: {5: call}}


def keeps_a_key_that_was_watched(state: State) -> None:
    state.calls.watching = {CHORE: {}}


def reads_nothing(state: State) -> None:
    state.lanes[0].flight = None


def sees_to_a_key_it_does_not_have(state: State) -> None:
    state.delayed[CHORE] = state.keepers[TICK]


def sees_to_another(state: State) -> None:
    state.lanes[0].writes[CHORE] = state.keepers[TICK]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (counts_another_request, "8 bytes of requests, which are others"),
        (keeps_who_watched, "callers that watch a run, and have left"),
        (keeps_a_key_that_was_watched, f"{CHORE} for callers that watch a run, and have left"),
        (reads_nothing, f"{TICK}, for which nothing will come"),
        (sees_to_a_key_it_does_not_have, f"{CHORE} to be seen to, which is done"),
        (sees_to_another, f"{CHORE} to be seen to, which is done"),
    ],
)
def test_of_who_asks_nothing_else_is_held(asking: Rig, make: Callable[[State], None], said: str) -> None:
    assert held(asking) is None
    make(asking.engine._state)

    assert held(asking) == f"engine: w1 holds {said}"


def forgets_that_it_runs(state: State) -> None:
    state.handlers.running.clear()


def renews_what_has_ended(state: State) -> None:
    state.handlers.renewing[CHORE] = state.handlers.leased[TICK]


def notes_an_alarm_of_what_has_ended(state: State) -> None:
    state.handlers.alarmed.add(CHORE)


def keeps_an_idle_key(state: State) -> None:
    state.keeper(CHORE)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (forgets_that_it_runs, "hooks that have ended"),
        (renews_what_has_ended, f"a note of {CHORE}, whose handler has ended"),
        (notes_an_alarm_of_what_has_ended, f"a note of {CHORE}, whose handler has ended"),
        (keeps_an_idle_key, f"{CHORE}, which is idle"),
    ],
)
def test_of_what_runs_nothing_else_is_held(running: Rig, make: Callable[[State], None], said: str) -> None:
    assert held(running) is None
    make(running.engine._state)

    assert held(running) == f"engine: w1 holds {said}"


def test_a_hook_whose_end_was_told_is_not_held(running: Rig) -> None:
    (id,) = running.engine._state.handlers.running

    assert held(running, {id}) is None
    assert held(running, ()) == f"engine: w1 holds invocation {id}, which has ended"


@pytest.mark.parametrize("flies", [True, False])
def test_a_write_that_is_awaited_is_on_its_way(writing: Rig, flies: bool) -> None:
    lane = writing.engine._state.lanes[0]
    assert lane.flight is not None
    lane.flight = evolve(lane.flight, keepers=()) if flies else None

    assert held(writing) == f"engine: w1 holds {TICK}, for which nothing will come"


def test_a_read_that_is_awaited_is_on_its_way(asking: Rig) -> None:
    lane = asking.engine._state.lanes[0]
    assert lane.flight is not None
    lane.flight = evolve(lane.flight, batch=evolve(lane.flight.batch, loads=(CHORE,)))

    assert held(asking) == f"engine: w1 holds {TICK}, for which nothing will come"


def test_an_engine_that_has_closed_holds_what_it_held(running: Rig) -> None:
    take(running.engine._state.slots, 1)
    running.engine._state.closed = True

    assert held(running) is None
