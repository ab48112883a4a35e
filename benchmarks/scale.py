"""The scale part of the benchmark: what a job costs among 10^3 to 10^6 instances that wait.

A store of each size is filled once, through its backend's own port, with what a client would store of
instances that are due in a year, under ids that tell nothing of their order. Then, in each round and in
processes of their own: a worker opens the store while nothing is due; a client triggers some instances, drawn
at random from all that are stored, as many in each store; the worker runs them.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import durable_jobs_asyncio
from attrs import define, evolve, field, frozen
from durable_jobs_runtime import open_backend

from benchmarks import jobs
from benchmarks.layout import name as id_of
from benchmarks.peers.driving import server_program, store_in
from benchmarks.product import shares
from benchmarks.table import DRAINED, TO_RUN, Figures, Measure, Part, Ratio, Round, Size, apart, new_process
from durable_jobs_core import create_durable_jobs, every
from durable_jobs_core.backend import BATCH_MAX_WRITES, Batch, Committed, Write
from durable_jobs_core.words import Key

FILLED, OPENING, SERVED = "filled/s", "ms to open", "µs of server"
RESIDENT, KEPT, LOGGED = "MiB resident", "bytes kept", "log bytes/run"
"""Columns: instances stored a second by one process that does nothing else; until a worker has opened the
store and found nothing due; microseconds of the server's processor, a run; the most memory that the worker's
process ever held; bytes of the file or of the server's memory, an instance, when the runs are over; bytes of
the server's log, a run."""
STORES = {"sqlite": "SQLite FULL", "redis": "Redis"}
BOUNDS = {"sqlite": 1.6, "redis": 1.3}
"""What a run may cost in the largest store, over its cost in the smallest."""
LADDER = 1, 10, 100, 1000
"""How many instances are stored for each that is run."""
PATIENCE_MS = 60_000
TOLD_EVERY_SECONDS = 15.0

LATER = evolve(jobs.count, schedule=every("365 days"), start_immediately=False)
JOBS = create_durable_jobs({"later": LATER})


# -- in processes of their own


def fill(url: str, size: int) -> float:
    """Store so many instances; how many a second. Says how far it is, if it takes long."""
    began = told = time.perf_counter()
    with closing(open_backend(url)) as backend:
        clock = backend.health().clock
        for first in range(0, size, BATCH_MAX_WRITES):
            writes = _writes(range(first, min(first + BATCH_MAX_WRITES, size)))
            answer = backend.exchange(0, Batch(writes=writes, not_after=clock + PATIENCE_MS))
            wrong = [outcome for outcome in answer.outcomes if not isinstance(outcome, Committed)]
            if wrong:
                raise RuntimeError(f"{url}: expected that all of a batch is committed, came {wrong[0]}")
            clock = answer.clock
            if time.perf_counter() - told > TOLD_EVERY_SECONDS:
                told = time.perf_counter()
                print(f"filled {(first + len(writes)) / size:.0%}", end=" ", file=sys.stderr, flush=True)
    return size / (time.perf_counter() - began)


def _writes(numbers: range) -> tuple[Write, ...]:
    rows = [jobs.started(LATER, Key("continuous", "later", id_of(n)), n, engine=ENGINE) for n in numbers]
    return tuple(Write(row.key, None, row) for row in sorted(rows, key=lambda row: row.key))


ENGINE = random.getrandbits(64)
"""Who filled the store; an engine draws such a number, too."""


def open_idle(url: str) -> float:
    """Milliseconds until a worker, in a process that has loaded all it needs, found nothing to be due."""
    open_backend(url).close()

    async def main() -> float:
        began = time.perf_counter()
        async with durable_jobs_asyncio.open_runtime(JOBS, url) as runtime:
            await runtime.run_until_idle()
            return (time.perf_counter() - began) * 1000

    return asyncio.run(main())


