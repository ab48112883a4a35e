"""A journal that was kept under every fault is replayed step by step, whatever struck."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from durable_jobs_simulation import Dice, Simulation, node, replay, simulate
from durable_jobs_simulation.faults import swarm

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

HOOK_FAULTS = ("hook_failure", "hook_exit", "hook_slow", "hook_hang", "hook_deaf", "damage", "newer")


@define
class Number:
    n: int = 0


def make_jobs() -> Jobs:
    """Hooks whose ends depend on nothing but what they are shown."""

    async def tick(ctx: ContinuousContext[Number]) -> None:
        if ctx.state.n % 3 == 2 and not ctx.is_retry:
            raise ValueError(f"{ctx.state.n} is refused at first")
        ctx.set_state(Number(ctx.state.n + 1))

    def add_up(ctx: DebounceEventContext[Number, Number]) -> Number:
        if ctx.event.n == 4:
            raise ValueError("four is refused")
        return Number((ctx.state.n if ctx.state else 0) + ctx.event.n)

    async def flush(ctx: DebounceContext[Number]) -> None:
        if ctx.state.n % 2:
            raise ValueError("odd")

    async def on_event(event: Number, ctx: TaskContext[Number]) -> None:
        ctx.update_state(lambda state: Number((state.n if state else 0) + event.n))
        ctx.schedule("3 seconds")

    def execute(ctx: TaskContext[Number]) -> None:
        assert ctx.state is not None
        if ctx.state.n > 9:
            ctx.terminate("enough")
        if ctx.attempt < ctx.state.n % 3:
            raise ValueError("not yet")

    retry = Retry(max_attempts=3)
    return create_durable_jobs(
        {
            "tick": Continuous.make(state=Number, schedule=every("40 seconds"), execute=tick, retry=retry),
            "sum": Debounce.make(
                event=Number,
                state=Number,
                flush_after="5 seconds",
                on_event=add_up,
                execute=flush,
                retry=retry,
            ),
            "orders": Task.make(event=Number, state=Number, on_event=on_event, execute=execute, retry=retry),
        }
    )


async def scenario(sim: Simulation) -> None:
    for n in range(8):
        with suppress(DurableJobsError):
            await sim.client.continuous("tick").start("a", Number(n))
        for job in ("debounce", "task"):
            with suppress(DurableJobsError):
                client: Any = getattr(sim.client, job)("sum" if job == "debounce" else "orders")
                await (client.add if job == "debounce" else client.send)("a", Number(n), event_id=f"{n}")
        await sim.sleep("7 seconds")
    with suppress(DurableJobsError):
        await sim.client.continuous("tick").terminate("a")


def kept(monkeypatch: pytest.MonkeyPatch, seed: int) -> dict[str, list[bytes]]:
    """The journals of one run under faults: that of each engine, and `all` in one."""
    journals: dict[str, list[bytes]] = defaultdict(list)

    def engine(*args: Any, **kwargs: Any) -> Engine:
        def write(line: bytes) -> None:
            journals["all"].append(line)
            journals[f"{kwargs['node']:x}"].append(line)

        return Engine(*args, journal=Journal(write), **kwargs)

    monkeypatch.setattr(node, "Engine", engine)
    faults = evolve(swarm(Dice(seed)), **dict.fromkeys(HOOK_FAULTS, 0.0))
    simulate(make_jobs(), scenario, seed=seed, faults=faults, until="2 minutes")
    monkeypatch.undo()
    return dict(journals)


def written(lines: list[bytes], path: Path) -> Path:
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("seed", range(12))
def test_S_1_S_3_a_journal_kept_under_faults_is_replayed_step_by_step(
    seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journals = kept(monkeypatch, seed)

    for name, lines in journals.items():
        replayed = replay(written(lines, tmp_path / name), make_jobs)
        assert [called for called in replayed.called if not called.same] == []
        assert "went another way" not in replayed.verdict, name
