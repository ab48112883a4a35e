"""Our own backends, certified through the public door of the conformance kit: a test a check."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
import trio
from durable_jobs_conformance import Check, Harness, Report, certify, checks, durability, model
from durable_jobs_conformance.__main__ import main
from durable_jobs_memory import MemoryBackend
from support.harnesses import MEMORY, REDIS, REDIS_CLUSTER, REDIS_SHARDED, SQLITE, VALKEY, on_cluster
from support.wrong_backends import Rows

CASES = [
    pytest.param(harness, check, id=f"{harness.name}-{check}")
    for harness in (MEMORY, SQLITE, REDIS, REDIS_SHARDED, VALKEY)
    for check in checks(harness)
]
# `make certify` runs all of them on a Cluster; here those without cases, no random batches, and half of the
# kills, for the time: each crash takes two seconds
CASES += [
    pytest.param(REDIS_CLUSTER, check, id=f"{REDIS_CLUSTER.name}-{check}")
    for check in checks(REDIS_CLUSTER)
    if "[" not in check.name and not check.name.startswith("random_batches")
]


@pytest.mark.parametrize(("harness", "check"), CASES)
def test_certified(harness: Harness, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    if harness is REDIS_CLUSTER:
        monkeypatch.setattr(durability, "PARTS", durability.PARTS[::2])
    check(harness)


@pytest.fixture
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is said, and not of the store: random batches take most of the time."""
    monkeypatch.setattr(model, "RUNS", 2)


def test_no_store_is_discarded_while_a_wait_of_it_is_not_over() -> None:
    """Some file systems keep a folder that has an open file in it."""

    class Waited(MemoryBackend):
        waits = 0

        def wait(self, timeout: float) -> None:
            Waited.waits += 1
            super().wait(timeout)
            Waited.waits -= 1

    class Folder(Rows):
        def discard(self) -> None:
            assert Waited.waits == 0

    harness = Harness("folder", lambda: Folder(handle=Waited))
    for check in checks(harness):
        if "wait" in check.name:
            check(harness)


def test_every_rule_of_the_port_has_a_check() -> None:
    rules = {check.rule for check in checks(SQLITE)}

    assert {f"R-{n}" for n in range(1, 11)} <= rules


def test_the_names_of_the_checks_are_distinct() -> None:
    names = [str(check) for check in checks(SQLITE)]

    assert len(set(names)) == len(names)


@pytest.mark.usefixtures("few_runs")
def test_the_command_writes_a_table_and_json_and_runs_from_trio_in_a_thread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "build" / "conformance.json"

    async def run() -> int:
        return await trio.to_thread.run_sync(main, ["support.harnesses:MEMORY", "--json", str(file)])

    code = trio.run(run)

    assert code == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["memory", "base"]
    found = json.loads(file.read_text())["backends"]["memory"]
    assert (found["level"], found["failed"], found["skipped"]) == ("base", [], ["durable", "damage"])
    assert found["checks"] == len(checks(MEMORY))


@pytest.mark.usefixtures("few_runs")
def test_a_terminal_shows_which_check_runs_and_what_is_printed_is_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["support.harnesses:MEMORY"]) == 0
    out, err = capsys.readouterr()
    assert err == ""

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["support.harnesses:MEMORY"]) == 0
    shown = capsys.readouterr()

    assert shown.out == out
    first, *lines, last = shown.err.split("\r\x1b[K")
    all_checks = checks(MEMORY)
    assert (first, last, len(lines)) == ("", "", len(all_checks))
    assert lines[0] == f"memory  1 of {len(all_checks)}  {all_checks[0]}"[:59]
    assert max(map(len, lines)) < 60


HANGS = """
import threading
from durable_jobs_conformance import Harness, Store, __main__
from durable_jobs_memory import MemoryBackend

class Hangs(MemoryBackend):
    def exchange(self, lane, batch):
        threading.Event().wait()

class Stores(Store):
    def open(self):
        return Hangs()

HARNESS = Harness("hangs", Stores)
__main__.PATIENCE_SECONDS = 0.1
__main__.main(["__main__:HARNESS"])
"""


def test_a_backend_that_never_returns_is_shown_where_it_is() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGS], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            lines = list(takewhile(lambda line: "certify.py" not in line, child.stderr))
        finally:
            child.kill()

    assert any(" in exchange" in line for line in lines)
    assert any(" in fresh_stores_are_empty_and_every_handle_is_another" in line for line in lines)


def test_a_store_that_cannot_be_had_is_told_as_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = on_cluster("away", "no-such-server")
    monkeypatch.setattr("support.harnesses.AWAY", away, raising=False)
    file = tmp_path / "conformance.json"

    code = main(["support.harnesses:AWAY", "--json", str(file)])

    assert code == 1
    assert capsys.readouterr().out.splitlines()[1].split() == (
        ["away", "not", "run", "0", "0", "no-such-server", "is", "not", "installed"]
    )
    assert json.loads(file.read_text())["backends"]["away"]["level"] == "not run"


@pytest.mark.usefixtures("few_runs")
def test_it_runs_from_asyncio_in_a_thread_and_a_capability_that_a_store_lacks_costs_the_level() -> None:
    async def run() -> Report:
        return await asyncio.to_thread(certify, MEMORY)

    report = asyncio.run(run())

    assert (report.level, report.failed, report.skipped) == ("base", (), ("durable", "damage"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope:H", "there is no module nope"),
        (":H", "no module is named"),
        ("support.harnesses:NOPE", "support.harnesses has no NOPE"),
        ("support.harnesses", "support.harnesses has no HARNESS"),
        ("support.harnesses:on_cluster", "on_cluster is of type function"),
    ],
)
def test_what_is_no_harness_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    code = main(["support.harnesses:MEMORY", name])

    assert code == 2
    out, err = capsys.readouterr()
    assert out == "", "nothing is certified"
    (line,) = err.splitlines()
    assert said in line
    assert "expected module:NAME of a Harness, as in my_backend.certify:HARNESS" in line


def test_a_file_that_cannot_be_written_is_told_in_a_line_before_anything_is_certified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for file in (tmp_path, tmp_path / "file" / "conformance.json"):
        assert main(["support.harnesses:MEMORY", "--json", str(file)]) == 2
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert (out, str(tmp_path) in line) == ("", True)


def test_harnesses_of_one_name_are_refused_for_one_report_would_be_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["support.harnesses:MEMORY", "support.harnesses:MEMORY"]) == 2
    assert capsys.readouterr() == ("", "expected harnesses of different names, got memory, memory\n")


def test_what_a_module_of_a_harness_raises_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "harness_that_breaks.py").write_text("import not_installed_here")

    with pytest.raises(ModuleNotFoundError, match="not_installed_here"):
        main(["harness_that_breaks:HARNESS"])
