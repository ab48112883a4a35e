"""How leased hooks end (S-51, S-53, S-54)."""

from __future__ import annotations

from durable_jobs_core._values import evolve
from durable_jobs_core.events import HandlerFailed, HandlerSucceeded
from durable_jobs_core.kinds._draft import parked
from durable_jobs_core.kinds.task._phases import TaskDraft, has
from durable_jobs_core.kinds.task._work import (
    applied,
    end,
    event_done,
    make_way,
    next_hook,
    owe_idle,
    retry_parked,
    say_scheduled,
    start,
)
from durable_jobs_core.record import DeadEvent, Run
from durable_jobs_core.retry import GiveUp, GiveUpReason
from durable_jobs_core.words import Failure


def succeed(d: TaskDraft, run: Run, event: HandlerSucceeded) -> None:
    """A leased hook returned: what it asked for, in one commit (S-16)."""
    asked, before = event.operations, d.body.state
    takes_event = run is d.body.intake
    if asked.terminate is not None:
        if takes_event:
            d.change(inbox=d.body.inbox[1:])
        end(d, asked.terminate.reason)
        return
    d.body = applied(d, d.body, asked)
    say_scheduled(d, asked, run.hook)
    if run.hook in ("execute", "on_event"):
        d.executed(run, before)
    if takes_event:
        d.change(event_count=d.body.event_count + 1)
        retry_parked(d, asked)
        event_done(d)
        return
    if run.forced:
        make_way(d, run)
        return
    d.ended(run.number, "succeeded" if run.failure is None else "failed", run.failure)
    if run.hook == "on_idle":
        d.change(run=None)
    else:
        owe_idle(d, run)


def fail(d: TaskDraft, run: Run, event: HandlerFailed) -> None:
    """A leased hook raised: it is tried again, or gives up (S-54)."""
    # An event that fails goes to `on_error` at once, if there is one (S-51).
    handled = run.hook == "on_event" and has(d, "on_error") and not event.unreadable
    retry = None if handled else d.definition.retry
    takes_event = run is d.body.intake
    after = d.failed(run, event, d.body.state, policy=retry)
    if isinstance(after, GiveUp):
        give_up(d, run, after.reason)
        return
    d.keep(after)
    if not (takes_event or run.forced):
        d.ended(run.number, "retrying", event.failure, after.due)


def give_up(d: TaskDraft, run: Run, reason: GiveUpReason) -> None:
    """A hook gave up: `on_error` takes over, the event is dead, or the run ends as defined.

    What cannot be read is no matter for `on_error`, and nothing is dropped for it: another release may read
    it (S-22).
    """
    takes_event, failure = run is d.body.intake, d.body.last_error
    assert failure is not None, "just noted"
    unreadable = reason == "unreadable"
    policy = d.definition.on_exhausted if run.hook == "execute" and not unreadable else "park"
    if run.hook == "on_idle" and not has(d, "on_idle"):
        policy = "continue"  # a newer definition has none: nothing is owed (S-8)
    if run.hook in ("execute", "on_event") and has(d, "on_error") and not unreadable:
        if run.hook == "execute":
            d.exhausted(run, reason, parks=False)
        run = next_hook(d, evolve(run, failure=failure), "on_error")
        d.keep(run)
        start(d, run)  # before queued events: with the commit that ends `execute` (S-10)
    elif takes_event:
        d.exhausted(run, reason, parks=True)
        _bury(d, run, failure)
    elif run.forced:
        d.exhausted(run, reason, parks=False)
        make_way(d, run)
    elif policy == "terminate":
        d.exhausted(run, reason, parks=False)
        end(d, reason)
    elif policy == "continue":
        d.exhausted(run, reason, parks=False)
        d.ended(run.number, "failed", failure)
        owe_idle(d, evolve(run, failure=failure))
    else:
        d.exhausted(run, reason, parks=True)
        d.keep(parked(run))
        d.ended(run.number, "parked", failure)


def _bury(d: TaskDraft, run: Run, failure: Failure) -> None:
    """Move the first queued event to the dead letters; if they are full, park (S-51)."""
    body, event = d.body, d.body.inbox[0]
    if len(body.dead) >= d.definition.inbox_limit:
        d.keep(parked(run))
        d.ended(run.number, "parked", failure)
        return
    dead = DeadEvent(event=event.event, id=event.id, failure=failure, at=d.now)
    d.change(dead=(*body.dead, dead))
    event_done(d)
