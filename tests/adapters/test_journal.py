"""A journal that a real driver keeps on SQLite: there after a SIGKILL, bounded, and in no job's way."""

from __future__ import annotations

import os
import runpy
import stat
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from custom_runtime import START, Counter, Runtime
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import FileJournal
from durable_jobs_simulation import replay
from support.children import Child
from support.drivers import Driver

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    ExecutionError,
    Jobs,
    Key,
    Task,
    TaskContext,
    create_durable_jobs,
    engine,
    every,
)
from durable_jobs_core.events import TerminateRequested
from durable_jobs_core.journal import Journal
from durable_jobs_core.step import Env
from durable_jobs_core.words import Failure


@frozen
class Order:
    cents: int
    parts: int


def make_jobs(*, mended: bool = False) -> Jobs:
    """Splits an order into parts, of which there may be none."""

    async def take(order: Order, ctx: TaskContext[Order]) -> None:
        if order.cents < 0:
            raise ValueError("less than nothing")
        ctx.set_state(order)
        ctx.schedule("0 seconds")

    async def split(ctx: TaskContext[Order]) -> None:
        assert ctx.state is not None
        parts = [ctx.state.cents] * ctx.state.parts
        if parts or not mended:
            ctx.set_state(Order(parts[0] // ctx.state.parts, 1))

    orders = Task.make(event=Order, state=Order, on_event=take, execute=split, retry=None)
    return create_durable_jobs({"orders": orders, "others": orders})


def failing(driver: Driver, folder: Path, journal: FileJournal) -> None:
    """A run in which two orders of three go wrong, one of them at once."""

    async def main() -> None:
        async with driver.open(make_jobs(), f"sqlite:///{folder}/jobs.db", journal=journal) as runtime:
            client, other = runtime.client.task("orders"), runtime.client.task("others")
            await client.send("a", Order(100, 4))
            await other.send("a", Order(100, 4))
            await runtime.run_until_idle()
            with pytest.raises(ExecutionError):
                await client.send("a", Order(-1, 1))
            await client.send("b", Order(100, 0))
            await runtime.run_until_idle()

    driver.run(main)


def test_S_22_what_failed_in_a_real_run_fails_the_same_way_and_no_more_once_it_is_mended(
    driver: Driver, tmp_path: Path
) -> None:
    path = tmp_path / "incident.jsonl"
    failing(driver, tmp_path, FileJournal(path, of=["orders"]))

    again, mended = replay(path, make_jobs), replay(path, lambda: make_jobs(mended=True))

    failures = [(str(called.call.key), called.what.partition(" raised ")[2]) for called in again.failures]
    assert failures == [
        ("task:orders:a", "ValueError: less than nothing"),
        ("task:orders:b", "IndexError: list index out of range"),
    ]
    assert (again.verdict, again.torn) == ("it fails the same way", 0)
    assert [str(called.call.key) for called in mended.failures] == ["task:orders:a"]
    with pytest.raises(IndexError):
        again.check(line=again.failures[-1].line)
    mended.check(line=again.failures[-1].line)


def test_only_what_is_asked_for_is_in_the_file_and_only_its_owner_may_read_it(
    driver: Driver, tmp_path: Path
) -> None:
    paths = {of: tmp_path / of for of in ("others", "task:orders:b")}
    for of, path in paths.items():
        (tmp_path / f"{of}.d").mkdir()
        failing(driver, tmp_path / f"{of}.d", FileJournal(path, of=of))

    keys = {of: set(replay(path, make_jobs).records) for of, path in paths.items()}
    assert keys == {
        "others": {Key("task", "others", "a")},
        "task:orders:b": {Key("task", "orders", "b")},
    }
    assert stat.S_IMODE(paths["others"].stat().st_mode) == 0o600


def test_the_lines_of_one_instance_can_be_taken_as_a_guide_says(driver: Driver, tmp_path: Path) -> None:
    path, one = tmp_path / "incident.jsonl", tmp_path / "one.jsonl"
    failing(driver, tmp_path, FileJournal(path))
    lines = path.read_text().splitlines(keepends=True)

    one.write_text("".join(line for line in lines if '"key":["task","orders","b"]' in line))
    again = replay(one, make_jobs)

    assert set(again.records) == {Key("task", "orders", "b")}
    assert [type(called.error) for called in again.failures] == [IndexError]


KILLED = """
import asyncio, sys
import durable_jobs_asyncio
from adapters_journal_jobs import jobs
from durable_jobs_runtime import FileJournal

async def main():
    url, journal = sys.argv[1], FileJournal(sys.argv[2])
    async with durable_jobs_asyncio.open_runtime(jobs, url, journal=journal) as runtime:
        await runtime.client.task("chores").send("a", 5)
        await asyncio.Event().wait()

asyncio.run(main())
"""
JOBS = """
from durable_jobs_core import Task, create_durable_jobs

started = []

async def on_event(event: int, ctx):
    ctx.set_state(event)
    ctx.schedule("0 seconds")

def execute(ctx):
    started.append(ctx.attempt)
    print("it runs", flush=True)
    if WAIT:
        input()

chores = Task.make(event=int, state=int, on_event=on_event, execute=execute)
jobs = create_durable_jobs({"chores": chores})
"""


def test_S_14_a_process_that_is_killed_leaves_all_it_had_told(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    (tmp_path / "adapters_journal_jobs.py").write_text(JOBS.replace("WAIT", "True"))
    child = Child(KILLED, f"sqlite:///{tmp_path}/jobs.db", path, PYTHONPATH=str(tmp_path))
    assert child.hear() == "it runs"
    child.kill()
    with path.open("ab") as file:  # what a line that is cut short leaves
        file.write(b'{"journal":1,"key":["task","cho')

    (tmp_path / "again.py").write_text(JOBS.replace("WAIT", "False"))
    names = runpy.run_path(str(tmp_path / "again.py"))
    FileJournal(path).step(names["chores"], None, TerminateRequested(), _env())
    replayed = replay(path, names["jobs"])

    assert (replayed.torn, names["started"]) == (1, [1])
    assert [(called.call.hook, called.was is None) for called in replayed.called] == [
        ("on_event", False),
        ("execute", True),
    ]
    assert replayed.good


def _env() -> Env:
    key = Key("task", "chores", "b")
    return Env(key=key, now=1, entropy=1, number=1, engine=1, may_start=True, lease_ms=30_000)


def first_free() -> int:
    """The number that the next file gets."""
    file = os.open(os.devnull, os.O_RDONLY)
    os.close(file)
    return file


def test_a_journal_is_bounded_and_what_is_left_is_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = first_free()
    journal = FileJournal(tmp_path / "journal", max_bytes=20_000)
    job = Continuous.make(state=Counter, schedule=every("1 hour"), execute=_count)
    runtime = _runtime(monkeypatch, job, journal)
    for _ in range(40):
        runtime.call(Key("continuous", "job", "a"), START)
        runtime.call(Key("continuous", "job", "a"), TerminateRequested())
    runtime.close()
    journal.close()

    assert first_free() <= free, "no file is left open"
    sizes = [path.stat().st_size for path in (tmp_path / "journal", tmp_path / "journal.1")]
    assert all(0 < size <= 10_000 for size in sizes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal", "journal.1"]
    replayed = replay(tmp_path / "journal", create_durable_jobs({"job": job}))
    assert "another way" not in replayed.verdict
    assert (journal.dropped, replayed.steps > 10) == (0, True)


def test_a_driver_of_ones_own_keeps_a_journal_by_handing_it_to_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(ctx: ContinuousContext[Counter]) -> None:
        raise LookupError("nothing is there")

    job = Continuous.make(state=Counter, schedule=every("1 hour"), execute=fail, retry=None)
    path = tmp_path / "journal"
    with path.open("wb", buffering=0) as file:
        runtime = _runtime(monkeypatch, job, Journal(file.write))
        runtime.call(Key("continuous", "job", "a"), START)
        while b"HandlerFailed" not in path.read_bytes():
            os.sched_yield()
        runtime.close()

    replayed = replay(path, create_durable_jobs({"job": job}))

    assert [called.now for called in replayed.failures] == [
        Failure("LookupError", "nothing is there", replayed.failures[0].now.stack)  # type: ignore[union-attr]
    ]
    assert replayed.verdict == "it fails the same way"


def test_a_file_that_cannot_be_written_harms_no_job(
    driver: Driver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = FileJournal(tmp_path / "no folder" / "journal")

    failing(driver, tmp_path, journal)

    assert journal.dropped > 10
    assert "No such file or directory" in caplog.text
    assert [one.getMessage() for one in caplog.records].count(
        f"the journal {journal.path} cannot be written"
    ) == 1


def test_a_line_that_is_cut_short_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = FileJournal(tmp_path / "journal"), os.write
    job = make_jobs().by_name["orders"]

    def short(file: int, line: bytes) -> int:
        return write(file, line[:20])

    for cut in (False, True, False):
        with monkeypatch.context() as patched:
            if cut:
                patched.setattr(os, "write", short)
            journal.step(job, None, TerminateRequested(), _env())
    journal.close()

    replayed = replay(tmp_path / "journal", create_durable_jobs({"chores": job}))
    assert (journal.dropped, replayed.torn, replayed.steps) == (1, 1, 2)


@pytest.mark.parametrize("call", ["write", "close"])
def test_a_shared_journal_is_written_and_closed_by_one_thread_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal, perform = FileJournal(tmp_path / "journal"), getattr(os, call)
    others: list[bool] = []

    def watched(*args: Any) -> Any:
        other = threading.Thread(target=lambda: others.append(journal._lock.acquire(blocking=False)))
        other.start()
        other.join()
        return perform(*args)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, watched)
        journal.step(make_jobs().by_name["orders"], None, TerminateRequested(), _env())
        journal.close()

    assert others == [False]


def _count(ctx: ContinuousContext[Counter]) -> None:
    ctx.set_state(Counter(ctx.state.n + 1))


def _runtime(monkeypatch: pytest.MonkeyPatch, job: Any, journal: Journal) -> Runtime:
    """The runtime of `examples/custom_runtime.py`, whose engine keeps a journal."""
    with monkeypatch.context() as patched:
        patched.setattr(engine, "Engine", partial(engine.Engine, journal=journal))
        return Runtime(create_durable_jobs({"job": job}), MemoryBackend())
