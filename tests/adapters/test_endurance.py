"""What is left of what has happened, in a process that lives for months: nothing, and at once.

The garbage collector is off: in a process that has little to do it comes seldom, and what a failed hook
held may be large.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from weakref import WeakSet

import pytest
from attrs import define
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import lanes
from support.drivers import DRIVERS, Driver, Event

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Debounce,
    DuplicateEventError,
    DurableJobsError,
    ExecutionError,
    Task,
    create_durable_jobs,
    every,
)
from durable_jobs_core.backend import Batch
from durable_jobs_core.engine import Exchange, Trouble


@pytest.fixture(params=DRIVERS, ids=lambda driver: str(driver.name))
def driver(request: pytest.FixtureRequest) -> Driver:
    driver: Driver = request.param
    return driver


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only what nothing refers to any more goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Large:
    """What a hook holds while it runs."""

    def __init__(self) -> None:
        held.add(self)


held: WeakSet[Large] = WeakSet()


@define(eq=False)
class Counter:
    n: int = 0


shown: WeakSet[Counter] = WeakSet()


async def fail(ctx: Any) -> None:
    large = Large()
    raise ValueError(f"with {large}")


def fail_plainly(ctx: Any) -> None:
    large = Large()
    raise ValueError(f"with {large}")


async def end(ctx: Any) -> None:
    large = Large()
    ctx.terminate(f"with {large}")


async def gone(driver: Driver, referred: WeakSet[Any]) -> None:
    """Wait until nothing refers to them; a thread may have its last word to say."""
    while referred:
        await driver.turn()


async def raised(request: Callable[[], Awaitable[object]]) -> type[DurableJobsError] | None:
    """What a request raises; only its type is kept."""
    try:
        await request()
    except DurableJobsError as error:
        return type(error)
    return None


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("execute", [fail, fail_plainly, end])
def test_what_a_hook_held_that_failed_is_let_go(driver: Driver, execute: Callable[[Any], Any]) -> None:
    job = Continuous.make(
        state=Counter, schedule=every("1 hour"), execute=execute, start_immediately=False, retry=None
    )

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start(id="1", input=Counter())
            assert (await client.trigger("1", wait="10 seconds")).outcome in ("failed", "terminated")
            await gone(driver, held)

    driver.run(main)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("on_event", [fail, fail_plainly])
def test_what_an_inline_hook_held_that_failed_is_let_go(
    driver: Driver, on_event: Callable[[Any], Any]
) -> None:
    job = Debounce.make(event=int, state=Counter, on_event=on_event, flush_after="1 hour", execute=fail)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.debounce(job)
            assert await raised(lambda: client.add("1", 1)) is ExecutionError
            await gone(driver, held)

    driver.run(main)


@pytest.mark.usefixtures("no_collector")
def test_the_error_of_a_refused_request_is_let_go(driver: Driver) -> None:
    job = Task.make(event=int, state=Counter, on_event=lambda event, ctx: None, execute=fail)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.task(job)
            await client.send("1", 1, event_id="one")
            try:
                await client.send("1", 1, event_id="one")
            except DuplicateEventError as error:
                vars(error)["large"] = Large()
            await gone(driver, held)

    driver.run(main, seconds=5)


async def see(ctx: Any) -> None:
    shown.add(ctx.state)


def see_plainly(ctx: Any) -> None:
    shown.add(ctx.state)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("execute", [see, see_plainly])
def test_what_a_hook_was_shown_that_has_ended_is_let_go(
    driver: Driver, execute: Callable[[Any], Any]
) -> None:
    job = Continuous.make(state=Counter, schedule=every("1 hour"), execute=execute, start_immediately=False)

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start(id="1", input=Counter())
            for _ in range(2):  # by a new thread, and by one that is there
                assert (await client.trigger("1", wait="10 seconds")).outcome == "succeeded"
                await gone(driver, shown)

    driver.run(main, seconds=5)


@pytest.mark.usefixtures("no_collector")
def test_S_15_what_a_hook_was_shown_whose_time_was_up_is_let_go(driver: Driver) -> None:
    async def hang(ctx: ContinuousContext[Counter]) -> None:
        shown.add(ctx.state)
        await driver.forever()

    job = Continuous.make(
        state=Counter,
        schedule=every("1 hour"),
        execute=hang,
        start_immediately=False,
        retry=None,
        timeout="1 ms",
    )

    async def main() -> None:
        async with driver.open(create_durable_jobs({"job": job}), "memory://") as runtime:
            client = runtime.client.continuous(job)
            await client.start(id="1", input=Counter())
            assert (await client.trigger("1", wait="10 seconds")).outcome == "failed"
            await gone(driver, shown)

    driver.run(main)


def alive(type_: type[Any]) -> int:
    """How many there are of a type."""
    gc.collect()
    return sum(type(one) is type_ for one in gc.get_objects())


@pytest.mark.parametrize("wait", ["run_until_idle", "serve"])
def test_nothing_is_kept_of_those_who_have_waited_in_vain(driver: Driver, wait: str) -> None:
    begun: Event

    async def forever(ctx: Any) -> None:
        begun.set()
        await driver.forever()

    job = Continuous.make(state=Counter, schedule=every("1 hour"), execute=forever)

    async def main() -> None:
        nonlocal begun
        begun = driver.event()
        async with driver.open(create_durable_jobs({"job": job}), "memory://", grace="0 ms") as runtime:
            await runtime.client.continuous(job).start(id="1", input=Counter())
            await begun.wait()
            before = alive(type(begun))
            for _ in range(100):
                await given_up(driver, getattr(runtime, wait))
            assert alive(type(begun)) - before < 10

    driver.run(main)


async def given_up(driver: Driver, wait: Callable[[], Awaitable[object]]) -> None:
    """Wait, and be cancelled."""
    begun = driver.event()

    async def begin() -> None:
        begun.set()
        await wait()

    await driver.cancelled_when(begun, begin)


def test_a_backend_that_fails_now_and_again_is_told_of_seldom_and_one_that_stays_away_soon(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one row can never be written, and all others can."""
    now = 0.0
    monkeypatch.setattr(lanes, "clock", lambda: now)
    lane = lanes.LaneThread(MemoryBackend(), 0, lambda lane, answered: None)
    told: list[float] = []
    for _ in range(21):
        lane.tell(Trouble("it is bad", 1))
        lane.tell(None)
        told += [now] * len(caplog.messages)
        caplog.clear()
        now += 1.0
    for times in range(1, 6):
        lane.tell(Trouble("it is away", times))
    lane.tell(None)

    assert told == [0.0, 0.0, 10.0, 10.0, 20.0, 20.0]
    assert caplog.messages == [
        "the backend failed (lane 0, 4 in a row): it is away",
        "the backend answers again (lane 0, failed before: 5)",
    ]


