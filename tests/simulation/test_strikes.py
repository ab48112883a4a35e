"""Where faults strike is counted, by stage and kind: none is left out, and none is where it cannot be."""

from __future__ import annotations

from collections import Counter

import pytest
from durable_jobs_simulation import strikes
from durable_jobs_simulation.cli import main
from durable_jobs_simulation.faults import ALL, Faults
from durable_jobs_simulation.many import run_one
from durable_jobs_simulation.scenarios import CASES
from durable_jobs_simulation.stages import KINDS, STAGES
from durable_jobs_simulation.strikes import Cell


@pytest.mark.timeout(300)
def test_I_1_I_2_I_3_I_4_I_5_I_6_I_7_I_8_I_9_hold_under_faults_that_strike_wherever_they_can() -> None:
    """One test, for the time: what was struck is known of runs that have to be made anyway."""
    ran = [run_one(case, seed) for case in CASES for seed in range(25)]
    cells = sum((one.cells for one in ran if one.seed < 20), Counter[Cell]())

    assert [(one.case, one.seed, one.invariant, one.why) for one in ran if one.invariant is not None] == []
    assert strikes.wrong(cells) == []
    assert {kind for _, _, kind in cells} == {"continuous", "debounce", "task"}
    assert len(strikes.empty(cells)) < len(strikes.possible()) // 4, "twenty seeds hit most"


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
    faults = Faults(damage=0.2, hook_hang=0.5)
    traces = (CASES["tokens"]().run(seed, faults) for seed in range(20, 60))

    assert any(trace.cells["damage", "handler", "continuous"] for trace in traces)
