"""Starting what is due, and what a hook asked for: the rules that requests and facts share."""

from __future__ import annotations

from typing import Any

from durable_jobs_core._values import evolve
from durable_jobs_core.kinds._draft import is_due, revived
from durable_jobs_core.kinds.task._phases import TaskDraft, has, next_work
from durable_jobs_core.operations import HookCall, Operations
from durable_jobs_core.record import Run, TaskBody
from durable_jobs_core.telemetry import ScheduleTrigger, TaskScheduled
from durable_jobs_core.words import Hook


def advance(d: TaskDraft) -> None:
    """Start the first thing that is due, if this engine may."""
    if d.body.in_flight is not None:
        return
    run, scheduled = d.body.run, d.body.scheduled_at
    if run is not None and run.hook == "on_idle":
        if run.forced:
            run_now(d)  # a trigger came while it was in flight
        elif scheduled is not None:
            d.change(run=None)  # it is for an instance that has nothing scheduled (S-53)
    if d.body.inbox and d.body.intake is None:
        d.change(intake=_new_run(d, "on_event"))
    if scheduled is not None and scheduled <= d.now and d.env.may_start:
        _consume(d)
    first = next_work(d.body)
    if first is not None:
        start(d, first)


def start(d: TaskDraft, run: Run) -> None:
    """Call the hook of a run if it is due and this engine may."""
    if is_due(run, d.now) and d.env.may_start:
        run = d.lease(run)
        d.keep(run)
        d.call(run, call_of_hook(d, d.body, run.hook, run))


def _consume(d: TaskDraft) -> None:
    """The schedule is due: it becomes a run, or the trial of a parked one; else it waits (S-53)."""
    intake = d.body.intake
    first = intake or d.body.run
    if first is not None and not first.parked:
        return
    d.change(scheduled_at=None)
    if intake is not None:
        d.keep(revived(intake, d.now))
    run_now(d)


def run_now(d: TaskDraft) -> None:
    """Make the unfinished run due now with fresh attempts, or a new one.

    An `on_idle` that waits is no work: `execute` goes first, and it follows (S-53). A parked one is tried.
    One in flight ends first, in whatever way.
    """
    run = d.body.run
    if run is not None and run.lease is not None:
        d.keep(evolve(run, forced=True))
    elif run is not None and (run.hook != "on_idle" or run.parked):
        d.keep(revived(run, d.now))
    else:
        run = _new_run(d, "execute")
        d.change(run=run, execute_count=d.body.execute_count + 1)


def _new_run(d: TaskDraft, hook: Hook) -> Run:
    run = Run(number=d.body.runs + 1, hook=hook, due=d.now)
    d.change(runs=run.number)
    return run


def call_of_hook(d: TaskDraft, body: TaskBody, hook: Hook, run: Run | None, **shown: Any) -> HookCall:
    """The call of a hook on `body`: of the first queued event, if `run` is the intake."""
    if run is not None and run is body.intake:
        shown.update(event=body.inbox[0].event, event_count=body.event_count + 1)
    if run is not None and hook == "on_error":
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


def applied(d: TaskDraft, body: TaskBody, asked: Operations) -> TaskBody:
    """The body with the state and the schedule that a hook set."""
    if asked.state is not None:
        body = evolve(body, state=asked.state)
    if asked.schedule is not None:
        body = evolve(body, scheduled_at=asked.schedule.due(d.now))
    return body


_TRIGGERS: dict[Hook, ScheduleTrigger] = {
    "execute": "execute",
    "on_event": "event",
    "on_idle": "idle",
    "on_error": "error",
}


def say_scheduled(d: TaskDraft, asked: Operations, hook: Hook) -> None:
    """Say that a hook has set a schedule, if it has."""
    due = None if asked.schedule is None else asked.schedule.due(d.now)
    if due is not None:
        d.emit(TaskScheduled, scheduled_at=due, trigger=_TRIGGERS[hook])


def end(d: TaskDraft, reason: str | None) -> None:
    """The hook or the policy ends the instance; what is queued or dead lives on in a new one (S-24)."""
    body = d.body
    d.terminated(reason)
    if not body.inbox and not body.dead:
        d.end_life()
        return
    carried = {event.id for event in body.inbox} | {event.id for event in body.dead}
    ids = tuple(entry for entry in body.ids if entry[0] in carried)
    d.begin_life(TaskBody(inbox=body.inbox, dead=body.dead, ids=ids))


def retry_parked(d: TaskDraft, asked: Operations) -> None:
    """After an event, a parked run is tried again, unless the hook said when, or not at all (S-25)."""
    run = d.body.run
    if run is not None and run.parked and asked.schedule is None:
        d.keep(revived(run, d.now))


def make_way(d: TaskDraft, run: Run) -> None:
    """An `on_idle` that was in flight when a trigger came has ended: `advance` has `execute` follow."""
    d.keep(evolve(run, due=d.now, lease=None))


def owe_idle(d: TaskDraft, run: Run | None) -> None:
    """After a run, or the queued events: `on_idle` once; `advance` drops it if something is scheduled."""
    if not has(d, "on_idle"):
        d.change(run=None)
    elif run is None:
        d.change(run=_new_run(d, "on_idle"))
    else:
        d.change(run=next_hook(d, run, "on_idle"))


def next_hook(d: TaskDraft, run: Run, hook: Hook) -> Run:
    """The run goes on with the hook that follows: an attempt of its own (S-10)."""
    return evolve(run, hook=hook, attempt=1, due=d.now, lease=None, first_at=None)


def event_done(d: TaskDraft) -> None:
    """The first queued event is out of the inbox."""
    d.change(inbox=d.body.inbox[1:], intake=None)
    if not d.body.inbox and d.body.run is None and d.body.scheduled_at is None:
        owe_idle(d, None)
