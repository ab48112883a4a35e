"""What clients ask of a task. An event is applied at once between attempts, else it queues (S-50, S-51)."""

from __future__ import annotations

from durable_jobs_core._values import evolve
from durable_jobs_core.errors import OverloadedError
from durable_jobs_core.events import (
    DeadLettersRequested,
    DiscardRequested,
    RedriveRequested,
    SendRequested,
    StateRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.kinds import _shared as shared
from durable_jobs_core.kinds._draft import plain, revived
from durable_jobs_core.kinds._inline import outcome_of, refuse, report
from durable_jobs_core.kinds.task._phases import TaskDraft, has, next_work, parked_run, status_of
from durable_jobs_core.kinds.task._work import (
    applied,
    call_of_hook,
    end,
    retry_parked,
    run_now,
    say_scheduled,
)
from durable_jobs_core.operations import InlineOutcome, Operations
from durable_jobs_core.record import QueuedEvent, TaskBody
from durable_jobs_core.results import (
    DeadLetter,
    DeadLettersResult,
    DiscardResult,
    RedriveResult,
    SendResult,
    TaskStateResult,
    TaskStatus,
    TriggerResult,
)
from durable_jobs_core.telemetry import JobExecuted
from durable_jobs_core.words import maybe_datetime, to_datetime

# -- events


def _send(d: TaskDraft, event: SendRequested) -> None:
    """Between attempts its hooks are called at once, one after the other: `on_event`; `on_error`, if that
    raised; `on_idle`, if nothing is left to be done. All they asked for is one commit (S-50)."""
    body = d.maybe_body or TaskBody()
    ids = shared.remember(d, body.ids, event.event_id)
    count = body.event_count + 1
    call = call_of_hook(d, body, "on_event", None, event=event.event, event_count=count)
    outcome = outcome_of(d, event, call)
    failed: InlineOutcome | None = None
    if outcome is not None and d.maybe_body is None:
        d.created_at = outcome.call.created_at  # as `on_event` was told
    if outcome is not None and outcome.failure is not None and has(d, "on_error") and not outcome.unreadable:
        failed, failure = outcome, plain(outcome.failure)
        call = call_of_hook(d, body, "on_error", None, failure=failure, event_count=count)
        outcome = outcome_of(d, event, call)
    if outcome is None or (asked := _asked(d, outcome, failed)) is None:
        return
    body = applied(d, evolve(body, ids=ids, event_count=count), asked)
    idle: Operations | None = None
    if body.run is None and body.scheduled_at is None and asked.terminate is None and has(d, "on_idle"):
        idled = outcome_of(d, event, call_of_hook(d, body, "on_idle", None))
        if idled is None or (idle := _asked(d, idled, failed)) is None:
            return
    _commit_send(d, body, outcome, failed, idle)


def _asked(d: TaskDraft, outcome: InlineOutcome, failed: InlineOutcome | None) -> Operations | None:
    """What a hook of a `send` asked for. `None`: it failed, and so does the request: nothing of the event is
    kept, and every failure is told, also one that `on_error` had handled (`failed`)."""
    if outcome.operations is None:
        if failed is not None:
            report(d, failed, committed=False)
        refuse(d, outcome)
    return outcome.operations


def _commit_send(
    d: TaskDraft,
    body: TaskBody,
    outcome: InlineOutcome,
    failed: InlineOutcome | None,
    idle: Operations | None,
) -> None:
    """All hooks of a `send` have returned: what they asked for, in one commit."""
    created, asked = d.maybe_body is None, outcome.operations
    assert asked is not None, "a failure was refused"
    d.body = body
    say_scheduled(d, asked, outcome.call.hook)
    if failed is not None:
        assert failed.failure is not None, "it failed"
        report(d, failed, committed=True)
        d.change(last_error=plain(failed.failure))
    ends = asked.terminate
    if idle is not None:
        d.body = applied(d, d.body, idle)
        say_scheduled(d, idle, "on_idle")
        ends = idle.terminate
    if failed is None and asked.terminate is None:
        d.emit(
            JobExecuted,
            hook="on_event",
            run=0,
            run_count=0,
            attempt=1,
            duration_ms=max(0, d.now - outcome.call.at),
            state=outcome.call.state,
        )
    if ends is not None:
        end(d, ends.reason)
    else:
        retry_parked(d, asked)
    scheduled_at = None if ends is not None else d.body.scheduled_at
    d.reply(
        SendResult(
            instance_id=str(d.key),
            created=created,
            scheduled_at=maybe_datetime(scheduled_at),
            terminated=ends is not None,
        )
    )


def receive(d: TaskDraft, event: SendRequested) -> None:
    """`on_event` at once, unless events already wait behind a parked one."""
    if d.maybe_body is not None and d.body.inbox:
        queue(d, event)
    else:
        _send(d, event)


def queue(d: TaskDraft, event: SendRequested) -> None:
    """Behind an attempt, or behind other events: to the end of the inbox (S-51)."""
    body, limit = d.body, d.definition.inbox_limit
    ids = shared.remember(d, body.ids, event.event_id)
    if len(body.inbox) >= limit:
        raise OverloadedError(f"the inbox of {d.key}", limit, len(body.inbox))
    queued = QueuedEvent(event=event.event, id=event.event_id)
    d.change(inbox=(*body.inbox, queued), ids=ids)
    d.reply(SendResult(instance_id=str(d.key), created=False, queued=True))


# -- the other requests


def trigger(d: TaskDraft, event: TriggerRequested) -> None:
    """`execute` now; a pending schedule stays (S-53)."""
    result = TriggerResult(instance_id=str(d.key), triggered=True, outcome="accepted")
    run, intake = d.body.run, d.body.intake
    if run is not None and run.lease is not None and (run.hook != "on_idle" or run.forced):
        d.reply(evolve(result, joined=True), d.watch())
        return
    d.reply(result, d.watch())
    if intake is not None and intake.parked:
        d.keep(revived(intake, d.now))
    run_now(d)


def terminate(d: TaskDraft, event: TerminateRequested) -> None:
    """End it, with all that is queued or dead (S-36)."""
    shared.terminate(d, event, discarded=len(d.body.inbox) + len(d.body.dead))


def status(d: TaskDraft, event: object) -> None:
    """What the instance is doing (S-55)."""
    body = d.maybe_body
    if body is None:
        d.reply(TaskStatus(instance_id=str(d.key), status="not_found"))
        return
    stuck = parked_run(body)
    current = stuck or body.in_flight or next_work(body)
    status = status_of(body)
    d.reply(
        TaskStatus(
            instance_id=str(d.key),
            status=status,
            scheduled_at=maybe_datetime(body.scheduled_at),
            created_at=to_datetime(d.created_at),
            event_count=body.event_count,
            execute_count=body.execute_count,
            queued_events=len(body.inbox),
            dead_letters=len(body.dead),
            attempt=None if current is None else current.attempt,
            parked_at=None if stuck is None else stuck.hook,
            last_error=body.last_error,
            parked_since=d.parked_since(status),
        )
    )


def state(d: TaskDraft, event: StateRequested) -> None:
    """The user's state."""
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


def dead_letters(d: TaskDraft, event: DeadLettersRequested) -> None:
    """The events that were given up, oldest first."""
    letters = tuple(
        DeadLetter(event=dead.event, event_id=dead.id, error=dead.failure, failed_at=to_datetime(dead.at))
        for dead in d.body.dead
    )
    d.reply(DeadLettersResult(instance_id=str(d.key), dead_letters=letters))


def redrive(d: TaskDraft, event: RedriveRequested) -> None:
    """All dead letters back to the end of the inbox, or none (S-51)."""
    body, limit = d.body, d.definition.inbox_limit
    together = len(body.inbox) + len(body.dead)
    if body.dead and together > limit:
        raise OverloadedError(f"the inbox of {d.key} with its dead letters", limit, together)
    if body.dead:
        back = (QueuedEvent(event=dead.event, id=dead.id) for dead in body.dead)
        d.change(inbox=(*body.inbox, *back), dead=())
    d.reply(RedriveResult(instance_id=str(d.key), redriven=len(body.dead)))


def discard(d: TaskDraft, event: DiscardRequested) -> None:
    """Drop the dead letters."""
    discarded = len(d.body.dead)
    if discarded:
        d.change(dead=())
    d.reply(DiscardResult(instance_id=str(d.key), discarded=discarded))
