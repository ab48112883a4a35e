"""What is counted: every event of every kind, and what a job asks of its store when there is much to do."""

from __future__ import annotations

import json
import sys

import pytest
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.micro import __main__ as command
from benchmarks.micro import counting
from benchmarks.micro.embedded import Embedded
from benchmarks.micro.operations import operations
from benchmarks.micro.situations import situations
from durable_jobs_core.kinds import KINDS

RUNS = 1_000


def test_every_event_of_every_kind_is_stepped() -> None:
    stepped = {(one.definition.kind, type(one.event)) for one in situations()}

    assert stepped == {(kind, event) for kind, rules in KINDS.items() for event in rules.table}


def test_a_situation_is_in_the_phase_that_it_is_named_by() -> None:
    names = [situation.name for situation in situations()]

    assert len(set(names)) == len(names)
    assert {name.split()[2] for name in names if "Handler" in name or "Lease" in name} == {"running"}


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_an_operation_can_be_made_again_and_again(operation: object) -> None:
    for _ in range(2):
        operation.call()  # type: ignore[attr-defined]


def test_at_saturation_a_run_takes_two_writes_and_part_in_three_exchanges_of_many() -> None:
    embedded = Embedded()
    embedded.accept(RUNS)

    tally = embedded.drain()

    assert tally.runs == RUNS
    assert tally.writes <= 2 * RUNS
    assert tally.shared <= 3 * RUNS
    assert tally.shared / tally.exchanges >= 50


def test_embedded_writes_what_a_start_and_a_run_write() -> None:
    embedded = Embedded()

    assert embedded.accept(1).writes == 1
    assert embedded.drain().writes == 2
    assert embedded.drain().runs == 0


def test_what_a_run_calls_is_counted_a_run() -> None:
    found = command.of_core()

    assert found["steps to accept a job"] == 1
    assert found["steps to run a job"] == 2
    assert found["records read from text to run a job"] >= 1


def test_only_a_figure_that_rose_by_more_than_a_tenth_is_too_high() -> None:
    found = {"equal": 10.0, "a tenth": 11.0, "more": 11.1, "less": 1.0, "new": 5.0, "none": 0.0, "some": 1.0}
    before = dict.fromkeys(("equal", "a tenth", "more", "less"), 10.0) | {"none": 0.0, "some": 0.0}

    lines = dict(command.rows(found, before))

    assert [line.split()[0] for line, high in lines.items() if high] == ["more", "some"]
    assert [line for line in lines if line.endswith("new")] == [f"{'new':<64}{'5':>12}{'new':>9}"]


def test_without_valgrind_what_is_asked_of_the_store_is_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(counting.shutil, "which", lambda tool: None)
    monkeypatch.setattr(command, "of_store", lambda: {"writes of a run": 3.0})
    monkeypatch.setattr(sys, "argv", ["micro", "--check"])

    assert command.main() == 1

    said = capsys.readouterr().out
    assert "instructions are not counted: valgrind and vgdb not found" in said
    assert "RISEN" in said


@pytest.mark.skipif(counting.missing() is not None, reason="valgrind counts, and is not here")
def test_instructions_repeat_and_grow_with_the_work() -> None:
    said: list[str] = []

    counts = [counting.count(lambda number, of, name: said.append(name), "10 fields") for _ in range(2)]

    checked, twice = "strict check of 10 fields", "strict encoding of 10 fields"
    assert set(said) == set(counts[0]) == {checked, twice}
    assert counts[0][checked] == pytest.approx(counts[1][checked], rel=0.03)
    assert 10_000 < counts[0][checked] < counts[0][twice]


def test_figures_are_committed_for_the_store_and_for_a_build() -> None:
    committed = json.loads(command.FILE.read_text())

    assert set(committed[command.STORE]) == set(command.of_store())
    assert set(committed[command.CORE]) == set(command.of_core())
    assert any(title.startswith("Python 3") for title in committed)
