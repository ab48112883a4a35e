"""One, two and four worker processes on one Redis server, beside what the processors would allow."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import redis

from benchmarks.crew import KIND, drain, fill
from benchmarks.peers.driving import server_program, store_in
from benchmarks.scale import SERVED
from benchmarks.table import ACCEPTED, DRAINED, TO_ACCEPT, TO_RUN, Figures, Measure, Part, Ratio, Round, Size

WORKERS = 1, 2, 4
CORES, ALLOWED = "cores", "cores allow/s"


def name_of(workers: int) -> str:
    """As it is called in the table."""
    return f"durable-jobs, {workers} workers" if workers > 1 else "durable-jobs, 1 worker"


def cores_for(workers: int) -> int:
    """As many as there are, but no more than one for each worker and one for the server."""
    return min(len(os.sched_getaffinity(0)), workers + 1)


def figures_of(jobs: int, seconds: float, worked: float, served: float, cores: int) -> dict[str, float]:
    """Of a drain: seconds by the clock; and those of the workers' processors, and of the server's."""
    return {
        DRAINED: jobs / seconds,
        TO_RUN: worked * 1e6 / jobs,
        SERVED: served * 1e6 / jobs,
        CORES: cores,
        ALLOWED: cores * jobs / (worked + served),
    }


def served_seconds(client: redis.Redis) -> float:
    """What the server has used of processors, forks included."""
    told = client.info("cpu")
    who = "sys", "user", "sys_children", "user_children"
    return float(sum(told[f"used_cpu_{one}"] for one in who))


def _by(workers: int, folder: Path, jobs: int) -> Figures:
    with store_in(folder, KIND) as store, closing(redis.Redis.from_url(store)) as client:
        count: Callable[[], float] = partial(served_seconds, client)
        filled = fill(store, jobs, count)
        drained = drain(store, jobs, count, workers)
    found = figures_of(jobs, drained.seconds, drained.processor, drained.counted, cores_for(workers))
    accepted = {ACCEPTED: jobs / filled.seconds, TO_ACCEPT: filled.processor * 1e6 / jobs}
    return Figures({**accepted, **found}, f"{server_program()[1]}, {drained.settings}")


def _share_of_cores(one: Round) -> float:
    values = one[name_of(4)].values
    return values[DRAINED] / values[ALLOWED]


PROCESSES = Part(
    "processes",
    "worker processes on one Redis server, AOF everysec; one producer before them",
    [Measure(name_of(workers), partial(_by, workers)) for workers in WORKERS],
    [Ratio("redis_4_vs_cpu", _share_of_cores, 0.8)],
    full=Size(5, 10_000),
    columns=(ACCEPTED, TO_ACCEPT, DRAINED, TO_RUN, SERVED, CORES, ALLOWED),
)
