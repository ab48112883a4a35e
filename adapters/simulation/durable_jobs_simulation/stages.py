"""The stages of an instance's life, and which of them a need, a write or a waiting node is at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from durable_jobs_core.backend import Batch, Defer, Write
from durable_jobs_core.codec import decode
from durable_jobs_core.engine import Emit, Exchange, Invoke, Need, Reply
from durable_jobs_core.record import Record
from durable_jobs_core.words import Key, Kind
from durable_jobs_simulation import checks

STAGES: Mapping[str, str] = {
    "command": "a request has reached a node, which has not acted on it",
    "load": "a record is read",
    "step": "an inline hook runs",
    "commit": "a write that is none of those below",
    "ack": "an answer is given",
    "claim": "a look for what is due, or an entry put back; or nothing is under way but alarms",
    "start": "a write that takes a lease",
    "handler": "a leased hook runs; or a write that renews its lease",
    "completion": "a leased hook has ended, and nothing is written of it",
    "finish": "a write that ends a lease",
    "telemetry": "telemetry is told",
    "purge": "a write that deletes the record",
}
KINDS: tuple[Kind, ...] = ("continuous", "debounce", "task")

Place: TypeAlias = tuple[str, Kind]
"""A stage, and the kind of the instance that is at it."""
Stored: TypeAlias = Callable[[Key], Record | None]
"""The record that is stored under a key."""


def of_write(write: Write | Defer, stored: Stored) -> Iterator[str]:
    """One that ends a lease may take the next."""
    if isinstance(write, Defer):
        yield "claim"
        return
    if write.row is None:
        yield "purge"
        return
    after = decode(write.row)
    if isinstance(after, Record):
        yield from of_change(stored(write.key), after)


def of_change(before: Record | None, after: Record) -> Iterator[str]:
    """From one record to the next."""
    was, is_ = checks.leased(before), checks.leased(after)
    old = None if was is None else was.lease
    new = None if is_ is None else is_.lease
    if old is not None and new is not None and old.token == new.token:
        yield "handler" if new.until > old.until else "commit"
        return
    if old is not None:
        yield "finish"
    if new is not None:
        yield "start"
    if old is None and new is None:
        yield "commit"


def of_instances(batch: Batch, stored: Stored) -> Iterator[tuple[Place, Key]]:
    """Of what an exchange carries for one instance or another."""
    for write in batch.writes:
        for stage in of_write(write, stored):
            yield (stage, write.key.kind), write.key
    for key in batch.loads:
        yield ("load", key.kind), key


def of_batch(batch: Batch, stored: Stored) -> Iterator[Place]:
    """Of all that an exchange carries."""
    yield from (place for place, _ in of_instances(batch, stored))
    if batch.claim is not None:
        kinds: set[Kind] = {kind for kind, _ in batch.claim.limits}
        for kind in kinds:
            yield "claim", kind


def of_hook(invoke: Invoke) -> Place:
    """Of a hook that is called."""
    return "handler" if invoke.leased else "step", invoke.key.kind


def of_need(need: Need, stored: Stored, called: Callable[[int], Key | None]) -> Iterator[Place]:
    """Of a need that is to be performed. `called`: the instance that a call is of."""
    match need:
        case Exchange():
            yield from of_batch(need.batch, stored)
        case Invoke():
            yield of_hook(need)
        case Emit():
            for event in need.events:
                yield "telemetry", event.key.kind
        case Reply():
            key = called(need.call)
            if key is not None:
                yield "ack", key.kind
        case _:
            pass
