"""How soon work made due by one process runs in another, and what waiting costs.

python -m benchmarks.wakeup [--workers 1 --workers 4] [--count 200] [--idle 20]

A client that runs no jobs starts instances that are due at once, one after the other at random intervals;
worker processes wait for them. Told are the times from the request to the hook in another process; the share
of a core that an idle worker uses, by the clock of its process; and how many exchanges the workers made a
run: what a herd of them would waste.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import durable_jobs_asyncio
from attrs import define, field
from durable_jobs_runtime import open_backend

from benchmarks.counted import Counted
from benchmarks.table import quantile
from durable_jobs_core import Continuous, Jobs, create_durable_jobs, every
from durable_jobs_core.engine import Limits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_SECONDS = 60.0
SETTLE_SECONDS = 2.0
HOLD_MS = 500
POLL_MS = Limits().poll
WAITING = 200
"""Instances that are due tomorrow, so that a worker has something to wait for."""

WORKER = """
import asyncio, sys
from benchmarks.wakeup import serve
asyncio.run(serve(sys.argv[1], *map(int, sys.argv[2:])))
"""


@define
class Woken:
    """What was measured. Times in milliseconds; `idle`: shares of a core; `exchanges`: of all workers, for
    the runs; `idle_exchanges`: afterwards."""

    times: list[float] = field(factory=list)
    idle: list[float] = field(factory=list)
    exchanges: int = 0
    idle_exchanges: int = 0

    def __str__(self) -> str:
        p50, p99, most = (quantile(self.times, share) for share in (0.5, 0.99, 1))
        idle = max(self.idle, default=0.0)
        return f"{p50:>8.1f}{p99:>8.1f}{most:>8.1f}{idle:>10.2%}{self.exchanges / len(self.times):>15.1f}"


def jobs_of(run: Any) -> Jobs:
    """The job that is waited for, and one that is not due for long."""
    options: dict[str, Any] = {"state": int, "schedule": every("1 day"), "execute": run}
    later = Continuous.make(start_immediately=False, **options)
    return create_durable_jobs({"wake": Continuous.make(**options), "later": later})


async def serve(url: str, poll: int, hold: int) -> None:
    """A worker: says when each hook began, and at the end how many exchanges there were."""

    async def run(ctx: Any) -> None:
        print("ran", ctx.instance_id, time.monotonic(), flush=True)

    backend = Counted(open_backend(url))
    limits = Limits(poll=poll, hold=hold)
    async with durable_jobs_asyncio.open_runtime(jobs_of(run), backend, limits=limits) as runtime:
        print("ready", flush=True)
        while await runtime.in_thread(sys.stdin.readline):
            print("count", backend.exchanges, flush=True)


class Worker:
    """A worker process, and what it says."""

    def __init__(self, url: str, poll: int, hold: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, url, str(poll), str(hold)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self.ran: dict[str, float] = {}
        self.changed = threading.Condition()
        self._counts: list[int] = []
        assert self._stdout.readline() == "ready\n"
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._stdout:
            with self.changed:
                match line.split():
                    case ["ran", id, at]:
                        self.ran[id.rpartition(":")[2]] = float(at)
                    case ["count", count]:
                        self._counts.append(int(count))
                self.changed.notify_all()

    def exchanges(self) -> int:
        """How many exchanges it has made so far."""
        with self.changed:
            known = len(self._counts)
            print(file=self._stdin, flush=True)
            self.changed.wait_for(lambda: len(self._counts) > known)
            return self._counts[-1]

    def cpu_seconds(self) -> float:
        """What it has used of the processor."""
        return cpu_seconds(self.process.pid)

    def end(self) -> None:
        """End of input: it shuts down."""
        self._stdin.close()
        self.process.wait(PATIENCE_SECONDS)
        self._listener.join()
        self._stdout.close()


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor, in user and system time."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def measure(
    url: str, *, workers: int, count: int, idle_seconds: float, gap: float = 0.1, poll: int = POLL_MS
) -> Woken:
    """Wake workers `count` times, then let them wait for so many seconds. `poll`: of their limits. Their
    holds are short, for a worker looks once more when that of its last claim has ended."""
    woken = Woken()
    with ExitStack() as stack:
        asyncio.run(_fill(url))
        crew = [Worker(url, poll, HOLD_MS) for _ in range(workers)]
        for worker in crew:
            stack.callback(worker.end)
        before = sum(worker.exchanges() for worker in crew)
        asked = asyncio.run(_ask(url, count, gap))
        ran = _await_runs(crew, count)
        woken.times = [(ran[id] - at) * 1000 for id, at in asked.items()]
        asyncio.run(_committed(url, asked))
        made = settled(crew, poll)
        woken.exchanges = made - before
        began, used = time.monotonic(), [worker.cpu_seconds() for worker in crew]
        time.sleep(idle_seconds)
        took = time.monotonic() - began
        woken.idle = [(now.cpu_seconds() - was) / took for now, was in zip(crew, used, strict=True)]
        woken.idle_exchanges = sum(worker.exchanges() for worker in crew) - made
    return woken


def _await_runs(crew: list[Worker], count: int) -> dict[str, float]:
    """When each run began, once all have."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        ran = {id: at for worker in crew for id, at in worker.ran.items()}
        if len(ran) == count:
            return ran
        if time.monotonic() > until:
            raise TimeoutError(f"{len(ran)} instances were run, of {count}")
        time.sleep(0.05)


