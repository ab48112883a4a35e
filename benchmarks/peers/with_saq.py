"""SAQ on Redis, under uvloop."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from protocol import NOTE, Took, Watch, may_begin, runs, serve, shares, started
from saq import Queue, Worker

CALLERS = 20
CONCURRENCY = 100
SETTINGS = (
    f"AOF everysec; uvloop, {CALLERS} callers, one worker process of {CONCURRENCY} jobs at a time, results"
    " dropped (ttl=-1); a job that its worker lost is swept up, and retried"
)


async def count(ctx: Any, *, number: int, note: str) -> None:
    """The handler."""
    runs.one()


def accept(store: str, count: int) -> Took:
    """From several callers, its own limit: more are slower."""

    async def main() -> Took:
        queue = Queue.from_url(store, max_concurrent_ops=CALLERS)

        async def send(numbers: range) -> None:
            for number in numbers:
                await queue.enqueue("count", number=number, note=NOTE, ttl=-1, retries=2)

        await queue.connect()
        may_begin()
        watch = Watch()
        await asyncio.gather(*map(send, shares(count, CALLERS)))
        return watch.took()

    return uvloop.run(main())


def drain(store: str, count_: int) -> Took:
    """A worker in this process."""

    async def main() -> Took:
        over = asyncio.Event()
        runs.at_end = over.set
        queue = Queue.from_url(store, max_concurrent_ops=CONCURRENCY)
        worker = Worker(queue, functions=[("count", count)], concurrency=CONCURRENCY)
        watch = Watch()
        working = asyncio.create_task(worker.start())
        started()
        await over.wait()
        took = watch.took()
        working.cancel()
        return took

    return uvloop.run(main())


serve(SETTINGS, accept=accept, drain=drain)
