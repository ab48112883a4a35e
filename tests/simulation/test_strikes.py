"""Where faults strike is counted, by stage and kind: none is left out, and none is where it cannot be."""

from __future__ import annotations

from collections import Counter

import pytest
from durable_jobs_simulation import strikes
from durable_jobs_simulation.cli import main, run_one
from durable_jobs_simulation.faults import ALL, Faults
from durable_jobs_simulation.scenarios import CASES
from durable_jobs_simulation.stages import KINDS, STAGES
from durable_jobs_simulation.strikes import Cell


@pytest.fixture(scope="module")
def cells() -> Counter[Cell]:
    total: Counter[Cell] = Counter()
    for case in CASES:
        for seed in range(20):
            total.update(run_one(case, seed).cells)
    return total


def test_faults_strike_at_possible_places_only(cells: Counter[Cell]) -> None:
    assert strikes.wrong(cells) == []
    assert {kind for _, _, kind in cells} == {"continuous", "debounce", "task"}


def test_twenty_seeds_hit_most_of_what_can_be_hit(cells: Counter[Cell]) -> None:
    assert len(strikes.empty(cells)) < len(strikes.possible()) // 4


def test_every_cell_is_possible_or_said_to_be_impossible_with_a_reason() -> None:
    impossible = strikes.impossible()

    assert len(strikes.possible()) + len(impossible) == len(ALL) * len(STAGES) * len(KINDS)
    assert all(impossible.values())


def test_a_place_never_struck_and_an_impossible_one_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tokens", "--seeds", "1", "--table"]) == 1

    said = capsys.readouterr().out
    assert "never struck: poison at handler, continuous" in said
    assert "of debounce" not in said

    hits = Counter(dict.fromkeys(strikes.possible(), 1))
    assert strikes.empty(hits) == []
    cell: Cell = ("poison", "telemetry", "task")
    hits[cell] = 1
    assert strikes.wrong(hits) == [cell]
    assert any(line.startswith("poison") and "1!" in line for line in strikes.table(hits))


def test_damage_meets_the_renewal_of_a_continuous_run() -> None:
    faults = Faults(damage=0.05, hook_hang=0.5)
    traces = (CASES["tokens"]().run(seed, faults) for seed in range(20, 60))

    assert any(trace.cells["damage", "handler", "continuous"] for trace in traces)
