"""What an instance costs in each store, and what a run writes: the figures of `docs/scale.md`.

    python -m benchmarks.scale [--instances 20000]

Instances with about 100 bytes of state are started and wait an hour; told is by how much the SQLite file, and
the memory of a Redis server, have grown for each, what a run adds to the server's log, and the processor's
time that a start and a run take of a process.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.product import accept_asyncio, drain_asyncio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


@frozen
class Cost:
    """`kept`: bytes an instance; `log`: bytes a run adds to the log, `None` if it is emptied again; `start`,
    `run`: ms of a processor."""

    store: str
    kept: float
    log: float | None
    start: float
    run: float

    def __str__(self) -> str:
        log = "-" if self.log is None else f"{self.log:,.0f}"
        return f"{self.store:<20}{self.kept:>16,.0f}{log:>12}{self.start:>14.3f}{self.run:>10.3f}"


def timed(work: Callable[[str, int], float], url: str, count: int) -> float:
    """The ms of a processor that each takes."""
    began = time.process_time()
    work(url, count)
    return (time.process_time() - began) * 1000 / count


def on_sqlite(count: int) -> Iterator[Cost]:
    """The file after a checkpoint."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        path = Path(folder) / "jobs.db"
        url = f"sqlite:///{path}"
        accept_asyncio(url, 1)
        empty = _checkpointed(path)
        start, run = timed(accept_asyncio, url, count), timed(drain_asyncio, url, count)
        yield Cost("SQLite", (_checkpointed(path) - empty) / count, None, start, run)


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
        start = timed(accept_asyncio, url, count)
        started = info("persistence", "aof_current_size")
        run = timed(drain_asyncio, url, count)
        kept = info("memory", "used_memory") - empty
        logged = info("persistence", "aof_current_size") - started
    return Cost(name, kept / count, logged / count, start, run)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--instances", type=int, default=20_000)
    count = parser.parse_args().instances
    print(f"{count:,} instances, each run once")
    print(f"{'':<20}{'bytes/instance':>16}{'log/run':>12}{'CPU ms/start':>14}{'/run':>10}")
    for measure in (on_sqlite, on_redis):
        for cost in measure(count):
            print(cost, flush=True)


if __name__ == "__main__":
    main()
