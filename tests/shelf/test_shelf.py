"""Each wrong core, engine and driver is caught by the check that names its fault; the right one is not.

The wrong backends are in `tests/backends/test_the_kit_can_fail.py`.
"""

from __future__ import annotations

from functools import cache

import pytest
from durable_jobs_simulation import Faults
from durable_jobs_simulation.case import MakeCase
from shelf.all import PLANTED, table
from shelf.plants import Planted, through, violated

CASES = [pytest.param(wrong, id=f"{wrong.sort}-{wrong.name}") for wrong in PLANTED]


@cache
def violated_by_the_right_ones(case: MakeCase, faults: Faults | None, seed: int) -> str | None:
    """With the right ones of all that are caught by such runs in their places at once, for the time."""
    those = [planted for planted in PLANTED if (planted.case, planted.faults) == (case, faults)]
    return violated(those, lambda planted: through, seed)


@pytest.mark.parametrize("wrong", CASES)
def test_the_wrong_one_is_caught_by_the_check_that_names_its_fault_and_the_right_one_is_not(
    wrong: Planted,
) -> None:
    runs = wrong.caught_after()

    assert runs is not None
    rights = [violated_by_the_right_ones(wrong.case, wrong.faults, seed) for seed in range(runs)]
    assert rights == [None] * runs, "the right one in its place, on the same seeds"


def test_the_shelf_has_all_four_sorts_and_says_what_is_wrong_with_each() -> None:
    rows = table()

    assert len(rows) >= 40
    assert {sort for _, sort, _, _ in rows} == {"core", "engine", "driver", "backend"}
    assert [name for name, _, says, by in rows if not says or not by] == []
