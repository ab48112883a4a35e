"""Jobs that are made anew for each life of a node: what hooks keep in memory dies with it, as in truth."""

from __future__ import annotations

from typing import Any

import pytest
from durable_jobs_simulation import Faults, Simulation, Trace, Violation, simulate, sleep
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.machine import JobsMachine
from durable_jobs_simulation.pytest_plugin import SimulateJobs

from durable_jobs_core import DefinitionError, Jobs, Task, TaskContext, create_durable_jobs
from durable_jobs_core.engine import Limits

CRASHES = Faults(crash=0.02)
LIMITS = Limits(lease=3_000)


class Orders:
    """Charges once, as far as memory goes: wrong."""

    def __init__(self) -> None:
        self.charged: list[str] = []
        self.made = 0

    def jobs(self) -> Jobs:
        self.made += 1
        done: set[str] = set()

        async def accept(event: str, ctx: TaskContext[str]) -> None:
            ctx.schedule("0 seconds")

        async def charge(ctx: TaskContext[str]) -> None:
            if ctx.instance_id not in done:
                self.charged.append(ctx.instance_id)
                done.add(ctx.instance_id)
            await sleep("100 ms")

        orders = Task.make(state=str, event=str, on_event=accept, execute=charge)
        return create_durable_jobs({"orders": orders})

    def once(self, sim: Simulation) -> None:
        assert len(self.charged) == len(set(self.charged)), "charged twice"


async def order(sim: Simulation) -> None:
    for number in range(5):
        sim.spawn(sim.client.task("orders").send(f"{number}", "go"))
        await sim.sleep("5 seconds")


def run(jobs: Any, seed: int, orders: Orders) -> Trace:
    return simulate(
        jobs, order, seed=seed, faults=CRASHES, nodes=1, clients=0, limits=LIMITS, invariants=[orders.once]
    )


def test_what_a_hook_remembers_dies_with_its_worker_if_its_jobs_are_made_anew() -> None:
    for seed in range(20):
        orders = Orders()
        run(orders.jobs(), seed, orders)

    for seed in range(20):
        orders = Orders()
        try:
            run(orders.jobs, seed, orders)
        except Violation as violation:
            lives = sum(event.what == "start" for event in violation.trace.events)
            assert orders.made == lives + 1, "each, and those that clients are typed by"
            return
    pytest.fail("nothing was found")


def test_the_same_seed_gives_the_same_trace_of_jobs_that_are_made_anew() -> None:
    wrong, again = Orders(), Orders()
    faults = Faults(redeploy=0.02)

    first, second = (
        simulate(orders.jobs, order, seed=2, faults=faults, limits=LIMITS) for orders in (wrong, again)
    )

    assert wrong.made == again.made > 3
    assert first.digest == second.digest


def test_a_case_may_make_its_jobs_anew(tmp_path: Any) -> None:
    def case() -> Case:
        orders = Orders()
        return Case(
            name="orders",
            jobs=orders.jobs,
            scenario=order,
            invariants=[orders.once],
            faults=CRASHES,
            limits=LIMITS,
        )

    with pytest.raises(Violation, match="charged twice"):
        SimulateJobs(None, None, tmp_path)(case)


def test_a_machine_may_make_its_jobs_anew() -> None:
    class Ordering(JobsMachine):
        def make_jobs(self) -> Any:
            self.orders = Orders()
            return self.orders.jobs

    machine = Ordering()
    machine.ask(machine.client.task("orders").send("a", "go"))
    machine.node_crashes("w1", "a hook has ended")
    machine.next_alarm_comes()
    machine.next_alarm_comes()
    machine.teardown()

    assert machine.orders.charged == ["task:orders:a"] * 2


@pytest.mark.parametrize(
    ("jobs", "got"),
    [
        (lambda: None, "None"),
        (list, r"\[\]"),
        (lambda: [Orders().jobs()], r"\[Jobs"),
        (lambda: create_durable_jobs({}), "Jobs"),
    ],
)
def test_what_makes_no_jobs_is_told(jobs: Any, got: str) -> None:
    expected = r"jobs\(\): expected what create_durable_jobs gives for one job or more, got "
    with pytest.raises(DefinitionError, match=expected + got):
        run(jobs, 1, Orders())


def test_what_makes_jobs_but_once_is_told() -> None:
    made = iter((Orders().jobs(), None))

    with pytest.raises(DefinitionError, match=r"jobs\(\): expected .*, got None"):
        run(lambda: next(made), 1, Orders())
