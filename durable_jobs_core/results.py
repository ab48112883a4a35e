"""What the clients answer. Instants are aware UTC datetimes; counts are plain numbers.

`instance_id` is the printed key, `kind:job:id`. A missing instance is a normal answer (S-61).
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

from attrs import frozen

from durable_jobs_core.words import Failure, Hook, Json

S = TypeVar("S", covariant=True)

ContinuousState = Literal["quarantined", "parked", "paused", "running", "not_found"]
DebounceState = Literal["quarantined", "flushing", "parked", "debouncing", "idle", "not_found"]
TaskState = Literal["quarantined", "parked", "active", "idle", "not_found"]
InstanceStatus = Literal[ContinuousState, DebounceState, TaskState]
WaitOutcome = Literal[
    "accepted", "succeeded", "retrying", "failed", "parked", "terminated", "cleared", "pending"
]
"""How a run that was waited for stands (S-38). `accepted`: it was not waited for; `pending`: the wait
ended first."""


@frozen(kw_only=True)
class StartResult:
    """`created`: whether this call made the instance; `status`: what it is now (S-30)."""

    instance_id: str
    created: bool
    status: ContinuousState


@frozen(kw_only=True)
class TriggerResult:
    """`triggered`: there was an instance; `joined`: its attempt was already in flight (S-34).

    `outcome`: `None` if there was none; without `wait=` `"accepted"`; else how the run stands after the next
    attempt, with its `error` and `retry_at`, or `"pending"` if the wait ended first (S-38).
    An `on_error` in flight is joined too, and ends the run without `execute`; an `on_idle` is not, for its
    run is over: `execute` follows it, once for all triggers, of which those after the first are `joined`.
    """

    instance_id: str
    triggered: bool
    joined: bool = False
    outcome: WaitOutcome | None = None
    error: Failure | None = None
    retry_at: datetime | None = None

    @property
    def terminated(self) -> bool:
        """Whether the life ended while the call waited (S-50)."""
        return self.outcome == "terminated"


@frozen(kw_only=True)
class PauseResult:
    """`paused`: whether this call changed it; no instance has not changed."""

    instance_id: str
    paused: bool


@frozen(kw_only=True)
class ResumeResult:
    """`resumed`: whether this call changed it; no instance has not changed."""

    instance_id: str
    resumed: bool


@frozen(kw_only=True)
class RescheduleResult:
    """`rescheduled`: whether the instance was waiting, and is now due by the schedule in force;
    `next_run_at`: as in a `ContinuousStatus`."""

    instance_id: str
    rescheduled: bool
    next_run_at: datetime | None


@frozen(kw_only=True)
class TerminateResult:
    """`terminated`: there was an instance; `reason`: the given one, or `"not_found"`.

    `was_running`: an attempt was in flight and is being cancelled; `discarded_events`: queued and
    dead-lettered ones, and those of an open window or a held batch (S-36).
    """

    instance_id: str
    terminated: bool
    reason: str | None = None
    was_running: bool = False
    discarded_events: int = 0


@frozen(kw_only=True)
class ContinuousStatus:
    """`next_run_at`: `None` while paused, parked, or an attempt is in flight; `attempt`: that one, or the
    next of an unfinished run, else `None`; `last_run_at`: when a run last succeeded; `parked_since`: when its
    run gave up, if it is parked (S-35)."""

    instance_id: str
    status: ContinuousState
    run_count: int = 0
    next_run_at: datetime | None = None
    attempt: int | None = None
    last_error: Failure | None = None
    parked_since: datetime | None = None
    last_run_at: datetime | None = None


@frozen(kw_only=True)
class StateResult(Generic[S]):
    """`state`: the stored state, or `None` where there is none."""

    instance_id: str
    state: S | None = None


@frozen(kw_only=True)
class AddResult:
    """`created`: there was no record, or an idle one; `event_count`: of the window, this event
    included; `will_flush_at`: when that window falls due (S-40)."""

    instance_id: str
    created: bool
    event_count: int
    will_flush_at: datetime


@frozen(kw_only=True)
class FlushResult:
    """`flushed`: all that was held has succeeded; `event_count`: how many events that is (S-44).

    `reason`: `"empty"` if nothing was held, and then `outcome` is `None`; else `outcome`, `error`, `retry_at`
    are as in a `TriggerResult`.
    """

    instance_id: str
    flushed: bool
    event_count: int
    reason: Literal["manual", "empty"] = "manual"
    outcome: WaitOutcome | None = None
    error: Failure | None = None
    retry_at: datetime | None = None


@frozen(kw_only=True)
class ClearResult:
    """`cleared`: something was dropped; `in_flight`: a batch is being executed and goes on (S-44)."""

    instance_id: str
    cleared: bool
    discarded_events: int = 0
    in_flight: bool = False


@frozen(kw_only=True)
class DebounceStatus:
    """The window's `event_count`, `started_at`, `will_flush_at`; the batch's `batch_event_count`, and its
    `attempt`, in flight or next; `parked_since`: when it gave up, if it is parked (S-45)."""

    instance_id: str
    status: DebounceState
    event_count: int = 0
    started_at: datetime | None = None
    will_flush_at: datetime | None = None
    batch_event_count: int = 0
    attempt: int | None = None
    last_error: Failure | None = None
    parked_since: datetime | None = None


@frozen(kw_only=True)
class SendResult:
    """`scheduled_at`: when `execute` is to be called, `None` if it is not, or not known as the event is
    `queued`, in the inbox behind an attempt; `terminated`: the hook ended the instance (S-50, S-51)."""

    instance_id: str
    created: bool
    scheduled_at: datetime | None = None
    queued: bool = False
    terminated: bool = False


@frozen(kw_only=True)
class TaskStatus:
    """`event_count`: how many were applied; `queued_events`, `dead_letters`: how many wait, or were given up;
    `attempt`: in flight, or the next of an unfinished run; `parked_at`: the hook that gave up;
    `parked_since`: when, if it is parked (S-55)."""

    instance_id: str
    status: TaskState
    scheduled_at: datetime | None = None
    created_at: datetime | None = None
    event_count: int = 0
    execute_count: int = 0
    queued_events: int = 0
    dead_letters: int = 0
    attempt: int | None = None
    parked_at: Hook | None = None
    last_error: Failure | None = None
    parked_since: datetime | None = None


@frozen(kw_only=True)
class TaskStateResult(Generic[S]):
    """A task's state with its pending schedule; all `None` where there is none."""

    instance_id: str
    state: S | None = None
    scheduled_at: datetime | None = None
    created_at: datetime | None = None


@frozen(kw_only=True)
class DeadLetter:
    """An event that was given up: its JSON, its id, the error, and when."""

    event: Json
    event_id: str | None
    error: Failure
    failed_at: datetime


@frozen(kw_only=True)
class DeadLettersResult:
    """The dead letters of a task, oldest first."""

    instance_id: str
    dead_letters: tuple[DeadLetter, ...]


@frozen(kw_only=True)
class RedriveResult:
    """`redriven`: how many dead letters went back to the inbox."""

    instance_id: str
    redriven: int


@frozen(kw_only=True)
class DiscardResult:
    """`discarded`: how many dead letters were dropped."""

    instance_id: str
    discarded: int
