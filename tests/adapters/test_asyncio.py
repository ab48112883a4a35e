"""What only asyncio has: a cancellation is an edge, which may be swallowed or come twice."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import durable_jobs_asyncio
import pytest
import trio
from durable_jobs_runtime import MemoryTracker, plain, threads
from support.one_job import Closing, Nothing, one_job

from durable_jobs_core import ContinuousContext, Retry, StorageError, create_durable_jobs
from durable_jobs_core.engine import Answered

FACTORIES: list[Any] = [None]
if sys.version_info >= (3, 12):
    FACTORIES.append(asyncio.eager_task_factory)


def test_S_67_a_hook_that_swallows_its_cancellation_is_cancelled_again_and_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(durable_jobs_asyncio, "AGAIN_SECONDS", 0.0)
    swallowed: list[int] = []

    async def main() -> None:
        running = asyncio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            running.set()
            for attempt in range(3):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    swallowed.append(attempt)

        async with (
            asyncio.timeout(20),
            durable_jobs_asyncio.open_runtime(one_job(execute), "memory://", grace="0 s") as runtime,
        ):
            await runtime.client.continuous("job").start("a", Nothing())
            await running.wait()

    asyncio.run(main())
    assert swallowed == [0, 1, 2]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        "execute of continuous:job:a was cancelled and does not end: its instance waits for it, as does the "
        "end of this process; it is cancelled again every 0 seconds"
    ]


def test_S_14_a_hook_that_the_program_cancels_before_it_began_has_failed_and_is_tried_again() -> None:
    began: list[int] = []

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        began.append(ctx.attempt)

    async def main() -> None:
        jobs = one_job(execute, retry=Retry(delay="1 ms"))
        async with asyncio.timeout(20), durable_jobs_asyncio.open_runtime(jobs, "memory://") as runtime:
            programs = asyncio.all_tasks()
            client = runtime.client.continuous("job")
            await client.start("a", Nothing())
            while not (hooks := asyncio.all_tasks() - programs):
                await asyncio.sleep(0)
            for task in hooks:  # as some programs do with all tasks there are, to end
                task.cancel()
            while not began:
                await asyncio.sleep(0)

    asyncio.run(main())
    assert began == [2]


def test_S_14_a_hook_that_is_cancelled_when_nothing_can_be_cut_short_any_more_has_succeeded() -> None:
    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def main() -> None:
        async with (
            asyncio.timeout(20),
            durable_jobs_asyncio.open_runtime(one_job(execute), "memory://") as runtime,
        ):
            client = runtime.client.continuous("job")
            await client.start("a", Nothing())
            assert (await client.trigger("a", wait="10 seconds")).outcome == "succeeded"

    asyncio.run(main())


def test_S_67_a_second_cancellation_does_not_cut_the_shutdown_short() -> None:
    ended: list[str] = []

    async def main() -> None:
        running, release = asyncio.Event(), asyncio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            running.set()
            await release.wait()
            ended.append("hook")

        async def block() -> None:
            async with durable_jobs_asyncio.open_runtime(one_job(execute), "memory://") as runtime:
                await runtime.client.continuous("job").start("a", Nothing())
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await running.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["hook"]
        assert task.cancelling() == 3, "none of them is ours to take back"

    asyncio.run(main())


@pytest.mark.parametrize("factory", FACTORIES)
def test_S_14_the_loops_task_factory_makes_no_difference_to_a_hook(factory: Any) -> None:
    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        async with durable_jobs_asyncio.open_runtime(one_job(execute), "memory://") as runtime:
            client = runtime.client.continuous("job")
            await client.start("a", Nothing())
            status = await client.trigger("a", wait="10 seconds")
            assert status.error.type == "CancelledError"
            assert not runtime._machine._loop._hooks

    asyncio.run(main())


def test_the_task_of_a_hook_is_named_by_it_for_what_asyncio_tells_of_slow_ones() -> None:
    names: list[str] = []

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())

    async def main() -> None:
        async with durable_jobs_asyncio.open_runtime(one_job(execute), "memory://") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await runtime.run_until_idle()

    asyncio.run(main(), debug=True)
    assert names == ["execute of continuous:job:a"]


def test_S_15_a_hook_that_swallows_the_end_of_its_time_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(durable_jobs_asyncio, "AGAIN_SECONDS", 0.0)
    swallowed: list[int] = []

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        for attempt in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(attempt)
        await asyncio.Event().wait()

    async def main() -> None:
        jobs = one_job(execute, timeout="20 ms", retry=None, start_immediately=False)
        async with asyncio.timeout(20), durable_jobs_asyncio.open_runtime(jobs, "memory://") as runtime:
            client = runtime.client.continuous("job")
            await client.start("a", Nothing())
            result = await client.trigger("a", wait="10 seconds")
            assert str(result.error) == "TimeoutError: execute took longer than 20 ms"

    asyncio.run(main())
    assert swallowed == [0, 1, 2]


def test_nothing_is_kept_of_how_often_a_hook_that_swallows_it_was_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(durable_jobs_asyncio, "AGAIN_SECONDS", 0.0)
    timers: list[int] = []

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        for _ in range(100):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        gc.collect()
        timers.append(sum(isinstance(one, asyncio.TimerHandle) for one in gc.get_objects()))

    async def main() -> None:
        jobs = one_job(execute, timeout="1 ms", retry=None)
        async with durable_jobs_asyncio.open_runtime(jobs, "memory://") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await runtime.run_until_idle()

    asyncio.run(main())
    assert timers[0] < 20


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_block_that_is_left_in_another_loop_ends_as_by_a_crash_and_says_so(is_closed: bool) -> None:
    """As a fixture is whose scope has another loop than its tests."""
    backend, first = Closing(), asyncio.new_event_loop()
    block = durable_jobs_asyncio.open_runtime(one_job(), backend)
    runtime = first.run_until_complete(block.__aenter__())
    first.run_until_complete(runtime.client.continuous("job").start("a", Nothing()))
    if is_closed:
        first.close()

    with pytest.raises(RuntimeError, match="only in the event loop that opened it"):
        asyncio.run(block.__aexit__(None, None, None))  # type: ignore[arg-type]

    assert backend.closed.is_set()
    first.close()


def test_S_67_a_program_that_ends_while_its_runtime_shuts_down_lets_it_end() -> None:
    backend = Closing()
    blocks: list[asyncio.Task[None]] = []

    async def main() -> None:
        running = asyncio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            running.set()
            await asyncio.Event().wait()

        async def block() -> None:
            async with durable_jobs_asyncio.open_runtime(one_job(execute), backend) as runtime:
                await runtime.client.continuous("job").start("a", Nothing())
                await asyncio.Event().wait()

        blocks.append(asyncio.create_task(block()))
        await running.wait()
        blocks[0].cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not blocks[0].done()

    asyncio.run(main())  # which cancels all tasks at its end
    assert blocks[0].cancelled()
    assert backend.closed.is_set()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("turns", [0, 5])
def test_S_67_a_program_that_ends_and_cancels_all_its_tasks_fails_no_attempt(
    turns: int, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known as soon as the block is left, however soon that is."""
    monkeypatch.setattr(durable_jobs_asyncio, "END_SECONDS", 60.0)
    began: list[tuple[int, int]] = []
    tracker = MemoryTracker()

    async def main() -> None:
        running = asyncio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            began.append((ctx.attempt, ctx.crashes))
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                if fails:
                    raise ValueError("on the way out")

        async def block() -> None:
            jobs = one_job(execute, retry=None, on_exhausted="terminate")
            url = f"sqlite:///{tmp_path / 'jobs.db'}"
            async with durable_jobs_asyncio.open_runtime(jobs, url, trackers=[tracker]) as runtime:
                await runtime.client.continuous("job").start("a", Nothing())
                try:
                    await asyncio.Event().wait()
                finally:
                    for _ in range(turns):  # what the program has to do before it leaves the block
                        await asyncio.sleep(0)

        block_task = asyncio.create_task(block())
        await running.wait()
        assert not block_task.done()

    for _ in range(2):
        asyncio.run(main())  # which cancels all tasks at its end
    assert began == [(1, 0), (1, 0)]
    assert "job.failed" not in tracker.types()


