"""What an instance costs in each store, and what a run writes: the figures of `docs/scale.md`.

    python -m benchmarks.scale [--instances 20000]

Instances with about 100 bytes of state are started and wait an hour; told is by how much the SQLite file, and
the memory and the log of a Redis server, have grown for each, and what a run of each adds to the log.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.jobs import JOBS
from benchmarks.product import accept_asyncio, drain_asyncio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


@frozen
class Cost:
    """Bytes an instance. `log`: of a run, in the log; `keys`: what the store has for each, in words."""

    store: str
    kept: float
    log: float


def on_sqlite(count: int) -> Cost:
    """The file after a checkpoint, and the write-ahead log's growth."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        path = Path(folder) / "jobs.db"
        url = f"sqlite:///{path}"
        accept_asyncio(url, 1)
        empty = _checkpointed(path)
        accept_asyncio(url, count)
        drain_asyncio(url, count)
        return Cost("SQLite file", (_checkpointed(path) - empty) / count, float("nan"))


def _checkpointed(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def on_redis(count: int) -> Iterator[Cost]:
    """The server's own account of its memory, and the size of its log."""
    from support.redis_servers import SAFE, Server, find

    program = find("redis-server")
    if program is None:
        return
    for shards in (1, 16):
        server = Server(program, *SAFE, "--auto-aof-rewrite-percentage", "0")
        try:
            yield _on_server(server, f"{server.url}/0?shards={shards}", f"Redis, {shards} shards", count)
        finally:
            server.discard()


def _on_server(server: Any, url: str, name: str, count: int) -> Cost:
    with server.client() as client:

        def info(section: str, field: str) -> int:
            return int(client.info(section)[field])

        accept_asyncio(url, 1)
        empty = info("memory", "used_memory")
        accept_asyncio(url, count)
        started = info("persistence", "aof_current_size")
        drain_asyncio(url, count)
        kept = info("memory", "used_memory") - empty
        logged = info("persistence", "aof_current_size") - started
    return Cost(name, kept / count, logged / count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--instances", type=int, default=20_000)
    count = parser.parse_args().instances
    measures: list[Callable[[], Iterator[Cost]]] = [lambda: iter([on_sqlite(count)]), lambda: on_redis(count)]
    print(f"{len(JOBS.by_key)} job, {count:,} instances, each run once")
    for measure in measures:
        for cost in measure():
            print(f"{cost.store:<20}{cost.kept:>8,.0f} bytes an instance, {cost.log:>8,.0f} of log a run")


if __name__ == "__main__":
    main()
