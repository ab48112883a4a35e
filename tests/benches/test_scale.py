"""The scale part: how its ratios are computed, and that it runs what it says among as many as it says."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from durable_jobs_runtime import open_backend
from support.redis_servers import find
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as command
from benchmarks import scale
from benchmarks.layout import name as id_of
from benchmarks.peers.driving import store_in
from benchmarks.scale import DRAINED, FILLED, RESIDENT, SCALE, SERVED, TO_RUN, Filled
from benchmarks.table import Figures, Round, Size
from durable_jobs_core.backend import Query, Row
from durable_jobs_core.codec import decode
from durable_jobs_core.record import ContinuousBody, Record

BOTH = "sqlite", "redis"
COUNT, SIZE = 3, 200
MONTH_MS = 30 * 86_400_000
KINDS = [
    "sqlite",
    pytest.param(
        "redis",
        marks=pytest.mark.skipif(find("valkey-server") is None, reason="there is no server for all peers"),
    ),
]


def a_round(of: str, **found: tuple[float, float]) -> Round:
    """Of each store a figure in the smallest and in the largest; all others stay as they are."""
    same = {DRAINED: 1000.0, TO_RUN: 300.0, RESIDENT: 40.0}
    return {
        scale.name_of(kind, times): Figures({**same, of: value})
        for kind in BOTH
        for times, value in zip((1, 10), found.get(kind, (same.get(of, 0.0),) * 2), strict=True)
    }


def ratio(name: str) -> scale.Ratio:
    (found,) = (one for one in scale.part_of(BOTH, (1, 10)).ratios if one.name == name)
    assert found.at_most
    return found


def test_the_cost_of_a_run_is_its_time_beside_what_each_store_may_take() -> None:
    cost = ratio("cost_1e6_vs_1e3")

    assert cost.of(a_round(DRAINED, sqlite=(1600.0, 500.0))) == pytest.approx(3.2 / 1.6)
    assert cost.of(a_round(DRAINED, redis=(1300.0, 500.0))) == pytest.approx(2.6 / 1.3)
    assert cost.of(a_round(DRAINED, sqlite=(1000.0, 625.0), redis=(1000.0, 1000.0))) == pytest.approx(1.0)
    assert cost.of(a_round(DRAINED)) == pytest.approx(1 / 1.3)


def test_by_processor_it_is_that_of_the_worker_and_of_the_server() -> None:
    aside = ratio("cost_1e6_vs_1e3").aside

    assert aside is not None
    assert aside(a_round(TO_RUN, sqlite=(300.0, 960.0))) == pytest.approx(2.0)
    assert aside(a_round(SERVED, redis=(100.0, 740.0))) == pytest.approx(2.6 / 1.3)


def test_the_memory_of_a_worker_may_not_grow_in_any_store() -> None:
    rss = ratio("rss_1e6_vs_1e3")

    assert rss.of(a_round(RESIDENT, sqlite=(40.0, 44.0), redis=(50.0, 75.0))) == pytest.approx(1.5)
    assert rss.of(a_round(RESIDENT, sqlite=(40.0, 80.0))) == pytest.approx(2.0)


def test_the_whole_of_it_goes_from_a_thousand_to_a_million() -> None:
    assert [SCALE.full.jobs * times for times in scale.LADDER] == [10**3, 10**4, 10**5, 10**6]


def rows_of(url: str) -> Iterator[Row]:
    with closing(open_backend(url)) as backend:
        page = backend.scan(Query(), None, 1000)
        assert page.after is None
        for row in page.rows:
            assert isinstance(row, Row)
            yield row


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_those_that_are_drawn_from_all_that_are_stored_are_run_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(population: Sequence[int], k: int) -> list[int]:
        return [*population][-k:]

    monkeypatch.setattr(scale.random, "sample", last)
    with store_in(tmp_path, kind) as place:
        store = scale.MADE[kind](place)
        store.make()
        empty = store.kept()
        scale.fill(store.url, SIZE)
        figures = Filled(store, SIZE, empty, 1.0).measure(COUNT)
        rows = {row.key.id: row for row in rows_of(store.url)}

    assert set(figures.values) == {*SCALE.columns} - ({SERVED, scale.LOGGED} if kind == "sqlite" else set())
    assert min(figures.values.values()) > 0
    assert "200 stored, 3 of them run" in figures.settings
    assert set(rows) == {id_of(number) for number in range(SIZE)}
    runs = []
    for number in range(SIZE):
        row = rows[id_of(number)]
        record = decode(row)
        assert isinstance(record, Record)
        assert isinstance(record.body, ContinuousBody)
        state = record.body.state.value
        assert isinstance(state, dict)
        assert state["n"] == number + record.body.runs
        assert row.wake is not None
        assert row.wake > time.time() * 1000 + MONTH_MS
        runs.append(record.body.runs)
    assert runs == [0] * (SIZE - COUNT) + [1] * COUNT


@pytest.mark.timeout(300)
def test_a_store_is_filled_once_for_all_rounds_and_removed_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    result = command.perform(scale.part_of(["sqlite"], [2]), Size(2, COUNT))

    first, second = (one[scale.name_of("sqlite", 2)] for one in result.rounds)
    assert first.values[FILLED] == second.values[FILLED] > 0
    assert first.settings == second.settings == "WAL, synchronous=FULL; 6 stored, 3 of them run"
    assert list(tmp_path.iterdir()) == []


def test_it_is_told_how_far_the_filling_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "TOLD_EVERY_SECONDS", 0.0)

    scale.fill(f"sqlite:///{tmp_path}/jobs.db", 640)

    assert capsys.readouterr().err == "filled 80% filled 100% "


def test_what_is_there_already_is_no_filling(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    scale.fill(url, 2)

    with pytest.raises(RuntimeError, match="expected that all of a batch is committed, came Conflicted"):
        scale.fill(url, 3)


def test_what_was_not_run_is_not_measured(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    scale.fill(url, 2)

    with pytest.raises(RuntimeError, match="expected an instance that has run, came ContinuousStatus"):
        scale.drain(url, [id_of(1)])


def test_what_is_not_there_cannot_be_made_due(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    scale.fill(url, 2)

    with pytest.raises(RuntimeError, match="expected an instance that waits, came TriggerResult"):
        scale.make_due(url, [id_of(2)])
