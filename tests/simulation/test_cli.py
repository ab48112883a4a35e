"""The command line, used wrongly: one line that says what was expected, and 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_simulation import SimulationError, cli, many, shrink
from durable_jobs_simulation.case import tried
from durable_jobs_simulation.cli import main
from durable_jobs_simulation.many import find
from durable_jobs_simulation.pytest_plugin import SimulateJobs
from support.killing import finish
from support.modules import put_module

MODULE = """
from durable_jobs_core import create_durable_jobs

jobs = create_durable_jobs({})
number = 7


async def scenario(sim):
    pass


def wants(sim):
    pass


def gives():
    return 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that modules can be imported from."""
    return put_module(tmp_path, monkeypatch, "asked", MODULE)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that is said."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope:x", "there is no module nope"),
        ("nope", "there is no module nope"),
        ("asked.py:scenario", "there is no module asked.py"),
        (":x", "no module is named"),
        (".asked:x", "no module is named"),
        ("asked:nope", "asked has no nope"),
        ("asked:number", "asked:number is of type int"),
        ("asked:wants", "asked:wants takes arguments"),
        ("asked:gives", "asked:gives gave a value of type int"),
    ],
)
def test_what_is_no_scenario_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    line = refused(capsys, "run", name)

    assert said in line
    assert "expected module:case" in line
    assert "shop:orders" in line, "an example"
    assert "tokens" in line, "one of ours"


def test_an_interpreter_that_leaves_out_assertions_is_refused(folder: Path) -> None:
    """As with PYTHONOPTIMIZE in an image: every scenario would pass."""
    program = [sys.executable, "-O", "-m", "durable_jobs_simulation", "run", "asked:scenario"]
    ran = finish(program, expected=2)

    assert ran.stderr == "python -O leaves out each `assert`: run it without, and without PYTHONOPTIMIZE\n"


@pytest.mark.parametrize("option", ["--seed=1", "--seeds=2"])
def test_what_a_users_module_raises_is_shown_as_it_is(folder: Path, option: str) -> None:
    for text, raised in (("open('away')", FileNotFoundError), ("import asked.away", ModuleNotFoundError)):
        (folder / "broken.py").write_text(text)
        sys.modules.pop("broken", None)
        with pytest.raises(raised):
            main(["run", "broken:scenario", option])


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("nope:jobs", "there is no module nope"),
        ("asked:nope", "asked has no nope"),
        ("asked:number", "asked:number is of type int"),
        ("asked:gives", "asked:gives gave a value of type int"),
    ],
)
def test_a_journal_without_its_jobs_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], jobs: str, said: str
) -> None:
    (folder / "journal.jsonl").write_text('{"journal": 1}\n')

    line = refused(capsys, "replay", "journal.jsonl", jobs)

    assert said in line
    assert "expected module:jobs" in line
    assert "shop:jobs" in line, "an example"


@pytest.mark.parametrize("jobs", [(), ("asked:jobs",)])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("", "is neither a trace nor a journal"),
        ("root:x:0:0\n", "is neither a trace nor a journal"),
        ('{"case": "tok', "is no trace"),
        ('{"case": "tokens"}\n', "is no trace"),
        (
            '{"case": "tokens", "seed": 1, "nodes": 1, "clients": 1, "lanes": 1, "faults": {"of old": 1}}\n',
            "is no trace",
        ),
        ('{"case": ' + "[" * 100_000, "is no trace"),
        (
            '{"case": "tokens", "seed": 1, "nodes": 1, "clients": 1, "lanes": 0, "faults": {}}\n',
            "is no trace",
        ),
        (
            '{"case": "tokens", "seed": "x", "nodes": 1, "clients": 1, "lanes": 1, "faults": {}}\n',
            "is no trace",
        ),
        (
            '{"case": 5, "seed": 1, "nodes": 1, "clients": 1, "lanes": 1, "faults": {}}\n',
            "there is no module 5",
        ),
        (
            '{"case": "nope:x", "seed": 1, "nodes": 1, "clients": 1, "lanes": 1, "faults": {}}\n',
            "there is no module nope",
        ),
    ],
)
def test_a_file_that_cannot_be_replayed_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str, jobs: tuple[str, ...]
) -> None:
    if text is not None:
        (folder / "file").write_text(text)

    line = refused(capsys, "replay", "file", *jobs)

    assert said in line
    assert "replay trace.jsonl" in line or "expected module:case" in line


@pytest.mark.parametrize("seeds", ["--seed", "--seeds"])
@pytest.mark.parametrize("file", [".", "nowhere/trace.html"])
def test_a_trace_that_cannot_be_written_is_told_in_a_line_before_anything_is_run(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, seeds: str
) -> None:
    line = refused(capsys, "run", "tokens", seeds, "1", "--trace", file)

    assert line == f"--trace {file}: expected a file in a folder that is there"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("run --seeds 0", "--seeds: expected at least 1, got 0"),
        ("run --seeds -2", "--seeds: expected at least 1, got -2"),
        ("run --first -1", "--first: expected at least 0, got -1"),
        ("run --seed -1", "--seed: expected at least 0, got -1"),
        ("run --processes 0", "--processes: expected at least 1, got 0"),
        ("run --hours -1", "--hours: expected more than 0, got -1.0"),
        ("run --hours nan", "--hours: expected more than 0, got nan"),
        ("check --processes 0", "--processes: expected at least 1, got 0"),
        ("check --depth 0", "--depth: expected at least 1, got 0"),
        ("check --states 0", "--states: expected at least 1, got 0"),
        ("check --minutes -1", "--minutes: expected at least 0, got -1.0"),
        ("check --gib 0", "--gib: expected more than 0, got 0.0"),
    ],
)
def test_a_number_out_of_range_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], options: str, said: str
) -> None:
    line = refused(capsys, *options.split())

    assert said in line
    assert "as in --" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["run", ""], ": no module is named; expected module:case"),
        (["run", "tokens", "--seed", "1", "--table"], "--table is for many seeds"),
        (["run", "tokens", "--seed", "1", "--first", "5"], "--first is for many seeds"),
        (["run", "tokens", "--seed", "1", "--processes", "2"], "--processes is for many seeds"),
        (
            ["run", "--seed", "1", "--trace", "file"],
            "--trace: expected one scenario with --seed, got tokens, ",
        ),
        (["check", "task", "--all"], "expected scopes or --all, got task and --all"),
    ],
)
def test_what_would_have_done_nothing_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert refused(capsys, *options).startswith(said)


@pytest.mark.parametrize("more", [("asked:jobs",), ("--as-test", "test_it.py")])
def test_a_trace_with_what_is_for_a_journal_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    (folder / "file").write_text(
        '{"case": "tokens", "seed": 1, "nodes": 1, "clients": 1, "lanes": 1, "faults": {}}\n'
    )

    assert refused(capsys, "replay", "file", *more).startswith("file is a trace, which takes no jobs")


def test_what_is_no_number_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--seeds", "many"])

    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line
        == "python -m durable_jobs_simulation run: argument --seeds: invalid int value: 'many' (see --help)"
    )


BROKEN = """
from durable_jobs_core import Task, create_durable_jobs
from durable_jobs_simulation.case import Case