def make_due(url: str, ids: Sequence[str]) -> None:
    """Trigger these instances, in a process that runs no jobs."""

    async def main() -> None:
        async with durable_jobs_asyncio.open_runtime(JOBS, url, worker=False) as runtime:
            await asyncio.gather(*(_trigger(runtime, [ids[n] for n in share]) for share in shares(len(ids))))

    asyncio.run(main())


async def _trigger(runtime: Any, ids: Sequence[str]) -> None:
    client = runtime.client.continuous("later")
    for id in ids:
        result = await client.trigger(id)
        if not result.triggered:
            raise RuntimeError(f"{id}: expected an instance that waits, came {result}")


def drain(url: str, ids: Sequence[str]) -> dict[str, float]:
    """Run what is due: these instances."""
    backend, count = open_backend(url), len(ids)

    async def main() -> dict[str, float]:
        began, used = time.perf_counter(), time.process_time()
        async with durable_jobs_asyncio.open_runtime(JOBS, backend) as runtime:
            await runtime.run_until_idle()
            taken, used = time.perf_counter() - began, time.process_time() - used
            found = {DRAINED: count / taken, TO_RUN: used * 1e6 / count, RESIDENT: _resident()}
            await _check(runtime, ids)
            return found

    return asyncio.run(main())


async def _check(runtime: Any, ids: Sequence[str]) -> None:
    client = runtime.client.continuous("later")
    for id in ids:
        status = await client.status(id)
        if not status.run_count or status.attempt is not None:
            raise RuntimeError(f"{id}: expected an instance that has run, came {status}")


def work_once(url: str) -> None:
    """Whatever there is to do with a store, with batches as large as they get."""
    fill(url, BATCH_MAX_WRITES)
    ids = [id_of(number) for number in range(BATCH_MAX_WRITES)]
    make_due(url, ids)
    drain(url, ids)


def _resident() -> float:
    """The most this process ever held, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) / 1024


# -- stores


class Store(Protocol):
    """Where instances are kept. `url`: of the backend; `settings`: what is durable when."""

    url: str
    settings: str

    def make(self) -> None:
        """Make the store, as it is before there is an instance."""
        ...

    def tidy(self) -> None:
        """Let it do at once what it would do later of its own, now that it is filled."""
        ...

    def kept(self) -> int:
        """Bytes that are used for all there is."""
        ...

    def counters(self) -> Mapping[str, float]:
        """By column, what grows with each run; nothing else is going on in the store."""
        ...


class SqliteStore:
    """A file, of which nothing is in the log."""

    settings = "WAL, synchronous=FULL"

    def __init__(self, place: str) -> None:
        self.url = f"sqlite:///{place}"
        self._path = Path(place)

    def make(self) -> None:
        apart(fill, self.url, 0)

    def tidy(self) -> None:
        """Whoever filled it has closed it, and with it the log."""

    def kept(self) -> int:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._path.stat().st_size

    def counters(self) -> Mapping[str, float]:
        return {}


class RedisStore:
    """A server of its own, by its own account."""

    def __init__(self, place: str) -> None:
        self.url = place
        self.settings = f"{server_program()[1]}, AOF everysec"

    def make(self) -> None:
        """What a server once took for its scripts it keeps, so that no instance has to answer for it."""
        apart(work_once, self.url)
        with self._client() as client:
            client.flushall()
        apart(fill, self.url, 0)

    def tidy(self) -> None:
        """Its log has grown so much that it would be rewritten in the midst of what is measured."""
        self._info()
        with self._client() as client:
            client.bgrewriteaof()
        self._info()

    def kept(self) -> int:
        return int(self._info()["used_memory"])

    def counters(self) -> Mapping[str, float]:
        info = self._info()
        seconds = info["used_cpu_user"] + info["used_cpu_sys"]
        return {SERVED: seconds * 1e6, LOGGED: info["aof_current_size"]}

    def _info(self) -> dict[str, Any]:
        """Once the server does not rewrite its log, which it may after having grown."""
        with self._client() as client:
            while True:
                info: dict[str, Any] = client.info("everything")
                if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
                    return info
                time.sleep(0.1)

    def _client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url)


MADE: Mapping[str, Callable[[str], Store]] = {"sqlite": SqliteStore, "redis": RedisStore}


# -- the part


@frozen
class Filled:
    """A store with so many instances. `empty`: bytes it took without; `rate`: at which they were stored."""

    store: Store
    size: int
    empty: int
    rate: float

    def measure(self, count: int) -> Figures:
        """Run some of them once."""
        url = self.store.url
        ids = [id_of(number) for number in random.sample(range(self.size), count)]
        with new_process() as worker:
            opening = worker.submit(open_idle, url).result()
            apart(make_due, url, ids)
            before = self.store.counters()
            drained = worker.submit(drain, url, ids).result()
            after = self.store.counters()
        grown = {column: (after[column] - before[column]) / count for column in before}
        kept = (self.store.kept() - self.empty) / self.size
        values = {FILLED: self.rate, OPENING: opening, **drained, **grown, KEPT: kept}
        return Figures(values, f"{self.store.settings}; {self.size:,} stored, {count:,} of them run")


@define
class Stores:
    """Stores, each filled when it is first asked for, and kept as long as they are open."""

    _filled: dict[tuple[str, int], Filled] = field(factory=dict[tuple[str, int], Filled], init=False)
    _stack: ExitStack = field(factory=ExitStack, init=False)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Afterwards all of them are removed."""
        with self._stack:
            self._stack.callback(self._filled.clear)
            yield

    def measure(self, kind: str, times: int, _: Path, count: int) -> Figures:
        """Run so many instances of the store with so many times as many."""
        size = times * count
        if (kind, size) not in self._filled:
            self._filled[kind, size] = self._fill(kind, size)
        return self._filled[kind, size].measure(count)

    def _fill(self, kind: str, size: int) -> Filled:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        store = MADE[kind](self._stack.enter_context(store_in(Path(folder), kind)))
        store.make()
        empty = store.kept()
        rate = apart(fill, store.url, size)
        store.tidy()
        return Filled(store, size, empty, rate)


