"""What the world around a runtime does to it, on both drivers: cancellations, hooks, threads."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from support.drivers import Driver, Main
from support.killing import finish
from support.one_job import Closing, Nothing, one_job, outcome_of_a_run

from durable_jobs_core import (
    ClosedError,
    ContinuousContext,
    StorageError,
    Task,
    TaskContext,
    create_durable_jobs,
)

# -- cancelling, wherever it waits


async def cancelled_after(driver: Driver, turns: int, main: Main) -> None:
    """Run `main`, and cancel it when the others have had so many turns."""
    now = driver.event()

    async def count() -> None:
        for _ in range(turns):
            await driver.turn()
        now.set()

    await driver.together(count, lambda: driver.cancelled_when(now, main))


@pytest.mark.parametrize("turns", range(12))
def test_S_3_a_caller_may_be_cancelled_at_any_moment(driver: Driver, turns: int) -> None:
    async def on_event(event: Nothing, ctx: TaskContext[Nothing]) -> None:
        await driver.turn()
        ctx.set_state(event)

    async def execute(ctx: TaskContext[Nothing]) -> None: ...

    job = Task.make(state=Nothing, event=Nothing, on_event=on_event, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.task("job")

            async def send() -> None:
                await client.send("a", Nothing())

            await cancelled_after(driver, turns, send)
            await runtime.run_until_idle()
            before = (await client.status("a")).event_count
            assert (await client.send("a", Nothing())).created is (before == 0)
            assert (await client.status("a")).event_count == before + 1
            assert runtime._machine._deliver == {}

    driver.run(main)


def test_S_3_a_caller_at_the_end_of_its_stack_harms_no_other(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:
            client = runtime.client.continuous("job")

            async def descend() -> None:
                with suppress(RecursionError):
                    await descend()
                with suppress(RecursionError):  # there is more and more room
                    await client.status("a")

            await descend()
            assert (await outcome_of_a_run(runtime)).outcome == "succeeded"
            assert runtime._machine._deliver == {}

    driver.run(main)


def test_S_67_who_shuts_down_at_the_end_of_its_stack_breaks_nothing(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:

            def descend() -> None:
                with suppress(RecursionError):
                    descend()
                with suppress(RecursionError):
                    runtime._machine.stop(0, lambda: None)

            descend()

    driver.run(main)


@pytest.mark.parametrize("turns", range(2, 41, 3))
def test_S_67_a_block_may_be_cancelled_at_any_moment(driver: Driver, turns: int) -> None:
    backend = Closing()

    async def main() -> None:
        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            for _ in range(5):
                await driver.turn()

        async def block() -> None:
            async with driver.open(one_job(execute), backend) as runtime:
                await runtime.client.continuous("job").start("a", Nothing())
                for _ in range(3):
                    await driver.turn()

        await cancelled_after(driver, turns, block)
        for _ in range(3):
            await driver.turn()
        assert driver.tasks() == 1

    driver.run(main)
    assert backend.closed.is_set()


# -- hooks


def test_S_15_a_hook_that_has_tasks_of_its_own_takes_too_long_like_others(driver: Driver) -> None:
    ended: list[str] = []

    async def hang() -> None:
        try:
            await driver.forever()
        finally:
            ended.append("child")

    async def execute(ctx: ContinuousContext[Nothing]) -> None:
        await driver.together(hang, hang)

    jobs = one_job(execute, timeout="20 ms", retry=None, start_immediately=False)

    async def main() -> None:
        async with driver.open(jobs, "memory://") as runtime:
            result = await outcome_of_a_run(runtime)
            assert str(result.error) == "TimeoutError: execute took longer than 20 ms"
            assert ended == ["child", "child"]

    driver.run(main)


def test_S_67_a_hook_that_has_tasks_of_its_own_is_handed_back(driver: Driver) -> None:
    seen: list[tuple[int, int]] = []

    async def main() -> None:
        running = driver.event()

        async def hang() -> None:
            running.set()
            await driver.forever()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            seen.append((ctx.attempt, ctx.crashes))
            if len(seen) == 1:
                await driver.together(hang, hang)

        jobs, backend = one_job(execute), f"memory://nested-{driver.name}"
        async with driver.open(jobs, backend, grace="0 s") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await running.wait()
        async with driver.open(jobs, backend) as runtime:
            await runtime.run_until_idle()

    driver.run(main)
    assert seen == [(1, 0), (1, 0)]


def test_S_67_a_hook_that_stops_its_own_runtime_has_its_grace_and_no_more(driver: Driver) -> None:
    ended: list[str] = []

    async def main() -> None:
        runtime: Any

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            try:
                await runtime.stop()
            finally:
                ended.append("hook")

        async with driver.open(one_job(execute), "memory://", grace="20 ms") as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            with suppress(ClosedError):
                await runtime.run_until_idle()

    driver.run(main)
    assert ended == ["hook"]


# -- threads of the user


def test_threads_of_the_user_that_do_not_return_hold_up_no_runtime(driver: Driver) -> None:
    release = threading.Event()

    async def main() -> None:
        async def fill() -> None:
            await driver.in_default_thread(lambda: release.wait(20))

        async def use() -> None:
            await driver.turn()
            async with driver.open(one_job(), f"memory://full-{driver.name}") as runtime:
                await runtime.client.list()
            release.set()

        driver.one_default_thread()
        await driver.together(fill, use)

    driver.run(main)
    assert release.is_set()


def test_a_runtime_that_has_closed_leaves_no_threads_of_its_own_behind(driver: Driver) -> None:
    before = set(threading.enumerate())

    def execute(ctx: ContinuousContext[Nothing]) -> None:
        """In a thread."""

    async def main() -> None:
        for _ in range(3):
            async with driver.open(one_job(execute), "memory://") as runtime:
                assert (await outcome_of_a_run(runtime)).outcome == "succeeded"
            with pytest.raises(StorageError):
                async with driver.open(one_job(), "nowhere://"):
                    pass

    driver.run(main)
    ours = [thread for thread in threading.enumerate() if not thread.name.startswith("Trio")]
    for thread in set(ours) - before:
        thread.join(5)  # of the ten seconds that an idle one is kept for more work
        assert not thread.is_alive(), thread


def test_a_list_of_threads_tells_which_are_of_a_runtime(driver: Driver) -> None:
    before = set(threading.enumerate())
    seen: set[threading.Thread] = set()

    def execute(ctx: ContinuousContext[Nothing]) -> None:
        seen.update(threading.enumerate())

    async def main() -> None:
        async with driver.open(one_job(execute), "memory://") as runtime:
            assert (await outcome_of_a_run(runtime)).outcome == "succeeded"

    driver.run(main)
    names = {thread.name for thread in seen - before if not thread.name.startswith("Trio")}
    assert names == {"durable-jobs-lane-0", "durable-jobs-hints", "durable-jobs-call"}


def test_an_interpreter_does_not_wait_for_a_hook_in_a_thread_that_never_ends(driver: Driver) -> None:
    script = f"""
import threading, {driver.name}
from durable_jobs_{driver.name} import open_runtime
from durable_jobs_core import Continuous, create_durable_jobs, every
running = threading.Event()

def execute(ctx):
    running.set()
    threading.Event().wait()

job = Continuous.make(state=dict, schedule=every("1 hour"), execute=execute)

async def main():
    async with open_runtime(create_durable_jobs({{"job": job}}), "memory://", grace="0 s") as runtime:
        await runtime.client.continuous("job").start("a", {{}})
        while not running.is_set():
            await {driver.name}.sleep(0)
    print("left")

{driver.name}.run({"main()" if driver.name == "asyncio" else "main"})
"""
    assert finish([sys.executable, "-c", script]).stdout == "left\n"
