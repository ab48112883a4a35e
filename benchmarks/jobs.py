"""The job that is measured: about 100 bytes of state, a handler that increments a counter."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, evolve

from durable_jobs_core import Continuous, ContinuousContext, create_durable_jobs, every

T = TypeVar("T")


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


def at_once(running: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        running.send(None)
    except StopIteration as over:
        returned: T = over.value
        return returned
    raise AssertionError("the handler of the benchmark waits for nothing")
