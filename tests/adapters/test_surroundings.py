"""What the world around a runtime does to it, on both drivers: cancellations, signals, threads, loops."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
import trio
from attrs import evolve
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import hints, machine, threads
from support.drivers import Driver, Main, StoppedClock
from support.killing import finish
from support.one_job import Closing, Nothing, one_job

from durable_jobs_core import (
    ClosedError,
    ContinuousContext,
    DefinitionError,
    OutcomeUnknownError,
    StorageError,
    Task,
    TaskContext,
    create_durable_jobs,
)
from durable_jobs_core.backend import Answer, Batch, Committed, Page, Query, Refused, Unknown
from durable_jobs_core.engine import Answered, Input, Limits


async def outcome_of_a_run(runtime: Any) -> Any:
    client = runtime.client.continuous("job")
    await client.start("a", Nothing())
    return await client.trigger("a", wait="10 seconds")


def errors_of(function: Callable[[], object]) -> list[BaseException]:
    """What it raises, as a thread cannot raise it."""
    try:
        function()
    except BaseException as error:
        return [error]
    return []


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


# -- other loops, and afterwards


class Failing(MemoryBackend):
    """Its second to fifth exchanges raise, or give what is no answer."""

    def __init__(self, way: object) -> None:
        super().__init__()
        self.way, self.asked = way, 0

    def exchange(self, lane: int, batch: Batch) -> Answer:
        self.asked += 1
        if not 2 <= self.asked <= 5:
            return super().exchange(lane, batch)
        if isinstance(self.way, BaseException):
            raise self.way
        return cast(Answer, self.way)


def caused(error: BaseException, *, by: BaseException) -> BaseException:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("way", "why"),
    [
        (ConnectionError("the server is gone"), "ConnectionError: the server is gone"),
        (
            caused(ConnectionError("gone"), by=OSError("route")),
            "ConnectionError: gone caused by OSError: route",
        ),
        (SystemExit(3), "SystemExit: 3"),
        (None, "expected an Answer, got NoneType"),
        (
            Answer(outcomes=(Committed(),), clock=1),
            "its answer has 1 outcomes for 0 writes, 0 rows for ",
        ),
        (Answer(rows=(None,), clock=1 << 60), "its answer has "),  # a row too many, or no clock
        (Answer(outcomes=None, clock=1), "its answer has outcomes, rows or claimed rows that are no tuple"),  # type: ignore[arg-type]
    ],
)
def test_a_backend_that_fails_is_told_in_the_log_and_so_is_its_return(
    driver: Driver, caplog: pytest.LogCaptureFixture, way: object, why: str
) -> None:
    async def main() -> None:
        async with driver.open(one_job(), Failing(way)) as runtime:
            assert (await runtime.client.continuous("job").status("a")).status == "not_found"

    with caplog.at_level(logging.WARNING, "durable_jobs"):
        driver.run(main)
    *failed, again = caplog.messages
    for number, message in zip((1, 2, 4), failed, strict=True):
        assert message.startswith(f"the backend failed (lane 0, {number} in a row): {why}")
    assert again == "the backend answers again (lane 0, failed before: 4)"


class Full(MemoryBackend):
    """Takes no writes while it is `full`."""

    full = True

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, evolve(batch, writes=()) if self.full else batch)
        refused = Refused("the disk is full", transient=True)
        return evolve(answer, outcomes=(refused,) * len(batch.writes)) if self.full else answer


def test_health_says_why_the_backend_fails_for_as_long_as_it_does(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        backend, clock = Full(), StoppedClock(monkeypatch)
        async with driver.open(one_job(), backend, worker=False) as runtime:

            async def start() -> None:
                await runtime.client.continuous("job").start("a", Nothing())

            async def ask_in_vain() -> None:
                with pytest.raises(
                    StorageError, match="not done in time; the backend fails: the disk is full"
                ):
                    await start()

            async def run_out_of_time() -> None:
                while not (await runtime.health()).failing:
                    await driver.turn()
                clock.let_pass(60, runtime)

            assert (await runtime.health()).failing == ()
            await driver.together(ask_in_vain, run_out_of_time)
            assert (await runtime.health()).failing == ("the disk is full",)
            backend.full = False
            await start()
            assert (await runtime.health()).failing == ()

    driver.run(main)


class Doubtful(MemoryBackend):
    """Of its first write it says something else than what became of it."""

    def __init__(self, outcome: Refused | Unknown) -> None:
        super().__init__()
        self.outcome, self.said = outcome, False

    def exchange(self, lane: int, batch: Batch) -> Answer:
        if not batch.writes or self.said:
            return super().exchange(lane, batch)
        self.said = True
        lands = isinstance(self.outcome, Unknown)
        answer = super().exchange(lane, batch if lands else evolve(batch, writes=()))
        return evolve(answer, outcomes=(self.outcome,) * len(batch.writes))


class NeverRests(MemoryBackend):
    """Its `wait` returns at once, each time."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.heard = threading.Event()

    def wait(self, timeout: float) -> None:
        self.times.append(time.monotonic())
        if len(self.times) > 10:
            self.heard.set()


