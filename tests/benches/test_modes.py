"""Each kind of store is measured, and is as durable as it is said to be."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest
from durable_jobs_runtime import open_backend
from support.needs import A_REDIS
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.modes import MODES, NAMES
from benchmarks.peers.driving import FILES, SERVERS, store_in
from benchmarks.peers.with_durable_jobs import DURABLE, url
from benchmarks.table import RATES

COUNT = 12
TELLS = {
    "sqlite": "synchronous=FULL",
    "sqlite-normal": "synchronous=NORMAL",
    "redis-none": "none: lost with the server",
    "redis": "synced once a second",
    "redis-always": "synced to the append-only file before it is acknowledged",
    "redis-cluster": "synced once a second",
}
"""What the store itself tells of each."""

KINDS = [pytest.param(kind, marks=[A_REDIS] if kind in SERVERS else []) for kind in NAMES]


def test_every_kind_of_store_is_measured() -> None:
    assert set(NAMES) == set(TELLS) == FILES.keys() | SERVERS.keys()
    assert [measure.name for measure in MODES.measures] == list(NAMES.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_as_durable_as_it_is_called(kind: str, tmp_path: Path) -> None:
    with store_in(tmp_path, kind) as store, closing(open_backend(url(store))) as backend:
        assert TELLS[kind] in backend.health().durability


@pytest.mark.parametrize("kind", KINDS)
def test_ours_takes_in_and_runs_on_it_and_says_what_is_durable(kind: str, tmp_path: Path) -> None:
    measure = MODES.measures[list(NAMES).index(kind)]

    figures = measure.run(tmp_path, COUNT)

    assert set(figures.values) == set(MODES.columns)
    assert min(figures.values[rate] for rate in RATES) > 0
    assert DURABLE[kind] in figures.settings
