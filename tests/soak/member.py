"""One process of a fleet: a worker, the one that asks, or the one that brings all to rest."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen
from crash.child import run
from crash.client import KEYS, PROBED
from crash.jobs import LIMITS
from crash.log import Log
from durable_jobs_runtime import open_backend
from soak.chains import Recorded
from support.drivers import DRIVERS

from durable_jobs_core.errors import StorageError

LEASE_MS = 2_000
NO_STORE = 75
"""The exit code of a process that could not use the store when it began: another may try."""

LONGEST_SECONDS = 600.0
FLEET_LIMITS = evolve(LIMITS, lease=LEASE_MS)


@frozen(kw_only=True)
class Member:
    """What a process is told when it begins. `round`: its number; `url`: of the store."""

    folder: Path
    url: str
    role: str
    round: int
    seed: str
    keys: tuple[str, ...]

    def work(self) -> None:
        """Open a runtime, and work until a signal."""
        with (self.folder / "stderr").open("ab") as errors, open(os.devnull, "wb") as nothing:
            os.dup2(errors.fileno(), 2)
            os.dup2(nothing.fileno(), 1)
        log = Log(self.folder / "writes", self.round, self.role[0])
        try:
            self._work(log)
        except* StorageError:
            traceback.print_exc()
            os._exit(NO_STORE)

    def _work(self, log: Log) -> None:
        run(
            self.folder,
            self.role,
            DRIVERS[self.round % 2],
            self.round,
            self.seed,
            open_backend=lambda: Recorded(open_backend(self.url), log),
            keys=self.keys,
            seconds=LONGEST_SECONDS,
            worker=self.role != "client",
            limits=FLEET_LIMITS,
        )


def keys_of(ids: Sequence[str]) -> tuple[str, ...]:
    """The instances that a fleet works on: each job with these ids, those that are only probed with one."""
    jobs = dict.fromkeys(key.rpartition(":")[0] for key in KEYS)
    return tuple(f"{job}:{id}" for job in jobs for id in (ids[:1] if job.endswith(PROBED) else ids))
