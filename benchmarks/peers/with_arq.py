"""arq on Redis, under uvloop; its poll is shortened, or it would wait for it most of the time."""

from __future__ import annotations

from typing import Any

import uvloop
from arq.connections import RedisSettings, create_pool
from arq.worker import Worker
from protocol import NOTE, Took, runs, serve, take_in, work

CALLERS = 50
JOBS = 200
SETTINGS = (
    f"AOF everysec; uvloop, {CALLERS} callers, one worker process of {JOBS} jobs at a time, poll 50 ms,"
    " results dropped; a job stays queued until it has run"
)


async def count(ctx: Any, number: int, note: str) -> None:
    """The handler."""
    runs.one()


def accept(store: str, count: int) -> Took:
    """From many callers."""

    async def main() -> Took:
        pool = await create_pool(RedisSettings.from_dsn(store))

        async def send(numbers: range) -> None:
            for number in numbers:
                await pool.enqueue_job("count", number, NOTE)

        return await take_in(send, count, CALLERS)

    return uvloop.run(main())


def drain(store: str, count_: int) -> Took:
    """A worker in this process."""

    async def main() -> Took:
        worker = Worker(
            [count],
            redis_settings=RedisSettings.from_dsn(store),
            max_jobs=JOBS,
            poll_delay=0.05,
            keep_result=0,
            log_results=False,
            handle_signals=False,
        )
        return await work(worker.async_run)

    return uvloop.run(main())


serve(SETTINGS, accept=accept, drain=drain)
