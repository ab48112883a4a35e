"""What tests of several backends ask through a `Port`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from durable_jobs_conformance import Port

from durable_jobs_core.backend import Committed, Defer, Refused, Write


def refusal(port: Port, *writes: Write | Defer, **more: Any) -> Refused:
    """What every write of an exchange is refused with."""
    writes = writes or (Write(port.key("new"), None, port.row("new")),)
    outcomes = port.ask(*writes, **more).outcomes
    assert len(outcomes) == len(writes)
    assert set(outcomes) == {outcomes[0]}
    assert isinstance(outcomes[0], Refused)
    return outcomes[0]


def is_committed(port: Port, id: str = "new") -> bool:
    """Whether a new row is taken: a new primary may not be ready yet."""
    return port.ask(Write(port.key(id), None, port.row(id))).outcomes == (Committed(),)


PATIENCE_SECONDS = 20
"""The `timeout` of stores on servers: what is to be answered has all the time that a slow disk takes."""

HURRY_SECONDS = 0.5


@contextmanager
def in_a_hurry(port: Port, *, only: str = "") -> Iterator[None]:
    """Within the block the first lane of a store on Redis servers gives up soon: nobody answers there.

    `only`: the end of the URL of the one that does not answer; the others have their time.
    """
    options = port.backend._location.options
    for wire in port.backend._lanes[0].exchanger._line.wires():
        if wire.server.endswith(only):
            wire._connection._sock.settimeout(HURRY_SECONDS)
    patience, options["socket_timeout"] = options["socket_timeout"], HURRY_SECONDS
    try:
        yield
    finally:
        options["socket_timeout"] = patience
