"""The code of the guides runs as it stands, and what they quote of the examples is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from support.consoles import shape

ROOT = Path(__file__).parents[2]
GUIDES = ("test-your-handlers", "write-a-driver")
SERVICE = "service.py"
"""The program that needs a second process."""


def blocks(guide: str) -> list[tuple[str, str]]:
    """The Python of a guide: the file that the first line names, and the code."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    return re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_quotes_is_in_the_example(guide: str) -> None:
    quoted = [(name, code) for name, code in blocks(guide) if (ROOT / name).exists()]

    assert quoted
    assert [code for name, code in quoted if code.strip("\n") not in (ROOT / name).read_text()] == []


@pytest.mark.parametrize(
    ("guide", "name", "says"),
    [
        ("guide", "test_orders.py", "1 passed"),
        ("test-your-handlers", "test_mine.py", "1 passed"),
        ("test-your-handlers", "test_seeds.py", "3 passed"),
        ("test-your-handlers", "test_machine.py", "when='a hook has ended'"),
    ],
)
def test_the_tests_of_a_guide_end_as_it_says(guide: str, name: str, says: str, tmp_path: Path) -> None:
    written = dict(blocks(guide))
    for file in {name, "orders.py"} & written.keys():
        (tmp_path / file).write_text(written[file])

    options = "-q", "-p", "no:randomly", "--hypothesis-seed=0", f"--rootdir={tmp_path}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, name],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "examples")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert says in done.stdout, done.stdout + done.stderr


def test_an_incident_becomes_a_test_as_the_guide_tells(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "test-your-handlers.md").read_text()
    section = guide.partition("## From incident to test")[2].partition("\n## ")[0]
    told = re.findall(r"```console\n\$ python (.*)\n([^`]*)```", section)
    code = dict(blocks("test-your-handlers"))
    handler = tmp_path / "payouts.py"
    handler.write_text((ROOT / "examples" / "payouts.py").read_text())

    ran = [_python(command, tmp_path) for command, _ in told]
    written = (tmp_path / "test_incident.py").read_text()
    wrong = next(line for line in handler.read_text().splitlines(True) if "# wrong" in line)
    handler.write_text(handler.read_text().replace(wrong, code["mended"]))
    again = _python("-m pytest -q test_incident.py", tmp_path)

    assert [done.returncode for done in ran] == [0, 1, 1]
    for done, (_, output) in zip(ran, told, strict=True):
        shown = [line for line in output.splitlines() if "…" not in line and " failed in " not in line]
        lines = {shape(line) for line in done.stdout.splitlines()}  # on a slow machine a step is made again
        assert [line for line in shown if shape(line) not in lines] == [], done.stdout + done.stderr
    assert shape(written) == shape(code["test_incident.py"])
    assert "1 passed" in again.stdout, again.stdout + again.stderr


def programs() -> list[tuple[str, str, str]]:
    """The programs for users in their order: the file, the code, and what it prints."""
    return re.findall(r"```python\n# (\S+)\n((?:(?!```).)*)```\n\n```text\n(.*?)```", for_users(), re.DOTALL)


def for_users() -> str:
    """The two pages of which a reader saves and runs the programs."""
    return "".join((ROOT / "docs" / name).read_text() for name in ("guide.md", "operate.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader has saved the programs."""
    folder = tmp_path_factory.mktemp("guide")
    for name, code, _ in programs():
        (folder / name).write_text(code)
    return folder


def test_every_program_of_the_user_guide_is_run() -> None:
    names = [name for name, _, _ in programs()]

    assert for_users().count("```python") == len([*names, "test_orders.py"])
    assert SERVICE in names


def test_the_programs_of_the_user_guide_print_what_it_says(folder: Path) -> None:
    for name, _, output in programs():  # in this order: a later one opens the file of an earlier
        if name == SERVICE:
            continue
        done = _python(name, folder)
        assert (done.returncode, done.stdout) == (0, output), f"{name}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr  # as of an `atexit`, which changes no exit code


def test_the_service_of_the_user_guide_is_one_of_two_processes(folder: Path) -> None:
    (output,) = [output for name, _, output in programs() if name == SERVICE]
    worker = subprocess.Popen(
        [sys.executable, SERVICE, "work"], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        assert worker.stderr is not None
        assert "an acknowledged request: each commit is synced" in worker.stderr.readline()
        asked = _python(SERVICE, folder)
    finally:
        worker.terminate()
        worker.communicate(timeout=60)

    assert (asked.returncode, asked.stdout) == (0, output), asked.stdout + asked.stderr


def test_the_program_for_a_bad_release_brings_back_what_had_parked(folder: Path, tmp_path: Path) -> None:
    program = """
        import asyncio
        import durable_jobs_asyncio
        from durable_jobs_core import Task, create_durable_jobs
        from orders import Event, Paid, Placed, on_event

        async def execute(ctx):
            raise ValueError("no")

        bad = Task.make(state=str, event=Event, on_event=on_event, execute=execute, retry=None)
        jobs = create_durable_jobs({"orders": bad})

        async def main():
            async with durable_jobs_asyncio.open_runtime(jobs, "sqlite:///orders.db") as runtime:
                client = runtime.client.task(bad)
                for event in (Placed("a chair"), Paid(5)):
                    await client.send("bad", event)
                await runtime.run_until_idle()
                print((await client.status("bad")).status)

        asyncio.run(main())
        """
    own = Path(shutil.copytree(folder, tmp_path / "own", ignore=shutil.ignore_patterns("*.db*")))
    (own / "release.py").write_text(dedent(program))

    bad, found, again = (_python(name, own) for name in ("release.py", "revive.py", "revive.py"))

    assert bad.stdout == "parked\n", bad.stderr
    assert found.stdout == "found {'execute: ValueError: no': 1}\n", found.stderr
    assert again.stdout == "found {}\n", again.stderr


def test_a_child_that_is_forked_too_late_is_told_so_and_does_not_wait(folder: Path) -> None:
    """As of `gunicorn --preload`."""
    program = """
        import os
        from threads import client, wait_for
        if child := os.fork():
            raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        try:
            wait_for(client.get_state("1"))
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(7)
        """
    (folder / "forks.py").write_text(dedent(program))

    done = _python("forks.py", folder)

    says = "this process was forked after the runtime had been opened\n"
    assert (done.returncode, done.stdout) == (7, says), done.stderr


def _python(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command.split()],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
