"""From incident to test: a journal replayed fails as it did, and no more once the handler is mended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import charging
import pytest
from attrs import evolve, fields_dict
from durable_jobs_simulation import (
    Dice,
    Faults,
    JournalDiffers,
    Replay,
    Simulation,
    SimulationError,
    current,
    replay,
    replaying,
    sleep,
    swarm,
)
from durable_jobs_simulation.cli import main
from support.journals import Number, journals, make_jobs, written

from durable_jobs_core import Debounce, Jobs, Key, Retry, Task, TaskContext, create_durable_jobs, journal
from durable_jobs_core.record import Stored, TaskBody

HOOK_FAULTS = [name for name in fields_dict(Faults) if name.startswith("hook_")] + ["damage", "newer"]
"""What a hook of a replay does not meet, or makes a record unreadable."""
KEY = Key("task", "orders", "a")
Execute = Callable[[TaskContext[Number]], Any]


async def keep(event: Number, ctx: TaskContext[Number]) -> None:
    ctx.set_state(event)
    ctx.schedule("1 second")


def fine(ctx: TaskContext[Number]) -> None:
    """Nothing is wrong with it."""


def divide(ctx: TaskContext[Number]) -> None:
    assert ctx.state is not None
    ctx.set_state(Number(100 // ctx.state.n))


def orders(execute: Execute = divide, on_event: Any = keep, **options: Any) -> Jobs:
    options.setdefault("retry", None)
    job = Task.make(event=Number, state=Number, on_event=on_event, execute=execute, **options)
    return create_durable_jobs({"orders": job})


def sending(*numbers: int) -> Any:
    async def scenario(sim: Simulation) -> None:
        for number in numbers:
            await sim.client.task("orders").send("a", Number(number))
            await sim.sleep("10 seconds")

    return scenario


def incident(path: Path, jobs: Jobs | None = None, *numbers: int) -> Path:
    """The journal of a task that is sent these numbers: 5, and then 0, which it cannot divide by."""
    return written(journals(jobs or orders(), sending(*numbers or (5, 0)))["all"], path / "incident.jsonl")


def endings(replayed: Replay) -> list[str]:
    return [called.what.partition(" of task:orders:a ")[2] for called in replayed.called]


# -- the same again


def test_no_mishap_befalls_a_replay(tmp_path: Path) -> None:
    """The fakes are those of the simulation, and none of their mishaps is in the journal."""

    def shaky(ctx: TaskContext[Number]) -> None:
        if current().mishap("the bank is down", 1.0):
            raise ConnectionError

    replayed = replay(incident(tmp_path, orders(fine)), orders(shaky))

    assert (replayed.verdict, replayed.failures) == ("the same, step by step", ())


@pytest.mark.parametrize("seed", [*range(12), 54])
def test_S_1_S_3_a_journal_kept_under_faults_is_replayed_step_by_step(seed: int, tmp_path: Path) -> None:
    faults = evolve(swarm(Dice(seed)), **dict.fromkeys(HOOK_FAULTS, 0.0))

    for name, lines in journals(make_jobs(), seed=seed, faults=faults, nodes=2).items():
        replayed = replay(written(lines, tmp_path / name), make_jobs)
        assert [called for called in replayed.called if not called.same] == []
        assert "went another way" not in replayed.verdict, name
        assert name != "all" or any(called.was is not None for called in replayed.called)


@pytest.mark.parametrize("seed", range(6))
def test_once_the_handlers_are_mended_nothing_fails_whatever_struck(seed: int, tmp_path: Path) -> None:
    faults = evolve(swarm(Dice(seed)), **dict.fromkeys(HOOK_FAULTS, 0.0))
    lines = journals(make_jobs(), seed=seed, faults=faults, nodes=2)["all"]

    replayed = replay(written(lines, tmp_path / "all"), make_jobs(mended=True))

    assert (replayed.good, replayed.failures) == (True, ())


def test_S_22_a_hook_that_raised_raises_the_same_with_its_traceback(tmp_path: Path) -> None:
    replayed = replay(incident(tmp_path), orders)

    assert endings(replayed)[-1] == "raised ZeroDivisionError: " + str(replayed.failures[0].error)
    assert (replayed.verdict, replayed.good) == ("it fails the same way", False)
    with pytest.raises(ZeroDivisionError) as raised:
        replayed.check()
    assert raised.traceback[-1].name == "divide"
    assert "incident.jsonl: line" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    "policy", [Retry(delay=lambda attempt: f"{1 // 0} s"), Retry(retry_on=lambda error: bool(1 // 0))]
)
def test_a_policy_that_failed_fails_the_same_again(tmp_path: Path, policy: Retry) -> None:
    jobs = orders(retry=policy)

    replayed = replay(incident(tmp_path, jobs), jobs)

    assert [called.same for called in replayed.failures] == [True]
    assert replayed.verdict == "it fails the same way"


def test_nothing_that_failed_is_the_same_step_by_step(tmp_path: Path) -> None:
    replayed = replay(incident(tmp_path, None, 5, 4), orders)

    assert (replayed.verdict, replayed.good) == ("the same, step by step", True)
    replayed.check()


def test_S_15_a_hook_that_took_too_long_takes_too_long_on_virtual_time(tmp_path: Path) -> None:
    async def late(ctx: TaskContext[Number]) -> None:
        await sleep("1 hour")

    jobs = orders(late, timeout="5 seconds")

    with pytest.raises(TimeoutError, match="execute took longer than 5000 ms"):
        replay(incident(tmp_path, jobs), jobs).check()


def test_a_hook_finds_the_time_it_had_and_may_ask_other_instances(tmp_path: Path) -> None:
    found: list[Any] = []

    async def execute(ctx: TaskContext[Number]) -> None:
        if ctx.instance_id == "task:orders:b":
            return
        found.append(current().now)
        sent = await current().client.task("orders").send("b", Number(1), event_id="once")
        found.append(sent.queued)
        await sleep("1 second")

    path = incident(tmp_path, orders(execute), 5)
    then, found = found[0], []
    replayed = replay(path, lambda: orders(execute))

    assert replayed.good
    assert abs((found[0] - then).total_seconds()) < 0.1


def test_S_10_an_inline_hook_that_refused_an_event_refuses_it_again(tmp_path: Path) -> None:
    async def picky(event: Number, ctx: TaskContext[Number]) -> None:
        if event.n == 0:
            raise LookupError("no zero")

    async def scenario(sim: Simulation) -> None:
        for number in (1, 0, 2):
            try:
                await sim.client.task("orders").send("a", Number(number))
            except Exception as error:
                sim.say(error)

    jobs = orders(fine, picky)
    path = written(journals(jobs, scenario)["all"], tmp_path / "journal")

    replayed = replay(path, jobs)

    assert endings(replayed) == ["returned", "raised LookupError: no zero", "returned"]
    with pytest.raises(LookupError):
        replayed.check()


def test_S_6_a_journal_of_an_older_release_is_replayed_on_the_newer(tmp_path: Path) -> None:
    lines = journals(make_jobs())["all"]
    newer = {
        name: evolve(job, state_version=2, upcasters={1: lambda value: value})
        for name, job in make_jobs().by_name.items()
    }

    replayed = replay(written(lines, tmp_path / "journal"), create_durable_jobs(newer))

    assert [called for called in replayed.called if not called.same] == []
    assert replayed.verdict == "it fails the same way"
    assert {called.call.state.version for called in replayed.called if called.call.state is not None} == {2}


# -- crashes


def test_S_14_an_attempt_that_a_crash_cut_off_is_called_too(tmp_path: Path) -> None:
    case = charging.wrong()
    lines = journals(case.jobs, case.scenario, seed=157, faults=Faults(crash=0.0114), nodes=2)["all"]  # type: ignore[arg-type]
    path = written(lines, tmp_path / "journal")

    wrong, right = charging.Bank(), charging.Bank()
    crashed = replay(path, charging.make_jobs(wrong, charging.own_key))
    replay(path, charging.make_jobs(right, charging.key_of_the_run))

    assert (wrong.doubled, right.doubled) == (["task:orders:b"], [])
    attempts = [
        call for call in (called.call for called in crashed.called) if call.leased and call.key.id == "b"
    ]
    assert [call.crashes for call in attempts] == [0, 1]


def test_a_journal_that_begins_in_the_middle_of_a_run_takes_its_end_as_it_was(tmp_path: Path) -> None:
    lines = journals(orders(), sending(0))["all"]
    end = next(number for number, line in enumerate(lines) if b"HandlerFailed" in line)

    replayed = replay(written(lines[end:], tmp_path / "journal"), orders)

    assert (replayed.called, replayed.verdict) == ((), "the same, step by step")


# -- another way


def test_a_mended_hook_fails_no_more(tmp_path: Path) -> None:
    replayed = replay(incident(tmp_path), lambda: orders(fine))

    assert (replayed.verdict, replayed.good) == ("it fails no more", True)
    replayed.check()


def test_what_an_earlier_hook_stored_may_be_what_is_mended(tmp_path: Path) -> None:
    async def never_zero(event: Number, ctx: TaskContext[Number]) -> None:
        await keep(Number(event.n or 1), ctx)

    path = incident(tmp_path, orders(retry=Retry(max_attempts=3, delay="1 second")))

    replayed = replay(
        path, lambda: orders(on_event=never_zero, retry=Retry(max_attempts=3, delay="1 second"))
    )

    assert [called.line for called in replayed.failures] == []
    assert replayed.good
    record = replayed.records[KEY]
    assert record is not None
    assert isinstance(record.body, TaskBody)
    assert record.body.state == Stored(1, {"n": 100})
    assert record.body.run is None, "no retry is left"


def test_a_hook_that_raises_what_it_did_not_fails_in_another_way(tmp_path: Path) -> None:
    def worse(ctx: TaskContext[Number]) -> None:
        raise KeyError("worse")

    replayed = replay(incident(tmp_path, None, 5, 4), lambda: orders(worse))

    assert replayed.verdict == "it fails in another way"
    assert "; then it returned, Stored(version=1, value={'n': 20})" in replayed.text()
    with pytest.raises(KeyError):
        replayed.check()


def test_a_hook_that_leaves_another_state_went_another_way_if_nothing_had_failed(tmp_path: Path) -> None:
    def halve(ctx: TaskContext[Number]) -> None:
        ctx.set_state(Number(50))

    replayed = replay(incident(tmp_path, None, 5), lambda: orders(halve))

    assert not replayed.good
    with pytest.raises(JournalDiffers, match=r"returned, Stored\(version=1, value=\{'n': 50\}\); then it"):
        replayed.check()


def test_S_21_a_policy_that_is_another_is_a_difference_of_the_first_step_it_changes(tmp_path: Path) -> None:
    replayed = replay(incident(tmp_path), lambda: orders(retry=Retry(delay="1 second")))

    assert "HandlerFailed of task:orders:a: after.record.body." in replayed.verdict
    assert not replayed.good


def test_of_the_hooks_that_are_called_again_those_are_shown_that_fail_or_differ(tmp_path: Path) -> None:
    head, failed, verdict = replay(incident(tmp_path, None, 5, 0), orders).text().splitlines()
    assert head.endswith(" 5 calls of hooks; instances: 1")
    assert "execute run 2 attempt 1 of task:orders:a raised ZeroDivisionError" in failed
    assert verdict == "it fails the same way"

    def halve(ctx: TaskContext[Number]) -> None:
        ctx.set_state(Number(50))

    _, differs, _ = replay(incident(tmp_path, None, 5), lambda: orders(halve)).text().splitlines()
    assert "returned, Stored(version=1, value={'n': 50}); then it" in differs


def test_only_the_hook_of_a_line_can_be_what_a_test_is_about(tmp_path: Path) -> None:
    replayed = replay(incident(tmp_path, None, 0, 5, 0), orders)
    first, last = (called.line for called in replayed.failures)

    replayed.check(line=first + 1)
    for line in (first, last):
        with pytest.raises(ZeroDivisionError) as raised:
            replayed.check(line=line)
        assert f"line {line}:" in raised.value.__notes__[0]


@pytest.mark.parametrize("mended", [False, True])
def test_a_bug_of_the_library_is_there_again_or_mended(
    mended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(definition: Any, record: Any, event: Any, env: Any) -> Any:
        assert type(event).__name__ != "HandlerSucceeded", "a bug"
        return step(definition, record, event, env)

    lines = journals(orders(), sending(5))["all"]
    (end,) = (number for number, line in enumerate(lines) if b"HandlerSucceeded" in line)
    steps, _, _ = journal.read([lines[end].decode()])
    step, told = replaying.step, []
    monkeypatch.setattr(journal, "step", broken)
    definition = orders().by_key["task", "orders"]
    before: Any = replaying._record(steps[0], definition, steps[0].before)
    with pytest.raises(AssertionError, match="a bug"):
        journal.Journal(told.append).step(definition, before, steps[0].event, steps[0].env)
    monkeypatch.undo()
    if not mended:
        monkeypatch.setattr(replaying, "step", broken)

    replayed = replay(written([*lines[:end], *told], tmp_path / "journal"), orders)

    assert replayed.good is mended
    if mended:
        assert replayed.verdict == "it fails no more"
    else:
        with pytest.raises(AssertionError, match="a bug"):
            replayed.check()


# -- what cannot be replayed


def test_a_hook_that_wants_a_real_loop_is_named(tmp_path: Path) -> None:
    async def wait(ctx: TaskContext[Number]) -> None:
        await asyncio.sleep(1)

    with pytest.raises(SimulationError, match="execute of orders wants a real event loop"):
        replay(incident(tmp_path), lambda: orders(wait))


def test_a_hook_that_waits_for_what_never_comes_is_named(tmp_path: Path) -> None:
    async def wait(ctx: TaskContext[Number]) -> None:
        await current().client.task("orders").trigger("a", wait="1 year")

    with pytest.raises(SimulationError, match="orders"):
        replay(incident(tmp_path), lambda: create_durable_jobs({"other": orders(wait).by_name["orders"]}))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "[]\n", '{"journal": 2}\n', '{"journal": 1}\n', '"a"\n'):
        (tmp_path / "journal").write_text(text)
        with pytest.raises(SimulationError, match="is no journal"):
            replay(tmp_path / "journal", orders)


@pytest.mark.parametrize("head", [{"schema": 1 << 16, "revision": ""}, {"schema": 1, "revision": "no hex"}])
def test_a_record_that_was_forged_is_told(tmp_path: Path, head: dict[str, object]) -> None:
    path = incident(tmp_path)
    line = next(line for line in path.read_text().splitlines() if '"before":{' in line)
    path.write_text(json.dumps({**json.loads(line), "before": {**head, "record": {}}}) + "\n")

    with pytest.raises(SimulationError, match="line 1: no record is there"):
        replay(path, orders)


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = incident(tmp_path)
    path.write_bytes(path.read_bytes() + '{"journal": 1, "key": ["ü'.encode()[:-1])

    replayed = replay(path, orders)

    assert (replayed.torn, replayed.verdict) == (1, "it fails the same way")
    assert "(1 lines are torn)" in replayed.text()


def test_the_file_before_is_read_too_and_lines_end_only_where_they_end(tmp_path: Path) -> None:
    def refuse(ctx: Any) -> str:
        raise ValueError(ctx.event)

    jobs = create_durable_jobs(
        {
            "texts": Debounce.make(
                event=str, state=str, flush_after="1 s", on_event=refuse, execute=lambda ctx: None
            )
        }
    )

    async def scenario(sim: Simulation) -> None:
        try:
            await sim.client.debounce("texts").add("a", "\u2028 \x85 \x1c")
        except Exception as error:
            sim.say(error)

    lines = journals(jobs, scenario)["all"]
    written(lines[:1], tmp_path / "journal.1")

    replayed = replay(written(lines[1:], tmp_path / "journal"), jobs)

    assert (replayed.steps, replayed.torn, len(replayed.failures)) == (2, 0, 1)


# -- the command line, and the test that it writes

MODULE = """
from durable_jobs_core import Task, create_durable_jobs

