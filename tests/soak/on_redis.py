"""A fleet on a Redis server of its own: one that loses nothing, stalled workers, a log that loses its end;
and on a Cluster, whose slots move."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soak.fleet import Fleet, Result
from soak.on_cluster import Moving
from support.redis_servers import PROGRAMS, Server, launch

PART = 5_000
"""Runs of one campaign; then another begins on an empty server, with logs of its own."""

SYNCS = {"always": "always", "stalled": "always", "everysec": "everysec", "cluster": "always"}
"""The variants: how each has a server sync its log."""


def soak(variant: str, seed: int, runs: int, told: Callable[[str], None]) -> Result:
    """Campaigns of a variant until so many runs were made; stops at the first fault, whose logs are kept."""
    total = Result()
    while total.runs < runs and not total.faults:
        folder = Path(tempfile.mkdtemp(prefix="fleet-"))
        before = total.runs
        result = campaign(
            folder,
            variant,
            seed,
            min(PART, runs - total.runs),
            told=lambda now, before=before: told(f"{before + now.runs} of {runs} runs"),
        )
        total.add(result)
        if result.faults:
            total.faults.append(f"seed {seed}, the logs are in {folder}")
        else:
            shutil.rmtree(folder)
        seed += 1
    return total


def campaign(folder: Path, variant: str, seed: int, runs: int, **options: Any) -> Result:
    """One campaign on a new server, or a Cluster of them. `options`: of the `Fleet`."""
    log = "--appendonly", "yes", "--appendfsync", SYNCS[variant]
    server: Server | Moving
    if variant == "cluster":
        server = Moving(seed, *log)
        options["meanwhile"] = server.step
    else:
        server = launch(PROGRAMS[0], *log)
    try:
        may_lose = variant == "everysec"
        return Fleet(
            folder=folder,
            server=server,
            seed=seed,
            runs=runs,
            may_lose=may_lose,
            cut=(lambda: cut(server)) if may_lose else None,
            stalls=variant == "stalled",
            **options,
        ).campaign()
    finally:
        server.discard()


def cut(server: Server) -> Callable[[], None]:
    """Takes the log of the killed server back to where it is now, as the end of the machine could.

    It is looked at while nobody may write: a log that is cut within a command is another matter.
    """
    with server.client() as client:
        client.client_pause(10_000, all=False)
        sizes = {log: log.stat().st_size for log in server.folder.rglob("*.aof*")}
        client.client_unpause()

    def undo() -> None:
        for log, size in sizes.items():
            os.truncate(log, size)

    return undo
