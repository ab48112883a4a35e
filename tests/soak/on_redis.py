"""A fleet on a Redis server of its own: one that loses nothing, stalled workers, a log that loses its end;
and on a Cluster, whose slots move."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from crash.store import Store
from soak.fleet import Fleet, Result, campaigns
from soak.on_cluster import Moving
from soak.server_store import look_at
from support.redis_servers import PROGRAMS, Server, launch

from durable_jobs_core.backend import Backend

SPACE = "fleet"
SYNCS = {"always": "always", "stalled": "always", "everysec": "everysec", "cluster": "always"}
"""The variants: how each has a server sync its log."""


def soak(variant: str, seed: int, runs: int, told: Callable[[str], None]) -> Result:
    """Campaigns of a variant until so many runs were made."""
    return campaigns(partial(campaign, variant), seed, runs, told)


def campaign(variant: str, folder: Path, seed: int, runs: int, **options: Any) -> Result:
    """One campaign on a new server, or a Cluster of them. `options`: of the `Fleet`."""
    log = "--appendonly", "yes", "--appendfsync", SYNCS[variant]
    server: Server | Moving
    if variant == "cluster":
        server = Moving(seed, *log)
        options["meanwhile"] = server.step
    else:
        server = launch(PROGRAMS[0], *log)

    def look(backend: Backend) -> Store:
        with server.client() as client:  # one that sees all keys, once all of them can be seen
            return look_at(backend, client, SPACE)

    try:
        may_lose = variant == "everysec"
        return Fleet(
            folder=folder,
            server=server,
            url=f"{server.url}/0?namespace={SPACE}",
            look=look,
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