@pytest.mark.parametrize("in_thread", [False, True])
def test_S_67_a_program_that_ends_within_the_block_closes_it(
    in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "RETURN_SECONDS", 0.01)
    backend, running, release = Closing(), threading.Event(), threading.Event()
    blocks: list[Any] = []
    waited_for: list[str] = []

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        running.set()
        await asyncio.Event().wait()

    def execute_in_thread(ctx: ContinuousContext[Nothing]) -> None:
        running.set()
        if not release.wait(20):
            waited_for.append("thread")

    async def main() -> None:
        jobs = one_job(execute_in_thread if in_thread else execute)
        blocks.append(durable_jobs_asyncio.open_runtime(jobs, backend, grace="20 ms"))
        runtime = await blocks[0].__aenter__()
        await runtime.client.continuous("job").start("a", Nothing())
        while not running.is_set():
            await asyncio.sleep(0)

    asyncio.run(main())
    assert backend.closed.is_set()
    assert waited_for == []
    release.set()


def test_a_second_interrupt_after_serve_ends_the_program_at_once() -> None:
    seen: list[Any] = []

    async def main() -> None:
        async with durable_jobs_asyncio.open_runtime(one_job(), "memory://") as runtime:
            seen.append(signal.getsignal(signal.SIGINT))
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await runtime.serve()
            seen.append(signal.getsignal(signal.SIGINT))
        seen.append(signal.getsignal(signal.SIGINT))

    asyncio.run(main())
    first, leaving, after = seen
    assert leaving is signal.default_int_handler
    assert after is first


