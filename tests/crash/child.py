"""The process that is killed: one round of all jobs on one file, under one of the drivers.

    python -m crash.child FOLDER --driver trio --round 3 --seed 17 [--calm]

Says `ready` on its output when the runtime is open. A calm round makes no new requests and no hook fails:
it asks again what is unresolved, ends what waits for a client, and closes once nothing is left.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crash.client import KEYS, Client, named
from crash.jobs import LIMITS, Work, make_jobs
from crash.log import Log, read
from crash.store import Held, rows_of
from durable_jobs_sqlite import SQLiteBackend
from support.drivers import DRIVERS, Driver

from durable_jobs_core.backend import Backend
from durable_jobs_core.telemetry import TelemetryEvent

SETTLE_SECONDS = 30.0
LONGEST_SECONDS = 50.0


class LogTracker:
    """Writes telemetry to the log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def emit(self, events: Any) -> None:
        """One line a value."""
        for event in events:
            self._write(event)

    def _write(self, event: TelemetryEvent) -> None:
        life = f"{event.life:016x}"
        self._log.write("emitted", type=event.type, key=str(event.key), life=life, seq=event.seq)

    def close(self, timeout: float) -> None:
        """Nothing is held."""


def run(folder: Path, driver: Driver, round: int, seed: str, calm: bool) -> None:
    """One round."""
    lines = read(folder / "log")
    log = Log(folder / "log", round)
    log.write("opened", driver=driver.name)

    async def main() -> None:
        backend = SQLiteBackend.open(f"sqlite:///{folder / 'jobs.db'}")
        jobs = make_jobs(Work(log, f"{seed} hooks", driver.sleep, calm))
        async with driver.open(jobs, backend, limits=LIMITS, trackers=[LogTracker(log)]) as runtime:
            client = Client(runtime, backend, driver, log, lines, seed)
            print("ready", flush=True)
            if calm:
                await client.resolve()
                await settle(runtime, backend, driver, client)
            else:
                await client.live()

    driver.run(main, LONGEST_SECONDS)


async def settle(runtime: Any, backend: Backend, driver: Driver, client: Client) -> None:
    """Bring everything to rest, and log what is left if it does not come."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        left = [*await runtime.in_thread(leftovers, backend)]
        if not left or time.monotonic() > until:
            client.asker.log.write("settled", left=left)
            return
        for key in {key for key, _ in left}:
            for op in _ENDINGS[named(key).kind]:
                await client.asker.ask(op, key)
        await driver.sleep(0.1)


_ENDINGS = {"continuous": ("resume", "pause"), "debounce": ("flush",), "task": ("redrive",)}


def leftovers(backend: Backend) -> Iterator[tuple[str, str]]:
    """The work that is not done, as (key, what)."""
    rows = rows_of(backend)
    for key in KEYS:
        held = rows.get(key)
        if held is not None:
            yield from ((key, what) for what in _unfinished(held))


def _unfinished(held: Held) -> list[str]:
    body = held.body
    names = ["run", "intake", "window", "batch", "inbox", "dead", "scheduled_at"]
    if named(held.key).kind == "continuous" and not body.get("paused"):
        names.append("next_at")
    return [name for name in names if body.get(name)]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--driver", choices=[driver.name for driver in DRIVERS], required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--calm", action="store_true")
    arguments = parser.parse_args()
    driver = next(driver for driver in DRIVERS if driver.name == arguments.driver)
    run(arguments.folder, driver, arguments.round, arguments.seed, arguments.calm)


if __name__ == "__main__":
    main()
