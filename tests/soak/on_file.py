"""A fleet on one SQLite file, whose lock another program takes now and then, for longer than writes wait."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from crash.store import look
from soak.fleet import Fleet, Result

HELD_SECONDS = 1.0


class Locked:
    """A file is no server: that its lock is taken stands for a kill, and is counted as one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "jobs.db"

    def kill(self) -> None:
        """Take the lock."""
        self._holder = sqlite3.connect(self.path, isolation_level=None)
        with suppress(sqlite3.OperationalError):  # a worker that is stalled has it
            self._holder.execute("BEGIN IMMEDIATE")

    def start(self) -> None:
        """Give it back a moment later."""
        time.sleep(HELD_SECONDS)
        self._holder.close()


def campaign(folder: Path, seed: int, runs: int, **options: Any) -> Result:
    """One campaign on a new file. `options`: of the `Fleet`."""
    file = Locked(folder)
    url = f"sqlite:///{file.path}"
    return Fleet(
        folder=folder,
        server=file,
        url=url,
        look=lambda backend: look(folder),
        seed=seed,
        runs=runs,
        stalls=True,
        **options,
    ).campaign()
