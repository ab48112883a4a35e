"""Ours on every kind of store, with as much durability as each may have: all of it in one process."""

from __future__ import annotations

from functools import partial

from benchmarks.peers.driving import measure_alone, of_ours
from benchmarks.table import Measure, Part, Size

NAMES = {
    "sqlite": "durable-jobs, SQLite FULL",
    "sqlite-normal": "durable-jobs, SQLite NORMAL",
    "redis-none": "durable-jobs, Redis without AOF",
    "redis": "durable-jobs, Redis everysec",
    "redis-always": "durable-jobs, Redis always",
    "redis-cluster": "durable-jobs, Cluster of 3, everysec",
}

MODES = Part(
    "modes",
    "ours on each store, by what is durable when; end to end in one process",
    [Measure(name, partial(measure_alone, partial(of_ours, kind), kind)) for kind, name in NAMES.items()],
    [],
    full=Size(5, 5_000),
)
