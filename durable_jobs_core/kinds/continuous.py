"""Continuous: recurring work of one instance (SPEC §5).

Rules that keep this file readable:

1. Every transition is a cell of `TABLE`, or part of `advance`, which starts whatever is due.
2. `advance` runs after every event that changed something, and after the alarm; nothing else claims.
3. The alarm is `deadline(body)` and is never set by hand.

An instance is WAITING for its schedule, or has one unfinished run: PENDING (due at an instant: a
trigger, a retry, a hand-back), RUNNING (a lease is out) or PARKED (given up, kept). Pausing is no
phase: it holds back what WAITING and PENDING would start.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from durable_jobs_core._values import evolve
from durable_jobs_core.definitions import Continuous
from durable_jobs_core.errors import InvalidStateError, SchedulerError
from durable_jobs_core.events import (
    AlarmFired,
    AlarmMisfiled,
    HandlerFailed,
    HandlerReleased,
    HandlerSucceeded,
    LeaseRenewed,
    PauseRequested,
    RescheduleRequested,
    ResumeRequested,
    StartRequested,
    StateRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.kinds import _shared as shared
from durable_jobs_core.kinds._draft import Draft, is_due, parked, revived
from durable_jobs_core.kinds._table import Table, fenced, stay, to
from durable_jobs_core.record import ContinuousBody, Run
from durable_jobs_core.results import (
    ContinuousState,
    ContinuousStatus,
    PauseResult,
    RescheduleResult,
    ResumeResult,
    StartResult,
    StateResult,
    TriggerResult,
)
from durable_jobs_core.retry import GiveUp, GiveUpReason
from durable_jobs_core.schedule import Skip, first_due, has_grid, latest_tick, next_tick
from durable_jobs_core.telemetry import JobFailed, JobStarted
from durable_jobs_core.words import Failure, maybe_datetime


class Phase(StrEnum):
    """Where an instance is; derived, never stored."""

    ABSENT = "absent"
    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"


# by name: to look one up in its class is slow in Python 3.11
_ABSENT, _WAITING, _PENDING, _RUNNING, _PARKED = Phase
_EXISTING = (_WAITING, _PENDING, _RUNNING, _PARKED)


def phase_of(body: ContinuousBody | None) -> Phase:
    """The phase of a body."""
    if body is None:
        return _ABSENT
    if body.run is None:
        return _WAITING
    if body.run.lease is not None:
        return _RUNNING
    return _PARKED if body.run.parked else _PENDING


def deadline(body: ContinuousBody) -> int | None:
    """The alarm: when the instance next wants to be woken, or `None` (S-4)."""
    run = body.run
    if run is not None and run.lease is not None:
        return run.lease.until
    if run is not None:
        return None if body.paused and not run.forced else run.due
    return None if body.paused else body.next_at


def status_of(body: ContinuousBody) -> ContinuousState:
    """The status, the first that applies (S-35)."""
    if body.run is not None and body.run.parked:
        return "parked"
    return "paused" if body.paused else "running"


_Draft = Draft[ContinuousBody, Continuous[Any]]


# -- starting what is due


def advance(d: _Draft) -> None:
    """Start the run that is due, if this engine may."""
    if not d.env.may_start:
        return
    body = d.body
    run = body.run
    if run is None and not body.paused:
        run = _due_tick(d)
    if run is None or not is_due(run, d.now) or (body.paused and not run.forced):
        return
    run = d.lease(run)
    d.change(run=run, runs=run.number)
    call = d.call_of("execute", run, state=body.state, run_count=run.number, scheduled_for=run.scheduled_for)
    d.call(run, call)


def _due_tick(d: _Draft) -> Run | None:
    """The run of the tick that is due: the latest one that has passed (S-33)."""
    definition, tick = d.definition, d.body.next_at
    if tick is None or tick > d.now:
        return None
    if has_grid(definition.schedule):
        tick = latest_tick(definition.schedule, tick, d.now)
        misfire = definition.misfire
        if isinstance(misfire, Skip) and d.now - tick > misfire.grace_ms:
            d.change(next_at=_next_due(d, tick, d.now))
            return None
    return _new_run(d, scheduled_for=tick)


def _new_run(d: _Draft, *, scheduled_for: int | None) -> Run:
    return Run(
        number=d.body.runs + 1,
        hook="execute",
        due=d.now,
        scheduled_for=scheduled_for,
        forced=scheduled_for is None,
    )


def _next_due(d: _Draft, tick: int, after: int) -> int | None:
    """The next due instant, or none at the end of the calendar, which is said."""
    try:
        return next_tick(d.definition.schedule, tick, after)
    except SchedulerError as error:
        failure = Failure(type(error).__name__, str(error))
        d.emit(
            JobFailed,
            hook="execute",
            run=d.body.runs,
            run_count=d.body.runs,
            attempt=1,
            will_retry=False,
            failure=failure,
            state=d.body.state,
        )
        d.change(last_error=failure)
        return None


def _due_after(d: _Draft, run: Run) -> int | None:
    """When the instance is due next, now that the run is over, well or not (S-32 to S-34)."""
    next_at = d.body.next_at
    if not has_grid(d.definition.schedule):
        return _next_due(d, d.now, d.now)
    if run.scheduled_for is not None and next_at is not None and next_at <= run.scheduled_for:
        return _next_due(d, run.scheduled_for, run.scheduled_for)  # a resume has not moved it (S-35)
    return next_at


def _give_up(d: _Draft, run: Run, reason: GiveUpReason) -> None:
    """A run gave up: go on, park, or end, as the definition says (S-24); what cannot be read never ends."""
    policy, failure = d.definition.on_exhausted, d.body.last_error
    if policy == "terminate" and reason == "unreadable":
        policy = "park"  # another release may read it (S-22)
    d.exhausted(run, reason, parks=policy == "park")
    if policy == "terminate":
        d.terminated(reason, d.body.runs)
        d.end_life()
    elif policy == "park":
        d.ended(run.number, "parked", failure, run=parked(run))
    else:
        d.ended(run.number, "failed", failure, run=None, next_at=_due_after(d, run))


# -- requests


def _create(d: _Draft, event: StartRequested) -> None:
    definition = d.definition
    immediately = definition.start_immediately
    next_at = d.now if immediately else first_due(definition.schedule, d.now)
    d.body = ContinuousBody(state=event.input, next_at=next_at)
    d.emit(JobStarted, input=event.input.value)
    d.reply(StartResult(instance_id=str(d.key), created=True, status="running"))


def _exists(d: _Draft, event: StartRequested) -> None:
    d.reply(StartResult(instance_id=str(d.key), created=False, status=status_of(d.body)))


def _join(d: _Draft, event: TriggerRequested) -> None:
    d.reply(_triggered(d, joined=True), d.watch())


def _trigger_new(d: _Draft, event: TriggerRequested) -> None:
    d.reply(_triggered(d), d.watch())
    run = _new_run(d, scheduled_for=None)
    d.change(run=run, runs=run.number)


def _trigger_again(d: _Draft, event: TriggerRequested) -> None:
    assert d.body.run is not None, "PENDING and PARKED have a run"
    d.reply(_triggered(d), d.watch())
    d.change(run=evolve(revived(d.body.run, d.now), forced=True))


def _triggered(d: _Draft, *, joined: bool = False) -> TriggerResult:
    return TriggerResult(instance_id=str(d.key), triggered=True, joined=joined, outcome="accepted")


def _pause(d: _Draft, event: PauseRequested) -> None:
    body = d.maybe_body
    changes = body is not None and not body.paused
    d.reply(PauseResult(instance_id=str(d.key), paused=changes))
    if changes:
        d.change(paused=True)


def _resume(d: _Draft, event: ResumeRequested) -> None:
    body = d.maybe_body
    if body is None or not body.paused:
        d.reply(ResumeResult(instance_id=str(d.key), resumed=False))
        return
    d.reply(ResumeResult(instance_id=str(d.key), resumed=True))
    run, next_at = body.run, body.next_at
    if run is not None and run.due is not None:
        run = evolve(run, due=d.now)
    if next_at is not None and next_at <= d.now:
        next_at = _next_due(d, next_at, d.now)
    d.change(paused=False, run=run, next_at=next_at)


def _refuse_parked(d: _Draft, event: PauseRequested | ResumeRequested) -> None:
    request = "pause" if isinstance(event, PauseRequested) else "resume"
    raise InvalidStateError(d.key, "parked", request, "trigger or terminate it")


def _reschedule(d: _Draft, event: RescheduleRequested) -> None:
    next_at = first_due(d.definition.schedule, d.now)
    if next_at != d.body.next_at:
        d.change(next_at=next_at)
    d.reply(_rescheduled(d, True))


def _reschedule_later(d: _Draft, event: RescheduleRequested) -> None:
    d.reply(_rescheduled(d, False))


def _rescheduled(d: _Draft, done: bool) -> RescheduleResult:
    next_run_at = maybe_datetime(_next_run_at(d.body))
    return RescheduleResult(instance_id=str(d.key), rescheduled=done, next_run_at=next_run_at)


def _terminate(d: _Draft, event: TerminateRequested) -> None:
    shared.terminate(d, event, run_count=d.body.runs)


def _next_run_at(body: ContinuousBody) -> int | None:
    return None if phase_of(body) is _RUNNING else deadline(body)


def _status(d: _Draft, event: StatusRequested) -> None:
    body = d.maybe_body
    if body is None:
        d.reply(ContinuousStatus(instance_id=str(d.key), status="not_found"))
        return
    status = status_of(body)
    d.reply(
        ContinuousStatus(
            instance_id=str(d.key),
            status=status,
            run_count=body.runs,
            next_run_at=maybe_datetime(_next_run_at(body)),
            attempt=None if body.run is None else body.run.attempt,
            last_error=body.last_error,
            parked_since=d.parked_since(status),
            last_run_at=maybe_datetime(body.last_run_at),
        )
    )


def _state(d: _Draft, event: StateRequested) -> None:
    body = d.maybe_body
    d.reply(StateResult(instance_id=str(d.key), state=None if body is None else body.state))


# -- facts


def _succeed(d: _Draft, run: Run, event: HandlerSucceeded) -> None:
    asked = event.operations
    if asked.terminate is not None:
        d.terminated(asked.terminate.reason, d.body.runs)
        d.end_life()
        return
    d.executed(run, d.body.state, run_count=d.body.runs)
    d.ended(
        run.number,
        "succeeded",
        run=None,
        state=asked.state or d.body.state,
        last_run_at=d.now,
        next_at=_due_after(d, run),
    )


def _fail(d: _Draft, run: Run, event: HandlerFailed) -> None:
    retry = d.definition.retry
    after = d.failed(run, event, d.body.state, policy=retry, run_count=d.body.runs)
    if isinstance(after, GiveUp):
        _give_up(d, run, after.reason)
    else:
        d.ended(run.number, "retrying", event.failure, after.due, run=evolve(after, forced=False))


TABLE: Table = {
    StartRequested: {
        _ABSENT: to(_create, _WAITING, _RUNNING),
        **stay(_exists, *_EXISTING),
    },
    TriggerRequested: {
        **stay(shared.trigger_nothing, _ABSENT),
        _WAITING: to(_trigger_new, _PENDING, _RUNNING),
        _PENDING: to(_trigger_again, _PENDING, _RUNNING),
        **stay(_join, _RUNNING),
        _PARKED: to(_trigger_again, _PENDING, _RUNNING),
    },
    PauseRequested: {
        **stay(_pause, _ABSENT, _WAITING, _RUNNING),
        _PENDING: to(_pause, _PENDING, _RUNNING),
        **stay(_refuse_parked, _PARKED),
    },
    ResumeRequested: {
        **stay(_resume, _ABSENT, _RUNNING),
        _WAITING: to(_resume, _WAITING),
        _PENDING: to(_resume, _PENDING, _RUNNING),
        **stay(_refuse_parked, _PARKED),
    },
    RescheduleRequested: {
        **stay(shared.not_found, _ABSENT),
        **stay(_reschedule, _WAITING),
        **stay(_reschedule_later, _PENDING, _RUNNING, _PARKED),
    },
    TerminateRequested: {
        **stay(shared.terminate_nothing, _ABSENT),
        **{phase: to(_terminate, _ABSENT) for phase in _EXISTING},
    },
    StatusRequested: stay(_status, *Phase),
    StateRequested: stay(_state, *Phase),
    AlarmMisfiled: stay(shared.repair, *Phase),
    AlarmFired: {
        **stay(shared.wake, _ABSENT, _PARKED),
        _WAITING: to(shared.wake, _WAITING, _RUNNING),
        _PENDING: to(shared.wake, _PENDING, _RUNNING),
        _RUNNING: to(shared.expire(_give_up), *_EXISTING, _ABSENT),
    },
    HandlerSucceeded: fenced(_succeed, _WAITING, _RUNNING, _ABSENT),
    HandlerFailed: fenced(_fail, _WAITING, _PENDING, _RUNNING, _PARKED, _ABSENT),
    HandlerReleased: fenced(shared.release, _PENDING, _RUNNING),
    LeaseRenewed: fenced(shared.renew, _RUNNING),
}
