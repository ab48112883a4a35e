"""The least a pure-Python engine on SQLite can do, for comparison.

The same record and codec, one task a job, group commit, and nothing else: no fences, no retry, no
conflicts, no second process, no errors handled, one commit a job instead of two.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import trio
from attrs import evolve

from benchmarks.jobs import Counter
from benchmarks.jobs import count as job
from benchmarks.product import shares
from durable_jobs_core.backend import Row
from durable_jobs_core.codec import decode, encode
from durable_jobs_core.record import ContinuousBody, Outcome, Record, Stored
from durable_jobs_core.words import Key, Revision

CLAIM = 100
HOUR_MS = 3_600_000
Done: TypeAlias = tuple[bytes, int | None, bytes, str]
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


class _Store:
    """The two transactions, each in the thread of the loop's choice."""

    def __init__(self, path: str) -> None:
        self.connection = _open(path, full=True)

    def insert(self, rows: list[Row]) -> None:
        """One transaction for all that wait."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO instances (id, revision, wake, blob) VALUES (?, ?, ?, ?)",
            [(row.key.id, row.revision, row.wake, row.blob) for row in rows],
        )
        self.connection.execute("COMMIT")

    def exchange(self, done: list[Done]) -> list[Any]:
        """Completions and the next claim."""
        now = _now()
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "UPDATE instances SET revision = ?, wake = ?, blob = ? WHERE id = ?", done
        )
        rows = self.connection.execute(
            "SELECT number, id, revision, blob FROM instances WHERE wake <= ? ORDER BY wake LIMIT ?",
            (now, CLAIM),
        ).fetchall()
        self.connection.executemany(
            "UPDATE instances SET wake = ? WHERE number = ?", [(now + 30_000, row[0]) for row in rows]
        )
        self.connection.execute("COMMIT")
        return rows


def _new_row(number: int) -> Row:
    data, _ = job.state.encode(Counter(number), "input")
    body = ContinuousBody(state=Stored(1, data), next_at=_now())
    return encode(Key("continuous", "count", f"user-{number}"), _record(number, body), _now())


async def _run(row: Any) -> Done:
    """One job: decode, count, encode."""
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


def accept_asyncio(path: str, count: int) -> float:
    """Inserts a second, from many callers, one transaction for all that wait."""
    store, executor = _Store(path), ThreadPoolExecutor(1)
    store.connection.executescript(_TABLE)
    waiting: list[tuple[Row, asyncio.Future[None]]] = []

    async def caller(numbers: range, more: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in numbers:
            future: asyncio.Future[None] = loop.create_future()
            waiting.append((_new_row(number), future))
            more.set()
            await future

    async def main() -> float:
        loop, more = asyncio.get_running_loop(), asyncio.Event()
        began = time.perf_counter()
        callers = [asyncio.ensure_future(caller(share, more)) for share in shares(count)]
        done = 0
        while done < count:
            await more.wait()
            more.clear()
            batch, waiting[:] = waiting[:], []
            await loop.run_in_executor(executor, store.insert, [row for row, _ in batch])
            for _, future in batch:
                future.set_result(None)
            done += len(batch)
            if waiting:
                more.set()
        await asyncio.gather(*callers)
        return count / (time.perf_counter() - began)

    rate = asyncio.run(main())
    store.connection.close()
    return rate


def drain_asyncio(path: str, count: int) -> float:
    """Jobs a second: claims of 100, a task each, completion and the next claim in one transaction."""
    store, executor = _Store(path), ThreadPoolExecutor(1)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        finished = 0
        done: list[Done] = []
        while rows := await loop.run_in_executor(executor, store.exchange, done):
            tasks = [loop.create_task(_run(row)) for row in rows]
            done = [await task for task in tasks]
            finished += len(done)
        assert finished == count, finished
        return count / (time.perf_counter() - began)

    rate = asyncio.run(main())
    store.connection.close()
    return rate


def accept_trio(path: str, count: int) -> float:
    """The same on trio."""
    store = _Store(path)
    store.connection.executescript(_TABLE)
    waiting: list[tuple[Row, trio.Event]] = []

    async def caller(numbers: range) -> None:
        for number in numbers:
            event = trio.Event()
            waiting.append((_new_row(number), event))
            await event.wait()

    async def main() -> float:
        began = time.perf_counter()
        done = 0
        async with trio.open_nursery() as nursery:
            for share in shares(count):
                nursery.start_soon(caller, share)
            while done < count:
                batch, waiting[:] = waiting[:], []
                if not batch:
                    await trio.lowlevel.checkpoint()
                    continue
                await trio.to_thread.run_sync(store.insert, [row for row, _ in batch])
                for _, event in batch:
                    event.set()
                done += len(batch)
        return count / (time.perf_counter() - began)

    rate = trio.run(main)
    store.connection.close()
    return rate


def drain_trio(path: str, count: int) -> float:
    """The same on trio."""
    store = _Store(path)

    async def main() -> float:
        began = time.perf_counter()
        finished = 0
        done: list[Done] = []

        async def run(row: Any) -> None:
            done.append(await _run(row))

        while rows := await trio.to_thread.run_sync(store.exchange, done):
            done = []
            async with trio.open_nursery() as nursery:
                for row in rows:
                    nursery.start_soon(run, row)
            finished += len(done)
        assert finished == count, finished
        return count / (time.perf_counter() - began)

    rate = trio.run(main)
    store.connection.close()
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
