"""`examples/custom_runtime.py`: a driver in a page, which keeps the engine's contract."""

from __future__ import annotations

import ast
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from custom_runtime import START, Counter, Runtime
from durable_jobs_runtime import open_backend
from support.killing import ROOT, finish
from support.one_job import Closing, one_job

from durable_jobs_core import (
    ClosedError,
    Continuous,
    ContinuousContext,
    JobNotFoundError,
    Key,
    Retry,
    create_durable_jobs,
    every,
)
from durable_jobs_core.events import StartRequested, StatusRequested, TerminateRequested, TriggerRequested
from durable_jobs_core.record import Stored

EXAMPLE = ROOT / "examples" / "custom_runtime.py"
KEY = Key("continuous", "job", "a")
LIMIT = 20


def open_runtime(database: Path, execute: Any, **options: Any) -> Runtime:
    job = Continuous.make(state=Counter, schedule=every("1 hour"), execute=execute, **options)
    return Runtime(create_durable_jobs({"job": job}), open_backend(f"sqlite:///{database}"))


def test_the_driver_takes_less_than_sixty_lines() -> None:
    tree = ast.parse(EXAMPLE.read_text())
    (driver,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Runtime"]

    assert driver.end_lineno is not None
    assert driver.end_lineno - driver.lineno + 1 < 60


def test_it_runs_without_asyncio_and_without_trio() -> None:
    script = (
        "import runpy, sys\n"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\n"
        "print('loaded:', sorted({'asyncio', 'trio', 'anyio'} & set(sys.modules)))"
    )

    said = finish([sys.executable, "-c", script]).stdout

    assert "  Persist\n  SetAlarm\nthen\n" in said
    runs = [line for line in said.splitlines() if "run " in line]
    assert runs == [f"  continuous:tick:a: run {n + 1}" for n in range(len(runs))]
    assert len(runs) >= 3  # until it is told to end, another may come
    assert "terminated=True" in said
    assert "loaded: []" in said


def test_S_22_a_hook_that_raises_is_tried_again_on_sqlite(tmp_path: Path) -> None:
    attempts: list[int] = []
    done = threading.Event()

    def execute(ctx: ContinuousContext[Counter]) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise OSError("not yet")
        done.set()

    runtime = open_runtime(tmp_path / "jobs.db", execute, retry=Retry(delay="1 ms"))
    runtime.call(KEY, START)

    assert done.wait(LIMIT)
    runtime.close()
    assert attempts == [1, 2, 3]


def test_S_15_a_thread_whose_time_is_up_is_left_behind_and_may_return_later(tmp_path: Path) -> None:
    hang, late, again = threading.Event(), threading.Event(), threading.Event()

    def execute(ctx: ContinuousContext[Counter]) -> None:
        if ctx.attempt == 1:
            hang.wait(LIMIT)
            late.set()
        else:
            again.set()

    runtime = open_runtime(tmp_path / "jobs.db", execute, timeout="50 ms", retry=Retry(delay="1 ms"))
    runtime.call(KEY, START)

    assert again.wait(LIMIT), "the engine goes on without the first attempt"
    hang.set()
    assert late.wait(LIMIT)
    status = runtime.call(KEY, StatusRequested())
    runtime.close()
    assert status.run_count == 1


def test_S_36_terminate_tells_the_hook_that_it_is_cancelled(tmp_path: Path) -> None:
    began, told = threading.Event(), threading.Event()

    def execute(ctx: ContinuousContext[Counter]) -> None:
        began.set()
        while not ctx.cancelled:
            pass
        told.set()

    runtime = open_runtime(tmp_path / "jobs.db", execute)
    runtime.call(KEY, START)
    assert began.wait(LIMIT)
    result = runtime.call(KEY, TerminateRequested("enough"))

    assert result.was_running
    assert told.wait(LIMIT)
    runtime.close()
    assert runtime.hooks == {}


def test_S_61_an_error_is_raised_to_the_caller(tmp_path: Path) -> None:
    runtime = open_runtime(tmp_path / "jobs.db", lambda ctx: None)

    with pytest.raises(JobNotFoundError):
        runtime.call(Key("continuous", "unknown", "a"), TriggerRequested())
    runtime.close()


def test_rule_12_a_driver_that_has_ended_leaves_nobody_waiting(tmp_path: Path) -> None:
    runtime = open_runtime(tmp_path / "jobs.db", lambda ctx: None)

    for _ in range(2):  # by the first, which no client would make; the second comes later
        with pytest.raises(ClosedError, match="the driver has ended") as info:
            runtime.call(KEY, StartRequested(Stored(version=1, value=object())))  # type: ignore[arg-type]
        assert isinstance(info.value.__cause__, TypeError)  # no JSON
    runtime.backend.close()


def test_a_driver_that_is_closed_closes_its_backend() -> None:
    """Python 3.13 warns of a connection to SQLite that nobody closes."""
    backend = Closing()
    runtime = Runtime(one_job(lambda ctx: None), backend)
    runtime.close()

    assert backend.closed.is_set()


def test_rule_11_a_driver_that_was_closed_leaves_nobody_waiting(tmp_path: Path) -> None:
    runtime = open_runtime(tmp_path / "jobs.db", lambda ctx: None)
    runtime.close()

    with pytest.raises(ClosedError, match="the driver has ended"):
        runtime.call(KEY, StatusRequested())