async def nothing(*args): ...

jobs = create_durable_jobs({"a": Task.make(event=int, state=int, on_event=nothing, execute=nothing)})
runs = []


async def scenario(sim):
    await sim.sleep("1 second")
    if len(runs) == 3:
        {}["in the scenario"]


def look(sim):
    {}["in the invariant"]


def case(**options):
    runs.append(1)
    return Case(name="case", jobs=jobs, **options)


def of_the_scenario():
    return case(scenario=scenario)


def of_the_invariant():
    return case(scenario=nothing, at_end=[look])
"""


@pytest.fixture
def broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module whose third run finds a bug of the test itself."""
    (folder / "broken.py").write_text(BROKEN)
    monkeypatch.delitem(sys.modules, "broken", raising=False)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_bug_of_the_scenario_is_told_with_its_place_and_seed(
    broken: None, processes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "broken:of_the_scenario", "--first", "5", "--processes", processes]) == 2

    *place, last = capsys.readouterr().err.splitlines()
    assert last.startswith("scenario raised KeyError: 'in the scenario' (case, seed ")
    assert '    {}["in the scenario"]' in "\n".join(place)


def test_a_bug_of_an_invariant_is_a_violation_with_its_place_and_seed(
    broken: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "broken:of_the_invariant", "--seeds", "3"]) == 1

    said = "look: it raised KeyError in line 18 of broken.py: 'in the invariant'"
    out, err = capsys.readouterr()
    assert f"broken:of_the_invariant --seed 0: {said}" in err
    assert f"VIOLATED {said}" in out
    assert "as a test: evolve(broken.of_the_invariant(), nodes=1, clients=0).run(0, Faults())" in out


