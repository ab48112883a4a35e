"""A run that fails is shrunk: what is left of it is needed."""

from __future__ import annotations

import pytest
from attrs import evolve
from durable_jobs_simulation import Faults, Simulation, Trace, Violation
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.shrink import shrink

from durable_jobs_core import Debounce, DebounceContext, DebounceEventContext, create_durable_jobs
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.words import Key

KEY = Key("debounce", "index", "shop")
State = dict[str, int]


def index() -> Case:
    """Of documents that change: wrong, it keeps the first version in a window and not the last."""
    stored: State = {}
    changed: State = {}

    def keep(ctx: DebounceEventContext[str, State]) -> State:
        name, _, version = ctx.event.partition(" ")
        return {name: int(version), **(ctx.state or {})}

    async def store(ctx: DebounceContext[State]) -> None:
        stored.update(ctx.state)

    async def scenario(sim: Simulation) -> None:
        for number in range(1, 13):
            name = sim.dice.choose("xyz")
            try:
                await sim.client.debounce(job).add("shop", f"{name} {number}")
                changed[name] = number
            except DurableJobsError:
                pass
            await sim.sleep("7 seconds")

    def the_last_is_stored(sim: Simulation) -> None:
        if sim.status(KEY) in ("idle", "not_found") and not sim.damaged(KEY):
            late = [name for name, version in changed.items() if stored.get(name, 0) < version]
            assert not late, f"{late} are of yesterday"

    job = Debounce.make(event=str, state=State, flush_after="30 seconds", on_event=keep, execute=store)
    return Case(
        name="index",
        jobs=create_durable_jobs({"index": job}),
        scenario=scenario,
        at_end=[the_last_is_stored],
    )


def violates(case: Case, seed: int, faults: Faults | None = None) -> Trace | None:
    """The trace, if it does."""
    try:
        case.run(seed, faults)
    except Violation as violation:
        return violation.trace
    return None


@pytest.mark.parametrize("seed", [3, 5, 7, 11, 12])
def test_each_fault_that_is_left_is_needed_and_has_struck(seed: int) -> None:
    trace = violates(index(), seed)
    assert trace is not None

    small = shrink(index, trace, "the_last_is_stored")

    assert set(small.faults.rates()) <= set(small.hits)
    for name in small.faults.rates():
        case = evolve(index(), nodes=small.nodes, clients=small.clients)
        without = violates(case, seed, small.faults.without(name))
        assert without is None or without.steps > 2 * small.steps, f"it fails without {name} too"


def test_no_more_workers_are_left_than_it_needs() -> None:
    def always() -> Case:
        def never(sim: Simulation) -> None:
            assert not sim.records(), "something is stored"

        return evolve(index(), invariants=[never])

    trace = violates(always(), 3)
    assert trace is not None

    small = shrink(always, trace, "never")

    assert (small.nodes, small.clients) == (1, 0)
