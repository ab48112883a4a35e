"""A scenario for drivers: attempts that must not overlap, outlive their time, or be lost at a redeploy."""

from __future__ import annotations

from collections import Counter

from attrs import evolve
from durable_jobs_simulation import Simulation, current, sleep
from durable_jobs_simulation.case import Case

from durable_jobs_core import Continuous, ContinuousContext, DurableJobsError, create_durable_jobs, every


def attempts(*, punctual: bool = False) -> Case:
    """One node, whose handlers run in its loop; they take a second, or hang, while there are faults.

    `punctual`: nothing is wrong with hooks or nodes, so that they end when they are cancelled.
    """
    running: Counter[str] = Counter()
    ended: set[str] = set()

    async def execute(ctx: ContinuousContext[int]) -> None:
        id, hangs = ctx.instance_id, not current().calm and current().dice.chance(0.3)
        running[id] += 1
        try:
            if running[id] > 1:
                current().fail(f"S-11: {running[id]} attempts of {id} at a time in one process")
            if ctx.crashes:
                current().fail(f"S-67: an attempt of {id} was not handed back")
            await sleep("1 second")
            if hangs:
                await sleep("20 seconds")
            if hangs and punctual:
                current().fail(f"{'S-36' if id in ended else 'S-15'}: {id} went on after its time")
        finally:
            running[id] -= 1

    make = Continuous.make
    short = make(state=int, schedule=every("10 seconds"), execute=execute, timeout="4 seconds")
    ending = make(state=int, schedule=every("10 seconds"), execute=execute)

    async def scenario(sim: Simulation) -> None:
        sim._world.prompt.judges = True
        for id in "abc":
            sim.spawn(_use(sim, "short", id))
            sim.spawn(_use(sim, "ending", id))
        await sim.sleep("1 minute")

    async def _use(sim: Simulation, job: str, id: str) -> None:
        client = sim.client.continuous(job)
        while not sim.calm:
            try:
                await client.start(id, 0)
                await sim.sleep("3 seconds")
                if job == "ending" and (await client.terminate(id)).terminated:
                    ended.add(f"continuous:{job}:{id}")
            except DurableJobsError:
                await sim.sleep("1 second")

    jobs = create_durable_jobs({"short": short, "ending": ending})
    return Case(name="attempts", jobs=jobs, scenario=scenario, nodes=1, clients=0)


def apart() -> Case:
    """The same with a node that only serves callers: what it starts the worker has to find."""
    return evolve(attempts(), clients=1)


def punctual() -> Case:
    """The same, in which a handler that was cancelled has to end at once."""
    return attempts(punctual=True)
