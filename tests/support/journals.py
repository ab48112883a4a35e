"""Journals of simulated runs, and jobs whose hooks depend on nothing but what they are shown."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import define
from durable_jobs_simulation import Faults, Simulation, node, simulate

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DurableJobsError,
    Jobs,
    Retry,
    Task,
    TaskContext,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Engine
from durable_jobs_core.journal import Journal


@define
class Number:
    n: int = 0


def make_jobs(*, mended: bool = False) -> Jobs:
    """`mended`: no hook fails."""

    async def tick(ctx: ContinuousContext[Number]) -> None:
        if ctx.state.n % 3 == 2 and not ctx.is_retry and not mended:
            raise ValueError(f"{ctx.state.n} is refused at first")
        ctx.set_state(Number(ctx.state.n + 1))

    def add_up(ctx: DebounceEventContext[Number, Number]) -> Number:
        if ctx.event.n == 4 and not mended:
            raise ValueError("four is refused")
        return Number((ctx.state.n if ctx.state else 0) + ctx.event.n)

    async def flush(ctx: DebounceContext[Number]) -> None:
        if ctx.state.n % 2 and not mended:
            raise ValueError("odd")

    async def on_event(event: Number, ctx: TaskContext[Number]) -> None:
        ctx.update_state(lambda state: Number((state.n if state else 0) + event.n))
        ctx.schedule("3 seconds")

    def execute(ctx: TaskContext[Number]) -> None:
        assert ctx.state is not None
        if ctx.state.n > 9:
            ctx.terminate("enough")
        if ctx.attempt < ctx.state.n % 3 and not mended:
            raise ValueError("not yet")

    retry = Retry(max_attempts=3)
    sums = Debounce.make(
        event=Number, state=Number, flush_after="5 seconds", on_event=add_up, execute=flush, retry=retry
    )
    return create_durable_jobs(
        {
            "tick": Continuous.make(state=Number, schedule=every("40 seconds"), execute=tick, retry=retry),
            "sums": sums,
            "orders": Task.make(event=Number, state=Number, on_event=on_event, execute=execute, retry=retry),
        }
    )


async def scenario(sim: Simulation) -> None:
    """A minute of requests to one instance of each."""
    tick, sums = sim.client.continuous("tick"), sim.client.debounce("sums")
    orders = sim.client.task("orders")
    for n in range(8):
        with suppress(DurableJobsError):
            await tick.start("a", Number(n))
        with suppress(DurableJobsError):
            await sums.add("a", Number(n), event_id=f"{n}")
        with suppress(DurableJobsError):
            await orders.send("a", Number(n), event_id=f"{n}")
        await sim.sleep("7 seconds")
    with suppress(DurableJobsError):
        await tick.terminate("a")


def journals(
    jobs: Jobs, of: Any = scenario, *, seed: int = 0, faults: Faults | None = None, nodes: int = 1
) -> dict[str, list[bytes]]:
    """The journals of one run: of each engine, and `all` in one. Without faults if none are given."""
    kept: dict[str, list[bytes]] = defaultdict(list)

    def engine(*args: Any, **kwargs: Any) -> Engine:
        def write(line: bytes) -> None:
            kept["all"].append(line)
            kept[f"{kwargs['node']:x}"].append(line)

        return Engine(*args, journal=Journal(write), **kwargs)

    with patch.object(node, "Engine", engine):
        simulate(jobs, of, seed=seed, faults=faults or Faults(), nodes=nodes, until="2 minutes")
    return dict(kept)


def written(lines: list[bytes], path: Path) -> Path:
    """The lines in a file."""
    path.write_bytes(b"".join(lines))
    return path
