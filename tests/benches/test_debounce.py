"""Events are counted until all are flushed, and commits by what the backend is asked to change."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from durable_jobs_memory import MemoryBackend
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.counted import Counted
from benchmarks.debounce import AT_ONCE, COMMITS, DEBOUNCE, STORES, TAKEN, run, take
from benchmarks.table import Figures
from durable_jobs_core.backend import Batch, Claim, Row, Write
from durable_jobs_core.words import Key

COUNT = 100
NOW = 1_000


def test_a_commit_is_an_exchange_that_changes_something() -> None:
    backend, key = Counted(MemoryBackend(lambda: NOW)), Key("debounce", "latest", "user-1")
    claim = Claim({("debounce", "latest"): 1}, now=NOW, until=2 * NOW)
    asked = [
        Batch(not_after=NOW),
        Batch(loads=(key,), not_after=NOW),
        Batch(writes=(Write(key, None, Row(key, b"r", NOW, "", b"")),), not_after=NOW),
        Batch(claim=claim, not_after=NOW),
        Batch(claim=claim, not_after=NOW),
    ]
    commits: list[int] = []
    for batch in asked:
        backend.exchange(0, batch)
        commits.append(backend.commits)

    assert commits == [0, 0, 1, 2, 2]
    assert backend.exchanges == len(asked)


@pytest.mark.parametrize("keys", [1, 10])
@pytest.mark.parametrize("store", STORES)
def test_all_events_are_flushed_and_share_commits(store: str, keys: int, tmp_path: Path) -> None:
    values = run(take, STORES[store][0].format(folder=tmp_path), COUNT, keys)

    assert set(values) == set(DEBOUNCE.columns)
    assert 0 < values[COMMITS] <= 200
    assert values[TAKEN] > 0


def test_a_thousand_adds_to_one_key_at_once_take_few_commits(tmp_path: Path) -> None:
    (measure,) = (measure for measure in DEBOUNCE.measures if measure.short)
    (ratio,) = DEBOUNCE.ratios

    commits = ratio.of({AT_ONCE: measure.run(tmp_path, 1)})

    assert 1 <= commits <= ratio.goal
    assert [ratio.of({AT_ONCE: Figures({COMMITS: 21.0})}), ratio.holds(20.0), ratio.holds(21.0)] == [
        21.0,
        True,
        False,
    ]
