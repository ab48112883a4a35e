"""One of several worker processes on one store: it runs what is due, and tells what it did.

    python -m soak.worker FOLDER NAME URL --driver trio

Says `ready` when its backend is open, begins at a line on its input, ends at SIGTERM. Writes each run to its
log, and at last the times of its exchanges, which it takes itself. A run of an instance whose name begins
with `long` goes on until there is a file `enough` in the folder.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from crash.log import Log
from durable_jobs_runtime import open_backend
from support.drivers import DRIVERS, Driver

from durable_jobs_core import Continuous, Jobs, create_durable_jobs, every
from durable_jobs_core.backend import Answer, Backend, Batch

SECONDS = 0.001, 0.005
LONGEST_SECONDS = 600.0
GRACE = "200 ms"


class TimedBackend:
    """A backend, with the time of each exchange in milliseconds."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.took: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform a batch, and take the time."""
        began = time.monotonic()
        try:
            return self._backend.exchange(lane, batch)
        finally:
            self.took.append((time.monotonic() - began) * 1000)


def make_jobs(log: Log | None, driver: Driver, enough: Path) -> Jobs:
    """The job they share: a run of 1 to 5 ms, or a long one."""

    async def execute(ctx: Any) -> None:
        shown = {"key": ctx.instance_id, "idem": ctx.idempotency_key}
        began = time.monotonic()
        if log is not None:
            log.write("began", attempt=ctx.attempt, crashes=ctx.crashes, **shown)
        await driver.sleep(random.uniform(*SECONDS))
        while ":long" in ctx.instance_id and not enough.exists():
            await driver.sleep(SECONDS[1])
        ctx.set_state(ctx.state + 1)
        if log is not None:
            log.write("ran", began=began, ended=time.monotonic(), **shown)

    return create_durable_jobs(
        {"share": Continuous.make(state=int, schedule=every("1 day"), execute=execute)}
    )


def work(folder: Path, name: str, url: str, driver: Driver) -> None:
    """Work until SIGTERM."""
    log = Log(folder / f"{name}.log", 1)
    backend = TimedBackend(open_backend(url))
    print("ready", flush=True)
    sys.stdin.readline()

    async def main() -> None:
        jobs = make_jobs(log, driver, folder / "enough")
        async with driver.open(jobs, backend, grace=GRACE) as runtime:
            await runtime.serve()

    driver.run(main, LONGEST_SECONDS)
    log.write("exchanged", took=[round(one, 1) for one in backend.took])


def main() -> None:
    """Read the arguments and work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("url")
    parser.add_argument("--driver", choices=[driver.name for driver in DRIVERS], required=True)
    arguments = parser.parse_args()
    driver = next(driver for driver in DRIVERS if driver.name == arguments.driver)
    work(arguments.folder, arguments.name, arguments.url, driver)


if __name__ == "__main__":
    main()
