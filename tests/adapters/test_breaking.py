"""Signals, other loops, backends that break, and what is left afterwards, on both drivers."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from attrs import evolve
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import hints, lanes, machine
from support.drivers import Driver, StoppedClock
from support.one_job import Closing, Failing, Nothing, one_job, outcome_of_a_run

from durable_jobs_core import ClosedError, StorageError
from durable_jobs_core.backend import Answer, Batch, Committed, Page, Query, Refused, Unknown
from durable_jobs_core.engine import Exchange, Limits


def errors_of(function: Callable[[], object]) -> list[BaseException]:
    """What it raises, as a thread cannot raise it."""
    try:
        function()
    except BaseException as error:
        return [error]
    return []


# -- other loops, and afterwards


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


class Hanging(MemoryBackend):
    """It does not answer before it may `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def exchange(self, lane: int, batch: Batch) -> Answer:
        self.go_on.wait()
        return super().exchange(lane, batch)


def test_a_backend_that_hangs_is_told_in_the_log_and_by_health_and_so_is_its_return(
    driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "HANGS_SECONDS", 0.01)
    backend = Hanging()

    async def main() -> None:
        async with driver.open(one_job(), backend, worker=False) as runtime:
            while not caplog.messages:
                await driver.turn()
            assert (await runtime.health()).failing[0].startswith("it has not answered for ")
            backend.go_on.set()
            assert (await runtime.client.continuous("job").status("a")).status == "not_found"
            assert (await runtime.health()).failing == ()

    with caplog.at_level(logging.WARNING, "durable_jobs"):
        driver.run(main)
    first, *_, again = caplog.messages
    assert first == "the backend failed (lane 0, 1 in a row): it has not answered for 0 s"
    assert again.startswith("the backend answers again (lane 0, failed before: ")


def test_a_backend_whose_answer_a_busy_loop_has_not_heard_yet_does_not_hang(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    lane = lanes.LaneThread(MemoryBackend(), 0, lambda lane, answer: answered.set())
    lane.start()
    lane.submit(Exchange(1, 0, Batch(not_after=0)))
    assert answered.wait(10)
    lane.stop()

    monkeypatch.setattr(lanes, "clock", lambda: lane.watch_at)
    lane.watch()

    assert (lane.silence, caplog.messages) == (None, [])


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
