"""Context variables in a simulation: each hook has its own, as on a real driver."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
from durable_jobs_simulation import Faults, Simulation, current, simulate, sleep
from durable_jobs_simulation.machine import JobsMachine

from durable_jobs_core import Debounce, DebounceEventContext, Jobs, Task, TaskContext, create_durable_jobs

MINE: ContextVar[str] = ContextVar("mine", default="unset")


async def waits(ctx: TaskContext[str]) -> None:
    set_once(ctx.instance_id)
    await sleep("1 second")
    assert MINE.get() == ctx.instance_id


def plain(ctx: TaskContext[str]) -> None:
    set_once(ctx.instance_id)


def set_once(value: str) -> None:
    """Set it; fail if another hook has."""
    if MINE.get() != "unset":
        current().fail(f"{value} sees what {MINE.get()} has set")
    MINE.set(value)


def make_jobs(execute: Any) -> Jobs:
    async def on_event(event: str, ctx: TaskContext[str]) -> None:
        ctx.schedule("0 seconds")

    def fold(ctx: DebounceEventContext[str, str]) -> str:
        set_once(ctx.instance_id)
        return ctx.event

    return create_durable_jobs(
        {
            "orders": Task.make(state=str, event=str, on_event=on_event, execute=execute),
            "box": Debounce.make(
                state=str, event=str, on_event=fold, execute=lambda ctx: None, flush_after="1s"
            ),
        }
    )


async def two_of_each(sim: Simulation) -> None:
    MINE.set("the scenario")
    for id in ("a", "b"):
        await sim.client.task("orders").send(id, "go")
        await sim.client.debounce("box").add(id, "go")
    assert MINE.get() == "the scenario"


@pytest.mark.parametrize("execute", [waits, plain])
def test_a_hook_has_a_context_of_its_own(execute: Any) -> None:
    simulate(make_jobs(execute), two_of_each, seed=1, faults=Faults())

    assert MINE.get() == "unset", "nothing is left for the next run"


def test_hooks_that_rules_ask_for_know_the_simulation() -> None:
    class Machine(JobsMachine):
        def make_jobs(self) -> Jobs:
            return make_jobs(waits)

    machine = Machine()
    machine.spawn(two_of_each(machine.sim))
    machine.ask(two_of_each(machine.sim))
    machine.time_passes("10 seconds")
    machine.teardown()

    assert MINE.get() == "unset"


def test_a_rule_and_what_it_spawns_may_ask_for_the_simulation() -> None:
    machine = type("Machine", (JobsMachine,), {"make_jobs": lambda self: make_jobs(waits)})()
    asked: list[Simulation] = []

    async def asks() -> None:
        asked.append(current())

    machine.ask(asks())
    machine.spawn(asks())
    machine.time_passes("1 second")

    assert asked == [machine.sim, machine.sim]
