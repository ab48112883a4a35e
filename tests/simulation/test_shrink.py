"""A run that fails is shrunk: what is left of it is needed."""

from __future__ import annotations

import charging
import pytest
from attrs import evolve
from durable_jobs_simulation import Event, Faults, Simulation, Trace, Violation
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.faults import ALL
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


def fails(sim: Simulation) -> None:
    raise AssertionError("as always")


def violates(case: Case, seed: int, faults: Faults | None = None) -> Trace | None:
    """The trace, if it does."""
    try:
        case.run(seed, faults)
    except Violation as violation:
        return violation.trace
    return None


@pytest.mark.parametrize("seed", [3, 5, 7, 12, 17])
def test_each_fault_that_is_left_is_needed_and_has_struck(seed: int) -> None:
    trace = violates(index(), seed)
    assert trace is not None

    small = shrink(index, trace, "the_last_is_stored")

    assert set(small.faults.rates()) <= set(small.hits)
    for name in small.faults.rates():
        case = evolve(index(), nodes=small.nodes, clients=small.clients)
        without = violates(case, seed, small.faults.without(name))
        longest = 2 * len(small.events)
        assert without is None or len(without.events) > longest, f"it fails without {name} too"


def test_a_fault_that_only_spares_workers_from_looking_for_work_is_not_left() -> None:
    def waits() -> Case:
        async def scenario(sim: Simulation) -> None:
            await sim.sleep("5 minutes")

        return evolve(index(), scenario=scenario, at_end=[fails], faults=Faults(slow=0.2))

    trace = violates(waits(), 0)
    assert trace is not None

    assert not shrink(waits, trace, "fails").faults.rates()


def test_of_several_faults_each_of_which_would_do_one_is_left() -> None:
    trace = violates(charging.wrong(), 149)
    assert trace is not None

    assert len(shrink(charging.wrong, trace, "nobody_pays_twice").faults.rates()) == 1


def test_one_that_is_singled_out_is_no_rarer_than_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[dict[str, float]] = []
    runs: list[tuple[object, ...]] = []

    def tried(case: Case, seed: int, faults: Faults) -> tuple[Trace, None]:
        tries.append(faults.rates())
        runs.append((faults, case.nodes, case.clients))
        return Trace(seed=seed, faults=faults), None

    monkeypatch.setattr("durable_jobs_simulation.shrink.tried", tried)
    faults = Faults(crash=0.5, stall=0.0012, woken=0.1)
    shrink(index, Trace(seed=3, faults=faults, nodes=2, clients=1), "the_last_is_stored")

    alone = {name: {rates[name] for rates in tries if rates.keys() == {name}} for name in faults.rates()}
    assert alone == {"crash": {0.5}, "stall": {0.0012, 0.0024, 0.006}, "woken": {0.1, 0.2, 0.25}}
    assert len(runs) == len(set(runs)), "none is tried twice"


def test_the_first_that_does_alone_is_taken_and_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[dict[str, float]] = []

    def tried(case: Case, seed: int, faults: Faults) -> tuple[Trace, Violation | None]:
        tries.append(faults.rates())
        trace = Trace(seed=seed, faults=faults)
        alone = faults.rates() in ({"crash": 0.01}, {"woken": 0.2})
        return trace, Violation("the_last_is_stored", "", trace) if alone else None

    monkeypatch.setattr("durable_jobs_simulation.shrink.tried", tried)
    trace = Trace(seed=3, faults=Faults(crash=0.01, slow=0.1, woken=0.2))

    assert shrink(index, trace, "the_last_is_stored").faults == Faults(crash=0.01)
    assert [rates for rates in tries if len(rates) == 1][:2] == [{"crash": 0.01}, {"crash": 0.0025}]


def test_a_run_that_is_much_longer_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event(1, 1, "w1", "start", None, (), False)
    trace = Trace(seed=3, faults=Faults(crash=0.01, slow=0.1), events=[event] * 2)

    def tried(case: Case, seed: int, faults: Faults) -> tuple[Trace, Violation]:
        longer = Trace(seed=seed, faults=faults, events=[event] * 5)
        return longer, Violation("the_last_is_stored", "", longer)

    monkeypatch.setattr("durable_jobs_simulation.shrink.tried", tried)

    assert shrink(index, trace, "the_last_is_stored") is trace


def test_a_smaller_run_in_which_something_else_is_wrong_is_not_taken() -> None:
    def waits_for_a_failure() -> Case:
        again: list[int] = []

        async def store(ctx: DebounceContext[str]) -> None:
            again.extend([ctx.attempt] * ctx.is_retry)

        async def scenario(sim: Simulation) -> None:
            while not again:
                await sim.client.debounce(job).add("shop", "x 1")
                await sim.sleep("1 minute")

        job = Debounce.make(event=str, flush_after="5 seconds", execute=store)
        jobs = create_durable_jobs({"index": job})
        faults = Faults(hook_failure=0.5, slow=0.1)
        return Case(name="waits", jobs=jobs, scenario=scenario, at_end=[fails], faults=faults)

    trace = violates(waits_for_a_failure(), 0)
    assert trace is not None

    assert set(shrink(waits_for_a_failure, trace, "fails").faults.rates()) == {"hook_failure"}


def test_no_more_workers_are_left_than_it_needs() -> None:
    def always() -> Case:
        def never(sim: Simulation) -> None:
            assert not sim.records(), "something is stored"

        return evolve(index(), invariants=[never])

    trace = violates(always(), 3)
    assert trace is not None

    small = shrink(always, trace, "never")

    assert (small.nodes, small.clients) == (1, 0)


def test_what_is_left_out_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer nodes, then one lane, then the fault that only the larger run needed."""
    tries: list[tuple[Faults, int, int, int | None]] = []

    def tried(case: Case, seed: int, faults: Faults) -> tuple[Trace, Violation | None]:
        run = faults, case.nodes, case.clients, case.lanes
        tries.append(run)
        trace = Trace(seed=seed, faults=faults, nodes=run[1], clients=run[2], lanes=run[3] or 3)
        fails = case.clients == 1 and (case.nodes == 1 or faults.rates().keys() == {"crash", "slow"})
        return trace, Violation("the_last_is_stored", "", trace) if fails else None

    monkeypatch.setattr("durable_jobs_simulation.shrink.tried", tried)
    faults = Faults(crash=0.1, slow=0.1)
    trace = Trace(seed=3, faults=faults, nodes=2, clients=1, lanes=3)

    small = shrink(lambda: evolve(index(), lanes=None), trace, "the_last_is_stored")

    assert (small.faults, small.nodes, small.clients, small.lanes) == (Faults(), 1, 1, 1)
    last = [run[1:] for run in tries[-3:]]
    assert last == [(1, 1, 1)] * 3, "each of the last tries is of the smaller run"


def test_a_search_for_a_smaller_run_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def tried(case: Case, seed: int, faults: Faults) -> tuple[Trace, None]:
        return Trace(seed=seed, faults=faults), None

    monkeypatch.setattr("durable_jobs_simulation.shrink.tried", tried)
    monkeypatch.setattr("durable_jobs_simulation.shrink.RUNS_MAX", 7)
    faults = Faults(**dict.fromkeys(ALL, 0.001))
    shrink(index, Trace(seed=3, faults=faults), "it", told=lambda number, best: told.append(number))

    assert told == [1, 2, 3, 4, 5, 6, 7]
