"""taskiq on Redis: its list broker, which is faster than that of streams, under uvloop."""

from __future__ import annotations

from functools import partial

import uvloop
from protocol import NOTE, Took, runs, serve, take_in, work
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

        return await take_in(send, count, CALLERS)

    return uvloop.run(main())


def drain(store: str, count: int) -> Took:
    """A receiver in this process."""

    async def main() -> Took:
        broker, _ = open_task(store)
        receive = partial(run_receiver_task, broker, max_async_tasks=100, max_prefetch=100, run_startup=True)
        return await work(receive)

    return uvloop.run(main())


serve(SETTINGS, accept=accept, drain=drain)
