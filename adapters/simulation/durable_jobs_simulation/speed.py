"""How fast the simulation is: instance-years of an hourly job a CPU minute, with all checks."""

from __future__ import annotations

import time

from durable_jobs_core import Continuous, ContinuousContext, create_durable_jobs, every
from durable_jobs_core.engine import Limits
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.simulation import Simulation, simulate

INSTANCES = 50
DAYS = 4
FAULTS = Faults(crash=0.0005, lost_answer=0.01, lost_request=0.01, unknown=0.01, hook_failure=0.01)


async def _count(ctx: ContinuousContext[int]) -> None:
    ctx.set_state(ctx.state + 1)


async def _scenario(sim: Simulation) -> None:
    client = sim.client.continuous("hourly")
    for number in range(INSTANCES):
        while True:
            try:
                await client.start(f"{number}", 0)
            except DurableJobsError:
                await sim.sleep("1 second")
            else:
                break
    await sim.sleep(f"{DAYS} days")


def measure() -> str:
    """One line of figures."""
    job = Continuous.make(state=int, schedule=every("1 hour"), execute=_count)
    began = time.process_time()
    trace = simulate(
        create_durable_jobs({"hourly": job}),
        _scenario,
        seed=1,
        faults=FAULTS,
        until=f"{DAYS + 1} days",
        limits=Limits(poll=60_000),
    )
    seconds = time.process_time() - began
    years = INSTANCES * trace.ms / (365 * 86_400_000)
    return (
        f"{years * 60 / seconds:.1f} instance-years of an hourly job a CPU minute, "
        f"{trace.steps / seconds:.0f} steps/s, simulated to CPU time {trace.ms / 1000 / seconds:.0f}:1, "
        f"{sum(trace.hits.values()) * 60 / seconds:.0f} faults a CPU minute"
    )
