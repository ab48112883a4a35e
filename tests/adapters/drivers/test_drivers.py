"""One body of tests for both drivers: what they perform, real loops, real threads, real time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import MemoryTracker
from support.counting import Counter, continuous, count
from support.drivers import Driver

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DuplicateEventError,
    ExecutionError,
    JobNotFoundError,
    Key,
    Retry,
    StorageError,
    Task,
    TaskContext,
    ValidationError,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Limits

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
    (event,) = tracker.events
    assert (event.type, event.key) == ("job.unregistered", Key("continuous", "old", ""))
    assert (event.life, event.seq) == (0, None)


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


def test_health_names_the_instances_that_the_store_gave_back_older_than_they_were(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert [record.levelname for record in caplog.records] == ["ERROR"]


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
