"""Many events for each key: how many are taken in a second, and how few commits that takes.

Concurrent callers add them, and the same process hands each window to its handler. They are flushed when the
last handler has ended and that is stored. For 100,000 events there are 1,000 keys or one, and a window lasts
a second; for fewer, it is in proportion.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import durable_jobs_asyncio
from durable_jobs_runtime import open_backend

from benchmarks.counted import Counted
from benchmarks.jobs import Counter
from benchmarks.limits import FULL, MEMORY
from benchmarks.product import CALLERS, shares
from benchmarks.table import ACCEPTED, Figures, Measure, Part, Ratio, Size, apart
from durable_jobs_core import Debounce, DebounceContext, Jobs, create_durable_jobs

COMMITS, FLUSHED, TAKEN = "commits/1,000", "flushed, s", "µs an event"
AT_ONCE = "1,000 at once to a key, SQLite FULL"
ADDS = 1_000
STORES = {"SQLite FULL": ("sqlite:///{folder}/jobs.db", FULL), "memory": ("memory://", MEMORY)}


class Flushed:
    """Counts the events that reach the handler; `all`: set when there are no more to come."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all = asyncio.Event()

    async def execute(self, ctx: DebounceContext[Counter]) -> None:
        """Handle a window."""
        self._left -= ctx.event_count
        if self._left <= 0:
            self.all.set()


def jobs_of(execute: Any, flush_after_ms: int) -> Jobs:
    """One debounce that keeps the latest event."""
    flush_after = f"{flush_after_ms} ms"
    return create_durable_jobs(
        {"latest": Debounce.make(event=Counter, flush_after=flush_after, execute=execute)}
    )


async def add(client: Any, numbers: range, keys: int) -> None:
    """One caller: add these events, one after the other."""
    for number in numbers:
        await client.add(f"user-{number % keys}", Counter(number))


async def take(url: str, count: int, keys: int) -> dict[str, float]:
    """Events from many callers to so many keys, until all are flushed."""
    flushed, backend = Flushed(count), Counted(open_backend(url))
    jobs = jobs_of(flushed.execute, max(1, count // 100))
    async with durable_jobs_asyncio.open_runtime(jobs, backend) as runtime:
        client = runtime.client.debounce("latest")
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(add(client, numbers, keys) for numbers in shares(count)))
        accepted = time.perf_counter() - began
        await flushed.all.wait()
        await runtime.run_until_idle()
        took, used = time.perf_counter() - began, time.process_time() - used
    return {
        ACCEPTED: count / accepted,
        COMMITS: backend.commits * 1000 / count,
        FLUSHED: took,
        TAKEN: used * 1e6 / count,
    }


async def at_once(url: str) -> dict[str, float]:
    """A thousand callers, each of whom adds one event to the same key, in a process that flushes nothing."""
    backend = Counted(open_backend(url))
    jobs = jobs_of(Flushed(ADDS).execute, 60_000)
    async with durable_jobs_asyncio.open_runtime(jobs, backend, worker=False) as runtime:
        client = runtime.client.debounce("latest")
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(add(client, range(number, number + 1), 1) for number in range(ADDS)))
        accepted, used = time.perf_counter() - began, time.process_time() - used
    return {ACCEPTED: ADDS / accepted, COMMITS: backend.commits * 1000 / ADDS, TAKEN: used * 1e6 / ADDS}


def run(work: Any, *arguments: Any) -> dict[str, float]:
    """On a loop of its own."""
    found: dict[str, float] = asyncio.run(work(*arguments))
    return found


def _many(store: str, hot: bool, folder: Path, count: int) -> Figures:
    url, settings = STORES[store]
    keys = 1 if hot else max(1, count // 100)
    return Figures(apart(run, take, url.format(folder=folder), count, keys), settings)


def _at_once(folder: Path, count: int) -> Figures:
    url, settings = STORES["SQLite FULL"]
    return Figures(apart(run, at_once, url.format(folder=folder)), settings)


def _measures() -> list[Measure]:
    return [
        Measure(f"{keys}, {store}", partial(_many, store, hot), short=False)
        for store in STORES
        for keys, hot in (("many keys", False), ("one hot key", True))
    ]


DEBOUNCE = Part(
    "debounce",
    f"events from {CALLERS} callers; many keys are one for a hundred events",
    [*_measures(), Measure(AT_ONCE, _at_once)],
    [
        Ratio(
            "commits_per_1000_adds",
            lambda one: one[AT_ONCE].values[COMMITS],
            20.0,
            at_most=True,
            floor=20.0,
        )
    ],
    full=Size(3, 100_000),
    short=Size(1, ADDS),
    columns=(ACCEPTED, COMMITS, FLUSHED, TAKEN),
)
