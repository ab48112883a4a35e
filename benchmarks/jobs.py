"""The job that is measured: about 100 bytes of state, a handler that increments a counter."""

from __future__ import annotations

from attrs import define, evolve

from durable_jobs_core import Continuous, ContinuousContext, create_durable_jobs, every


@define
class Counter:
    """A hundred bytes of JSON or so."""

    n: int
    note: str = "a note that makes this state about as long as a small real one"


@Continuous.job(state=Counter, schedule=every("1 hour"))
async def count(ctx: ContinuousContext[Counter]) -> None:
    """Increment."""
    ctx.set_state(evolve(ctx.state, n=ctx.state.n + 1))


JOBS = create_durable_jobs({"count": count})