def test_a_trouble_of_a_backend_that_goes_on_after_the_rest_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However seldom it is asked: each time may be many seconds, and a power of two far."""
    now = 100.0
    monkeypatch.setattr(lanes, "clock", lambda: now)
    lane = lanes.LaneThread(MemoryBackend(), 0, lambda lane, answered: None)
    lane.tell(Trouble("it is bad", 1))
    lane.tell(None)
    caplog.clear()
    for times in range(1, 6):
        now += 4.0
        lane.tell(Trouble("it is away", times))
    lane.tell(None)

    assert caplog.messages == [
        "the backend failed (lane 0, 3 in a row): it is away",
        "the backend failed (lane 0, 4 in a row): it is away",
        "the backend answers again (lane 0, failed before: 5)",
    ]


def test_an_exchange_that_is_not_answered_is_told_of_seldom_and_no_more_once_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(lanes, "clock", lambda: now)
    answered = threading.Event()
    lane = lanes.LaneThread(MemoryBackend(), 0, lambda lane, answer: answered.set())
    silent: list[str | None] = []
    lane.submit(Exchange(1, 0, Batch(not_after=0)))
    for second in range(66):
        now = float(second)
        lane.watch()
        silent.append(lane.silence)
    lane.start()
    assert answered.wait(10)
    lane.heard(None)
    lane.stop()
    now += 100
    lane.watch()

    assert caplog.messages == [
        "the backend failed (lane 0, 1 in a row): it has not answered for 10 s",
        "the backend failed (lane 0, 2 in a row): it has not answered for 20 s",
        "the backend failed (lane 0, 4 in a row): it has not answered for 40 s",
        "the backend answers again (lane 0, failed before: 6)",
    ]
    assert silent == [None] * 10 + [f"it has not answered for {second} s" for second in range(10, 66)]
    assert lane.silence is None
