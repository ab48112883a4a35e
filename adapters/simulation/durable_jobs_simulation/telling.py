"""I-7: telemetry follows its commit, is said once and, where nothing may lose it, in order and to the end."""

from __future__ import annotations

from collections.abc import Iterable

from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_simulation.history import History, in_order
from durable_jobs_simulation.trace import Trace
from durable_jobs_simulation.violation import Violated

LOSES_IT = {"outage", "partition", "lost_request", "lost_answer", "unknown", "damage", "newer"}
"""After these an engine may never know of its own commit; and one that crashes tells nothing any more."""


def may_be_lost(trace: Trace) -> bool:
    """Whether something has happened that loses telemetry."""
    crashed = any(event.what == "crash" for event in trace.events)
    return crashed or any(trace.faults.rates().get(name) for name in LOSES_IT)


def check_told(history: History, value: TelemetryEvent, node: str, over: set[int]) -> None:
    """One value. `over`: the lives of which the end is told with it, and which may never have been stored."""
    if value.seq is None:
        return
    told = history.told.setdefault(value.life, {})
    if value.seq in told and value.life not in history.ended:  # (d) of D-6 may tell an end twice
        raise Violated("I-7", f"{value.key}: {value.type} was told twice as {value.seq}")
    told[value.seq] = node
    last = history.seq.get(value.life, value.seq if value.life in over else 0)
    if value.seq > last and value.life not in history.ended:
        raise Violated("I-7", f"{value.key}: {value.type} was told before its commit")


def check_complete(histories: Iterable[History]) -> None:
    """All of it, at the end."""
    for history in histories:
        for life, told in history.told.items():
            complete = sorted(told) == list(range(1, max(len(told), history.seq.get(life, 0)) + 1))
            if not complete or not in_order(told):
                raise Violated("I-7", f"{history.key}: telemetry of a life came as {list(told.items())}")
