"""Each wrong core, engine and driver is caught by the check that names its fault; the right one is not.

The wrong backends are in `tests/backends/test_the_kit_can_fail.py`.
"""

from __future__ import annotations

from functools import cache

import pytest
from shelf.all import PLANTED, table
from shelf.plants import Planted

CASES = [pytest.param(wrong, id=f"{wrong.sort}-{wrong.name}") for wrong in PLANTED]


@cache
def caught_after(index: int) -> int | None:
    return PLANTED[index].caught_after()


@pytest.mark.parametrize("wrong", CASES)
def test_the_wrong_one_is_caught_by_the_check_that_names_its_fault(wrong: Planted) -> None:
    assert caught_after(PLANTED.index(wrong)) is not None


@pytest.mark.parametrize("wrong", CASES)
def test_the_right_one_in_its_place_is_not_caught_on_the_same_seeds(wrong: Planted) -> None:
    runs = caught_after(PLANTED.index(wrong))

    assert runs is not None
    assert set(wrong.violations(wrong=False, seeds=runs)) == {None}


def test_the_shelf_has_all_four_sorts_and_says_what_is_wrong_with_each() -> None:
    rows = table()

    assert len(rows) >= 40
    assert {sort for _, sort, _, _ in rows} == {"core", "engine", "driver", "backend"}
    assert [name for name, _, says, by in rows if not says or not by] == []
