"""Shutdown, on both drivers (S-67)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from durable_jobs_runtime import plain
from support.counting import Counter, Gate, continuous, count
from support.drivers import Driver
from support.one_job import Closing

from durable_jobs_core import (
    ClosedError,
    ContinuousContext,
    OutcomeUnknownError,
    StorageError,
    create_durable_jobs,
)
from durable_jobs_core.engine import Answered


def test_S_67_a_handler_may_finish_within_its_grace(driver: Driver) -> None:
    done: list[str] = []

    async def main() -> None:
        running, leaving = driver.event(), driver.event()

        async def execute(ctx: ContinuousContext[Counter]) -> None:
            running.set()
            await leaving.wait()
            await driver.turn()
            ctx.set_state(Counter(1))
            done.append("done")

        job = continuous(execute)
        jobs, backend = create_durable_jobs({"job": job}), f"memory://grace-{id(driver)}"
        async with driver.open(jobs, backend) as runtime:
            await runtime.client.continuous(job).start("a", Counter())
            await running.wait()
            leaving.set()
        async with driver.open(jobs, backend, worker=False) as runtime:
            assert (await runtime.client.continuous(job).get_state("a")).state == Counter(1)

    driver.run(main)
    assert done == ["done"]


def test_S_67_a_handler_beyond_its_grace_is_cancelled_and_handed_back(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, int, str | None]] = []

    async def main() -> None:
        running = driver.event()

        async def execute(ctx: ContinuousContext[Counter]) -> None:
            seen.append((ctx.attempt, ctx.crashes, ctx.idempotency_key))
            if len(seen) == 1:
                running.set()
                await driver.forever()

        job = continuous(execute)
        jobs, backend = create_durable_jobs({"job": job}), f"memory://back-{id(driver)}"
        async with driver.open(jobs, backend, grace="0 s") as runtime:
            await runtime.client.continuous(job).start("a", Counter())
            await running.wait()
        async with driver.open(jobs, backend) as runtime:
            await runtime.run_until_idle()

    driver.run(main)
    first, second = seen
    assert first == second
    assert first[:2] == (1, 0)
    assert caplog.messages == [], "it ends as it was told to"


def test_S_67_requests_not_begun_are_refused_while_closing(driver: Driver) -> None:
    async def main() -> None:
        running, release = driver.event(), driver.event()

        async def execute(ctx: ContinuousContext[Counter]) -> None:
            running.set()
            await release.wait()

        job = continuous(execute)
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            await running.wait()

            async def leave() -> None:
                await runtime.stop()

            async def ask() -> None:
                await driver.turn()
                with pytest.raises(ClosedError):
                    await client.status("a")
                release.set()

            await driver.together(leave, ask)

    driver.run(main)


def test_S_67_a_runtime_may_be_stopped_twice_at_a_time_and_has_closed_its_backend(driver: Driver) -> None:
    backend = Closing()

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": continuous(count)}), backend) as runtime:
            await driver.together(runtime.stop, runtime.stop)
            assert backend.closed.is_set()

    driver.run(main)


def test_S_67_a_request_after_the_end_of_the_block_is_refused(driver: Driver) -> None:
    job = continuous(count)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
        with pytest.raises(ClosedError, match="the runtime is closed"):
            await client.start("a", Counter())
        await runtime.run_until_idle()

    driver.run(main)


def test_S_3_when_a_runtime_breaks_every_caller_is_told_and_none_is_left_waiting(driver: Driver) -> None:
    backend = Gate()
    job = continuous(count)
    told: list[BaseException] = []

    async def main() -> None:
        opened = driver.event()
        runtime: Any = None

        async def hold() -> None:
            nonlocal runtime
            try:
                async with driver.open(create_durable_jobs({"job": job}), backend) as runtime:
                    backend.open_gate.clear()
                    opened.set()
                    await driver.forever()
            except RuntimeError as error:
                told.append(error)

        async def ask() -> None:
            await opened.wait()
            try:
                await runtime.client.continuous(job).start("a", Counter())
            except OutcomeUnknownError as error:
                told.append(error)

        async def wait_until(method: str) -> None:
            await opened.wait()
            try:
                await getattr(runtime, method)()
            except RuntimeError as error:
                told.append(error)

        async def break_it() -> None:
            await opened.wait()
            await runtime.in_thread(backend.entered.acquire)
            machine = runtime._machine
            machine._feed(Answered(999, StorageError("never asked")))  # a bug of the library
            broke = machine.error
            machine._feed(Answered(998, StorageError("never asked")))  # what is on its way still comes
            assert machine.error is broke
            backend.open_gate.set()

        waits = [partial(wait_until, method) for method in ("run_until_idle", "serve")]
        await driver.together(hold, ask, *waits, break_it)

    driver.run(main)
    assert sorted(type(error).__name__ for error in told) == ["OutcomeUnknownError", *["RuntimeError"] * 3]


def test_a_client_is_refused_in_another_event_loop(driver: Driver) -> None:
    job = continuous(count)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:

            async def stray() -> None:
                with pytest.raises(RuntimeError, match="only in the event loop that opened it"):
                    await runtime.client.continuous(job).status("a")

            await runtime.in_thread(driver.run, stray)

    driver.run(main)


@pytest.mark.parametrize("fails", [True, False], ids=("raises", "returns"))
def test_S_67_a_thread_that_heeds_its_cancellation_ends_as_others_do(driver: Driver, fails: bool) -> None:
    seen: list[tuple[int, int]] = []
    running = threading.Event()

    def heed(ctx: ContinuousContext[Counter]) -> None:
        seen.append((ctx.attempt, ctx.crashes))
        running.set()
        while not ctx.cancelled and len(seen) == 1:
            time.sleep(0)
        if fails and len(seen) == 1:
            raise InterruptedError
        ctx.set_state(Counter(ctx.state.n + 1))

    job = continuous(heed)
    jobs, backend = create_durable_jobs({"job": job}), f"memory://heeds-{id(driver)}-{fails}"

    async def main() -> None:
        async with driver.open(jobs, backend, grace="0 s") as runtime:
            await runtime.client.continuous(job).start("a", Counter())
            while not running.is_set():
                await driver.turn()
        async with driver.open(jobs, backend) as runtime:
            await runtime.run_until_idle()
            assert (await runtime.client.continuous(job).get_state("a")).state == Counter(1)

    driver.run(main)
    assert seen == [(1, 0)] * (2 if fails else 1)


def test_S_67_a_thread_that_does_not_return_does_not_hold_up_the_shutdown(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plain, "RETURN_SECONDS", 0.01)
    release, running = threading.Event(), threading.Event()

    def block(ctx: ContinuousContext[Counter]) -> None:
        running.set()
        release.wait(20)

    job = continuous(block)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://", grace="0 s") as runtime:
            await runtime.client.continuous(job).start("a", Counter())
            while not running.is_set():
                await driver.turn()

    driver.run(main)
    release.set()
    assert "execute of continuous:job:a did not return and is left behind" in caplog.text


def test_S_67_a_hook_cancelled_before_its_first_line_ends_too(driver: Driver) -> None:
    backend = Gate()
    job = continuous(count)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), backend, grace="0 s") as runtime:
            client = runtime.client.continuous(job)

            async def start() -> None:
                await client.start("a", Counter())

            async def stop_while_the_lease_is_written() -> None:
                await runtime.in_thread(backend.entered.acquire)
                await driver.together(runtime.stop, release)

            async def release() -> None:
                await driver.turn()
                backend.open_gate.set()

            backend.open_gate.clear()
            await driver.together(start, stop_while_the_lease_is_written)

    driver.run(main)


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of signals are put back after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_at_a_signal(driver: Driver, number: signal.Signals) -> None:
    def mine(*_: object) -> None:
        raise AssertionError("it is not heard while a runtime serves")

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": continuous(count)}), "memory://") as runtime:

            async def kill() -> None:
                for _ in range(3):
                    await driver.turn()
                os.kill(os.getpid(), number)

            await driver.together(runtime.serve, kill)

    signal.signal(number, mine)
    driver.run(main)

    assert signal.getsignal(number) is mine


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_ends_the_block_and_is_no_failure_of_the_hook_it_meets(driver: Driver) -> None:
    ended: list[str] = []

    async def execute(ctx: ContinuousContext[Counter]) -> None:
        signal.raise_signal(signal.SIGINT)
        await driver.turn()
        ended.append("hook")

    job = continuous(execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            await runtime.client.continuous(job).start("a", Counter())
            await driver.forever()

    with pytest.raises(KeyboardInterrupt):
        driver.run(main)
    assert ended == ["hook"]
