"""streaq on Redis, under uvloop."""

from __future__ import annotations

import json
from typing import Any

import uvloop
from protocol import NOTE, Took, Watch, may_begin, runs, serve, work
from streaq import Worker

BULK = 500
CONCURRENCY = 64
SETTINGS = (
    f"AOF everysec; uvloop, enqueue_many() of {BULK}, JSON, one worker process of {CONCURRENCY} tasks at a"
    " time, no results (ttl=0); a task that its worker lost is claimed later"
)


def open_worker(store: str) -> tuple[Worker[Any], Any]:
    """The worker and its task."""
    worker: Worker[Any] = Worker(
        store,
        concurrency=CONCURRENCY,
        serializer=json.dumps,
        deserializer=json.loads,
        handle_signals=False,
    )

    @worker.task(ttl=0)
    async def count(number: int, note: str) -> None:
        runs.one()

    return worker, count


def accept(store: str, count: int) -> Took:
    """By the bulk call."""

    async def main() -> Took:
        worker, task = open_worker(store)
        async with worker:
            may_begin()
            watch = Watch()
            for first in range(0, count, BULK):
                numbers = range(first, min(first + BULK, count))
                await worker.enqueue_many([task.enqueue(number, NOTE) for number in numbers])
            return watch.took()

    return uvloop.run(main())


def drain(store: str, count: int) -> Took:
    """A worker in this process."""

    async def main() -> Took:
        worker, _ = open_worker(store)
        return await work(worker.run_async)

    return uvloop.run(main())


serve(SETTINGS, accept=accept, drain=drain)
