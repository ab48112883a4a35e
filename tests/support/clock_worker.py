"""A worker that says when it runs what, by a stopwatch that no one can step.

    python -m support.clock_worker asyncio|trio URL

The task `pulse` schedules itself anew after each run; the instance `long` runs until a line comes in, the
worker until the next one. A line a run: instance, number, process, attempt, crashes, ms since it was
scheduled, and, at its end, the same with `end` in place of the last.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import durable_jobs_asyncio
import durable_jobs_trio
import trio
from attrs import define

from durable_jobs_core import DuplicateEventError, Task, TaskContext, create_durable_jobs
from durable_jobs_core.engine import Limits

PULSE_MS = 800
LEASE_MS = 3_000
IDS = [*"abcdef", "long"]


@define
class Pulse:
    number: int
    scheduled: int


def stopwatch() -> int:
    """CLOCK_MONOTONIC, in ms: the same in every process, stepped by none."""
    return time.monotonic_ns() // 1_000_000


def say(*words: object) -> None:
    """One line, whole, whatever other processes say."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work(
    in_thread: Callable[..., Any],
    open_runtime: Callable[..., AbstractAsyncContextManager[Any]],
    event: Callable[[], Any],
) -> Any:
    """The worker, for a driver."""
    freed: list[Any] = []

    def arm(ctx: TaskContext[Pulse], number: int) -> None:
        ctx.set_state(Pulse(number, stopwatch()))
        ctx.schedule(f"{PULSE_MS} ms")

    async def on_event(event: Pulse, ctx: TaskContext[Pulse]) -> None:
        arm(ctx, event.number)

    async def execute(ctx: TaskContext[Pulse]) -> None:
        id = ctx.instance_id.rpartition(":")[2]
        words = (id, ctx.state.number, os.getpid(), ctx.attempt, ctx.crashes)
        say(*words, stopwatch() - ctx.state.scheduled)
        if id == "long" and ctx.state.number == 0:
            await freed[0].wait()
        say(*words, "end")
        arm(ctx, ctx.state.number + 1)

    jobs = create_durable_jobs(
        {"pulse": Task.make(state=Pulse, event=Pulse, on_event=on_event, execute=execute)}
    )

    async def main() -> None:
        freed.append(event())
        limits = Limits(lease=LEASE_MS, hold=LEASE_MS)
        async with open_runtime(jobs, sys.argv[2], limits=limits) as runtime:
            client = runtime.client.task("pulse")
            for id in IDS:
                with suppress(DuplicateEventError):
                    await client.send(id, Pulse(0, 0), event_id="first")
            say("ready")
            await in_thread(sys.stdin.readline)
            freed[0].set()
            await in_thread(sys.stdin.readline)

    return main


if __name__ == "__main__":
    if sys.argv[1] == "asyncio":
        asyncio.run(work(asyncio.to_thread, durable_jobs_asyncio.open_runtime, asyncio.Event)())
    else:
        trio.run(work(trio.to_thread.run_sync, durable_jobs_trio.open_runtime, trio.Event))
