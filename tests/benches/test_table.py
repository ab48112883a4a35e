"""How rounds become ratios: the lowest counts, and what is compared was measured in one round."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from attrs import evolve
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as command
from benchmarks import limits, plain
from benchmarks.parts import PARTS
from benchmarks.report import lines, write
from benchmarks.table import (
    ACCEPTED,
    DRAINED,
    THROUGH,
    TO_ACCEPT,
    TO_RUN,
    Figures,
    Measure,
    Part,
    Ratio,
    Result,
    Size,
    quantile,
    rates,
)
from durable_jobs_core.codec import decode

PAIRS = [("ours", ["slow", "quick"])]
RATIO = rates("ours_vs_best", [DRAINED], PAIRS, goal=2.0)


def drained(**found: float) -> dict[str, Figures]:
    return {name: Figures({DRAINED: rate, TO_RUN: 1.0}, "synced") for name, rate in found.items()}


def part(*ratios: Ratio) -> Part:
    measures = [Measure(name, lambda folder, count: Figures({})) for name in ("ours", "slow", "quick")]
    return Part("part", "about", measures, ratios, full=Size(2, 1))


def test_the_best_of_the_others_in_the_same_round_counts() -> None:
    assert RATIO.of(drained(ours=30, slow=10, quick=20)) == 1.5


def test_the_lowest_of_the_rounds_counts_not_that_of_medians() -> None:
    rounds = [drained(ours=30, slow=10, quick=10), drained(ours=12, slow=1, quick=10)]

    assert Result(part(RATIO), rounds).ratios == {"ours_vs_best": 1.2}


def test_of_a_ratio_that_should_be_low_the_highest_round_counts_and_fails() -> None:
    taken = Ratio("taken", lambda one: one["ours"].values[TO_RUN], 1.0, at_most=True, floor=2.0)
    rounds = [{"ours": Figures({TO_RUN: value})} for value in (1.5, 2.5, 0.5)]

    assert Result(part(taken), rounds).ratios == {"taken": 2.5}
    assert [taken.holds(value) for value in (1.9, 2.0, 2.1)] == [True, True, False]
    assert [RATIO.holds(0.0), evolve(RATIO, floor=0.4).holds(0.39)] == [True, False]


def test_the_lowest_of_pairs_and_rates_counts() -> None:
    ratio = rates("both", [ACCEPTED, DRAINED], [("a", ["x"]), ("b", ["x"])], goal=1)
    found = {"a": (4.0, 3.0), "b": (9.0, 2.0), "x": (1.0, 2.0)}

    assert ratio.of({name: Figures({ACCEPTED: a, DRAINED: d}) for name, (a, d) in found.items()}) == 1.0


def test_by_processor_less_is_better_and_end_to_end_is_both() -> None:
    ratio = rates("through", [THROUGH], PAIRS, goal=1)
    taken = {"ours": (10.0, 40.0), "slow": (100.0, 900.0), "quick": (20.0, 60.0)}
    figures = {name: Figures({TO_ACCEPT: a, TO_RUN: d}) for name, (a, d) in taken.items()}

    assert ratio.aside is not None
    assert ratio.aside(figures) == pytest.approx(80 / 50)


def test_the_file_has_the_ratios_by_name(tmp_path: Path) -> None:
    result = Result(part(RATIO), [drained(ours=30, slow=10, quick=20), drained(ours=10, slow=10, quick=20)])

    write(tmp_path / "build/bench.json", [result])

    found = json.loads((tmp_path / "build/bench.json").read_text())
    assert found["ratios"] == {"ours_vs_best": 0.5}
    assert found["figures"]["part"]["ours"] == {DRAINED: 20, TO_RUN: 1}


def test_the_table_says_what_was_durable_and_which_ratio_is_too_low() -> None:
    floored = rates("floored", [DRAINED], PAIRS, goal=2.0, floor=1.0)

    text = "\n".join(lines(Result(part(RATIO, floored), [drained(ours=10, slow=10, quick=20)])))

    assert "ours, slow, quick:\n    synced" in text
    assert [line for line in text.splitlines() if "FAILED" in line] == [
        f"{'floored':<36}{'0.50':>12}{'≥ 2.00':>12}{'1.00':>15}  beyond 1.0: FAILED"
    ]


def test_a_part_without_ratios_is_a_table_and_its_settings() -> None:
    text = "\n".join(lines(Result(part(), [drained(ours=10, slow=10, quick=20)])))

    assert text.endswith("ours, slow, quick:\n    synced")


def test_each_round_measures_everything_once_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def measure(name: str, share: float) -> Measure:
        def run(folder: Path, count: int) -> Figures:
            assert list(folder.iterdir()) == []
            asked.append((name, count))
            return Figures({DRAINED: 1.0})

        return Measure(name, run, share)

    alternating = Part("p", "about", [measure("a", 1), measure("b", 0.1)], [], full=Size(2, 50))

    result = command.perform(alternating, alternating.full)

    assert asked == [("a", 50), ("b", 5)] * 2
    assert [list(one) for one in result.rounds] == [["a", "b"]] * 2


@pytest.mark.parametrize("loop", limits.LOOPS)
def test_the_plain_loop_runs_each_job_once(loop: str) -> None:
    figures = limits.both(plain.__name__, loop, "nothing is durable", loop, 107)

    assert min(figures.values.values()) > 0

    records = {row.key.id: decode(row) for row in plain.stores[loop]}
    states = {id: record.body.state.value["n"] for id, record in records.items()}
    assert states == {f"user-{number}": number + 1 for number in range(107)}


def test_the_page_names_every_ratio_and_its_goal() -> None:
    page = (ROOT / "docs/performance.md").read_text()

    rows = re.findall(r"^\| `(\w+)` .*\| (≤ )?([0-9.]+) \|$", page, re.MULTILINE)
    goals = {ratio.name: (ratio.at_most, ratio.goal) for part in PARTS for ratio in part.ratios}
    assert {name: (bool(at_most), float(goal)) for name, at_most, goal in rows} == goals


def test_a_part_that_has_no_short_form_is_measured_whole_if_it_is_asked_for() -> None:
    whole = next(part for part in PARTS if part.short is None)

    assert whole.name not in [part.name for part, _ in command.chosen(full=False, only=None)]
    assert list(command.chosen(full=False, only=[whole.name])) == [(whole, whole.full)]


def test_in_the_short_form_every_ratio_has_the_measures_that_it_is_of() -> None:
    for part, _ in command.chosen(full=False, only=None):
        found = {measure.name: Figures(dict.fromkeys(part.columns, 1.0)) for measure in part.measures}

        assert [ratio.of(found) for ratio in part.ratios] == [1.0] * len(part.ratios)


def test_the_least_that_a_share_of_them_does_not_exceed() -> None:
    values = [float(value) for value in range(100, 0, -1)]

    assert [quantile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert quantile([3.0], 0.5) == 3.0
    assert quantile([2.0, 1.0], 0.99) == 2.0