def test_a_second_interrupt_cuts_the_grace_of_a_thread_short() -> None:
    """It ends the loop: all its tasks are cancelled."""
    handed_back: list[bool] = []
    backend, running = Closing(), threading.Event()

    def heed(ctx: ContinuousContext[Nothing]) -> None:
        running.set()
        while not ctx.cancelled:
            time.sleep(0)
        handed_back.append(True)
        raise InterruptedError

    async def main() -> None:
        async with durable_jobs_asyncio.open_runtime(one_job(heed), backend, grace="20 s") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            while not running.is_set():
                await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await runtime.serve()
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert time.monotonic() - began < 20
    assert handed_back == [True]
    assert backend.closed.is_set()


@pytest.mark.parametrize("children", [0, 1])
def test_S_67_a_second_interrupt_that_meets_a_hook_is_the_programs_and_no_failure(children: int) -> None:
    """Which would end this instance."""
    began: list[tuple[int, int]] = []
    url = f"memory://interrupted-{children}"

    async def main() -> None:
        running, left = asyncio.Event(), asyncio.Event()

        async def meet() -> None:
            await left.wait()
            signal.raise_signal(signal.SIGINT)

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            began.append((ctx.attempt, ctx.crashes))
            running.set()
            if not children:
                await meet()
            async with asyncio.TaskGroup() as group:
                group.create_task(meet())

        jobs = one_job(execute, retry=None, on_exhausted="terminate")
        async with durable_jobs_asyncio.open_runtime(jobs, url) as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await running.wait()
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await runtime.serve()
            left.set()

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
    assert began == [(1, 0), (1, 0)]


def test_an_interrupt_that_meets_the_engine_is_raised_and_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second Ctrl-C, which asyncio raises wherever the loop is: no bug of the library."""
    backend = Closing()

    def interrupted() -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    async def main() -> None:
        async with durable_jobs_asyncio.open_runtime(one_job(), backend) as runtime:
            monkeypatch.setattr(runtime._machine._engine, "needs", interrupted, raising=True)
            await runtime.client.continuous("job").status("a")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert backend.closed.is_set()
    assert caplog.messages == []


def test_S_15_the_end_of_its_time_is_waited_for_no_longer_than_a_hook_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[asyncio.TimerHandle] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def noted(seconds: float, *args: Any) -> asyncio.TimerHandle:
            handle = call_later(seconds, *args)
            limits.extend([handle] * (seconds == 7200))
            return handle

        monkeypatch.setattr(loop, "call_later", noted)
        async with durable_jobs_asyncio.open_runtime(one_job(timeout="2 hours"), "memory://") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await runtime.run_until_idle()

    asyncio.run(main())
    assert [limit.cancelled() for limit in limits] == [True]


def test_a_cancellation_that_meets_an_opening_that_fails_is_what_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered, release = threading.Event(), threading.Event()

    def fail(url: str) -> Any:
        entered.set()
        assert release.wait(10)
        raise StorageError("the disk is gone")

    async def open() -> None:
        async with durable_jobs_asyncio.open_runtime(one_job(), "slow://"):
            raise AssertionError("it opened")

    async def main() -> None:
        opening = asyncio.ensure_future(open())
        await asyncio.to_thread(entered.wait, 10)
        opening.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await opening

    monkeypatch.setattr(durable_jobs_asyncio, "open_backend", fail)
    asyncio.run(main())


def test_an_answer_from_a_thread_that_nobody_waits_for_any_more_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.0)
    release, scanning, troubles = threading.Event(), SimpleQueue[threading.Thread](), list[object]()

    class Slow(Closing):
        def scan(self, *args: Any) -> Any:
            scanning.put(threading.current_thread())
            assert release.wait(10)
            return super().scan(*args)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with durable_jobs_asyncio.open_runtime(one_job(), Slow()) as runtime:
            listing = asyncio.ensure_future(runtime.client.list())
            thread = await asyncio.to_thread(scanning.get, timeout=10)
            listing.cancel()
            await asyncio.wait([listing])
            release.set()
            await asyncio.to_thread(thread.join)

    asyncio.run(main())
    assert troubles == []


@pytest.mark.parametrize("leaves", [False, True])
def test_S_3_a_runtime_that_breaks_takes_its_cancellation_of_the_program_back(leaves: bool) -> None:
    """A timeout of the program would take it for its own."""

    async def main() -> None:
        running = asyncio.Event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            running.set()
            await asyncio.Event().wait()  # so the runtime does not close before it breaks

        async def block() -> None:
            async with durable_jobs_asyncio.open_runtime(one_job(execute), "memory://") as runtime:
                await runtime.client.continuous("job").start("a", Nothing())
                await running.wait()
                bug = Answered(999, StorageError("never asked"))
                asyncio.get_running_loop().call_soon(runtime._machine._feed, bug)
                if not leaves:
                    await asyncio.Event().wait()

        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(RuntimeError, match="the durable-jobs runtime broke"):
            await block()
        assert task.cancelling() == 0

    asyncio.run(main())


def test_the_loop_of_another_driver_is_refused_with_the_name_of_that_driver() -> None:
    async def main() -> None:
        async with durable_jobs_asyncio.open_runtime(create_durable_jobs({}), "memory://"):
            raise AssertionError("it opened")

    with pytest.raises(RuntimeError, match="asyncio runs here; in trio it is durable_jobs_trio"):
        trio.run(main)
