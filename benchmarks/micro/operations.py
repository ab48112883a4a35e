"""What is counted: by name, a function, and how many operations one call of it makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cattrs
from attrs import frozen

from benchmarks import plain
from benchmarks.micro.embedded import Embedded
from benchmarks.micro.situations import DEFINITIONS, running, situations
from durable_jobs_core.codec import encode, load
from durable_jobs_core.schema import Schema
from durable_jobs_core.step import alarm_of
from durable_jobs_core.words import Key

JOBS = 40
"""Of one call: enough to share its exchanges, and few enough to be counted in seconds."""


@frozen
class Operation:
    """`call` makes `times` operations of that `name`."""

    name: str
    call: Callable[[], object]
    times: int = 1


@frozen
class Event:
    """Ten fields, as an event of a user's may have."""

    id: str
    source: str
    subject: str
    sequence: int
    attempt: int
    amount: float
    urgent: bool
    tags: list[str]
    parent: str | None
    labels: dict[str, str]


EVENT = Event("evt-17", "shop", "order-4711", 17, 1, 12.5, False, ["a", "b"], None, {"region": "north"})


def operations() -> list[Operation]:
    """All of them, in the order in which they are counted."""
    found = [Operation(situation.name, situation.step) for situation in situations()]
    for kind, definition in DEFINITIONS.items():
        key, record = Key(kind, "job", "user-17"), running(kind)
        row = encode(key, record, alarm_of(kind, record))
        found.append(Operation(f"encode {kind}", partial(encode, key, record, row.wake)))
        found.append(Operation(f"decode {kind}", partial(load, definition, row)))
    schema, converter = Schema(Event), cattrs.Converter()
    data, _ = schema.encode(EVENT, "event")
    found += [
        Operation("strict check of 10 fields", partial(schema.decode, data, "event")),
        Operation("the same by plain cattrs", partial(converter.structure, data, Event)),
        Operation("strict encoding of 10 fields", partial(schema.encode, EVENT, "event")),
        Operation("a job: plain loop, memory", _plain, JOBS),
        Operation("a job: engine, memory", _engine, JOBS),
    ]
    assert len({operation.name for operation in found}) == len(found)
    return found


def _engine() -> None:
    embedded = Embedded()
    embedded.accept(JOBS)
    assert embedded.drain().runs == JOBS


def _plain() -> None:
    for number in range(JOBS):
        plain.at_once(number)
