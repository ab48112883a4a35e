"""Several worker processes on one store share what is due: nothing lost, nothing twice, a fair part each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, field
from crash.log import Line, read
from crash.rounds import environment
from crash.store import rows_of
from durable_jobs_runtime import open_backend
from soak.worker import LONGEST_SECONDS, make_jobs
from support.drivers import DRIVERS, Driver

EXCHANGE_MAX_MS = 500.0
PATIENCE_SECONDS = 300.0
CALLERS = 200


@define
class Shared:
    """What came of it. `parts`: runs by worker; `slowest`: its longest exchange in milliseconds."""

    seconds: float
    parts: dict[str, int]
    slowest: dict[str, float]
    faults: list[str] = field(factory=list)

    def __str__(self) -> str:
        parts = ", ".join(
            f"{name} ran {count} (slowest exchange {self.slowest[name]:.0f} ms)"
            for name, count in self.parts.items()
        )
        return "\n".join([f"{self.seconds:.1f} s: {parts}", *(f"  {fault}" for fault in self.faults)])


def share(folder: Path, workers: int, runs: int, least: float, url: str | None = None) -> Shared:
    """Let so many workers share `runs` due runs; each is to do at least the part `least` of them."""
    url = url or f"sqlite:///{folder / 'jobs.db'}"
    fill(url, map(str, range(runs)))
    names = [f"worker {number + 1}" for number in range(workers)]
    seconds = _work(folder, url, names, runs)
    logs = {name: read(folder / f"{name}.log") for name in names}
    done = {name: [line for line in log if line["what"] == "ran"] for name, log in logs.items()}
    took = {name: [line["took"] for line in log if line["what"] == "exchanged"] for name, log in logs.items()}
    result = Shared(
        seconds,
        {name: len(lines) for name, lines in done.items()},
        {name: max(*times[0], 0.0) if times else float("inf") for name, times in took.items()},
    )
    result.faults = [*_faults(result, runs, least), *overlaps(done), *in_store(url, runs)]
    return result


def fill(url: str, ids: Iterable[str]) -> None:
    """Start the instances, from a process that runs none."""
    driver = DRIVERS[0]
    waiting = list(ids)

    async def start(runtime: Any, ids: Sequence[str]) -> None:
        for id in ids:
            await runtime.client.continuous("share").start(id, 0)

    async def main() -> None:
        jobs = make_jobs(None, driver, Path())
        async with driver.open(jobs, url, worker=False) as runtime:
            parts = (waiting[first::CALLERS] for first in range(CALLERS))
            await driver.together(*(partial(start, runtime, part) for part in parts))

    driver.run(main, LONGEST_SECONDS)


class Worker:
    """A worker process, which begins when it is told to."""

    def __init__(self, folder: Path, name: str, url: str, driver: Driver) -> None:
        self.log = folder / f"{name}.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "soak.worker", str(folder), name, url, "--driver", driver.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )

    def await_ready(self) -> None:
        """Its backend is open."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def leave(self) -> int:
        """SIGTERM; the code it ends with."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE_SECONDS)
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._process.kill()
        self._process.communicate()

    def count(self, what: bytes = b"ran", of: bytes = b"") -> int:
        """How many lines of this sort it has written, of instances whose ids begin so."""
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        return sum(b'"what": "%s"' % what in line and b":share:%s" % of in line for line in lines)


def _work(folder: Path, url: str, names: list[str], runs: int) -> float:
    """Start the workers together, and end them when everything has been run; the seconds it took."""
    workers = [Worker(folder, name, url, driver) for name, driver in zip(names, _alternate(), strict=False)]
    try:
        for worker in workers:
            worker.await_ready()
        began = time.monotonic()
        for worker in workers:
            worker.go()
        while (
            sum(worker.count() for worker in workers) < runs and time.monotonic() - began < PATIENCE_SECONDS
        ):
            time.sleep(0.05)
        seconds = time.monotonic() - began
        for worker in workers:
            worker.leave()
        return seconds
    finally:
        for worker in workers:
            worker.kill()


def _alternate() -> Iterator[Driver]:
    while True:
        yield from DRIVERS


def _faults(result: Shared, runs: int, least: float) -> Iterator[str]:
    if sum(result.parts.values()) != runs:
        yield f"{sum(result.parts.values())} runs were made of {runs}"
    for name, count in result.parts.items():
        if count < runs * least:
            yield f"{name} did {count} of {runs}, less than {least:.0%}"
    for name, slowest in result.slowest.items():
        if slowest > EXCHANGE_MAX_MS:
            yield f"an exchange of {name} took {slowest:.0f} ms"


def overlaps(done: dict[str, list[Line]]) -> Iterator[str]:
    """Runs that were made twice, or at once."""
    lines = [line for part in done.values() for line in part]
    for idem, times in Counter(line["idem"] for line in lines).items():
        if times > 1:
            yield f"run {idem} was made {times} times"
    lines.sort(key=lambda line: (line["key"], line["began"]))
    for first, second in pairwise(lines):
        if first["key"] == second["key"] and second["began"] < first["ended"]:
            yield f"two attempts of {first['key']} overlap"


def in_store(url: str, runs: int) -> Iterator[str]:
    """What is stored says that each has been run once."""
    backend = open_backend(url)
    rows = rows_of(backend)
    backend.close()
    if len(rows) != runs:
        yield f"{len(rows)} instances are stored, of {runs}"
    for held in rows.values():
        if held.body.get("runs") != 1 or held.body.get("run") or held.body["state"][1] != 1:
            yield f"{held.key} was not run once: {held.body}"