async def on_event(event: int, ctx):
    ctx.set_state(event)
    ctx.schedule("1 second")

async def execute(ctx):
    {body}

job = Task.make(event=int, state=int, on_event=on_event, execute=execute, retry=None)
jobs = create_durable_jobs({{"orders": job}})

def make_jobs():
    return jobs
"""
WRONG, MENDED = 'raise ValueError("\\"it\\" is wrong\\nin two lines")', "pass"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a module that has a bug, and the journal of two instances that have met it."""
    (tmp_path / "mine.py").write_text(MODULE.format(body=WRONG))

    async def on_event(event: int, ctx: Any) -> None:
        ctx.set_state(event)
        ctx.schedule("1 second")

    async def execute(ctx: Any) -> None:
        raise ValueError('"it" is wrong\nin two lines')

    async def scenario(sim: Simulation) -> None:
        for name in ("b", 'a"""\0\x1b[2J'):
            await sim.client.task("orders").send(name, 5)
            await sim.sleep("10 seconds")

    job = Task.make(event=int, state=int, on_event=on_event, execute=execute, retry=None)
    lines = journals(create_durable_jobs({"orders": job}), scenario)["all"]
    written([*lines, b'{"journal": 1, "ke'], tmp_path / "incident.jsonl")
    return tmp_path


