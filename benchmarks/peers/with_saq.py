"""SAQ on Redis, under uvloop."""

from __future__ import annotations

from typing import Any

import uvloop
from protocol import NOTE, Took, runs, serve, take_in, work
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
        return await take_in(send, count, CALLERS)

    return uvloop.run(main())


def drain(store: str, count_: int) -> Took:
    """A worker in this process."""

    async def main() -> Took:
        queue = Queue.from_url(store, max_concurrent_ops=CONCURRENCY)
        worker = Worker(queue, functions=[("count", count)], concurrency=CONCURRENCY)
        return await work(worker.start)

    return uvloop.run(main())


serve(SETTINGS, accept=accept, drain=drain)
