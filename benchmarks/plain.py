"""A plain loop in memory: the calls of `step` and of the codec that a job takes, and one task a job.

No engine, no driver and no backend: what they add to it is what `memory_vs_limit` tells.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import trio

from benchmarks import jobs
from benchmarks.jobs import JOBS, LEASE_MS
from benchmarks.jobs import count as job
from benchmarks.product import shares
from durable_jobs_core.backend import Row
from durable_jobs_core.codec import encode, load
from durable_jobs_core.context import close_context, open_context
from durable_jobs_core.effects import CallHandler, Transition
from durable_jobs_core.events import AlarmFired, Event, HandlerSucceeded
from durable_jobs_core.record import Record
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Key

GROUP = 100
DEFINITION = JOBS.by_key["continuous", "count"]
stores: defaultdict[str, list[Row]] = defaultdict(list)
"""What is stored, by the name of the store."""


def _step(key: Key, record: Record, event: Event, number: int) -> Transition:
    now = int(time.time() * 1000)
    env = Env(key=key, now=now, entropy=7, number=number, engine=1, may_start=True, lease_ms=LEASE_MS)
    return step(DEFINITION, record, event, env)


def _encoded(key: Key, transition: Transition) -> Row:
    assert transition.record is not None
    return encode(key, transition.record, transition.alarm)


def _start(number: int) -> Row:
    return jobs.started(job, Key("continuous", "count", f"user-{number}"), number)


async def _run(row: Row) -> Row:
    record = load(DEFINITION, row)
    assert isinstance(record, Record)
    number = record.revision.number
    began = _step(row.key, record, AlarmFired(), number + 1)
    _encoded(row.key, began)
    call = next(effect for effect in began.then if isinstance(effect, CallHandler))
    assert call.token is not None
    ctx, arguments = open_context(DEFINITION, call.call)
    returned: Any = await DEFINITION.hooks["execute"].call(*arguments)
    event = HandlerSucceeded(call.token, close_context(DEFINITION, ctx, returned))
    assert began.record is not None
    return _encoded(row.key, _step(row.key, began.record, event, number + 2))


def at_once(number: int) -> Row:
    """One job, started and run, without a task."""
    return jobs.at_once(_run(_start(number)))


def _groups(rows: list[Row]) -> Iterator[list[Row]]:
    return (rows[first : first + GROUP] for first in range(0, len(rows), GROUP))


def accept_asyncio(store: str, count: int) -> float:
    """Starts a second, from many callers."""

    async def caller(numbers: range) -> None:
        for number in numbers:
            stores[store].append(_start(number))
            await asyncio.sleep(0)

    async def main() -> float:
        began = time.perf_counter()
        await asyncio.gather(*map(caller, shares(count)))
        return count / (time.perf_counter() - began)

    return asyncio.run(main())


def drain_asyncio(store: str, count: int) -> float:
    """Runs a second, a task each, a hundred at a time."""

    async def main() -> float:
        began = time.perf_counter()
        done: list[Row] = []
        for group in _groups(stores[store]):
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(_run(row)) for row in group]
            done += [task.result() for task in running]
        took = time.perf_counter() - began
        assert len(done) == count, len(done)
        stores[store] = done
        return count / took

    return asyncio.run(main())


def accept_trio(store: str, count: int) -> float:
    """The same on trio."""

    async def caller(numbers: range) -> None:
        for number in numbers:
            stores[store].append(_start(number))
            await trio.lowlevel.checkpoint()

    async def main() -> float:
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for share in shares(count):
                nursery.start_soon(caller, share)
        return count / (time.perf_counter() - began)

    return trio.run(main)


def drain_trio(store: str, count: int) -> float:
    """The same on trio."""
    done: list[Row] = []

    async def run(row: Row) -> None:
        done.append(await _run(row))

    async def main() -> float:
        began = time.perf_counter()
        for group in _groups(stores[store]):
            async with trio.open_nursery() as nursery:
                for row in group:
                    nursery.start_soon(run, row)
        took = time.perf_counter() - began
        assert len(done) == count, len(done)
        stores[store] = done
        return count / took

    return trio.run(main)
