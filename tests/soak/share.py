"""Several worker processes on one file share what is due: nothing lost, nothing twice, a fair part each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, field
from crash.log import Line, read
from crash.rounds import environment
from crash.store import look
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


def share(folder: Path, workers: int, runs: int, least: float) -> Shared:
    """Let so many workers share `runs` due runs; each is to do at least the part `least` of them."""
    _fill(folder, runs)
    names = [f"worker {number + 1}" for number in range(workers)]
    seconds = _work(folder, names, runs)
    logs = {name: read(folder / f"{name}.log") for name in names}
    done = {name: [line for line in log if line["what"] == "ran"] for name, log in logs.items()}
    took = {name: [line["took"] for line in log if line["what"] == "exchanged"] for name, log in logs.items()}
    result = Shared(
        seconds,
        {name: len(lines) for name, lines in done.items()},
        {name: max(*times[0], 0.0) if times else float("inf") for name, times in took.items()},
    )
    result.faults = [*_faults(result, runs, least), *_overlaps(done), *_on_file(folder, runs)]
    return result


def _fill(folder: Path, runs: int) -> None:
    """Start the instances, from a process that runs none."""
    driver = DRIVERS[0]

    async def start(runtime: Any, numbers: range) -> None:
        for number in numbers:
            await runtime.client.continuous("share").start(f"{number}", 0)

    async def main() -> None:
        url = f"sqlite:///{folder / 'jobs.db'}?synchronous=normal"
        async with driver.open(make_jobs(None, driver), url, worker=False) as runtime:
            parts = (range(first, runs, CALLERS) for first in range(CALLERS))
            await driver.together(*(partial(start, runtime, part) for part in parts))

    driver.run(main, LONGEST_SECONDS)


def _work(folder: Path, names: list[str], runs: int) -> float:
    """Start the workers together, and end them when everything has been run; the seconds it took."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "soak.worker", str(folder), name, "--driver", driver.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        for name, driver in zip(names, _alternate(), strict=False)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        began = time.monotonic()
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        while _count(folder, names) < runs and time.monotonic() - began < PATIENCE_SECONDS:
            time.sleep(0.05)
        seconds = time.monotonic() - began
        for child in children:
            child.communicate(timeout=PATIENCE_SECONDS)
        return seconds
    finally:
        for child in children:
            child.kill()


def _alternate() -> Iterator[Driver]:
    while True:
        yield from DRIVERS


def _count(folder: Path, names: list[str]) -> int:
    logs = [folder / f"{name}.log" for name in names]
    return sum(log.read_bytes().count(b"\n") for log in logs if log.exists())


def _faults(result: Shared, runs: int, least: float) -> Iterator[str]:
    if sum(result.parts.values()) != runs:
        yield f"{sum(result.parts.values())} runs were made of {runs}"
    for name, count in result.parts.items():
        if count < runs * least:
            yield f"{name} did {count} of {runs}, less than {least:.0%}"
    for name, slowest in result.slowest.items():
        if slowest > EXCHANGE_MAX_MS:
            yield f"an exchange of {name} took {slowest:.0f} ms"


def _overlaps(done: dict[str, list[Line]]) -> Iterator[str]:
    lines = [line for part in done.values() for line in part]
    for idem, times in Counter(line["idem"] for line in lines).items():
        if times > 1:
            yield f"run {idem} was made {times} times"
    lines.sort(key=lambda line: (line["key"], line["began"]))
    for first, second in pairwise(lines):
        if first["key"] == second["key"] and second["began"] < first["ended"]:
            yield f"two attempts of {first['key']} overlap"


def _on_file(folder: Path, runs: int) -> Iterator[str]:
    rows = look(folder).rows
    if len(rows) != runs:
        yield f"{len(rows)} instances are on the file, of {runs}"
    for held in rows.values():
        if held.body.get("runs") != 1 or held.body.get("run") or held.body["state"][1] != 1:
            yield f"{held.key} was not run once: {held.body}"