def test_hints_that_come_without_end_leave_the_process_its_rest(driver: Driver) -> None:
    backend = NeverRests()

    async def main() -> None:
        async with driver.open(one_job(), backend):
            await driver.in_default_thread(backend.heard.wait)

    driver.run(main)
    assert backend.times[10] - backend.times[0] >= 10 * hints.HINT_REST_SECONDS


def test_a_process_that_runs_no_jobs_waits_for_no_hints(driver: Driver) -> None:
    backend = NeverRests()

    async def main() -> None:
        async with driver.open(one_job(), backend, worker=False) as runtime:
            await runtime.client.list()

    driver.run(main)
    assert backend.times == []


class SlowToLetGo(MemoryBackend):
    """Its `wait` returns a moment after it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.closing, self.left = threading.Event(), threading.Event(), threading.Event()
        self.was_left: list[bool] = []

    def wait(self, timeout: float) -> None:
        self.waits.set()
        self.closing.wait()
        self.was_left.append(self.left.wait(0.1))

    def close(self) -> None:
        super().close()
        self.closing.set()


def test_a_block_that_has_been_left_has_nothing_of_the_backend_open(driver: Driver) -> None:
    backend = SlowToLetGo()

    async def main() -> None:
        async with driver.open(one_job(), backend):
            await driver.in_default_thread(backend.waits.wait)
        backend.left.set()

    driver.run(main)
    assert backend.was_left == [False]


class ListsForEver(MemoryBackend):
    """Its second page ends where the first one did."""

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        return Page((), "here")


def test_S_66_a_listing_that_does_not_go_on_ends_in_an_error(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(one_job(), ListsForEver()) as runtime:
            with pytest.raises(StorageError, match="the page after 'here' ends there"):
                async for _ in runtime.client.instances():
                    pass

    driver.run(main)


class RefusesRuns(MemoryBackend):
    """It takes the creation, and no lease."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = threading.Event()

    def exchange(self, lane: int, batch: Batch) -> Answer:
        if not any(write.expected for write in batch.writes):
            return super().exchange(lane, batch)
        answer = super().exchange(lane, evolve(batch, writes=()))
        self.refused.set()
        return evolve(answer, outcomes=(Refused("too large", transient=False),) * len(batch.writes))


