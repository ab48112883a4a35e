"""Task: an event-driven state machine (SPEC §7).

Rules that keep this file readable:

1. Every transition is a cell of `TABLE`, or part of `advance`, which starts the first thing that is
   due: queued events, then the unfinished run, then the schedule.
2. There are two places for work: `intake`, on the first event of the inbox, and `run`, which executes.
   At most one of them holds a lease. While one does, or the inbox is not empty, events queue.
3. The alarm is `deadline(body)` and is never set by hand.

An instance is IDLE, SCHEDULED, QUEUED (events wait to be applied), or has an unfinished run: PENDING
(due at an instant), RUNNING (a lease is out, of either place) or PARKED (given up, kept).
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import evolve

from durable_jobs_core.definitions import Task
from durable_jobs_core.effects import CallHandler
from durable_jobs_core.errors import OverloadedError
from durable_jobs_core.events import (
    AlarmFired,
    AlarmMisfiled,
    DeadLettersRequested,
    DiscardRequested,
    HandlerFailed,
    HandlerReleased,
    HandlerSucceeded,
    LeaseRenewed,
    RedriveRequested,
    SendRequested,
    StateRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.kinds._draft import Draft, is_due, parked, plain, revived
from durable_jobs_core.kinds._ids import register
from durable_jobs_core.kinds._inline import answered, refuse, report
from durable_jobs_core.kinds._shared import (
    expire,
    not_found,
    release,
    renew,
    repair,
    terminate_nothing,
    wake,
)
from durable_jobs_core.kinds._table import Table, fenced, late, stay, to
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.record import DeadEvent, QueuedEvent, Run, TaskBody
from durable_jobs_core.results import (
    DeadLetter,
    DeadLettersResult,
    DiscardResult,
    RedriveResult,
    SendResult,
    TaskState,
    TaskStateResult,
    TaskStatus,
    TerminateResult,
    TriggerResult,
)
from durable_jobs_core.retry import GiveUp, GiveUpReason
from durable_jobs_core.telemetry import JobExecuted, ScheduleTrigger, TaskScheduled
from durable_jobs_core.words import Failure, Hook, maybe_datetime, to_datetime


class Phase(Enum):
    """Where an instance is; derived, never stored."""

    ABSENT = "absent"
    IDLE = "idle"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"


def phase_of(body: TaskBody | None) -> Phase:
    """The phase of a body."""
    if body is None:
        return Phase.ABSENT
    if body.in_flight is not None:
        return Phase.RUNNING
    if body.inbox:
        stuck = body.intake is not None and body.intake.parked
        return Phase.PARKED if stuck else Phase.QUEUED
    if body.run is not None:
        return Phase.PARKED if body.run.parked else Phase.PENDING
    return Phase.IDLE if body.scheduled_at is None else Phase.SCHEDULED


def deadline(body: TaskBody) -> int | None:
    """The alarm: when the instance next wants to be woken, or `None` (S-4)."""
    if body.in_flight is not None and body.in_flight.lease is not None:
        return body.in_flight.lease.until
    first = body.intake if body.inbox else body.run
    return body.scheduled_at if first is None or first.parked else first.due


def _parked(body: TaskBody) -> Run | None:
    return next((run for run in (body.intake, body.run) if run is not None and run.parked), None)


def status_of(body: TaskBody | None) -> TaskState:
    """The status, the first that applies (S-55)."""
    if body is None:
        return "not_found"
    if _parked(body) is not None:
        return "parked"
    return "idle" if phase_of(body) is Phase.IDLE else "active"


_Draft = Draft[TaskBody]


def _definition(d: _Draft) -> Task[Any, Any]:
    definition: Task[Any, Any] = d.definition
    return definition


def _has(d: _Draft, hook: Hook) -> bool:
    return hook in _definition(d).hooks


# -- starting what is due


def advance(d: _Draft) -> None:
    """Start the first thing that is due, if this engine may."""
    if d.body.in_flight is not None:
        return
    run, scheduled = d.body.run, d.body.scheduled_at
    if run is not None and run.hook == "on_idle" and scheduled is not None:
        d.change(run=None)  # it is for an instance that has nothing scheduled (S-53)
    if d.body.inbox and d.body.intake is None:
        d.change(intake=_new_run(d, "on_event"))
    if scheduled is not None and scheduled <= d.now and d.env.may_start:
        _consume(d)
    first = d.body.intake if d.body.inbox else d.body.run
    if first is not None and is_due(first, d.now) and d.env.may_start:
        first = d.lease(first)
        d.keep(first)
        d.call(_call(d, d.body, first.hook, first))


def _consume(d: _Draft) -> None:
    """The schedule is due: it becomes a run, or the trial of a parked one; else it waits (S-53)."""
    body = d.body
    if body.inbox and body.intake is not None and not body.intake.parked:
        return
    if body.run is not None and not body.run.parked and not body.inbox:
        return
    d.change(scheduled_at=None)
    if body.intake is not None:
        d.keep(revived(body.intake, d.now))
    _run_now(d)


def _run_now(d: _Draft) -> None:
    """Make the unfinished run due now with fresh attempts, or a new one.

    An `on_idle` that waits is no work: `execute` goes first, and it follows (S-53). A parked one is tried.
    """
    run = d.body.run
    if run is not None and (run.hook != "on_idle" or run.parked):
        d.keep(revived(run, d.now))
    else:
        run = _new_run(d, "execute")
        d.change(run=run, execute_count=d.body.execute_count + 1)


def _new_run(d: _Draft, hook: Hook) -> Run:
    run = Run(number=d.body.runs + 1, hook=hook, due=d.now)
    d.change(runs=run.number)
    return run


def _call(d: _Draft, body: TaskBody, hook: Hook, run: Run | None, **shown: Any) -> HookCall:
    """The call of a hook on `body`: of the first queued event, if `run` is the intake."""
    if run is not None and run is body.intake:
        shown.update(event=body.inbox[0].event, event_count=body.event_count + 1)
    if run is not None:
        shown.update(failure=run.failure)
    shown.setdefault("event_count", body.event_count)
    return d.call_of(
        hook,
        run,
        state=body.state,
        execute_count=body.execute_count,
        scheduled_at=body.scheduled_at,
        **shown,
    )


# -- what a hook asked for


def _applied(d: _Draft, body: TaskBody, asked: Operations) -> TaskBody:
    """The body with the state and the schedule that a hook set."""
    if asked.state is not None:
        body = evolve(body, state=asked.state)
    if asked.schedule is not None:
        body = evolve(body, scheduled_at=asked.schedule.due(d.now))
    return body


def _say_scheduled(d: _Draft, asked: Operations, trigger: ScheduleTrigger) -> None:
    due = None if asked.schedule is None else asked.schedule.due(d.now)
    if due is not None:
        d.emit(TaskScheduled, scheduled_at=due, trigger=trigger)


def _end(d: _Draft, reason: str | None) -> None:
    """The hook or the policy ends the instance; what is queued or dead lives on in a new one (S-24)."""
    body = d.body
    d.terminated(reason)
    if not body.inbox and not body.dead:
        d.end_life()
        return
    carried = {event.id for event in body.inbox} | {event.id for event in body.dead}
    ids = tuple(entry for entry in body.ids if entry[0] in carried)
    d.begin_life(TaskBody(inbox=body.inbox, dead=body.dead, ids=ids))


def _retry_parked(d: _Draft, asked: Operations) -> None:
    """After an event, a parked run is tried again, unless the hook said when, or not at all (S-25)."""
    run = d.body.run
    if run is not None and run.parked and asked.schedule is None:
        d.keep(revived(run, d.now))


def _owe_idle(d: _Draft, run: Run | None) -> None:
    """After a run, or the queued events: `on_idle` once; `advance` drops it if something is scheduled."""
    if not _has(d, "on_idle"):
        d.change(run=None)
    elif run is None:
        d.change(run=_new_run(d, "on_idle"))
    else:
        d.change(
            run=evolve(run, hook="on_idle", attempt=1, due=d.now, lease=None, first_at=None, failure=None)
        )


def _event_done(d: _Draft) -> None:
    """The first queued event is out of the inbox."""
    d.change(inbox=d.body.inbox[1:], intake=None)
    if not d.body.inbox and d.body.run is None and d.body.scheduled_at is None:
        _owe_idle(d, None)


# -- requests: events


def _send(d: _Draft, event: SendRequested) -> None:
    """Between attempts `on_event` is called at once, and `on_idle` after it, in one commit (S-50)."""
    body = d.maybe_body or TaskBody()
    ids = _register(d, body, event)
    count = body.event_count + 1
    call = _call(d, body, "on_event", None, event=event.event, event_count=count)
    outcome = _outcome(d, event, call)
    failed: InlineOutcome | None = None
    if outcome is not None and outcome.operations is None and _can_handle(d, outcome):
        failed = outcome
        call = _call(d, body, "on_error", None, failure=plain(_why(failed)), event_count=count)
        outcome = _outcome(d, event, call)
    if outcome is None:
        return
    if outcome.operations is None:
        refuse(d, outcome)
        return
    asked = outcome.operations
    body = _applied(d, evolve(body, ids=ids, event_count=count), asked)
    idle: InlineOutcome | None = None
    if body.run is None and body.scheduled_at is None and asked.terminate is None:
        if _has(d, "on_idle"):
            idle = _outcome(d, event, _call(d, body, "on_idle", None))
            if idle is None:
                return
            if idle.operations is None:
                refuse(d, idle)
                return
    _commit_send(d, body, outcome, failed, idle)


def _commit_send(
    d: _Draft,
    body: TaskBody,
    outcome: InlineOutcome,
    failed: InlineOutcome | None,
    idle: InlineOutcome | None,
) -> None:
    """All hooks of a `send` have returned: what they asked for, in one commit."""
    created, asked = d.maybe_body is None, outcome.operations
    assert asked is not None, "a failure was refused"
    if created:
        d.created_at = outcome.call.created_at
    d.body = body
    _say_scheduled(d, asked, "event" if failed is None else "error")
    if failed is not None:
        report(d, failed, committed=True)
        d.change(last_error=plain(_why(failed)))
    ends = asked.terminate
    if idle is not None and idle.operations is not None:
        d.body = _applied(d, d.body, idle.operations)
        _say_scheduled(d, idle.operations, "idle")
        ends = idle.operations.terminate
    if ends is not None:
        _end(d, ends.reason)
    else:
        if failed is None:
            d.emit(
                JobExecuted,
                hook="on_event",
                run=0,
                run_count=0,
                attempt=1,
                duration_ms=max(0, d.now - outcome.call.at),
                state=outcome.call.state,
            )
        _retry_parked(d, asked)
    scheduled_at = None if ends is not None else d.body.scheduled_at
    d.reply(
        SendResult(
            instance_id=str(d.key),
            created=created,
            scheduled_at=maybe_datetime(scheduled_at),
            terminated=ends is not None,
        )
    )


def _register(d: _Draft, body: TaskBody, event: SendRequested) -> tuple[tuple[str, int], ...]:
    definition = _definition(d)
    return register(
        d.key,
        body.ids,
        event.event_id,
        now=d.now,
        limit=definition.ids_max,
        for_ms=definition.ids_for_ms,
    )


def _outcome(d: _Draft, event: SendRequested, call: HookCall) -> InlineOutcome | None:
    """The outcome of a call, or `None` and the order to make it."""
    outcome = answered(event.outcomes, call)
    if outcome is None:
        d.then.append(CallHandler(call))
    return outcome


def _can_handle(d: _Draft, outcome: InlineOutcome) -> bool:
    return _has(d, "on_error") and not outcome.unreadable


def _why(outcome: InlineOutcome) -> Failure:
    assert outcome.failure is not None, "only failures have a reason"
    return outcome.failure


def _receive(d: _Draft, event: SendRequested) -> None:
    """`on_event` at once, unless events already wait behind a parked one."""
    if d.maybe_body is not None and d.body.inbox:
        _queue(d, event)
    else:
        _send(d, event)


def _queue(d: _Draft, event: SendRequested) -> None:
    """Behind an attempt, or behind other events: to the end of the inbox (S-51)."""
    body, limit = d.body, _definition(d).inbox_limit
    ids = _register(d, body, event)
    if len(body.inbox) >= limit:
        raise OverloadedError(f"the inbox of {d.key}", limit, len(body.inbox))
    queued = QueuedEvent(event=event.event, id=event.event_id)
    d.change(inbox=(*body.inbox, queued), ids=ids)
    d.reply(SendResult(instance_id=str(d.key), created=False, queued=True))


# -- requests: the others


def _trigger(d: _Draft, event: TriggerRequested) -> None:
    result = TriggerResult(instance_id=str(d.key), triggered=True, outcome="accepted")
    run, intake = d.body.run, d.body.intake
    if run is not None and run.lease is not None:
        d.reply(evolve(result, joined=True), d.watch())
        return
    d.reply(result, d.watch())
    if intake is not None and intake.parked:
        d.keep(revived(intake, d.now))
    _run_now(d)


def _trigger_nothing(d: _Draft, event: TriggerRequested) -> None:
    d.reply(TriggerResult(instance_id=str(d.key), triggered=False))


def _terminate(d: _Draft, event: TerminateRequested) -> None:
    was_running = d.cancel(d.body.in_flight)
    discarded = len(d.body.inbox) + len(d.body.dead)
    d.terminated(event.reason)
    d.end_life()
    d.reply(
        TerminateResult(
            instance_id=str(d.key),
            terminated=True,
            reason=event.reason,
            was_running=was_running,
            discarded_events=discarded,
        )
    )


def _status(d: _Draft, event: object) -> None:
    body = d.maybe_body
    if body is None:
        d.reply(TaskStatus(instance_id=str(d.key), status="not_found"))
        return
    stuck = _parked(body)
    current = stuck or body.in_flight or (body.intake if body.inbox else body.run)
    d.reply(
        TaskStatus(
            instance_id=str(d.key),
            status=status_of(body),
            scheduled_at=maybe_datetime(body.scheduled_at),
            created_at=to_datetime(d.created_at),
            event_count=body.event_count,
            execute_count=body.execute_count,
            queued_events=len(body.inbox),
            dead_letters=len(body.dead),
            attempt=None if current is None else current.attempt,
            parked_at=None if stuck is None else stuck.hook,
            last_error=body.last_error,
        )
    )


def _state(d: _Draft, event: StateRequested) -> None:
    body = d.maybe_body
    if body is None:
        d.reply(TaskStateResult(instance_id=str(d.key)))
        return
    d.reply(
        TaskStateResult(
            instance_id=str(d.key),
            state=body.state,
            scheduled_at=maybe_datetime(body.scheduled_at),
            created_at=to_datetime(d.created_at),
        )
    )


def _dead_letters(d: _Draft, event: DeadLettersRequested) -> None:
    letters = tuple(
        DeadLetter(event=dead.event, event_id=dead.id, error=dead.failure, failed_at=to_datetime(dead.at))
        for dead in d.body.dead
    )
    d.reply(DeadLettersResult(instance_id=str(d.key), dead_letters=letters))


def _redrive(d: _Draft, event: RedriveRequested) -> None:
    body, limit = d.body, _definition(d).inbox_limit
    if len(body.inbox) + len(body.dead) > limit:
        raise OverloadedError(f"the inbox of {d.key}", limit, len(body.inbox))
    if body.dead:
        back = (QueuedEvent(event=dead.event, id=dead.id) for dead in body.dead)
        d.change(inbox=(*body.inbox, *back), dead=())
    d.reply(RedriveResult(instance_id=str(d.key), redriven=len(body.dead)))


def _discard(d: _Draft, event: DiscardRequested) -> None:
    discarded = len(d.body.dead)
    if discarded:
        d.change(dead=())
    d.reply(DiscardResult(instance_id=str(d.key), discarded=discarded))


# -- facts


def _succeed(d: _Draft, run: Run, event: HandlerSucceeded) -> None:
    asked, before = event.operations, d.body.state
    takes_event = run is d.body.intake
    if asked.terminate is not None:
        if takes_event:
            d.change(inbox=d.body.inbox[1:])
        _end(d, asked.terminate.reason)
        return
    d.body = _applied(d, d.body, asked)
    trigger = _TRIGGERS[run.hook]
    _say_scheduled(d, asked, trigger)
    if run.hook in ("execute", "on_event"):
        d.executed(run, before)
    if takes_event:
        d.change(event_count=d.body.event_count + 1)
        _retry_parked(d, asked)
        _event_done(d)
        return
    d.ended(run.number, "failed" if run.hook == "on_error" else "succeeded", run.failure)
    if run.hook == "on_idle":
        d.change(run=None)
    else:
        _owe_idle(d, run)


_TRIGGERS: dict[Hook, ScheduleTrigger] = {
    "execute": "execute",
    "on_event": "event",
    "on_idle": "idle",
    "on_error": "error",
}


def _fail(d: _Draft, run: Run, event: HandlerFailed) -> None:
    # An event that fails goes to `on_error` at once, if there is one (S-51).
    handled = run.hook == "on_event" and _has(d, "on_error")
    retry = None if handled else _definition(d).retry
    takes_event = run is d.body.intake
    after = d.failed(run, event, d.body.state, policy=retry)
    if isinstance(after, GiveUp):
        _give_up(d, run, event.failure, after.reason)
        return
    d.keep(after)
    if not takes_event:
        d.ended(run.number, "retrying", event.failure, after.due)


def _give_up(d: _Draft, run: Run, failure: Failure, reason: GiveUpReason) -> None:
    """A hook gave up: `on_error` takes over, the event is dead, or the run ends as defined."""
    takes_event = run is d.body.intake
    policy = _definition(d).on_exhausted if run.hook == "execute" else "park"
    if run.hook in ("execute", "on_event") and _has(d, "on_error"):
        if run.hook == "execute":
            d.exhausted(run, reason, parks=False)
        d.keep(
            evolve(
                run,
                hook="on_error",
                attempt=1,
                due=d.now,
                lease=None,
                first_at=None,
                failure=plain(failure),
            )
        )
    elif takes_event:
        d.exhausted(run, reason, parks=True)
        _bury(d, run, failure)
    elif policy == "terminate":
        d.exhausted(run, reason, parks=False)
        _end(d, reason)
    elif policy == "continue":
        d.exhausted(run, reason, parks=False)
        d.ended(run.number, "failed", failure)
        _owe_idle(d, run)
    else:
        d.exhausted(run, reason, parks=True)
        d.keep(parked(run))
        d.ended(run.number, "parked", failure)


def _bury(d: _Draft, run: Run, failure: Failure) -> None:
    """Move the first queued event to the dead letters; if they are full, park (S-51)."""
    body, event = d.body, d.body.inbox[0]
    if len(body.dead) >= _definition(d).inbox_limit:
        d.keep(parked(run))
        d.ended(run.number, "parked", failure)
        return
    dead = DeadEvent(event=event.event, id=event.id, failure=plain(failure), at=d.now)
    d.change(dead=(*body.dead, dead))
    _event_done(d)


_ABSENT, _IDLE, _SCHEDULED, _QUEUED, _PENDING, _RUNNING, _PARKED = Phase
_EXISTING = (_IDLE, _SCHEDULED, _QUEUED, _PENDING, _RUNNING, _PARKED)
_NOT_RUNNING = (_ABSENT, _IDLE, _SCHEDULED, _QUEUED, _PENDING, _PARKED)

TABLE: Table = {
    SendRequested: {
        **{p: to(_receive, _ABSENT, _IDLE, _SCHEDULED, _RUNNING) for p in (_ABSENT, _IDLE, _SCHEDULED)},
        **stay(_queue, _RUNNING),
        _QUEUED: to(_queue, _QUEUED, _RUNNING),
        _PENDING: to(_receive, _ABSENT, _IDLE, _SCHEDULED, _PENDING, _RUNNING),
        _PARKED: to(_receive, _ABSENT, _IDLE, _SCHEDULED, _PENDING, _RUNNING, _PARKED),
    },
    TriggerRequested: {
        **stay(_trigger_nothing, _ABSENT),
        _IDLE: to(_trigger, _PENDING, _RUNNING),
        _SCHEDULED: to(_trigger, _PENDING, _RUNNING),
        _QUEUED: to(_trigger, _QUEUED, _RUNNING),
        _PENDING: to(_trigger, _PENDING, _RUNNING),
        **stay(_trigger, _RUNNING),
        _PARKED: to(_trigger, _QUEUED, _PENDING, _RUNNING),
    },
    TerminateRequested: {
        **stay(terminate_nothing, _ABSENT),
        **{phase: to(_terminate, _ABSENT) for phase in _EXISTING},
    },
    StatusRequested: stay(_status, *Phase),
    StateRequested: stay(_state, *Phase),
    DeadLettersRequested: {
        **stay(not_found, _ABSENT),
        **stay(_dead_letters, *_EXISTING),
    },
    RedriveRequested: {
        **stay(not_found, _ABSENT),
        _IDLE: to(_redrive, _IDLE, _QUEUED, _RUNNING),
        _SCHEDULED: to(_redrive, _SCHEDULED, _QUEUED, _RUNNING),
        _QUEUED: to(_redrive, _QUEUED, _RUNNING),
        _PENDING: to(_redrive, _PENDING, _QUEUED, _RUNNING),
        **stay(_redrive, _RUNNING),
        _PARKED: to(_redrive, _PARKED, _QUEUED, _RUNNING),
    },
    DiscardRequested: {
        **stay(not_found, _ABSENT),
        **stay(_discard, _IDLE),
        **{phase: to(_discard, phase, _RUNNING) for phase in _EXISTING if phase is not _IDLE},
    },
    AlarmMisfiled: stay(repair, *Phase),
    AlarmFired: {
        **stay(wake, _ABSENT, _IDLE),
        _SCHEDULED: to(wake, _SCHEDULED, _RUNNING),
        _QUEUED: to(wake, _QUEUED, _RUNNING),
        _PENDING: to(wake, _PENDING, _RUNNING),
        _RUNNING: to(expire(_give_up), _ABSENT, _IDLE, _SCHEDULED, _RUNNING, _PARKED),
        _PARKED: to(wake, _PARKED, _RUNNING),
    },
    HandlerSucceeded: {
        **stay(late, *_NOT_RUNNING),
        _RUNNING: to(fenced(_succeed), _ABSENT, *_EXISTING),
    },
    HandlerFailed: {
        **stay(late, *_NOT_RUNNING),
        _RUNNING: to(fenced(_fail), _ABSENT, *_EXISTING),
    },
    HandlerReleased: {
        **stay(late, *_NOT_RUNNING),
        _RUNNING: to(fenced(release), _QUEUED, _PENDING, _RUNNING),
    },
    LeaseRenewed: {
        **stay(late, *_NOT_RUNNING),
        _RUNNING: to(fenced(renew), _RUNNING),
    },
}
