"""Records that this release cannot read: of a newer version, or damaged (S-6)."""

from __future__ import annotations

from typing import TypeAlias

from durable_jobs_core.backend import Damaged
from durable_jobs_core.codec import Newer
from durable_jobs_core.effects import EmitTelemetry, Reply, ReplyError, Then
from durable_jobs_core.errors import NewerVersionError, StorageError
from durable_jobs_core.events import AlarmFired, Event, StatusRequested, TerminateRequested
from durable_jobs_core.results import ContinuousStatus, DebounceStatus, TaskStatus, TerminateResult
from durable_jobs_core.telemetry import JobNewer, JobQuarantined, JobTerminated
from durable_jobs_core.words import Key

Unreadable: TypeAlias = Newer | Damaged

_STATUS = {"continuous": ContinuousStatus, "debounce": DebounceStatus, "task": TaskStatus}


def deletes(found: Unreadable, event: Event) -> bool:
    """Whether the event may delete the row: only `terminate`, and only what is damaged."""
    return isinstance(found, Damaged) and isinstance(event, TerminateRequested)


def answer(key: Key, found: Unreadable, event: Event, now: int) -> tuple[Then, ...]:
    """What an event on an unreadable record is answered; a deletion, once it is committed."""
    if isinstance(found, Newer):
        return _answer_newer(key, found, event, now)
    if isinstance(event, TerminateRequested):
        ended = JobTerminated(key=key, at=now, life=0, seq=None, reason=event.reason, run_count=0)
        result = TerminateResult(instance_id=str(key), terminated=True, reason=event.reason)
        return (EmitTelemetry((ended,)), Reply(result))
    if isinstance(event, StatusRequested):
        return (Reply(_STATUS[key.kind](instance_id=str(key), status="quarantined")),)
    if isinstance(event, AlarmFired):
        said = JobQuarantined(key=key, at=now, life=0, seq=None, why=found.why)
        return (EmitTelemetry((said,)),)
    text = f"{key} is quarantined: its stored record cannot be read ({found.why}); terminate deletes it"
    return (ReplyError(StorageError(text)),)


def _answer_newer(key: Key, found: Newer, event: Event, now: int) -> tuple[Then, ...]:
    if isinstance(event, AlarmFired):
        said = JobNewer(
            key=key, at=now, life=0, seq=None, what=found.what, found=found.found, known=found.known
        )
        return (EmitTelemetry((said,)),)
    return (ReplyError(NewerVersionError(key, found.what, found.found, found.known)),)
