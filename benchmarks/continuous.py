"""Instances that fall due one by one over an hour: what a run costs that shares no exchange with another.

The hour is virtual and the store is in memory (`benchmarks/micro/embedded.py`): measured is what the engine,
the codec and the handler take of the processor, and nothing waits.
"""

from __future__ import annotations

import time
from pathlib import Path

from attrs import evolve

from benchmarks import jobs
from benchmarks.micro.embedded import Embedded
from benchmarks.table import DRAINED, TO_RUN, Figures, Measure, Part, Size, apart
from durable_jobs_core import create_durable_jobs

HOUR_MS = 3_600_000
EXCHANGES = "exchanges/run"
JOBS = create_durable_jobs({"count": evolve(jobs.count, start_immediately=False)})


def an_hour(count: int) -> dict[str, float]:
    """Start so many over an hour, each due an hour later; then run that hour."""
    embedded = Embedded(JOBS)
    for number in range(count):
        embedded.t = number * HOUR_MS // count
        embedded.accept(1, number)
    embedded.t = HOUR_MS
    began, used = time.perf_counter(), time.process_time()
    tally = embedded.drain(lasting=HOUR_MS - 1)
    took, used = time.perf_counter() - began, time.process_time() - used
    assert tally.runs == count, tally
    return {DRAINED: count / took, TO_RUN: used * 1e6 / count, EXCHANGES: tally.exchanges / count}


def _one_by_one(folder: Path, count: int) -> Figures:
    return Figures(apart(an_hour, count), "nothing is durable")


CONTINUOUS = Part(
    "continuous",
    "an hour of virtual time in one process; instances are due one by one",
    [Measure("durable-jobs, memory", _one_by_one)],
    [],
    full=Size(3, 100_000),
    columns=(DRAINED, TO_RUN, EXCHANGES),
)
