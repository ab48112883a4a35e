"""The library itself: jobs accepted and drained a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import durable_jobs_asyncio
import durable_jobs_trio
import trio

from benchmarks.jobs import JOBS, Counter

CALLERS = 500
Open = Callable[..., AbstractAsyncContextManager[Any]]


async def start(runtime: Any, numbers: range) -> None:
    """One caller: start these, one after the other."""
    client = runtime.client.continuous("count")
    for number in numbers:
        await client.start(f"user-{number}", Counter(number))


def shares(count: int) -> list[range]:
    """What each of many callers takes."""
    return [range(first, count, CALLERS) for first in range(min(CALLERS, count))]


def accept_asyncio(url: str, count: int) -> float:
    """Starts a second, from many callers in a process that runs no jobs."""

    async def main() -> float:
        async with durable_jobs_asyncio.open_runtime(JOBS, url, worker=False) as runtime:
            began = time.perf_counter()
            await asyncio.gather(*(start(runtime, share) for share in shares(count)))
            return count / (time.perf_counter() - began)

    return asyncio.run(main())


def accept_trio(url: str, count: int) -> float:
    """The same on trio."""

    async def main() -> float:
        async with durable_jobs_trio.open_runtime(JOBS, url, worker=False) as runtime:
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for share in shares(count):
                    nursery.start_soon(start, runtime, share)
            return count / (time.perf_counter() - began)

    return trio.run(main)


def drain_with(run: Callable[[Any], float], open_runtime: Open) -> Callable[[str, int], float]:
    """Due runs executed a second, from a store full of them."""

    def drain(url: str, count: int) -> float:
        async def main() -> float:
            began = time.perf_counter()
            async with open_runtime(JOBS, url) as runtime:
                await runtime.run_until_idle()
                return count / (time.perf_counter() - began)

        return run(main)

    return drain


drain_asyncio = drain_with(lambda main: asyncio.run(main()), durable_jobs_asyncio.open_runtime)
drain_trio = drain_with(trio.run, durable_jobs_trio.open_runtime)
