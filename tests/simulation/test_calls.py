"""What of the hooks was run at all: one that is not called, or fails each time, is not tested."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pytest
from durable_jobs_simulation.calls import Calls, Ends, told, untested
from durable_jobs_simulation.cli import main
from durable_jobs_simulation.pytest_plugin import SimulateJobs
from support.modules import put_module

MODULE = """
from contextlib import suppress

from attrs import evolve
from durable_jobs_core import Continuous, Debounce, DurableJobsError, Task, create_durable_jobs, every
from durable_jobs_simulation import Faults, sleep
from durable_jobs_simulation.case import Case


def case(execute, on_idle, faults):
    async def on_event(event, ctx):
        ctx.schedule("0 seconds")

    async def on_error(error, ctx): ...

    async def scenario(sim):
        with suppress(DurableJobsError):
            await sim.client.task("orders").send("a", "go")

    hooks = {"on_event": on_event, "execute": execute, "on_idle": on_idle, "on_error": on_error}
    orders = Task.make(state=str, event=str, retry=None, **hooks)
    jobs = create_durable_jobs({"orders": orders})
    return Case(name="called", jobs=jobs, scenario=scenario, faults=faults)


async def misses(ctx):
    import no_such_module


async def works(ctx): ...


def broken():
    return case(misses, works, Faults())


async def wrong_state(ctx):
    ctx.set_state(7)


def unfit():
    return case(wrong_state, works, Faults())


def right():
    return case(works, works, Faults())


def failing():
    return case(works, works, Faults(hook_failure=1.0, lost_answer=0.5))


def hanging():
    async def scenario(sim):
        await sim.client.continuous("ticks").start("a", 1)
        await sim.sleep("5 minutes")

    ticks = Continuous.make(state=int, schedule=every("10 seconds"), execute=works, timeout="5 seconds")
    jobs = create_durable_jobs({"ticks": ticks})
    return Case(name="hanging", jobs=jobs, scenario=scenario, faults=Faults(hook_hang=0.2))


def hasty():
    async def scenario(sim):
        for order in "aabc":
            with suppress(DurableJobsError):
                await sim.client.task("orders").send(order, "go")
        await sim.client.debounce("mails").add("a", "hello")
        await sim.sleep("1 minute")

    async def on_event(event, ctx):
        if not ctx.is_first_event:
            raise ValueError("it is gone")
        ctx.schedule("0 seconds" if ctx.instance_id != "task:orders:c" else "1 hour")

    async def execute(ctx):
        await sleep("2 seconds")

    orders = Task.make(
        state=str, event=str, on_event=on_event, execute=execute, retry=None, timeout="1 second"
    )
    mails = Debounce.make(event=str, flush_after="1 hour", execute=works)
    jobs = create_durable_jobs({"orders": orders, "mails": mails})
    return Case(name="hasty", jobs=jobs, scenario=scenario, faults=Faults())


def spoiled():
    return evolve(hasty(), faults=Faults(damage=0.5))
"""
NEVER = (
    "execute of orders failed in 3 of its 3 calls, mostly ModuleNotFoundError: what it does is hardly tested"
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module, in a folder that it can be imported from."""
    return put_module(tmp_path, monkeypatch, "called", MODULE)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_command_says_how_often_each_hook_was_called(
    module: Path, capsys: pytest.CaptureFixture[str], processes: str
) -> None:
    assert main(["run", "called:broken", "--seeds", "3", "--processes", processes]) == 0

    hooks, ends, never = capsys.readouterr().out.splitlines()[2:]
    assert ends == "at the end: orders 3 idle"
    assert (
        hooks == "hooks: orders.execute 3 (3 failed), orders.on_error 3, orders.on_event 3, orders.on_idle 3"
    )
    assert never == NEVER


def test_what_a_fault_raises_is_no_failure_of_a_hook(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "called:failing", "--seeds", "3"]) == 2, "nothing was committed"
    assert main(["run", "called:right", "--seeds", "3"]) == 0

    said = capsys.readouterr().out
    assert "hardly tested" not in said
    assert "orders.execute 3, orders.on_error 0," in said


def test_a_call_that_a_fault_cut_off_says_nothing_of_those_before_it(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "called:hanging", "--seeds", "3"]) == 0

    _, faults, hooks, _ = capsys.readouterr().out.splitlines()
    assert "hook_hang" in faults
    assert "failed" not in hooks


def test_what_takes_too_long_by_itself_is_a_failure(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "called:hasty", "--seeds", "3"]) == 0

    assert "orders.execute 6 (6 failed), orders.on_event 12 (3 failed)" in capsys.readouterr().out


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_command_says_what_became_of_the_instances(
    module: Path, capsys: pytest.CaptureFixture[str], processes: str
) -> None:
    assert main(["run", "called:hasty", "--seeds", "3", "--processes", processes]) == 0

    assert (
        "\nat the end: mails 3 debouncing; orders 3 active, 6 parked, 3 with dead letters\n"
        in capsys.readouterr().out
    )


def test_what_cannot_be_read_has_no_dead_letters(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "called:spoiled", "--seeds", "3"]) == 0

    assert "orders 1 active, 8 quarantined\n" in capsys.readouterr().out


def test_before_the_first_run_is_over_there_are_no_hooks() -> None:
    assert list(told(Calls(), Ends())) == ["hooks: none"]


def test_a_hook_whose_state_does_not_fit_has_failed(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "called:unfit", "--seeds", "3"]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == NEVER.replace("ModuleNotFoundError", "ValidationError")


def test_a_test_warns_of_a_hook_that_fails_each_time(module: Path) -> None:
    with pytest.warns(UserWarning, match=NEVER):
        SimulateJobs(None, None, module)("called:broken", seeds=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SimulateJobs(None, None, module)("called:right", seeds=3)


@pytest.mark.parametrize(("returned", "warned"), [(1, True), (2, False)])
def test_a_hook_that_fails_nearly_each_time_is_hardly_tested(returned: int, warned: bool) -> None:
    calls: Calls = Counter(
        {("orders", "execute", "returned"): returned, ("orders", "execute", "KeyError"): 20}
    )

    assert bool(list(untested(calls))) is warned
