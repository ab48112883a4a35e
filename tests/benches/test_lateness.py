"""Lateness is counted from when an alarm could have rung, and order by how far one is from its place."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from itertools import pairwise
from math import exp
from pathlib import Path

import pytest
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import lateness
from benchmarks.lateness import (
    ALL,
    LATENESS,
    LEAD_MS,
    ORDER,
    OVERDUE,
    P50,
    P99,
    SAME,
    STREAM,
    TIMER,
    Start,
    Watched,
    ahead,
    arrivals,
)
from benchmarks.table import Figures

COUNT = 5
EARLY_MS = 50
"""By how much clocks may differ here, with much to spare."""


def rung(*dues: int) -> Watched:
    return Watched([Start(due, 0.0) for due in dues], began=0.0, took=1.0)


def test_what_was_overdue_is_late_from_when_the_worker_came() -> None:
    watched = Watched([Start(100, 1_010.0), Start(1_020, 1_050.0), Start(900, 1_200.0)], 1_000.0, 1.0)

    assert watched.late() == {"p50, ms": 30.0, "p99, ms": 200.0, "max, ms": 200.0}
    assert list(watched.late(TIMER)) == ["timer p50, ms", "timer p99, ms", "timer max, ms"]


def test_order_is_how_far_the_farthest_is_from_its_place_in_batches() -> None:
    assert rung(1, 2, 2, 3).out_of_order() == 0
    assert rung(2, 3, 1).out_of_order() == 0.02
    assert rung(*range(1, 250), 0).out_of_order() == 2.49
    assert rung(249, *range(249)).out_of_order() == 2.49


def test_arrivals_come_as_often_as_they_should_without_regard_to_others_and_the_same_again() -> None:
    found = arrivals(10_000, 1.0)

    assert found == sorted(arrivals(10_000, 1.0))
    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert sum(gaps) / len(gaps) == pytest.approx(1_000, rel=0.05)
    assert sum(gap > 2_000 for gap in gaps) / len(gaps) == pytest.approx(exp(-2), rel=0.1)


def test_a_store_that_took_too_long_to_fill_is_filled_anew_further_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, filled = [1_000_000.0], list[int]()

    async def fill(url: str, dues: Sequence[int]) -> None:
        assert url.endswith(f"/from-{dues[0]}.db")
        filled.append(dues[0] - int(now[0]))
        now[0] += 350

    monkeypatch.setattr(lateness, "now_ms", lambda: now[0])
    monkeypatch.setattr(lateness, "fill", fill)

    url = ahead(tmp_path, [0, 5], 100)

    assert filled == [100 + LEAD_MS, 200 + LEAD_MS, 400 + LEAD_MS]
    assert url.endswith(f"from-{1_000_700 + filled[-1]}.db")


def test_each_ratio_is_low_if_ours_is_good() -> None:
    one = {
        SAME: Figures({ALL: 10.0}),
        OVERDUE: Figures({ALL: 12.0, P50: 5_000.0, ORDER: 1.5}),
        STREAM: Figures({P99: 30.0, TIMER + P99: 10.0}),
    }

    assert [ratio.of(one) for ratio in LATENESS.ratios] == [1.2, 0.5, 1.5, 20.0]
    assert all(ratio.at_most for ratio in LATENESS.ratios)


def test_a_timer_rings_at_each_instant() -> None:
    watched = asyncio.run(lateness.timer([0, 1, 1]))

    first = watched.starts[0].due
    assert [start.due - first for start in watched.starts] == [0, 1, 1]
    assert all(start.at > start.due - EARLY_MS for start in watched.starts)


def test_a_few_alarms_ring_in_the_end(tmp_path: Path) -> None:
    one: dict[str, Figures] = {}
    for number, measure in enumerate(LATENESS.measures):
        folder = tmp_path / str(number)
        folder.mkdir()
        one[measure.name] = measure.run(folder, COUNT)

    assert set().union(*(figures.values for figures in one.values())) == set(LATENESS.columns)
    assert one[OVERDUE].values[ORDER] < COUNT / 100
    assert one[STREAM].values[P50] > -EARLY_MS
    assert min(ratio.of(one) for ratio in LATENESS.ratios[:2]) > 0