def name_of(kind: str, times: int) -> str:
    """As it is called in the table."""
    return f"{STORES[kind]}, {times:,} stored a run"


def part_of(kinds: Sequence[str], ladder: Sequence[int]) -> Part:
    """The part, of these stores in these sizes: how many instances are stored for each that is run."""
    stores = Stores()

    def growth(cost: Callable[[Figures], float], bounds: Mapping[str, float]) -> Callable[[Round], float]:
        """The worst of the stores: the cost in the largest over that in the smallest, over its bound."""

        def of(one: Round, kind: str) -> float:
            smallest, largest = (cost(one[name_of(kind, times)]) for times in (ladder[0], ladder[-1]))
            return largest / smallest / bounds[kind]

        return lambda one: max(of(one, kind) for kind in kinds)

    return Part(
        "scale",
        "what a run costs among instances that wait",
        [
            Measure(name_of(kind, times), partial(stores.measure, kind, times))
            for kind in kinds
            for times in ladder
        ],
        [
            Ratio(
                "cost_1e6_vs_1e3",
                growth(lambda figures: 1 / figures.values[DRAINED], BOUNDS),
                1.0,
                at_most=True,
                aside=growth(_processor, BOUNDS),
            ),
            Ratio(
                "rss_1e6_vs_1e3",
                growth(lambda figures: figures.values[RESIDENT], dict.fromkeys(kinds, 1.0)),
                1.2,
                at_most=True,
            ),
        ],
        full=Size(5, 1_000),
        columns=(FILLED, OPENING, DRAINED, TO_RUN, SERVED, RESIDENT, KEPT, LOGGED),
        around=stores.open,
    )


def _processor(figures: Figures) -> float:
    """Of the worker and of the server, for a run."""
    return figures.values[TO_RUN] + figures.values.get(SERVED, 0.0)


SCALE = part_of(tuple(STORES), LADDER)
