"""taskiq on Redis: its list broker, which is faster than that of streams, under uvloop."""

from __future__ import annotations

import asyncio

import uvloop
from protocol import NOTE, Took, Watch, may_begin, runs, serve, shares, started
from taskiq import AsyncTaskiqDecoratedTask
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker

CALLERS = 5
SETTINGS = (
    f"AOF everysec; list broker, uvloop, {CALLERS} callers, one worker process of 100 tasks at a time, no"
    " results; a job is popped before it runs, so that a crash loses it"
)


def open_task(store: str) -> tuple[ListQueueBroker, AsyncTaskiqDecoratedTask]:
    """The broker and its task."""
    broker = ListQueueBroker(store)

    @broker.task(task_name="count")
    async def count(number: int, note: str) -> None:
        runs.one()

    return broker, count


def accept(store: str, count: int) -> Took:
    """From a few callers, each with a connection: more are slower."""

    async def main() -> Took:
        broker, task = open_task(store)
        await broker.startup()

        async def send(numbers: range) -> None:
            for number in numbers:
                await task.kiq(number, NOTE)

        may_begin()
        watch = Watch()
        await asyncio.gather(*map(send, shares(count, CALLERS)))
        return watch.took()

    return uvloop.run(main())


def drain(store: str, count: int) -> Took:
    """A receiver in this process."""

    async def main() -> Took:
        broker, _ = open_task(store)
        over = asyncio.Event()
        runs.at_end = over.set
        watch = Watch()
        receiver = asyncio.create_task(
            run_receiver_task(broker, max_async_tasks=100, max_prefetch=100, run_startup=True)
        )
        started()
        await over.wait()
        took = watch.took()
        receiver.cancel()
        return took

    return uvloop.run(main())


serve(SETTINGS, accept=accept, drain=drain)
