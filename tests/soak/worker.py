"""One of several worker processes on one file: it runs what is due, and tells what it did.

    python -m soak.worker FOLDER NAME --driver trio

Says `ready` when its backend is open, begins at a line on its input, ends when its input ends. Writes each
run to its log, and at last the times of its exchanges, which it takes itself.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from crash.log import Log
from durable_jobs_sqlite import SQLiteBackend
from support.drivers import DRIVERS, Driver

from durable_jobs_core import Continuous, Jobs, create_durable_jobs, every
from durable_jobs_core.backend import Answer, Batch

SECONDS = 0.001, 0.005
LONGEST_SECONDS = 600.0


class TimedBackend(SQLiteBackend):
    """The backend, with the time of each exchange in milliseconds."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.took: list[float] = []

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform a batch, and take the time."""
        began = time.monotonic()
        try:
            return super().exchange(lane, batch)
        finally:
            self.took.append((time.monotonic() - began) * 1000)


def make_jobs(log: Log | None, driver: Driver) -> Jobs:
    """The job they share: a run of 1 to 5 ms."""

    async def execute(ctx: Any) -> None:
        began = time.monotonic()
        await driver.sleep(random.uniform(*SECONDS))
        ctx.set_state(ctx.state + 1)
        if log is not None:
            log.write(
                "ran", key=ctx.instance_id, idem=ctx.idempotency_key, began=began, ended=time.monotonic()
            )

    return create_durable_jobs(
        {"share": Continuous.make(state=int, schedule=every("1 day"), execute=execute)}
    )


def work(folder: Path, name: str, driver: Driver) -> None:
    """Work until there is no more input."""
    log = Log(folder / f"{name}.log", 1)
    backend = TimedBackend.open(f"sqlite:///{folder / 'jobs.db'}")
    print("ready", flush=True)
    sys.stdin.readline()

    async def main() -> None:
        async with driver.open(make_jobs(log, driver), backend) as runtime:
            await runtime.in_thread(sys.stdin.read)

    driver.run(main, LONGEST_SECONDS)
    log.write("exchanged", took=[round(one, 1) for one in backend.took])


def main() -> None:
    """Read the arguments and work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--driver", choices=[driver.name for driver in DRIVERS], required=True)
    arguments = parser.parse_args()
    driver = next(driver for driver in DRIVERS if driver.name == arguments.driver)
    work(arguments.folder, arguments.name, driver)


if __name__ == "__main__":
    main()