def test_a_run_that_the_backend_refuses_for_good_is_told_in_the_log(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody called for it, so nobody else would know."""
    backend = RefusesRuns()

    async def main() -> None:
        async with driver.open(one_job(), backend, limits=Limits(settle=0)) as runtime:
            await runtime.client.continuous("job").start("a", Nothing())
            await driver.in_default_thread(backend.refused.wait)

    with caplog.at_level(logging.WARNING, "durable_jobs"):
        driver.run(main)
    assert caplog.messages[0] == "the backend failed (lane 0, 1 in a row): too large"


@pytest.mark.parametrize(
    "outcome", [Refused("the disk is full", transient=True), Unknown("the disk is full")]
)
def test_writes_that_have_to_be_tried_again_are_told_in_the_log(
    driver: Driver, caplog: pytest.LogCaptureFixture, outcome: Refused | Unknown
) -> None:
    async def main() -> None:
        async with driver.open(one_job(), Doubtful(outcome)) as runtime:
            assert (await outcome_of_a_run(runtime)).outcome == "succeeded"

    with caplog.at_level(logging.WARNING, "durable_jobs"):
        driver.run(main)
    assert caplog.messages == [
        "the backend failed (lane 0, 1 in a row): the disk is full",
        "the backend answers again (lane 0, failed before: 1)",
    ]


def test_a_write_that_is_refused_for_good_is_told_in_the_log_and_is_no_sign_of_health(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        refused = Doubtful(Refused("the store is lost", transient=False))
        async with driver.open(one_job(), refused) as runtime:
            with pytest.raises(StorageError, match="the store is lost"):
                await runtime.client.continuous("job").start("a", Nothing())
            assert (await outcome_of_a_run(runtime)).outcome == "succeeded"

    with caplog.at_level(logging.WARNING, "durable_jobs"):
        driver.run(main)
    assert caplog.messages == [
        "the backend failed (lane 0, 1 in a row): the store is lost",
        "the backend answers again (lane 0, failed before: 1)",
    ]


def test_what_needs_the_loop_is_refused_in_another_one(driver: Driver) -> None:
    refused: list[str] = []

    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:
            asked = (runtime.run_until_idle, runtime.stop, runtime.health, runtime.client.list)

            async def stray() -> None:
                for ask in asked:
                    with pytest.raises(RuntimeError, match="only in the event loop that opened it"):
                        await ask()
                    refused.append(ask.__name__)

            await runtime.in_thread(driver.run, stray, 5)
            assert (await outcome_of_a_run(runtime)).outcome == "succeeded"

    driver.run(main)
    assert refused == ["run_until_idle", "stop", "health", "list"]


def test_after_the_end_of_the_block_listing_and_health_are_refused_like_requests(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:
            pass
        for ask in (runtime.health, runtime.client.list):
            with pytest.raises(ClosedError, match="the runtime is closed"):
                await ask()

    driver.run(main)


def test_two_loops_in_two_threads_share_a_file_that_is_opened_again_at_once(
    driver: Driver, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    failed: list[BaseException] = []

    def use(name: str) -> None:
        async def main() -> None:
            for number in range(5):
                async with driver.open(one_job(), url) as runtime:
                    await runtime.client.continuous("job").start(f"{name}{number}", Nothing())

        failed.extend(errors_of(lambda: driver.run(main)))

    threads = [threading.Thread(target=use, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def main() -> None:
        async with driver.open(one_job(), url, worker=False) as runtime:
            assert len((await runtime.client.list()).instances) == 10

    assert failed == []
    driver.run(main)


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


# -- signals


async def terminate(driver: Driver) -> None:
    """A moment later the process is asked to end."""
    for _ in range(3):
        await driver.turn()
    signal.raise_signal(signal.SIGTERM)


def test_serve_leaves_the_handlers_of_the_program_as_they_were(driver: Driver) -> None:
    heard: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:
            await driver.together(runtime.serve, partial(terminate, driver))

    before = signal.signal(signal.SIGTERM, handler)
    try:
        driver.run(main)
        assert signal.getsignal(signal.SIGTERM) is handler
        assert heard == []
    finally:
        signal.signal(signal.SIGTERM, before)


def test_all_who_serve_in_one_loop_are_ended_by_one_signal(driver: Driver) -> None:
    async def main() -> None:
        async with (
            driver.open(one_job(), "memory://") as first,
            driver.open(one_job(), "memory://") as second,
        ):
            await driver.together(first.serve, second.serve, partial(terminate, driver))

    before = signal.getsignal(signal.SIGTERM)
    driver.run(main)
    assert signal.getsignal(signal.SIGTERM) is before


def test_serving_ends_with_the_runtime(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:

            async def stop() -> None:
                await driver.sleep(0)  # so that it serves by then
                await runtime.stop()

            await driver.together(runtime.serve, stop)
        with pytest.raises(ClosedError, match="the runtime is closed"):
            await runtime.serve()

    driver.run(main)


def test_serving_is_for_the_main_thread_and_says_so(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(one_job(), "memory://") as runtime:
            with pytest.raises(
                RuntimeError, match="serve: expected the main thread, in which signals are heard"
            ):
                await runtime.serve()

    thread = threading.Thread(target=lambda: failed.extend(errors_of(lambda: driver.run(main))))
    failed: list[BaseException] = []
    thread.start()
    thread.join()
    assert failed == []


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_in_the_middle_of_a_request_leaves_the_block_in_good_order(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Closing()
    now, asked = machine.now_ms, 0
    left: list[BaseException | None] = []

    def interrupting() -> int:
        """The clock, which is read first for the deadline and then while the engine is fed."""
        nonlocal asked
        asked += 1
        if asked == 2:
            signal.raise_signal(signal.SIGINT)
        return now()

    async def main() -> None:
        async with driver.open(one_job(start_immediately=False), backend) as runtime:
            monkeypatch.setattr(machine, "now_ms", interrupting)
            try:
                await runtime.client.continuous("job").start("a", Nothing())
                await driver.forever()
            finally:
                left.append(runtime._machine.error)

    with pytest.raises(KeyboardInterrupt):
        driver.run(main)
    assert left == [None]
    assert backend.closed.is_set()
