"""Opening a runtime, and leaving its block, on both drivers."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
import trio
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import threads
from support.drivers import Driver
from support.one_job import Closing, Nothing, one_job, outcome_of_a_run

from durable_jobs_core import (
    ContinuousContext,
    DefinitionError,
    OutcomeUnknownError,
    StorageError,
    create_durable_jobs,
)
from durable_jobs_core.engine import Answered, Input

# -- opening


def test_a_backend_that_no_runtime_can_be_made_with_is_closed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third party's, say, that does not know its lanes."""
    backend = Closing()
    monkeypatch.setattr(backend, "lanes", None)
    monkeypatch.setattr(sys.modules[f"durable_jobs_{driver.name}"], "open_backend", lambda url: backend)

    async def main() -> None:
        async with driver.open(create_durable_jobs({}), "memory://"):
            raise AssertionError("it was opened")

    with pytest.raises(
        DefinitionError, match=r"Engine\(lanes\): expected a whole number, 1 or more, got None"
    ):
        driver.run(main)
    assert backend.closed.is_set()


def test_a_backend_whose_opening_is_cancelled_is_closed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, entered, release = Closing(), threading.Event(), threading.Event()

    def open_slowly(url: str) -> Closing:
        entered.set()
        assert release.wait(10)
        return backend

    monkeypatch.setattr(sys.modules[f"durable_jobs_{driver.name}"], "open_backend", open_slowly)

    async def main() -> None:
        opening = driver.event()

        async def open() -> None:
            async with driver.open(one_job(), "slow://"):
                raise AssertionError("it is cancelled")

        async def cancel() -> None:
            while not entered.is_set():
                await driver.turn()
            opening.set()
            for _ in range(5):
                await driver.turn()
            release.set()

        await driver.together(lambda: driver.cancelled_when(opening, open), cancel)

    driver.run(main)
    assert backend.closed.wait(10)


def test_a_block_that_is_cancelled_before_it_begins_closes_its_backend(driver: Driver) -> None:
    backend = Closing()

    async def main() -> None:
        at_once = driver.event()

        async def open() -> None:
            at_once.set()
            async with driver.open(one_job(), backend):
                await driver.forever()

        await driver.cancelled_when(at_once, open)

    driver.run(main)
    assert backend.closed.is_set()


def test_a_backend_that_stops_an_iteration_by_mistake_is_told_like_others(driver: Driver) -> None:
    class Mistaken(Closing):
        def health(self) -> Any:
            return next(iter(()))

    backend = Mistaken()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            async with driver.open(one_job(), backend):
                pass

    driver.run(main)
    assert backend.closed.is_set()


@pytest.mark.parametrize(("method", "form"), [("health", "a Health"), ("scan", "a Page")])
def test_a_backend_that_does_not_give_what_the_port_says_is_told_so(
    driver: Driver, method: str, form: str
) -> None:
    backend = Closing()
    setattr(backend, method, lambda *args: None)

    async def main() -> None:
        with pytest.raises(StorageError, match=f"the backend's {method}: expected {form}, got NoneType None"):
            async with driver.open(one_job(), backend) as runtime:
                await runtime.client.list()

    driver.run(main)
    assert backend.closed.is_set()