def test_an_interrupt_ends_many_runs_with_what_came_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, run = many.run_one, list[int]()

    def interrupted(name: str, seed: int) -> many.Ran:
        run.append(seed)
        if len(run) == 3:
            raise KeyboardInterrupt
        return real(name, seed)

    monkeypatch.setattr(many, "run_one", interrupted)

    assert main(["run", "tokens", "--seeds", "50"]) == 130
    out, err = capsys.readouterr()
    assert out.startswith("2 runs, ")
    assert "interrupted" in err


def test_of_several_seeds_that_failed_the_first_is_shown_whichever_process_was_quicker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def backwards(work: Iterator[tuple[str, int]], processes: int) -> Iterator[many.Ran]:
        yield from (many.run_one(name, seed) for name, seed in reversed(list(work)))

    monkeypatch.setattr(many, "_results", backwards)

    assert main(["run", "charging:wrong", "--seeds", "5"]) == 1
    assert "\nseed 2\n" in capsys.readouterr().out


@pytest.mark.parametrize("tries", [1, 5])
def test_an_interrupt_of_the_search_for_a_smaller_run_shows_the_smallest_so_far(
    tries: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run: list[int] = []
    real = shrink.tried

    def interrupted(case: Any, seed: int, faults: Any = None) -> Any:
        run.append(seed)
        if len(run) > tries:  # the first is whether the seed repeats its run
            raise KeyboardInterrupt
        return real(case, seed, faults)

    monkeypatch.setattr(shrink, "tried", interrupted)
    found, written = tried(find("charging:wrong")(), 4)[0], folder / "trace.txt"

    assert main(["run", "charging:wrong", "--seed", "4", "--trace", str(written)]) == 1
    text = written.read_text()
    assert "VIOLATED nobody_pays_twice" in text
    assert (len(text.splitlines()) < len(list(found.lines()))) == (tries > 1)
    assert "interrupted: this is the smallest run so far" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "tokens", "--seed", "1"], ["check", "task"], ["speed"]])
def test_an_interrupt_is_told_in_a_line(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    for where, name in ((cli, "explain"), (cli.command, "sweep"), (cli, "measure")):
        monkeypatch.setattr(where, name, interrupted)

    assert main(command) == 130
    assert capsys.readouterr().err == "interrupted\n"


IDLE = """
from broken import Case, jobs
from durable_jobs_core import DurableJobsError


async def scenario(sim):
    try:
        await sim.client.task("b").send("x", 1)
    except DurableJobsError:
        pass


def case():
    return Case(name="idle", jobs=jobs, scenario=scenario)
"""


def test_runs_in_which_nothing_was_done_do_not_pass(
    folder: Path, broken: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "idle.py").write_text(IDLE)

    assert main(["run", "idle:case", "--seeds", "3"]) == 2
    assert capsys.readouterr().err.startswith("nothing was committed in 3 runs: expected a scenario of which")
    with pytest.raises(SimulationError, match="nothing was committed in 4 runs"):
        SimulateJobs(None, None, folder)("idle:case", seeds=4)