QUICK = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The test that is written needs no plugin of pytest, and to import them takes longer than to run it."""


def run(project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env={**os.environ, **QUICK, "PYTHONPATH": str(project), **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("name", ["jobs", "make_jobs"])
def test_the_test_that_is_written_fails_the_same_way_until_the_handler_is_mended(
    name: str, project: Path
) -> None:
    told = run(
        project,
        "durable_jobs_simulation",
        "replay",
        "incident.jsonl",
        f"mine:{name}",
        "--as-test",
        "test_it.py",
    )
    (project / "incident.jsonl").unlink()
    pytest_run = ("pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "test_it.py")
    failed = run(project, *pytest_run)
    (project / "mine.py").write_text(MODULE.format(body=MENDED))
    passed = run(project, *pytest_run)

    assert (told.returncode, told.stderr) == (1, "")
    assert "written to test_it.py and test_it.jsonl\n" in told.stdout
    assert '"b"' not in (project / "test_it.jsonl").read_text(), "it is of the instance that failed alone"
    assert failed.returncode == 1
    assert "in test_orders_execute\n" in failed.stdout or "def test_orders_execute" in failed.stdout
    assert 'E   ValueError: "it" is wrong' in failed.stdout.replace("E       ", "E   ")
    assert "1 passed" in passed.stdout, passed.stdout


def test_a_replay_is_the_same_in_every_process(project: Path) -> None:
    command = ("durable_jobs_simulation", "replay", "incident.jsonl", "mine:jobs")

    said = {run(project, *command, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}

    assert len(said) == 1
    assert said.pop().endswith("it fails the same way\n")


def test_the_command_line_says_what_is_missing(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_ = str(project / "incident.jsonl")
    (project / "mended.py").write_text(MODULE.format(body=MENDED))
    monkeypatch.syspath_prepend(project)

    assert main(["replay", journal_]) == 2
    assert "name the jobs too" in capsys.readouterr().err
    assert main(["replay", journal_, "mended"]) == 0
    assert main(["replay", journal_, "mended:jobs", "--as-test", str(project / "test_it.py")]) == 2
    assert "no hook fails" in capsys.readouterr().err
    assert main(["replay", str(project / "not_there"), "mended:jobs"]) == 2
