"""The process that is killed: one round of all jobs on one file, under one of the drivers.

    python -m crash.child FOLDER --role client --driver trio --round 3 --seed 17

Says `ready` on its output when the runtime is open. A `client` runs jobs and makes requests, a `worker`
only runs jobs, both until a signal. A `calm` one makes no new requests and no hook fails: it asks again
what is unresolved, ends what waits for a client, and closes once nothing is left.
"""

from __future__ import annotations

import argparse
import os
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crash.client import KEYS, Client, named
from crash.jobs import LIMITS, Work, make_jobs
from crash.log import Log, read
from crash.store import Held, rows_of
from durable_jobs_sqlite import SQLiteBackend
from support.drivers import DRIVERS, Driver

from durable_jobs_core.backend import Backend
from durable_jobs_core.telemetry import RetryExhausted, TelemetryEvent

SETTLE_SECONDS = 30.0
LONGEST_SECONDS = 50.0
GRACE = "5 ms"


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
        more = {"reason": event.reason} if isinstance(event, RetryExhausted) else {}
        self._log.write("emitted", type=event.type, key=str(event.key), life=life, seq=event.seq, **more)

    def close(self, timeout: float) -> None:
        """Nothing is held."""


def run(
    folder: Path,
    role: str,
    driver: Driver,
    round: int,
    seed: str,
    *,
    open_backend: Callable[[], Backend] | None = None,
    keys: Sequence[str] = KEYS,
    seconds: float = LONGEST_SECONDS,
    **options: Any,
) -> None:
    """One round. `open_backend`: of another store than the file in the folder; `seconds`: it takes no longer;
    `options`: of the runtime."""
    lines = [] if role == "worker" else read(folder / "log")
    log = Log(folder / "log", round, role[0])
    log.write("opened", driver=driver.name, role=role)

    async def main() -> None:
        backend = open_backend() if open_backend else SQLiteBackend.open(f"sqlite:///{folder / 'jobs.db'}")
        jobs = make_jobs(Work(log, f"{seed} {role} hooks", driver.sleep, calm=role == "calm"))
        more = {"limits": LIMITS, "trackers": [LogTracker(log)], "grace": GRACE, **options}
        async with driver.open(jobs, backend, **more) as runtime:
            client = Client(runtime, backend, driver, log, lines, seed, keys)
            print("ready", flush=True)
            if role == "calm":
                await client.resolve()
                await settle(runtime, backend, driver, client)
            elif role == "worker":
                await runtime.serve()
            else:
                await serve(runtime, driver, client)
            log.write("health", regressions=(await runtime.health()).regressions)

    driver.run(main, seconds)


async def serve(runtime: Any, driver: Driver, client: Client) -> None:
    """Make requests until a signal comes."""
    stop = driver.event()

    async def live() -> None:
        try:
            await client.live()
        except Exception:
            traceback.print_exc()
            os._exit(1)

    async def until_signal() -> None:
        await runtime.serve()
        stop.set()

    await driver.together(until_signal, partial(driver.cancelled_when, stop, live))


async def settle(runtime: Any, backend: Backend, driver: Driver, client: Client) -> None:
    """Bring everything to rest, and log what is left if it does not come."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        left = await runtime.in_thread(leftovers, backend)
        if not left or time.monotonic() > until:
            client.asker.log.write("settled", left=[(held.key, what) for held, what in left])
            return
        for held, _ in left:
            for op in _endings(held):
                await client.asker.ask(op, held.key)
        await driver.sleep(0.1)


def leftovers(backend: Backend) -> list[tuple[Held, str]]:
    """The instances with work that is not done, and what it is."""
    named = ((held, ", ".join(_unfinished(held))) for held in rows_of(backend).values())
    return [(held, what) for held, what in named if what]


def _unfinished(held: Held) -> list[str]:
    body = held.body
    names = ["run", "intake", "window", "batch", "inbox", "dead", "scheduled_at"]
    if named(held.key).kind == "continuous" and not body.get("paused"):
        names.append("next_at")
    return [name for name in names if body.get(name)]


def _endings(held: Held) -> list[str]:
    """What a client asks for so that an instance comes to rest: schedules end, what is parked is tried."""
    kind = named(held.key).kind
    if kind == "debounce":
        return ["flush"]
    runs = [run for run in (held.body.get("run"), held.body.get("intake")) if run]
    if any(not run.get("lease") and run.get("due") is None for run in runs):
        return ["trigger"]
    return ["redrive"] if kind == "task" else ["resume", "pause"]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--role", choices=["client", "worker", "calm"], required=True)
    parser.add_argument("--driver", choices=[driver.name for driver in DRIVERS], required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--seed", required=True)
    arguments = parser.parse_args()
    driver = next(driver for driver in DRIVERS if driver.name == arguments.driver)
    run(arguments.folder, arguments.role, driver, arguments.round, arguments.seed)


if __name__ == "__main__":
    main()
