"""What tests of several backends ask through a `Port`."""

from __future__ import annotations

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
