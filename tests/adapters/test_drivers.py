"""One body of tests for both drivers: what they perform, real loops, real threads, real time."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import MemoryTracker, plain
from support.drivers import DRIVERS, Asyncio, Driver, StoppedClock

from durable_jobs_core import (
    ClosedError,
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DuplicateEventError,
    ExecutionError,
    JobNotFoundError,
    OutcomeUnknownError,
    Retry,
    StorageError,
    Task,
    TaskContext,
    ValidationError,
    create_durable_jobs,
    every,
)
from durable_jobs_core.backend import Answer, Batch
from durable_jobs_core.engine import Answered, Limits

ALL: dict[str, Driver] = {driver.name: driver for driver in DRIVERS}
with suppress(ImportError):  # there is none for some interpreters
    import uvloop

    ALL["uvloop"] = Asyncio(uvloop.new_event_loop)

HOURLY = every("1 hour")


@pytest.fixture(params=ALL)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Both drivers, and asyncio on the loop that many servers bring."""
    return ALL[request.param]


@define
class Counter:
    n: int = 0


def continuous(execute: Callable[[ContinuousContext[Counter]], Any], **options: Any) -> Continuous[Counter]:
    return Continuous.make(state=Counter, schedule=HOURLY, execute=execute, **options)


async def count(ctx: ContinuousContext[Counter]) -> None:
    ctx.set_state(Counter(ctx.state.n + 1))


# -- running


def test_a_started_instance_runs_and_keeps_its_state(driver: Driver) -> None:
    jobs = create_durable_jobs({"count": continuous(count)})

    async def main() -> None:
        async with driver.open(jobs, "memory://") as runtime:
            client = runtime.client.continuous("count")
            started = await client.start("a", Counter(5))
            await runtime.run_until_idle()

            assert started.created
            assert (await client.get_state("a")).state == Counter(6)
            assert (await client.status("a")).run_count == 1

    driver.run(main)


def test_a_recurring_instance_runs_again_when_it_is_due(driver: Driver) -> None:
    runs: list[int] = []

    async def main() -> None:
        thrice = driver.event()

        async def execute(ctx: ContinuousContext[Counter]) -> None:
            runs.append(ctx.run_count)
            if ctx.run_count == 3:
                thrice.set()

        job = Continuous.make(state=Counter, schedule=every("20 ms"), execute=execute)
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            await runtime.client.continuous(job).start("a", Counter())
            await thrice.wait()

    driver.run(main)
    assert runs[:3] == [1, 2, 3]


def test_a_debounce_hands_its_window_over_when_flushed(driver: Driver) -> None:
    batches: list[tuple[int, int]] = []

    def add_up(ctx: DebounceEventContext[Counter, Counter]) -> Counter:
        return Counter((ctx.state.n if ctx.state else 0) + ctx.event.n)

    async def execute(ctx: DebounceContext[Counter]) -> None:
        batches.append((ctx.state.n, ctx.event_count))

    job = Debounce.make(event=Counter, state=Counter, flush_after="1 hour", on_event=add_up, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"sum": job}), "memory://") as runtime:
            client = runtime.client.debounce(job)
            for n in (1, 2, 3):
                await client.add("a", Counter(n), event_id=str(n))
            with pytest.raises(DuplicateEventError):
                await client.add("a", Counter(3), event_id="3")
            flushed = await client.flush("a")

            assert flushed.flushed
            assert flushed.event_count == 3

    driver.run(main)
    assert batches == [(6, 3)]


def test_an_async_reducer_is_awaited(driver: Driver) -> None:
    async def add_up(ctx: DebounceEventContext[Counter, Counter]) -> Counter:
        await driver.turn()
        return Counter((ctx.state.n if ctx.state else 0) + ctx.event.n)

    async def execute(ctx: DebounceContext[Counter]) -> None: ...

    job = Debounce.make(event=Counter, state=Counter, flush_after="1 hour", on_event=add_up, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"sum": job}), "memory://") as runtime:
            client = runtime.client.debounce(job)

            async def add() -> None:
                await client.add("a", Counter(1))

            await driver.together(*[add] * 20)
            assert (await client.get_state("a")).state == Counter(20)

    driver.run(main)


