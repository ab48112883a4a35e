"""Where a task is, when it wants to be woken, and what it is called: all derived from its body."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from durable_jobs_core.definitions import Task
from durable_jobs_core.kinds._draft import Draft
from durable_jobs_core.record import Run, TaskBody
from durable_jobs_core.results import TaskState
from durable_jobs_core.words import Hook


class Phase(StrEnum):
    """Where an instance is; derived, never stored."""

    ABSENT = "absent"
    IDLE = "idle"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"


# by name: to look one up in its class is slow in Python 3.11
_ABSENT, _IDLE, _SCHEDULED, _QUEUED, _PENDING, _RUNNING, _PARKED = Phase


def phase_of(body: TaskBody | None) -> Phase:
    """The phase of a body."""
    if body is None:
        return _ABSENT
    if body.in_flight is not None:
        return _RUNNING
    if body.inbox:
        assert body.intake is not None, "`advance` gives the inbox a run"
        return _PARKED if body.intake.parked else _QUEUED
    if body.run is not None:
        return _PARKED if body.run.parked else _PENDING
    return _IDLE if body.scheduled_at is None else _SCHEDULED


def deadline(body: TaskBody) -> int | None:
    """The alarm: when the instance next wants to be woken, or `None` (S-4)."""
    run = body.in_flight
    if run is not None:
        assert run.lease is not None, "in flight"
        return run.lease.until
    first = next_work(body)
    return body.scheduled_at if first is None or first.parked else first.due


def next_work(body: TaskBody) -> Run | None:
    """What goes on when nothing is in flight: queued events before the unfinished run (S-51)."""
    return body.intake if body.inbox else body.run


def parked_run(body: TaskBody) -> Run | None:
    """The work that gave up, if any has."""
    return next((run for run in (body.intake, body.run) if run is not None and run.parked), None)


def status_of(body: TaskBody) -> TaskState:
    """The status, the first that applies (S-55)."""
    if parked_run(body) is not None:
        return "parked"
    return "idle" if phase_of(body) is _IDLE else "active"


TaskDraft = Draft[TaskBody, Task[Any, Any]]


def has(d: TaskDraft, hook: Hook) -> bool:
    """Whether the job has the hook."""
    return hook in d.definition.hooks
