"""What tests of several backends ask through a `Port`."""

from __future__ import annotations

from typing import Any

from durable_jobs_conformance import Port

from durable_jobs_core.backend import Defer, Refused, Write


def refusal(port: Port, *writes: Write | Defer, **more: Any) -> Refused:
    """What every write of an exchange is refused with."""
    writes = writes or (Write(port.key("new"), None, port.row("new")),)
    outcomes = port.ask(*writes, **more).outcomes
    assert len(outcomes) == len(writes)
    assert set(outcomes) == {outcomes[0]}
    assert isinstance(outcomes[0], Refused)
    return outcomes[0]
