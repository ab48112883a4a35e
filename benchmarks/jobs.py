"""The job that is measured: about 100 bytes of state, a handler that increments a counter."""

from __future__ import annotations

import random
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, evolve

from durable_jobs_core import Continuous, ContinuousContext, create_durable_jobs, every
from durable_jobs_core.backend import Row
from durable_jobs_core.codec import encode
from durable_jobs_core.events import StartRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Key

LEASE_MS = 30_000
T = TypeVar("T")


@define
class Counter:
    """A hundred bytes of JSON or so."""

    n: int
    note: str = "a note that makes this state about as long as a small real one"


@Continuous.job(state=Counter, schedule=every("1 hour"))
async def count(ctx: ContinuousContext[Counter]) -> None:
    """Increment."""
    ctx.set_state(evolve(ctx.state, n=ctx.state.n + 1))


JOBS = create_durable_jobs({"count": count})


def started(definition: Continuous[Counter], key: Key, number: int, *, engine: int = 1) -> Row:
    """What an engine stores of a new instance that a client has started."""
    env = Env(
        key=key,
        now=int(time.time() * 1000),
        entropy=random.getrandbits(64),
        number=number + 1,
        engine=engine,
        may_start=False,
        lease_ms=LEASE_MS,
    )
    data, _ = definition.state.encode(Counter(number), "input")
    made = step(definition, None, StartRequested(Stored(1, data)), env)
    assert made.record is not None
    return encode(key, made.record, made.alarm)


def at_once(running: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        running.send(None)
    except StopIteration as over:
        returned: T = over.value
        return returned
    raise AssertionError("the handler of the benchmark waits for nothing")
