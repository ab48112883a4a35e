"""The least a pure-Python engine on SQLite can do, for comparison.

The same record and codec, one task a job, group commit, and nothing else: no fences, no retry, no
conflicts, no second process, no errors handled, one commit a job instead of two.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import evolve

from benchmarks.jobs import Counter
from benchmarks.jobs import count as job
from benchmarks.product import CALLERS, _shares
from durable_jobs_core.backend import Row
from durable_jobs_core.codec import decode, encode
from durable_jobs_core.record import ContinuousBody, Outcome, Record, Stored
from durable_jobs_core.words import Key, Revision

CLAIM = 100
HOUR_MS = 3_600_000
_TABLE = """
CREATE TABLE instances (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    revision BLOB NOT NULL,
    wake INTEGER,
    blob BLOB NOT NULL
) STRICT;
CREATE INDEX due ON instances (wake) WHERE wake IS NOT NULL;
"""


def _open(path: str, *, full: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
    return connection


def _now() -> int:
    return int(time.time() * 1000)


def _record(number: int, body: ContinuousBody) -> Record:
    now = _now()
    revision = Revision(life=number, number=number, engine=1)
    return Record(
        revision=revision, writers=((1, number),), created_at=now, at=now, seq=body.runs + 1, body=body
    )


def accept(path: str, count: int) -> float:
    """Inserts a second, from many callers, one transaction for all that wait."""
    connection = _open(path, full=True)
    connection.executescript(_TABLE)
    executor = ThreadPoolExecutor(1)
    waiting: list[tuple[Row, asyncio.Future[None]]] = []

    def write(rows: list[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO instances (id, revision, wake, blob) VALUES (?, ?, ?, ?)",
            [(row.key.id, row.revision, row.wake, row.blob) for row in rows],
        )
        connection.execute("COMMIT")

    async def caller(numbers: range, more: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in numbers:
            data, _ = job.state.encode(Counter(number), "input")
            body = ContinuousBody(state=Stored(1, data), next_at=_now())
            row = encode(Key("continuous", "count", f"user-{number}"), _record(number, body), _now())
            future: asyncio.Future[None] = loop.create_future()
            waiting.append((row, future))
            more.set()
            await future

    async def main() -> float:
        loop, more = asyncio.get_running_loop(), asyncio.Event()
        began = time.perf_counter()
        callers = [asyncio.ensure_future(caller(share, more)) for share in _shares(count)]
        done = 0
        while done < count:
            await more.wait()
            more.clear()
            batch, waiting[:] = waiting[:], []
            await loop.run_in_executor(executor, write, [row for row, _ in batch])
            for _, future in batch:
                future.set_result(None)
            done += len(batch)
            if waiting:
                more.set()
        await asyncio.gather(*callers)
        return count / (time.perf_counter() - began)

    rate = asyncio.run(main())
    connection.close()
    return rate


def drain(path: str, count: int) -> float:
    """Jobs a second: claims of 100, a task each, completion and the next claim in one transaction."""
    connection = _open(path, full=True)
    executor = ThreadPoolExecutor(1)

    def exchange(done: list[tuple[bytes, int | None, bytes, str]]) -> list[Any]:
        now = _now()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE instances SET revision = ?, wake = ?, blob = ? WHERE id = ?", done)
        rows = connection.execute(
            "SELECT number, id, revision, blob FROM instances WHERE wake <= ? ORDER BY wake LIMIT ?",
            (now, CLAIM),
        ).fetchall()
        connection.executemany(
            "UPDATE instances SET wake = ? WHERE number = ?", [(now + 30_000, row[0]) for row in rows]
        )
        connection.execute("COMMIT")
        return rows

    async def run(row: Any) -> tuple[bytes, int | None, bytes, str]:
        _, id_, revision, blob = row
        key = Key("continuous", "count", id_)
        record = decode(Row(key, revision, None, "", blob))
        assert isinstance(record, Record)
        body = record.body
        assert isinstance(body, ContinuousBody)
        state = job.state.decode(body.state.value, "state")
        data, _ = job.state.encode(evolve(state, n=state.n + 1), "state")
        now = _now()
        body = evolve(
            body,
            state=Stored(1, data),
            next_at=now + HOUR_MS,
            runs=body.runs + 1,
            ended=body.ended + 1,
            last_run_at=now,
            outcome=Outcome(run=body.runs + 1, result="succeeded", at=now),
        )
        encoded = encode(key, _record(record.revision.number + 1, body), now + HOUR_MS)
        return encoded.revision, encoded.wake, encoded.blob, id_

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        finished = 0
        done: list[tuple[bytes, int | None, bytes, str]] = []
        while rows := await loop.run_in_executor(executor, exchange, done):
            tasks = [loop.create_task(run(row)) for row in rows]
            done = [await task for task in tasks]
            finished += len(done)
        assert finished == count, finished
        return count / (time.perf_counter() - began)

    rate = asyncio.run(main())
    connection.close()
    return rate


def bare(path: str, count: int) -> tuple[float, float]:
    """Rows a second of a loop that only writes the bytes: (inserted, claimed and completed)."""
    connection = _open(path, full=True)
    connection.executescript(_TABLE)
    data, _ = job.state.encode(Counter(1), "input")
    record = _record(1, ContinuousBody(state=Stored(1, data), next_at=_now()))
    row = encode(Key("continuous", "count", "user-1"), record, _now())
    numbers = [range(first, min(first + CLAIM, count)) for first in range(0, count, CLAIM)]
    began = time.perf_counter()
    for batch in numbers:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO instances (id, revision, wake, blob) VALUES (?, ?, ?, ?)",
            [(f"user-{number}", row.revision, row.wake, row.blob) for number in batch],
        )
        connection.execute("COMMIT")
    inserted = count / (time.perf_counter() - began)
    began = time.perf_counter()
    for batch in numbers:
        for wake in (row.wake, None):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE instances SET revision = ?, wake = ?, blob = ? WHERE id = ?",
                [(row.revision, wake, row.blob, f"user-{number}") for number in batch],
            )
            connection.execute("COMMIT")
    updated = count / (time.perf_counter() - began)
    connection.close()
    return inserted, updated


__all__ = ["CALLERS", "accept", "bare", "drain"]