async def _committed(url: str, ids: Iterable[str]) -> None:
    """Until each of them has run, by what is stored: a disk may take its time."""
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        durable_jobs_asyncio.open_runtime(jobs_of(_nothing), url, worker=False) as runtime,
    ):
        client = runtime.client.continuous("wake")
        for id in ids:
            while not (await client.status(id)).run_count:
                await asyncio.sleep(0.05)


def settled(crew: Sequence[Worker], poll: int) -> int:
    """How many exchanges they have made, once there were no more for a while than they poll."""
    polls = len(crew) * int(SETTLE_SECONDS * 1000 / (0.75 * poll))
    before, now = -math.inf, sum(worker.exchanges() for worker in crew)
    while now - before > polls:
        time.sleep(SETTLE_SECONDS)
        before, now = now, sum(worker.exchanges() for worker in crew)
    return now


async def _nothing(ctx: Any) -> None:
    raise AssertionError("a client runs nothing")


async def _fill(url: str) -> None:
    async with durable_jobs_asyncio.open_runtime(jobs_of(_nothing), url, worker=False) as runtime:
        client = runtime.client.continuous("later")
        await asyncio.gather(*(client.start(f"{n}", 0) for n in range(WAITING)))


async def _ask(url: str, count: int, gap: float) -> dict[str, float]:
    """Start instances that are due; when each was asked for."""
    asked: dict[str, float] = {}
    async with durable_jobs_asyncio.open_runtime(jobs_of(_nothing), url, worker=False) as runtime:
        client = runtime.client.continuous("wake")
        for n in range(count):
            await asyncio.sleep(random.uniform(0.5, 1.5) * gap)
            asked[f"now-{n}"] = time.monotonic()
            await client.start(f"now-{n}", 0)
        return asked


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """A URL of each store at hand, by its name."""
    from support.redis_servers import PROGRAMS, SAFE, launch

    with tempfile.TemporaryDirectory(prefix="wakeup-") as folder, ExitStack() as stack:
        found = {"SQLite": f"sqlite:///{folder}/jobs.db"}
        if PROGRAMS:
            server = launch(PROGRAMS[0], *SAFE)
            stack.callback(server.discard)
            found["Redis"] = server.url + "/0"
        yield found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=200, help="how often workers are woken")
    parser.add_argument("--workers", type=int, action="append", help="how many wait; may be repeated")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of waiting")
    arguments = parser.parse_args()
    print(
        f"{'ms from request to hook':<30}{'p50':>8}{'p99':>8}{'max':>8}{'idle CPU':>10}{'exchanges/run':>15}"
    )
    for workers in arguments.workers or [1, 4]:
        with stores() as found:
            for name, url in found.items():
                woken = measure(url, workers=workers, count=arguments.count, idle_seconds=arguments.idle)
                print(f"{f'{name}, {workers} waiting':<30}{woken}", flush=True)


if __name__ == "__main__":
    main()