def test_a_task_applies_events_and_runs_what_they_schedule(driver: Driver) -> None:
    seen: list[str] = []

    async def on_event(event: Counter, ctx: TaskContext[Counter]) -> None:
        ctx.set_state(event)
        ctx.schedule("0 s")

    def execute(ctx: TaskContext[Counter]) -> None:
        seen.append(f"execute {ctx.state}")

    async def on_idle(ctx: TaskContext[Counter]) -> None:
        seen.append("idle")

    job = Task.make(state=Counter, event=Counter, on_event=on_event, execute=execute, on_idle=on_idle)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"task": job}), "memory://") as runtime:
            sent = await runtime.client.task(job).send("a", Counter(7))
            await runtime.run_until_idle()
            assert sent.created

    driver.run(main)
    assert seen == ["execute Counter(n=7)", "idle"]


def test_waiting_for_a_trigger_gives_the_outcome_of_the_attempt(driver: Driver) -> None:
    async def fail(ctx: ContinuousContext[Counter]) -> None:
        raise ValueError("no")

    job = continuous(fail, start_immediately=False, retry=Retry(delay="1 hour"))

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            result = await client.trigger("a", wait="10 seconds")

            assert result.outcome == "retrying"
            assert str(result.error) == "ValueError: no"
            assert result.retry_at is not None

    driver.run(main)


# -- errors that reach the caller


def test_bad_input_and_unknown_jobs_are_refused(driver: Driver) -> None:
    job = continuous(count)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            with pytest.raises(ValidationError, match=r"expected an object \(Counter\), got int 5"):
                await runtime.client.continuous(job).start("a", 5)
            with pytest.raises(JobNotFoundError, match="no continuous job is registered as 'other'"):
                runtime.client.continuous("other")
            assert (await runtime.client.list()).instances == ()

    driver.run(main)


def test_a_failing_inline_hook_is_raised_with_its_cause(driver: Driver) -> None:
    boom = ValueError("boom")

    async def on_event(event: Counter, ctx: TaskContext[Counter]) -> None:
        raise boom

    async def execute(ctx: TaskContext[Counter]) -> None: ...

    job = Task.make(state=Counter, event=Counter, on_event=on_event, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"task": job}), "memory://") as runtime:
            with pytest.raises(ExecutionError, match="on_event of task:task:a failed: ValueError: boom") as e:
                await runtime.client.task(job).send("a", Counter())
            assert e.value.__cause__ is boom
            assert (await runtime.client.task(job).status("a")).status == "not_found"

    driver.run(main)


def test_a_state_that_does_not_fit_any_more_is_refused_with_the_error_of_its_codec(driver: Driver) -> None:
    class Forgetful:
        def encode(self, value: Any, type_: Any) -> Any:
            return value

        def decode(self, data: Any, type_: Any) -> Any:
            return {1: 1}[data]

        def schema(self, type_: Any) -> Any:
            return None

    job = Debounce.make(
        event=int,
        state=int,
        codec=Forgetful(),
        on_event=lambda ctx: 2,
        flush_after="1 hour",
        execute=count,
    )

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.debounce(job)
            await client.add("a", 1)
            with pytest.raises(ValidationError, match="expected a valid int, got KeyError: 2") as e:
                await client.add("a", 1)
            assert isinstance(e.value.__cause__, KeyError)

    driver.run(main)


def test_what_the_block_raises_comes_out_as_it_is(driver: Driver) -> None:
    async def main() -> None:
        with pytest.raises(KeyError, match="mine"):
            async with driver.open(create_durable_jobs({"job": continuous(count)}), "memory://"):
                raise KeyError("mine")

    driver.run(main)


def test_an_unknown_backend_is_a_clear_error(driver: Driver) -> None:
    async def main() -> None:
        with pytest.raises(
            StorageError, match=r"no backend is installed for 'nosuch://x'; installed: .*memory://"
        ):
            async with driver.open(create_durable_jobs({}), "nosuch://x"):
                pass

    driver.run(main)


# -- timeouts, threads, cancellation (S-14, S-15)


