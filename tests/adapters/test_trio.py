"""What only trio has: a run that ends cancels all there is, and closes what nobody left."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import durable_jobs_trio
import pytest
import trio
import trio.testing
from durable_jobs_runtime import MemoryTracker
from support.drivers import Driver
from support.one_job import Closing, Nothing, one_job

from durable_jobs_core import ContinuousContext, Retry, create_durable_jobs


def test_S_67_a_run_that_ends_within_the_block_waits_for_no_thread() -> None:
    backend, running, release = Closing(), threading.Event(), threading.Event()
    blocks: list[AbstractAsyncContextManager[Any]] = []
    waited_for: list[str] = []

    def execute(ctx: ContinuousContext[Nothing]) -> None:
        running.set()
        if not release.wait(20):
            waited_for.append("thread")

    async def main() -> None:
        blocks.append(durable_jobs_trio.open_runtime(one_job(execute), backend))
        runtime = await blocks[0].__aenter__()
        await runtime.client.continuous("job").start("a", Nothing())
        while not running.is_set():
            await trio.lowlevel.checkpoint()

    trio.run(main)
    assert backend.closed.is_set()
    assert waited_for == []
    release.set()


@pytest.mark.parametrize("children", [0, 2])
def test_S_67_a_run_that_ends_within_the_block_ends_its_hooks_and_closes_the_backend(children: int) -> None:
    backend, tracker = Closing(), MemoryTracker()
    blocks: list[AbstractAsyncContextManager[Any]] = []

    async def main() -> None:
        running = trio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(children):
                    nursery.start_soon(trio.sleep_forever)
                running.set()
                await trio.sleep_forever()

        blocks.append(durable_jobs_trio.open_runtime(one_job(execute), backend, trackers=[tracker]))
        runtime = await blocks[0].__aenter__()
        await runtime.client.continuous("job").start("a", Nothing())
        await running.wait()

    trio.run(main)
    assert backend.closed.is_set()
    assert "job.failed" not in tracker.types()


DEAF = (
    "execute of continuous:job:a was cancelled and does not end: its instance waits for it, as does the end "
    "of this process"
)


async def deaf(ctx: ContinuousContext[Nothing]) -> None:
    """A hook that hears of nothing for a while."""
    with trio.CancelScope(shield=True):
        await trio.sleep(60)


async def shut_down_within(
    execute: Callable[[ContinuousContext[Nothing]], Awaitable[None]], rest: float
) -> None:
    """Close a runtime while `execute` runs, so that it is cancelled; and leave its block after a rest."""
    running = trio.Event()

    async def run(ctx: ContinuousContext[Nothing]) -> None:
        running.set()
        await execute(ctx)

    async with durable_jobs_trio.open_runtime(one_job(run), "memory://", grace="0 s") as runtime:
        await runtime.client.continuous("job").start("a", Nothing())
        await running.wait()
        await trio.sleep(rest)


def test_S_67_a_hook_whose_shield_keeps_its_cancellation_from_it_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trio.run(shut_down_within, deaf, 0, clock=trio.testing.MockClock(autojump_threshold=0))
    assert warned(caplog) == [DEAF]


def test_S_15_a_hook_whose_shield_keeps_the_end_of_its_time_from_it_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        ended = trio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            await deaf(ctx)
            ended.set()

        jobs = one_job(execute, timeout="1 second", retry=Retry(delay="1 hour"))
        async with durable_jobs_trio.open_runtime(jobs, "memory://") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await ended.wait()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert warned(caplog) == [DEAF]


def test_S_67_a_hook_that_ends_soon_after_it_is_cancelled_is_not_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    async def main() -> None:
        await shut_down_within(execute, durable_jobs_trio.DEAF_SECONDS - 0.5)
        await trio.sleep(60)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert warned(caplog) == []


def test_S_36_nothing_is_kept_of_a_hook_that_was_cancelled() -> None:
    async def main() -> None:
        running = trio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            running.set()
            await trio.sleep_forever()

        async with durable_jobs_trio.open_runtime(one_job(execute), "memory://") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await running.wait()
            assert (await runtime.client.continuous("job").terminate("a")).was_running
            await runtime.run_until_idle()
            assert (runtime._loop._hooks, runtime._loop._cancelled) == ({}, set())

    trio.run(main)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log warns of, but for runs that failed."""
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return [text for text in warnings if "job.failed" not in text]


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("in_thread", [False, True])
def test_S_67_a_second_interrupt_cuts_the_grace_short_and_hands_back(in_thread: bool) -> None:
    seen: list[tuple[int, int]] = []
    url = f"memory://interrupted-{in_thread}"

    async def main() -> None:
        running = threading.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            seen.append((ctx.attempt, ctx.crashes))
            running.set()
            await trio.sleep_forever()

        def heed(ctx: ContinuousContext[Nothing]) -> None:
            seen.append((ctx.attempt, ctx.crashes))
            running.set()
            while not ctx.cancelled:
                time.sleep(0)
            raise InterruptedError

        jobs = one_job(heed if in_thread else execute)
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        async with durable_jobs_trio.open_runtime(jobs, url, grace="20 s") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            while not running.is_set():
                await trio.lowlevel.checkpoint()
            soon(signal.raise_signal, signal.SIGINT)
            await runtime.serve()
            soon(signal.raise_signal, signal.SIGINT)

    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    assert time.monotonic() - began < 20
    assert seen == [(1, 0), (1, 0)]


def test_a_runtime_that_is_stopped_outside_of_trio_goes_on(driver: Driver) -> None:
    """There are no tasks of trio there, which is not to be taken for the end of the run."""

    async def main() -> None:
        async with durable_jobs_trio.open_runtime(one_job(), "memory://") as runtime:

            async def stray() -> None:
                with pytest.raises(RuntimeError, match="only in the event loop that opened it"):
                    await runtime.stop()

            await runtime.in_thread(driver.run, stray, 5)
            assert (await runtime.client.continuous("job").start("a", Nothing())).created

    trio.run(main)


def test_the_loop_of_another_driver_is_refused_with_the_name_of_that_driver() -> None:
    async def main() -> None:
        async with durable_jobs_trio.open_runtime(create_durable_jobs({}), "memory://"):
            raise AssertionError("it opened")

    with pytest.raises(RuntimeError, match="trio runs here; in asyncio it is durable_jobs_asyncio"):
        asyncio.run(main())
