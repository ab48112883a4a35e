"""Ours on a Redis server: a producer fills it, then so many worker processes share what is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeAlias

from attrs import frozen

from benchmarks.peers.driving import of_ours, running

KIND = "redis"
Count: TypeAlias = Callable[[], float]
"""Something that only grows, as the seconds of a processor."""


@frozen
class Spent:
    """`seconds`: by the clock; `processor`: those of all processes; `counted`: by how much the count grew;
    `ran`: jobs, of each process."""

    seconds: float
    processor: float
    counted: float
    ran: Sequence[int]
    settings: str


def fill(store: str, jobs: int, count: Count) -> Spent:
    """Take in jobs, by many callers in one process that runs none."""
    return _spent("accept", store, jobs, 1, count)


def drain(store: str, jobs: int, count: Count, workers: int = 1) -> Spent:
    """Run what is in the store. Raises `RuntimeError` if some were left."""
    spent = _spent("join", store, jobs, workers, count)
    if sum(spent.ran) < jobs:
        raise RuntimeError(f"expected {jobs} runs by {workers} workers, came {spent.ran}")
    return spent


def _spent(do: str, store: str, jobs: int, processes: int, count: Count) -> Spent:
    """From the sign, when all processes are ready, to the answer of the last."""
    with ExitStack() as stack:
        crew = [stack.enter_context(running(of_ours(KIND))) for _ in range(processes)]
        for script in crew:
            script.order(do, store, jobs)
        counted, began = count(), time.perf_counter()
        for script in crew:
            script.go()
        processor = sum(script.took()[1] for script in crew)
        seconds = time.perf_counter() - began
        ran = [script.ran for script in crew]
        return Spent(seconds, processor, count() - counted, ran, crew[0].settings)
