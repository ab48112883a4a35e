"""Timeouts, threads and cancellation, on both drivers (S-14, S-15)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import plain
from support.counting import Counter, Gate, continuous, count
from support.drivers import Driver, StoppedClock

from durable_jobs_core import (
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    ExecutionError,
    OutcomeUnknownError,
    StorageError,
    create_durable_jobs,
)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (None, "TimeoutError: execute took longer than 20 ms"),
        (ValueError("on the way out"), "ValueError: on the way out"),
    ],
)
def test_S_15_an_async_hook_that_takes_too_long_is_cancelled_and_fails(
    driver: Driver, raised: Exception | None, said: str
) -> None:
    ended: list[str] = []

    async def hang(ctx: ContinuousContext[Counter]) -> None:
        try:
            await driver.forever()
        finally:
            ended.append("ended")
            if raised is not None:
                raise raised

    job = continuous(hang, timeout="20 ms", retry=None, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            result = await client.trigger("a", wait="10 seconds")

            assert str(result.error).startswith(said)
            assert ended == ["ended"]

    driver.run(main)


def test_S_15_a_plain_hook_runs_in_a_thread_and_leaves_the_loop_free(driver: Driver) -> None:
    loop_thread = threading.get_ident()
    release = threading.Event()
    threads: list[int] = []

    def block(ctx: ContinuousContext[Counter]) -> None:
        threads.append(threading.get_ident())
        assert release.wait(10)

    job = continuous(block)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            assert (await client.status("a")).status == "running"  # the loop answers meanwhile
            release.set()
            await runtime.run_until_idle()

    driver.run(main)
    assert threads
    assert loop_thread not in threads


def test_S_15_a_thread_that_takes_too_long_is_left_behind_told_and_counted_when_it_returns(
    driver: Driver,
) -> None:
    told = threading.Event()

    def block(ctx: ContinuousContext[Counter]) -> None:
        while not ctx.cancelled:
            time.sleep(0.001)  # what a well-behaved plain hook does: look, now and then
        told.set()

    job = continuous(block, timeout="30 ms", retry=None, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            result = await client.trigger("a", wait="10 seconds")
            assert str(result.error) == "TimeoutError: execute took longer than 30 ms"
            while (await runtime.health()).dropped_returns == 0:
                await driver.turn()

    driver.run(main)
    assert told.is_set()


def test_S_14_a_cancellation_the_hook_makes_itself_is_a_failure(driver: Driver) -> None:
    import asyncio

    async def execute(ctx: ContinuousContext[Counter]) -> None:
        raise asyncio.CancelledError

    job = continuous(execute, retry=None, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            result = await client.trigger("a", wait="10 seconds")
            assert result.outcome == "failed"
            assert result.error.type == "CancelledError"

    driver.run(main)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_S_14_a_plain_reducer_that_exits_fails_like_others_and_harms_no_one(
    driver: Driver, error: type[BaseException]
) -> None:
    def reduce(ctx: DebounceEventContext[Counter, Counter]) -> Counter:
        raise error

    async def execute(ctx: DebounceContext[Counter]) -> None: ...

    job = Debounce.make(event=Counter, state=Counter, flush_after="1 hour", on_event=reduce, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            with pytest.raises(ExecutionError, match=error.__name__):
                await runtime.client.debounce(job).add("a", Counter())
            assert (await runtime.client.debounce(job).status("a")).status == "not_found"

    driver.run(main)


def test_S_15_a_plain_reducer_that_took_too_long_has_failed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduce(ctx: DebounceEventContext[Counter, Counter]) -> Counter:
        monkeypatch.setattr(plain, "clock", lambda: clock() + 31)
        return ctx.event

    async def execute(ctx: DebounceContext[Counter]) -> None: ...

    clock = plain.clock
    job = Debounce.make(event=Counter, state=Counter, flush_after="1 hour", on_event=reduce, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            with pytest.raises(ExecutionError, match="TimeoutError: on_event took longer than 30000 ms"):
                await runtime.client.debounce(job).add("a", Counter())
            assert (await runtime.client.debounce(job).status("a")).status == "not_found"

    driver.run(main)


def test_hooks_see_the_context_variables_of_who_opened_the_runtime(driver: Driver) -> None:
    name = ContextVar("name", default="none")
    seen: set[tuple[str, str]] = set()

    def look(hook: str) -> None:
        seen.add((hook, name.get()))
        name.set("hook")  # for itself alone

    async def execute(ctx: ContinuousContext[Counter]) -> None:
        look("async")

    def execute_in_thread(ctx: ContinuousContext[Counter]) -> None:
        look("thread")

    def reduce(ctx: DebounceEventContext[Counter, Counter]) -> Counter:
        look("reducer")
        return ctx.event

    async def reduce_async(ctx: DebounceEventContext[Counter, Counter]) -> Counter:
        look("async-reducer")
        return ctx.event

    async def batch(ctx: DebounceContext[Counter]) -> None: ...

    def reducing(on_event: Callable[[Any], Any]) -> Debounce[Counter, Counter]:
        return Debounce.make(
            event=Counter, state=Counter, flush_after="1 hour", on_event=on_event, execute=batch
        )

    jobs = create_durable_jobs(
        {
            "async": continuous(execute),
            "thread": continuous(execute_in_thread),
            "reducer": reducing(reduce),
            "async-reducer": reducing(reduce_async),
        }
    )

    async def main() -> None:
        name.set("opener")
        async with driver.open(jobs, "memory://") as runtime:
            name.set("caller")
            for _ in range(3):
                await runtime.client.debounce("reducer").add("a", Counter())
                await runtime.client.debounce("async-reducer").add("a", Counter())
            for job in ("async", "thread"):
                await runtime.client.continuous(job).start("a", Counter())
                await runtime.client.continuous(job).trigger("a", wait="10 seconds")

    driver.run(main)
    hooks = ("async", "thread", "reducer", "async-reducer")
    assert seen == {(hook, "opener") for hook in hooks}


def test_a_hook_that_exits_the_program_is_a_failure_like_others(driver: Driver) -> None:
    async def execute(ctx: ContinuousContext[Counter]) -> None:
        raise SystemExit(3)

    job = continuous(execute, retry=None, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            assert (await client.trigger("a", wait="10 seconds")).error.type == "SystemExit"

    driver.run(main)


def test_S_3_cancelling_a_caller_drops_the_wait_and_never_the_commit(driver: Driver) -> None:
    backend = Gate()
    job = continuous(count, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), backend) as runtime:
            client = runtime.client.continuous(job)
            begun = driver.event()
            backend.open_gate.clear()

            async def start() -> None:
                begun.set()
                await client.start("a", Counter(9))

            await driver.cancelled_when(begun, start)
            backend.open_gate.set()
            await runtime.run_until_idle()
            assert (await client.get_state("a")).state == Counter(9)

    driver.run(main)


def test_S_3_a_request_that_runs_out_of_time_says_what_is_true(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, clock = Gate(), StoppedClock(monkeypatch)
    job = continuous(count, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), backend) as runtime:
            client = runtime.client.continuous(job)
            backend.open_gate.clear()

            async def start_with_the_backend() -> None:
                with pytest.raises(OutcomeUnknownError):
                    await client.start("a", Counter())

            async def start_behind_it() -> None:
                with pytest.raises(StorageError, match="not done in time"):
                    await client.start("b", Counter())

            async def run_out_of_time() -> None:
                while not runtime._machine._deliver:
                    await driver.turn()
                clock.let_pass(60, runtime)

            async def run_out_of_time_there() -> None:
                await runtime.in_thread(backend.entered.acquire)
                await run_out_of_time()

            await driver.together(start_with_the_backend, run_out_of_time_there)
            await driver.together(start_behind_it, run_out_of_time)
            backend.open_gate.set()
            await runtime.run_until_idle()
        stored = MemoryBackend(store=backend._store)
        async with driver.open(create_durable_jobs({"job": job}), stored, worker=False) as runtime:
            client = runtime.client.continuous(job)
            assert (await client.status("a")).status == "running"
            assert (await client.status("b")).status == "not_found"

    driver.run(main)
