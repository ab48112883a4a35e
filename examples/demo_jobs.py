"""The jobs of the demo, one of each kind, and the worker that runs them in the current folder.

`demo.py` starts this file as a process of its own, kills it, and starts it again. Every job calls a
service outside, which takes its time and is down now and then. A service does a thing once for a key:
that is why each call carries `ctx.idempotency_key`, the same for every attempt of a run.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import durable_jobs_asyncio
from attrs import evolve, frozen

from durable_jobs_core import (
    Backoff,
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    Retry,
    Task,
    TaskContext,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Limits
from durable_jobs_core.telemetry import TelemetryEvent

DATABASE, EFFECTS, TELEMETRY = Path("jobs.db"), Path("effects.jsonl"), Path("telemetry.jsonl")
RETRY = Retry(max_attempts=20, delay=Backoff.exponential("200 ms", max="2 seconds"))
LIMITS = Limits(lease=1_500, hold=500)  # so much later a killed worker's runs go on; default 30 s


# -- the world outside


class ServiceDown(Exception):
    """A service outside did not answer, or not in time."""


def append(path: Path, line: dict[str, Any]) -> None:
    """Add a line of JSON to a file that others are reading."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


async def call(service: str, instance: str, key: str | None, **facts: Any) -> None:
    """Have a service do something. What it has done is on record in EFFECTS, even if it fails to say so."""
    if random.random() < 0.1:
        raise ServiceDown(f"{service} is down")
    append(EFFECTS, {"service": service, "instance": instance, "key": key, "facts": facts})
    await asyncio.sleep(random.uniform(0.25, 0.4))
    if random.random() < 0.1:
        raise ServiceDown(f"{service} did it, but its answer was lost")


# -- continuous: keep a token fresh


@frozen
class Tokens:
    """A refresh token can be used once; its successor comes with the answer."""

    refresh: str


@Continuous.job(state=Tokens, schedule=every("800 ms"), retry=RETRY, on_exhausted="park")
async def token_refresher(ctx: ContinuousContext[Tokens]) -> None:
    """Trade the refresh token for the next one."""
    issued = f"token of {ctx.idempotency_key}"
    await call("oauth", ctx.instance_id, ctx.idempotency_key, presented=ctx.state.refresh, issued=issued)
    ctx.set_state(Tokens(refresh=issued))


# -- debounce: collect webhooks, deliver them in batches


@frozen
class Webhook:
    """Something happened in a repository."""

    repository: str
    delivery: str


def collect(ctx: DebounceEventContext[Webhook, list[str]]) -> list[str]:
    """Add a webhook to the window."""
    return [*(ctx.state or []), ctx.event.delivery]


@Debounce.job(
    event=Webhook, state=list[str], on_event=collect, flush_after="1 second", max_events=20, retry=RETRY
)
async def webhook_batcher(ctx: DebounceContext[list[str]]) -> None:
    """Deliver a closed window; what is added meanwhile goes into the next."""
    await call("receiver", ctx.instance_id, ctx.idempotency_key, webhooks=ctx.state)


# -- task: walk an order through its states


@frozen
class Placed:
    """The customer ordered something."""

    number: int
    item: str


@frozen
class Paid:
    """The money is here."""

    number: int
    amount: int


@frozen
class Noted:
    """The customer has a wish, at any time, also while the parcel is being handed over."""

    number: int
    wish: str


OrderEvent = Placed | Paid | Noted


@frozen
class Order:
    """`applied`: the numbers of the events, in the order in which they were applied."""

    item: str = ""
    wishes: tuple[str, ...] = ()
    applied: tuple[int, ...] = ()
    stage: str = "placed"


def on_order_event(event: OrderEvent, ctx: TaskContext[Order]) -> None:
    """Change the state, and set the alarm when the order is paid."""
    order = ctx.state or Order()
    match event:
        case Placed(item=item):
            order = evolve(order, item=item)
        case Paid():
            order = evolve(order, stage="paid")
            ctx.schedule("100 ms")
        case Noted(wish=wish):
            order = evolve(order, wishes=(*order.wishes, wish))
    ctx.set_state(evolve(order, applied=(*order.applied, event.number)))


def close_order(ctx: TaskContext[Order]) -> None:
    """Called when nothing is scheduled: a shipped order is done."""
    if ctx.state is not None and ctx.state.stage == "shipped":
        ctx.set_state(evolve(ctx.state, stage="closed"))


@Task.job(state=Order, event=OrderEvent, on_event=on_order_event, on_idle=close_order, retry=RETRY)
async def orders(ctx: TaskContext[Order]) -> None:
    """The alarm: ship what was paid. Events that come meanwhile wait in the inbox."""
    assert ctx.state is not None, "only a paid order has an alarm"
    await call("carrier", ctx.instance_id, ctx.idempotency_key, item=ctx.state.item)
    ctx.set_state(evolve(ctx.state, stage="shipped"))


JOBS = create_durable_jobs(
    {"tokenRefresher": token_refresher, "webhookBatcher": webhook_batcher, "orders": orders}
)


# -- the worker


class TelemetryFile:
    """A tracker of one's own: telemetry as lines of JSON."""

    def emit(self, events: Sequence[TelemetryEvent]) -> None:
        """Write down what happened."""
        for event in events:
            append(TELEMETRY, event.wire())

    def close(self, timeout: float) -> None:
        """Nothing is held."""


async def work() -> None:
    """Run the jobs until SIGTERM. SIGKILL does no harm either."""
    async with durable_jobs_asyncio.open_runtime(
        JOBS, f"sqlite:///{DATABASE}", limits=LIMITS, trackers=[TelemetryFile()]
    ) as runtime:
        await runtime.serve()


if __name__ == "__main__":
    asyncio.run(work())
