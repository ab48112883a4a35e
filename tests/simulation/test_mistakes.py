"""A test that is written wrongly is told so: it may not pass for a handler that is right."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
import trio
from durable_jobs_simulation import Faults, Simulation, SimulationError, Trace, Violation, current, simulate
from durable_jobs_simulation.machine import JobsMachine

from durable_jobs_core import (
    DefinitionError,
    DuplicateEventError,
    Jobs,
    Key,
    Task,
    TaskContext,
    create_durable_jobs,
)
from durable_jobs_core.engine import Limits

NONE = Faults()


async def nothing(ctx: TaskContext[str]) -> None: ...


def make_jobs(execute: Any = nothing) -> Jobs:
    async def on_event(event: str, ctx: TaskContext[str]) -> None:
        ctx.schedule("0 seconds")

    return create_durable_jobs(
        {"orders": Task.make(state=str, event=str, on_event=on_event, execute=execute)}
    )


async def order(sim: Simulation) -> None:
    await sim.client.task("orders").send("a", "go")


def run(scenario: Any = order, execute: Any = nothing, **options: Any) -> Trace:
    arguments: dict[str, Any] = {"seed": 1, "faults": NONE, "limits": Limits(), **options}
    return simulate(make_jobs(execute), scenario, **arguments)


# -- scenarios


async def unknown_job(sim: Simulation) -> None:
    await sim.client.task("order").send("a", "go")


async def wrong_event(sim: Simulation) -> None:
    await sim.client.task("orders").send("a", 5)


async def no_duration(sim: Simulation) -> None:
    await sim.sleep("soon")


async def a_bug(sim: Simulation) -> None:
    raise KeyError("a")


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (unknown_job, "scenario raised JobNotFoundError: .*'order'"),
        (wrong_event, "scenario raised ValidationError: .*expected str"),
        (no_duration, "scenario raised ValidationError: .*'soon'"),
        (a_bug, "scenario raised KeyError: 'a'"),
    ],
)
def test_a_scenario_that_is_wrong_itself_does_not_pass_for_one_that_was_refused(
    scenario: Any, said: str
) -> None:
    with pytest.raises(SimulationError, match=said):
        run(scenario)


async def refused(sim: Simulation) -> None:
    await sim.client.task("orders").send("a", "go", event_id="1")
    await sim.client.task("orders").send("a", "go", event_id="1")


async def refused_later(sim: Simulation) -> None:
    try:
        await refused(sim)
    finally:
        await sim.sleep("1 second")


async def refused_beside(sim: Simulation) -> None:
    sim.spawn(refused(sim), "beside")
    await sim.sleep("1 second")


REFUSALS = [(refused, "scenario"), (refused_later, "scenario"), (refused_beside, "beside")]


@pytest.mark.parametrize(("scenario", "who"), REFUSALS)
def test_a_request_that_is_refused_before_any_fault_has_struck_is_told(scenario: Any, who: str) -> None:
    said = (
        f"^{who}: send 1 of task:orders:a raised DuplicateEventError: .*, and no fault had struck: expected"
    )
    for faults in (NONE, Faults(damage=1e-9)):
        with pytest.raises(SimulationError, match=said) as raised:
            run(scenario, faults=faults)
        assert isinstance(raised.value.__cause__, DuplicateEventError)


@pytest.mark.parametrize(("scenario", "who"), REFUSALS)
def test_a_request_that_is_refused_after_a_fault_has_struck_ends_its_client(scenario: Any, who: str) -> None:
    trace = run(scenario, faults=Faults(drift=1.0))

    gave_up = [event.details for event in trace.events if event.what == "gave up"]
    assert gave_up == [(who, "DuplicateEventError")]


def test_a_mishap_is_a_fault_that_has_struck() -> None:
    async def unlucky(sim: Simulation) -> None:
        assert sim.mishap("the bank is down", 1.0)
        await refused(sim)

    assert "gave up" in {event.what for event in run(unlucky).events}


def test_a_node_that_is_not_there_is_told() -> None:
    async def elsewhere(sim: Simulation) -> None:
        await sim.client_of("w7").task("orders").send("a", "go")

    with pytest.raises(SimulationError, match=r"client_of\('w7'\): expected None, or one of w1, w2, c1"):
        run(elsewhere, faults=Faults(drift=1.0))


@pytest.mark.parametrize("what", [None, 7, order])
def test_what_is_no_coroutine_is_told(what: Any) -> None:
    with pytest.raises(DefinitionError, match="expected what an async def gives when it is called, got"):
        run(lambda sim: what)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_scenario_ends_the_program(interrupt: type[BaseException]) -> None:
    async def interrupted(sim: Simulation) -> None:
        raise interrupt

    with pytest.raises(interrupt):
        run(interrupted)


def test_a_scenario_is_run_to_its_end_also_once_the_faults_are_over() -> None:
    ended: list[bool] = []

    async def long(sim: Simulation) -> None:
        await sim.sleep("15 minutes")
        await order(sim)
        ended.append(sim.calm)

    trace = run(long, until="10 minutes", at_end=[lambda sim: ended.append(not sim.active)])

    assert ended == [True, True]
    assert trace.counts["attempts"] == 1, "what is due at the end of it is done too"


def test_a_scenario_that_does_not_end_is_told() -> None:
    async def endless(sim: Simulation) -> None:
        while True:
            await sim.sleep("1 second")

    with pytest.raises(SimulationError, match=r"scenario still runs .*`until`"):
        run(endless, until="1 minute")


def test_a_scenario_that_goes_on_for_as_long_as_there_are_faults_ends_then() -> None:
    async def patient(sim: Simulation) -> None:
        while not sim.calm:
            await sim.sleep("1 second")

    assert run(patient, until="1 minute").ms < 130_000


async def interrupted(ctx: TaskContext[str]) -> None:
    raise KeyboardInterrupt


def interrupted_in_a_thread(ctx: TaskContext[str]) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("execute", [interrupted, interrupted_in_a_thread])
def test_an_interrupt_while_a_hook_runs_ends_the_program(execute: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(order, execute)


# -- invariants


async def asynchronous(sim: Simulation) -> None:
    raise AssertionError


def says_whether(sim: Simulation) -> bool:
    return False


@pytest.mark.parametrize("when", ["invariants", "at_end"])
@pytest.mark.parametrize("invariant", [asynchronous, says_whether])
def test_an_invariant_that_gives_something_has_not_asserted_it(invariant: Any, when: str) -> None:
    with pytest.raises(SimulationError, match=rf"{invariant.__name__} .* expected .* asserts"):
        run(**{when: [invariant]})


KEY = Key("task", "orders", "a")


def it_is_stored(sim: Simulation) -> None:
    assert sim.records()[KEY]


@pytest.mark.parametrize("when", ["invariants", "at_end"])
def test_an_invariant_that_raises_no_assertion_has_not_held_and_is_named_with_its_line(when: str) -> None:
    with pytest.raises(Violation) as raised:
        run(**{when: [it_is_stored]}, scenario=lambda sim: sim.sleep("1 second"))

    line = it_is_stored.__code__.co_firstlineno + 1
    assert raised.value.invariant == "it_is_stored"
    assert raised.value.why == f"it raised KeyError in line {line} of test_mistakes.py: {KEY!r}"
    assert raised.value.trace.steps
    assert isinstance(raised.value.__cause__, KeyError)


def test_an_assertion_that_says_nothing_does_not_hold() -> None:
    with pytest.raises(Violation) as raised:
        run(invariants=[raises_nothing_in_words])

    assert (raised.value.invariant, raised.value.why) == ("raises_nothing_in_words", "it does not hold")


def raises_nothing_in_words(sim: Simulation) -> None:
    raise AssertionError


def test_an_invariant_that_is_no_python_is_named_if_it_raises() -> None:
    with pytest.raises(Violation, match=r"^invariant: it raised TypeError: "):
        run(invariants=[partial(int, base=2)])


def test_what_an_invariant_asks_in_vain_is_no_violation() -> None:
    def wrong(sim: Simulation) -> None:
        sim.client_of("w7")

    with pytest.raises(SimulationError, match="w7"):
        run(invariants=[wrong])


# -- hooks that want an event loop


async def waits(ctx: TaskContext[str]) -> None:
    await asyncio.Event().wait()


async def opens_a_nursery(ctx: TaskContext[str]) -> None:
    async with trio.open_nursery():
        pass


async def asks_which_loop(ctx: TaskContext[str]) -> None:
    """As HTTP clients do that work on several."""
    import sniffio

    sniffio.current_async_library()


@pytest.mark.parametrize("execute", [waits, opens_a_nursery, asks_which_loop])
def test_a_hook_that_wants_an_event_loop_is_no_attempt_that_failed(execute: Any) -> None:
    with pytest.raises(SimulationError, match="execute of orders wants a real event loop"):
        run(order, execute)


@pytest.mark.parametrize("rate", [5, -1, float("nan"), None])
def test_the_rate_of_a_mishap_is_from_0_to_1_and_another_one_is_no_failed_attempt(rate: Any) -> None:
    async def calls(ctx: TaskContext[str]) -> None:
        current().mishap("the bank is down", rate)

    with pytest.raises(SimulationError, match=r"the bank is down.*: expected a rate from 0 to 1, got"):
        run(order, calls)


def test_how_long_a_mishap_lasts_is_a_duration() -> None:
    async def calls(ctx: TaskContext[str]) -> None:
        current().mishap("the bank is down", 0.5, lasts="a while")

    with pytest.raises(SimulationError, match=r"mishap\('the bank is down', lasts\).*'a while'"):
        run(order, calls)


def test_an_attribute_that_a_hook_misses_is_a_failed_attempt() -> None:
    async def wrong(ctx: TaskContext[str]) -> None:
        ctx.nope  # type: ignore[attr-defined]  # noqa: B018

    assert "raised" in {event.what for event in run(order, wrong).events}


# -- arguments


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"nodes": -1}, "nodes: expected a whole number, 0 or more, got -1"),
        ({"nodes": 1.5}, "nodes: expected a whole number"),
        ({"clients": "2"}, "clients: expected a whole number"),
        ({"nodes": 0, "clients": 0}, "nodes, clients: expected 1 or more of either"),
        ({"seed": "a"}, "seed: expected a whole number"),
        ({"faults": {"crash": 0.1}}, "faults: expected Faults"),
        ({"limits": {"lease": 1}}, "limits: expected Limits"),
    ],
)
def test_an_argument_that_cannot_be_is_told_before_anything_runs(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        run(**wrong)


@pytest.mark.parametrize("jobs", [[], None, {"orders": 1}, ["orders"], [make_jobs], create_durable_jobs({})])
def test_jobs_that_are_none_are_told(jobs: Any) -> None:
    with pytest.raises(DefinitionError, match="jobs: expected what create_durable_jobs gives"):
        simulate(jobs, order, seed=1)


@pytest.mark.parametrize("rate", [1.5, -0.1, float("nan"), "0.1", None])
def test_the_rate_of_a_fault_is_from_0_to_1(rate: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Faults\(crash\): expected a number from 0 to 1, got"):
        Faults(crash=rate)


# -- state machines


class Orders(JobsMachine):
    def make_jobs(self) -> Jobs:
        return make_jobs()


def test_a_rule_that_asks_what_is_no_coroutine_is_told() -> None:
    with pytest.raises(DefinitionError, match="a rule: expected what an async def gives when it is called"):
        Orders().ask(5)  # type: ignore[arg-type]


def test_an_end_that_gives_something_has_not_asserted_it() -> None:
    machine = type("Machine", (Orders,), {"at_end": asynchronous})()

    with pytest.raises(SimulationError, match=r"at_end gave .* expected .* asserts"):
        machine.teardown()


def test_a_machine_without_jobs_is_named() -> None:
    with pytest.raises(NotImplementedError, match="JobsMachine defines no make_jobs"):
        JobsMachine()


def test_what_asks_for_the_simulation_outside_of_one_is_told() -> None:
    with pytest.raises(LookupError, match="no simulation runs this: expected a hook or a scenario"):
        current()