def test_S_15_an_async_hook_that_takes_too_long_is_cancelled_and_fails(driver: Driver) -> None:
    ended: list[str] = []

    async def hang(ctx: ContinuousContext[Counter]) -> None:
        try:
            await driver.forever()
        finally:
            ended.append("ended")

    job = continuous(hang, timeout="20 ms", retry=None, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start("a", Counter())
            result = await client.trigger("a", wait="10 seconds")

            assert str(result.error) == "TimeoutError: execute took longer than 20 ms"
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


class Gate(MemoryBackend):
    """A memory backend that can be held shut for requests; claims pass."""

    def __init__(self) -> None:
        super().__init__()
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.entered = threading.Semaphore(0)

    def exchange(self, lane: int, batch: Batch) -> Answer:
        if batch.writes or batch.loads:
            self.entered.release()
            assert self.open_gate.wait(20)
        return super().exchange(lane, batch)


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


# -- nodes


def test_a_client_only_node_leaves_the_work_to_a_worker(driver: Driver) -> None:
    ran: list[str] = []

    async def execute(ctx: ContinuousContext[Counter]) -> None:
        ran.append("ran")

    jobs = create_durable_jobs({"job": continuous(execute)})
    backend = f"memory://nodes-{id(driver)}"

    async def main() -> None:
        async with driver.open(jobs, backend, worker=False) as front:
            await front.client.continuous("job").start("a", Counter())
            await front.run_until_idle()
            assert ran == []
            async with driver.open(jobs, backend) as worker:
                await worker.run_until_idle()
                assert ran == ["ran"]

    driver.run(main)


def test_S_38_any_node_may_wait_for_a_run_of_another(driver: Driver) -> None:
    jobs = create_durable_jobs({"job": continuous(count, start_immediately=False)})
    backend = f"memory://wait-{id(driver)}"

    async def main() -> None:
        async with (
            driver.open(jobs, backend, worker=False) as front,
            driver.open(jobs, backend),
        ):
            client = front.client.continuous("job")
            await client.start("a", Counter())
            result = await client.trigger("a", wait="10 seconds")
            assert result.outcome == "succeeded"

    driver.run(main)


def test_S_8_instances_of_an_unregistered_job_are_said_once_and_listed(driver: Driver) -> None:
    backend = f"memory://unregistered-{id(driver)}"
    job = continuous(count, start_immediately=False)
    tracker = MemoryTracker()

    async def main() -> None:
        async with driver.open(create_durable_jobs({"old": job}), backend) as runtime:
            await runtime.client.continuous("old").start("a", Counter())
        async with driver.open(create_durable_jobs({"new": job}), backend, trackers=[tracker]) as runtime:
            await runtime.health()
            await runtime.run_until_idle()
            page = await runtime.client.list()
            assert [instance.instance_id for instance in page.instances] == ["continuous:old:a"]

    driver.run(main)
    assert tracker.types() == ["job.unregistered"]


def test_S_66_S_6_a_quarantined_instance_is_listed_by_that_status_and_no_other(
    driver: Driver, tmp_path: Path
) -> None:
    jobs = create_durable_jobs({"job": continuous(count, start_immediately=False)})
    file = tmp_path / "jobs.db"

    async def ids(runtime: Any, status: str) -> list[str]:
        found = runtime.client.instances(job="job", status=status)
        return [instance.key.id async for instance in found]

    async def main() -> None:
        async with driver.open(jobs, f"sqlite:///{file}") as runtime:
            for id in ("bad", "good"):
                await runtime.client.continuous("job").start(id, Counter())
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE rows SET blob = zeroblob(9) WHERE id = 'bad'")
        async with driver.open(jobs, f"sqlite:///{file}") as runtime:
            assert await ids(runtime, "quarantined") == ["bad"]
            assert await ids(runtime, "running") == ["good"]

    driver.run(main)


def test_S_66_listing_pages_through_all_instances(driver: Driver) -> None:
    job = continuous(count, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            for number in range(7):
                await client.start(f"i{number}", Counter())
            await client.pause("i3")
            first = await client.list(limit=3)
            found = [instance.key.id async for instance in runtime.client.instances(kind="continuous")]
            paused = await client.list(status="paused")

            assert len(first.instances) == 3
            assert first.after is not None
            assert sorted(found) == [f"i{number}" for number in range(7)]
            assert [instance.key.id for instance in paused.instances] == ["i3"]

    driver.run(main)


# -- shutdown (S-67)


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


def test_S_67_a_handler_beyond_its_grace_is_cancelled_and_handed_back(driver: Driver) -> None:
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


def test_S_67_a_runtime_may_be_stopped_twice_at_a_time(driver: Driver) -> None:
    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": continuous(count)}), "memory://") as runtime:
            await driver.together(runtime.stop, runtime.stop)

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

        async def wait_for_idle() -> None:
            await opened.wait()
            try:
                await runtime.run_until_idle()
            except RuntimeError as error:
                told.append(error)

        async def break_it() -> None:
            await opened.wait()
            await runtime.in_thread(backend.entered.acquire)
            runtime._machine._feed(Answered(999, StorageError("never asked")))  # a bug of the library
            backend.open_gate.set()

        await driver.together(hold, ask, wait_for_idle, break_it)

    driver.run(main)
    assert sorted(type(error).__name__ for error in told) == ["OutcomeUnknownError", *["RuntimeError"] * 2]


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


# -- trackers


def test_telemetry_comes_in_order_and_a_broken_tracker_harms_nobody(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = MemoryTracker()

    class Broken(MemoryTracker):
        def emit(self, events: object) -> None:
            raise RuntimeError("no")

    async def main() -> None:
        async with driver.open(
            create_durable_jobs({"job": continuous(count)}), "memory://", trackers=[Broken(), tracker]
        ) as runtime:
            await runtime.client.continuous("job").start("a", Counter())
            await runtime.run_until_idle()
            assert (await runtime.health()).dropped_telemetry == 2

    driver.run(main)
    assert [(event.type, event.seq) for event in tracker.events] == [("job.started", 1), ("job.executed", 2)]
    assert "the tracker" in caplog.text


def test_health_names_the_attempts_that_hold_the_slots(driver: Driver) -> None:
    async def main() -> None:
        hangs, go_on = driver.event(), driver.event()

        async def hang(ctx: ContinuousContext[Counter]) -> None:
            hangs.set()
            await go_on.wait()

        jobs = create_durable_jobs({"job": continuous(hang)})
        async with driver.open(jobs, "memory://", limits=Limits(concurrency=1)) as runtime:
            started_at = datetime.now(UTC)
            await runtime.client.continuous("job").start("a", Counter())
            await hangs.wait()
            (attempt,) = (await runtime.health()).attempts
            go_on.set()
            await runtime.run_until_idle()
            assert (str(attempt.key), attempt.hook, attempt.left_behind) == (
                "continuous:job:a",
                "execute",
                False,
            )
            assert abs(attempt.since - started_at) < timedelta(seconds=30)
            assert (await runtime.health()).attempts == ()

    driver.run(main)


def test_health_names_the_instances_that_the_store_gave_back_older_than_they_were(driver: Driver) -> None:
    backend = MemoryBackend()
    job = continuous(count)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), backend, worker=False) as runtime:
            client = runtime.client.continuous("job")
            await client.start("a", Counter())
            (key,), older = backend._store.rows, dict(backend._store.rows)
            await client.trigger("a")
            healthy = await runtime.health()
            backend._store.rows.update(older)
            await client.status("a")
            health = await runtime.health()
            assert (healthy.regressions, healthy.regressed) == (0, ())
            assert (health.regressions, health.regressed) == (1, (key,))

    driver.run(main)


def test_S_69_concurrency_bounds_what_runs_at_a_time(driver: Driver) -> None:
    running = 0
    most = 0

    async def execute(ctx: ContinuousContext[Counter]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await driver.turn()
        running -= 1

    job = continuous(execute, concurrency=3)

    async def main() -> None:
        async with driver.open(
            create_durable_jobs({"job": job}), "memory://", limits=Limits(concurrency=10)
        ) as runtime:
            client = runtime.client.continuous(job)

            async def start(number: int) -> None:
                await client.start(f"i{number}", Counter())

            await driver.together(*(lambda n=n: start(n) for n in range(20)))
            await runtime.run_until_idle()
            statuses = [(await client.status(f"i{n}")).run_count for n in range(20)]
            assert statuses == [1] * 20

    driver.run(main)
    assert most == 3


def test_S_19_nothing_is_held_while_user_code_runs(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    wrote: list[str] = []

    def write(name: str) -> None:
        """What another process would do: it waits until it has the file's only write lock."""
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("COMMIT")
        wrote.append(name)

    async def on_event(event: int, ctx: TaskContext[Counter]) -> None:
        write("inline")
        ctx.schedule("0 s")

    async def execute(ctx: TaskContext[Counter]) -> None:
        write("leased")

    job = Task.make(state=Counter, event=int, on_event=on_event, execute=execute)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), f"sqlite:///{path}") as runtime:
            await runtime.client.task(job).send("a", 1)
            await runtime.run_until_idle()

    driver.run(main)

    assert wrote == ["inline", "leased"]
