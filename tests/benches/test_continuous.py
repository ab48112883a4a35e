"""Each instance runs once in the hour, at its own time."""

from __future__ import annotations

import sys
from pathlib import Path

from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.continuous import CONTINUOUS, EXCHANGES, HOUR_MS, JOBS
from benchmarks.micro.embedded import Embedded


def test_what_falls_due_while_time_passes_runs_and_nothing_sooner() -> None:
    embedded = Embedded(JOBS)
    embedded.accept(2)
    embedded.t = 1_000
    embedded.accept(1, first=2)

    assert [embedded.drain(lasting).runs for lasting in (0, HOUR_MS - 1_001, 1, 999, 1)] == [0, 0, 2, 0, 1]
    assert embedded.t == HOUR_MS + 1_000


def test_what_a_run_takes_is_measured_where_none_shares_an_exchange(tmp_path: Path) -> None:
    (measure,) = CONTINUOUS.measures

    values = measure.run(tmp_path, 7).values

    assert set(values) == set(CONTINUOUS.columns)
    assert values[EXCHANGES] > 3
    assert min(values.values()) > 0
