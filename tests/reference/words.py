"""What ours shows, answers and tells, in the words of the recording."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from durable_jobs_core import Failure
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Key, from_datetime


def wire(event: TelemetryEvent) -> dict[str, Any]:
    """A telemetry value as it is sent, without what only ours sends."""
    sent = event.wire(with_state=True)
    for name in ("eventId", "life", "seq", "run", "hook"):
        sent.pop(name, None)
    return sent


def instant(value: Any) -> Any:
    """A `datetime` as the recording writes it."""
    return from_datetime(value) if isinstance(value, datetime) else value


_SHOWN = {
    ("continuous", "execute"): "state instanceId jobName runCount attempt isRetry",
    ("debounce", "onEvent"): "event state eventCount instanceId",
    ("debounce", "execute"): "state instanceId attempt isRetry flushReason eventCount debounceStartedAt",
    ("task", "onEvent"): "event state instanceId jobName isFirstEvent eventCount createdAt scheduledTime",
    ("task", "execute"): "state instanceId jobName eventCount createdAt executeCount scheduledTime",
    ("task", "onIdle"): "state instanceId jobName scheduledTime",
    ("task", "onError"): "error state instanceId jobName scheduledTime",
}
"""What both show a hook. Ours has no `executionStartedAt`, `idleReason`, `errorSource` (S-37, S-43, S-52)."""


def shown(kind: str, handler: str, ctx: Any, given: Any, now: int) -> dict[str, Any]:
    """What a hook sees, in the words of the recording."""
    see: dict[str, Any] = {} if (kind, handler) == ("debounce", "onEvent") else {"now": now}
    for name in _SHOWN[kind, handler].split():
        if name in ("event", "error"):
            see[name] = given.message if isinstance(given, Failure) else given
        else:
            see[name] = instant(getattr(ctx, snake(name)))
    return see


def snake(name: str) -> str:
    """`runCount` as `run_count`."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


_TOLD = {
    "StartResult": "created status",
    "ContinuousStatus": "status runCount nextRunAt",
    "AddResult": "eventCount willFlushAt created",
    "FlushResult": "flushed eventCount reason",
    "ClearResult": "cleared discardedEvents",
    "DebounceStatus": "status eventCount startedAt willFlushAt",
    "SendResult": "created scheduledAt",
    "TaskStatus": "status scheduledAt createdAt eventCount executeCount",
    "StateResult": "state",
    "TaskStateResult": "state scheduledAt createdAt",
    "TriggerResult": "triggered",
    "TerminateResult": "terminated",
    "PauseResult": "paused",
}
_IF_GIVEN = {"nextRunAt", "willFlushAt", "startedAt"}


def told(key: Key, result: Any) -> dict[str, Any]:
    """A result in the words of the recording: what is not there is left out where the original does.

    What only ours tells (`outcome`, `queued`, `joined`, a task's `terminated`) has no counterpart in it.
    """
    names = _TOLD[type(result).__name__].split()
    values = {name: instant(getattr(result, snake(name))) for name in names}
    values = {name: value for name, value in values.items() if value is not None or name not in _IF_GIVEN}
    if values.get("status") == "not_found":
        values = {name: values[name] for name in ("status", "scheduledAt") if name in values}
    if type(result).__name__ == "TaskStateResult" and values["createdAt"] is None:
        values = {"scheduledAt": None}
    if type(result).__name__ == "TerminateResult" and key.kind == "continuous":
        reason = result.reason if result.terminated else "not_found"
        values.update({} if reason is None else {"reason": reason})
    outcome = getattr(result, "outcome", None)
    if outcome == "retrying":
        values["retryScheduled"] = True
    elif type(result).__name__ == "FlushResult" and outcome is not None:
        values["retryScheduled"] = False
    if key.kind == "continuous" and getattr(result, "terminated", False):
        values["terminated"] = True  # only these tell, of those who asked for a run
    return values
