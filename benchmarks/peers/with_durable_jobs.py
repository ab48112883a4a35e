"""durable-jobs itself, by the same protocol; it runs in our environment."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import durable_jobs_asyncio
from attrs import evolve
from durable_jobs_runtime import open_backend

from benchmarks.jobs import Counter
from benchmarks.peers.protocol import Took, Watch, may_begin, runs, serve, started, take_in
from benchmarks.product import CALLERS, shares, start
from durable_jobs_core import Continuous, ContinuousContext, create_durable_jobs, every

DURABLE = {
    "sqlite": "WAL, synchronous=FULL",
    "sqlite-normal": "WAL, synchronous=NORMAL: a power cut takes the last commits",
    "redis": "AOF everysec",
    "redis-none": "no AOF and no snapshots: the end of the server takes all",
    "redis-always": "AOF always: each write is synced before it is acknowledged",
    "redis-cluster": "3 nodes without replicas, AOF everysec",
}
SETTINGS = (
    "{durable}; asyncio, {callers} callers; the attempt and its lease are stored before a job runs, its state"
    " and what came of it after: a crash of the worker loses no job"
)


@Continuous.job(state=Counter, schedule=every("1 hour"))
async def count_runs(ctx: ContinuousContext[Counter]) -> None:
    """What `benchmarks.jobs` does, counted."""
    ctx.set_state(evolve(ctx.state, n=ctx.state.n + 1))
    runs.one()


JOBS = create_durable_jobs({"count": count_runs})


def url(store: str) -> str:
    """The URL of a file or a server."""
    return store if "://" in store else f"sqlite:///{store}"


def accept(store: str, count: int) -> Took:
    """From many callers, in a process that runs no jobs."""

    async def main() -> Took:
        async with durable_jobs_asyncio.open_runtime(JOBS, url(store), worker=False) as runtime:
            return await take_in(partial(start, runtime), count, CALLERS)

    return asyncio.run(main())


def drain(store: str, count: int) -> Took:
    """A worker; unlike for the peers, it ends when what came of the last run is stored."""

    async def main() -> Took:
        over = asyncio.Event()
        runs.at_end = over.set
        backend = await asyncio.to_thread(open_backend, url(store))
        watch = Watch()
        async with durable_jobs_asyncio.open_runtime(JOBS, backend) as runtime:
            started()
            await over.wait()
            await runtime.run_until_idle()
            return watch.took()

    return asyncio.run(main())


def both(store: str, count: int) -> Took:
    """Callers and worker in one process."""

    async def main() -> Took:
        over = asyncio.Event()
        runs.at_end = over.set
        async with durable_jobs_asyncio.open_runtime(JOBS, url(store)) as runtime:
            started()
            watch = Watch()
            await asyncio.gather(*map(partial(start, runtime), shares(count)))
            await over.wait()
            await runtime.run_until_idle()
            return watch.took()

    return asyncio.run(main())


def join(store: str, count: int) -> Took:
    """A worker that may have others beside it: at the sign, until nothing is due."""

    async def main() -> Took:
        backend = await asyncio.to_thread(open_backend, url(store))
        may_begin()
        watch = Watch()
        async with durable_jobs_asyncio.open_runtime(JOBS, backend) as runtime:
            await runtime.run_until_idle()
            return watch.took()

    return asyncio.run(main())


if __name__ == "__main__":
    settings = SETTINGS.format(durable=DURABLE[sys.argv[1]], callers=CALLERS)
    serve(settings, accept=accept, drain=drain, both=both, join=join)
