"""The recorded runs of the original, replayed: `make reference` as a test, and that it can fail."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference.__main__ import main
from reference.replay import Replay, Report, load
from reference.rules import RULES

FOLDER = Path(os.environ.get("RUNS") or Path(__file__).parents[3] / "shared/reference/runs")
WITHOUT = "the recorded runs are not beside this clone (../shared/reference/runs)"

needs_runs = pytest.mark.skipif(not FOLDER.exists(), reason=WITHOUT)


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, Any], dict[str, Any]]:
    specs, runs = load(FOLDER)
    return specs, {run["name"]: run for run in runs}


def replayed(recorded: tuple[dict[str, Any], dict[str, Any]], run: dict[str, Any]) -> Report:
    report = Report()
    Replay(run, recorded[0], report).steps()
    return report


def test_there_are_few_rules_and_each_cites_a_sentence_of_its_own() -> None:
    sentences = [rule.sentence for rule in RULES]

    assert len(sentences) <= 25
    assert len(set(sentences)) == len(sentences)


@needs_runs
def test_every_difference_from_the_original_is_wanted_by_the_specification(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = main(["--runs", str(FOLDER)])

    said = capsys.readouterr().out
    assert status == 0, said[-4_000:]
    assert "0 unexplained" in said


ELSEWHERE = [
    json.loads(line) for line in Path(__file__).with_name("elsewhere.jsonl").read_text().splitlines()
]


@needs_runs
@pytest.mark.parametrize("run", ELSEWHERE, ids=[run["name"] for run in ELSEWHERE])
def test_what_no_recording_shows_of_the_original_is_explained_too(recorded: Any, run: dict[str, Any]) -> None:
    """Runs as the facts known of the original say that they go. Each is cut down to its last step, of which
    something was not explained when the rules were only as wide as the recordings."""
    unexplained = replayed(recorded, run).unexplained

    assert [str(each.difference) for each in unexplained] == []


def a_minute_later(step: dict[str, Any]) -> None:
    step["out"]["alarm"] += 60_000


def one_attempt_more(step: dict[str, Any]) -> None:
    step["out"]["events"][-1]["attempt"] += 1


def another_state(step: dict[str, Any]) -> None:
    step["out"]["calls"][0]["ctx"]["state"] = {"n": 41}


def another_answer(step: dict[str, Any]) -> None:
    step["out"]["result"]["created"] = not step["out"]["result"]["created"]


def not_told(step: dict[str, Any]) -> None:
    step["out"]["events"].pop()


def not_called(step: dict[str, Any]) -> None:
    step["out"]["calls"].clear()


TAMPERED: list[tuple[str, int, Callable[[dict[str, Any]], None]]] = [
    ("c01_start_immediate", 5, a_minute_later),
    ("c01_start_immediate", 5, another_answer),
    ("c12_retry_then_success", 1, a_minute_later),
    ("c12_retry_then_success", 3, one_attempt_more),
    ("c12_retry_then_success", 4, another_state),
    ("c26_cron_utc", 3, a_minute_later),
    ("c44_retry_state_rollback", 4, not_told),
    ("d01_basic", 3, a_minute_later),
    ("d01_basic", 8, not_called),
    ("d06_reducer", 5, not_told),
    ("d13_retry_success", 2, a_minute_later),
    ("t01_lifecycle", 5, a_minute_later),
    ("t01_lifecycle", 8, another_state),
    ("t03_onIdle", 3, not_called),
]


@needs_runs
@pytest.mark.parametrize(
    ("name", "at", "tamper"), TAMPERED, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_a_difference_that_no_sentence_wants_is_not_explained(
    recorded: Any, name: str, at: int, tamper: Callable[[dict[str, Any]], None]
) -> None:
    run = copy.deepcopy(recorded[1][name])
    assert replayed(recorded, run).unexplained == []

    tamper(run["steps"][at])

    assert replayed(recorded, run).unexplained != []


@needs_runs
def test_a_defect_that_ours_had_too_would_be_seen(recorded: Any) -> None:
    run = copy.deepcopy(recorded[1]["c01_start_immediate"])
    run["tags"] = ["defect"]

    assert replayed(recorded, run).as_bad == ["c01_start_immediate"]
