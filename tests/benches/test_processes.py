"""Several processes on one server: what the processors would allow is of all that took part."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest
import redis
from support.needs import A_REDIS
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import crew
from benchmarks.crew import KIND, drain, fill
from benchmarks.peers.driving import store_in
from benchmarks.processes import ALLOWED, CORES, PROCESSES, cores_for, figures_of, name_of, served_seconds
from benchmarks.scale import SERVED
from benchmarks.table import DRAINED, TO_RUN, Figures, Measure

COUNT = 30


def test_the_processors_allow_what_workers_and_server_leave_them() -> None:
    found = figures_of(1_000, seconds=0.5, worked=0.6, served=0.2, cores=2)

    assert found == pytest.approx({DRAINED: 2_000, TO_RUN: 600, SERVED: 200, CORES: 2, ALLOWED: 2_500})


def test_the_ratio_is_of_four_processes() -> None:
    found = {name_of(n): Figures(figures_of(100, 1.0, 0.5, 0.3 * n, 2)) for n in (1, 4)}

    (ratio,) = PROCESSES.ratios
    assert ratio.of(found) == pytest.approx(100 / (2 / ((0.5 + 1.2) / 100)))


def test_no_more_cores_are_counted_than_the_processes_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))
    assert [cores_for(workers) for workers in (1, 4)] == [2, 5]

    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert [cores_for(workers) for workers in (1, 4)] == [2, 2]


@A_REDIS
@pytest.mark.parametrize("measure", PROCESSES.measures, ids=lambda measure: measure.name)
def test_so_many_workers_drain_what_a_producer_filled(measure: Measure, tmp_path: Path) -> None:
    figures = measure.run(tmp_path, COUNT)

    assert set(figures.values) == set(PROCESSES.columns)
    assert min(figures.values.values()) > 0
    assert "everysec" in figures.settings


@A_REDIS
def test_every_job_is_run_once_by_one_of_two_workers(tmp_path: Path) -> None:
    with store_in(tmp_path, KIND) as store, closing(redis.Redis.from_url(store)) as client:
        filled = fill(store, COUNT, lambda: served_seconds(client))
        spent = drain(store, COUNT, lambda: served_seconds(client), workers=2)

    assert len(spent.ran) == 2
    assert sum(spent.ran) == COUNT
    assert min(filled.counted, spent.counted, spent.seconds, spent.processor) > 0


def test_a_drain_that_leaves_some_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    left = crew.Spent(1.0, 1.0, 0.0, [5, 4], "synced")
    monkeypatch.setattr(crew, "_spent", lambda *asked: left)

    with pytest.raises(RuntimeError, match=r"expected 10 runs by 2 workers, came \[5, 4\]"):
        drain("redis://", 10, lambda: 0.0, workers=2)
