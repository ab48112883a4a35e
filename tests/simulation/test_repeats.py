"""A run that failed says how to have it again, and that it cannot be had again if it goes another way."""

from __future__ import annotations

from pathlib import Path

import pytest
from durable_jobs_simulation import Violation
from durable_jobs_simulation.cli import main
from durable_jobs_simulation.pytest_plugin import SimulateJobs
from support.modules import put_module

MODULE = """
from itertools import count

from attrs import evolve
from durable_jobs_core import Key, Task, create_durable_jobs
from durable_jobs_simulation import Faults, sleep
from durable_jobs_simulation.case import Case

drawn = count(1)  # as `random` would be
runs = count(1)


def make(wild, fails):
    async def on_event(event, ctx):
        await sleep(f"{next(drawn) if wild else 1} seconds")

    async def scenario(sim):
        await sim.client.task("orders").send("a", "go")

    def it_holds(sim):
        assert not fails, "task:orders:a is wrong"

    async def execute(ctx): ...

    orders = Task.make(state=str, event=str, on_event=on_event, execute=execute)
    jobs = create_durable_jobs({"orders": orders})
    return Case(name="wild", jobs=jobs, scenario=scenario, at_end=[it_holds], faults=Faults(), lanes=None)


def wild():
    return make(True, True)


def tame():
    return make(False, True)


def once():
    return make(False, next(runs) == 1)


def passes():
    return make(True, False)


def calm():
    return make(False, False)


def failing():  # what is wrong is how the hook failed, in the words that are stored
    async def on_event(event, ctx):
        ctx.schedule("0 seconds")

    async def execute(ctx):
        raise ValueError("no such order")

    async def scenario(sim):
        await sim.client.task("orders").send("a", "go")
        await sim.sleep("1 second")

    def it_holds(sim):
        error = sim.record(Key("task", "orders", "a")).body.last_error
        assert error is None, repr(error.message)

    orders = Task.make(state=str, event=str, on_event=on_event, execute=execute, retry=None)
    jobs = create_durable_jobs({"orders": orders})
    return Case(name="failing", jobs=jobs, scenario=scenario, at_end=[it_holds], faults=Faults())


def long():
    async def scenario(sim):
        await sim.client.task("orders").send("a", "go")

    def it_is_over_soon(sim):
        assert False, f"it took {sim.elapsed_ms} ms"

    return evolve(calm(), scenario=scenario, at_end=[it_is_over_soon], faults=None)


fixed = tame()
"""
STRAYS = " does not repeat its run: "


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module, in a folder that it can be imported from."""
    return put_module(tmp_path, monkeypatch, "strays", MODULE)


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(argv) == 1
    return capsys.readouterr().out.splitlines()


def test_a_seed_that_does_not_repeat_its_run_is_told_with_the_lines_that_differ(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, where, then, now = said(capsys, "run", "strays:wild", "--seed", "7")

    assert where.startswith(f"seed 7{STRAYS}")
    assert "`random`" in where
    assert then.startswith("  then ")
    assert now.startswith("  now  ")
    assert "00:00:01" in then
    assert "00:00:02" in now


def test_a_seed_that_fails_among_others_and_not_alone_is_told(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "run", "strays:once", "--seeds", "2")[-1].startswith(
        "seed 0 failed above, and not now"
    )


@pytest.mark.parametrize(("name", "made"), [("tame", "strays.tame()"), ("fixed", "strays.fixed")])
def test_a_seed_that_repeats_its_run_is_given_as_a_test(
    module: Path, capsys: pytest.CaptureFixture[str], name: str, made: str
) -> None:
    last = said(capsys, "run", f"strays:{name}", "--seed", "7")[-1]

    assert last == f"as a test: evolve({made}, nodes=1, clients=0, lanes=1).run(7, Faults())"


def test_a_test_that_fails_says_how_to_have_it_again(module: Path) -> None:
    import strays  # type: ignore[import-not-found]

    with pytest.raises(Violation) as tame:
        SimulateJobs(None, None, module)(strays.tame)
    assert "\nas a test: evolve(strays.tame(), nodes=1, clients=0, lanes=1).run(0, Faults())\n" in str(
        tame.value
    )
    assert STRAYS not in str(tame.value)

    with pytest.raises(Violation) as wild:
        SimulateJobs(None, None, module)("strays:wild")
    assert STRAYS in str(wild.value)


def test_a_run_is_made_again_apart_from_the_violation_of_the_first(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else that is the context of all that hooks raise, and with it in what is stored."""
    told = said(capsys, "run", "strays:failing", "--seed", "7")
    assert "VIOLATED it_holds: 'no such order'" in told
    assert not any(STRAYS in line for line in told)

    with pytest.raises(Violation, match="it_holds: 'no such order'\n") as violation:
        SimulateJobs(None, None, module)("strays:failing")
    assert STRAYS not in str(violation.value)


def test_runs_of_which_none_fails_are_told_of_too(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "strays:passes", "--seeds", "2"]) == 0
    assert STRAYS in capsys.readouterr().out
    assert main(["run", "strays:calm", "--seeds", "2"]) == 0
    assert STRAYS not in capsys.readouterr().out

    with pytest.warns(UserWarning, match=STRAYS):
        SimulateJobs(None, None, module)("strays:passes", seeds=2)
    SimulateJobs(None, None, module)("strays:calm", seeds=2)


def test_a_trace_that_goes_another_way_says_where(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "run", "strays:wild", "--seed", "7", "--trace", "run.jsonl")

    *_, why, then, now = said(capsys, "replay", "run.jsonl")

    assert why.startswith("it went another way: the code or the setup is not what it was, or ")
    assert "`random`" in why
    assert then.startswith("  then ")
    assert now.startswith("  now  ")
    assert then.split()[3:] == now.split()[3:], "the same at another instant"


@pytest.mark.parametrize("torn", ['{"step": 5, "at', "7", '{"step": 5}', '{"step": "\\u001b[0m", "at": {}}'])
def test_a_trace_that_is_torn_says_where(module: Path, capsys: pytest.CaptureFixture[str], torn: str) -> None:
    said(capsys, "run", "strays:tame", "--seed", "7", "--trace", "run.jsonl")
    trace = module / "run.jsonl"
    head, *_ = trace.read_text().splitlines()
    trace.write_text(f"{head}\n{torn}\n")

    *_, then, now = said(capsys, "replay", "run.jsonl")

    assert then == f"  then {torn}"
    assert now.startswith("  now  ")


def test_what_is_said_of_a_smaller_run_is_of_the_smaller_run(module: Path) -> None:
    import strays

    with pytest.raises(Violation) as drawn:
        SimulateJobs(None, None, module)(strays.long)
    first, *_, last = str(drawn.value).strip().splitlines()
    assert f"VIOLATED {first}" == last