def test_a_runtime_whose_threads_cannot_be_started_says_so_and_closes_its_backend(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, start = Closing(), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if getattr(getattr(thread, "_target", None), "__qualname__", "").endswith("LaneThread._serve"):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            async with driver.open(one_job(), backend):
                pass

    monkeypatch.setattr(threading.Thread, "start", refuse)
    driver.run(main)
    assert backend.closed.is_set()


def test_a_hook_for_which_there_is_no_thread_fails_like_others(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def execute(ctx: ContinuousContext[Nothing]) -> None: ...

    def refuse(thread: threading.Thread) -> None:
        if getattr(getattr(thread, "_target", None), "__qualname__", "").endswith("ThreadPool._serve"):
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        async with driver.open(one_job(execute, retry=None, start_immediately=False), "memory://") as runtime:
            monkeypatch.setattr(threading.Thread, "start", refuse)
            result = await outcome_of_a_run(runtime)
            monkeypatch.setattr(threading.Thread, "start", start)
            assert str(result.error) == "RuntimeError: can't start new thread"

    driver.run(main)


def test_a_block_that_is_left_where_no_thread_starts_closes_its_backend(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an `atexit` of Python 3.12 and later, when those that were idle have ended."""
    backend = Closing()

    def refuse(*args: object, **options: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    async def main() -> None:
        async with driver.open(one_job(), backend) as runtime:
            assert (await outcome_of_a_run(runtime)).outcome == "succeeded"
            monkeypatch.setattr(threads.ThreadPool, "run", refuse)
            monkeypatch.setattr(trio.to_thread, "run_sync", refuse)

    driver.run(main)
    assert backend.closed.is_set()


def test_a_backend_that_fails_to_close_is_closed_once(driver: Driver) -> None:
    class Failing(Closing):
        closings = 0

        def close(self) -> None:
            self.closings += 1
            raise RuntimeError("it is gone")

    backend = Failing()

    async def main() -> None:
        async with driver.open(one_job(), backend):
            pass

    with pytest.raises(RuntimeError, match="it is gone"):
        driver.run(main)
    assert backend.closings == 1


# -- the block


def test_a_group_of_errors_comes_out_as_it_is(driver: Driver) -> None:
    async def fail() -> None:
        raise KeyError("mine")

    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:

            async def ask_for_ever() -> None:
                while True:
                    await runtime.client.continuous("job").status("a")

            await driver.together(ask_for_ever, fail)

    with pytest.raises((KeyError, ExceptionGroup)) as raised:
        driver.run(main)
    error = raised.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, KeyError)


def test_a_backend_that_cannot_be_closed_is_told_and_leaves_nothing_behind(driver: Driver) -> None:
    class Stuck(MemoryBackend):
        def close(self) -> None:
            super().close()
            raise StorageError("the disk is gone")

    async def main() -> None:
        with pytest.raises(StorageError, match="the disk is gone"):
            async with driver.open(one_job(), Stuck()):
                pass
        assert driver.tasks() == 1

    driver.run(main)


def test_S_3_a_runtime_that_breaks_while_it_closes_says_so_and_cancels_its_hooks(driver: Driver) -> None:
    ended: list[str] = []

    async def main() -> None:
        running = driver.event()

        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            running.set()
            try:
                await driver.forever()
            finally:
                ended.append("hook")

        async def block() -> None:
            async with driver.open(one_job(execute), "memory://") as runtime:
                await runtime.client.continuous("job").start("a", Nothing())
                await running.wait()
                driver.later(lambda: runtime._machine._feed(Answered(999, StorageError("never asked"))))

        with pytest.raises(RuntimeError, match="the durable-jobs runtime broke"):
            await block()
        for _ in range(5):
            await driver.turn()
        assert ended == ["hook"], "and not only by the end of the loop"

    driver.run(main)


def test_S_3_a_runtime_that_broke_begins_no_hook(driver: Driver) -> None:
    called: list[str] = []

    async def main() -> None:
        async def execute(ctx: ContinuousContext[Nothing]) -> None:
            called.append("hook")

        async def block() -> None:
            async with driver.open(one_job(execute), "memory://") as runtime:
                machine = runtime._machine
                feed = machine._feed

                def feed_once_too_often(input: Input) -> None:
                    feed(input)
                    if machine.attempts:  # it is to be called in this turn
                        feed(Answered(999, StorageError("never asked")))

                machine._feed = feed_once_too_often
                await runtime.client.continuous("job").start("a", Nothing())
                await driver.forever()

        with pytest.raises(RuntimeError, match="the durable-jobs runtime broke"):
            await block()
        for _ in range(5):
            await driver.turn()

    driver.run(main)
    assert called == []


def test_S_3_a_caller_whose_own_request_breaks_the_runtime_is_told(driver: Driver) -> None:
    told: list[BaseException] = []

    async def main() -> None:
        opened = driver.event()
        runtime: Any = None

        async def block() -> None:
            nonlocal runtime
            try:
                async with driver.open(one_job(), "memory://") as runtime:
                    opened.set()
                    await driver.forever()
            except RuntimeError as error:
                told.append(error)

        async def ask() -> None:
            await opened.wait()
            runtime._machine._engine.feed = None  # a bug of the library
            try:
                await runtime.client.continuous("job").status("a")
            except OutcomeUnknownError as error:
                told.append(error)

        await driver.together(block, ask)

    driver.run(main)
    assert sorted(type(error).__name__ for error in told) == ["OutcomeUnknownError", "RuntimeError"]
