"""Wrong cores: tasks."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from durable_jobs_simulation import Faults
from shelf.plants import Attribute, Cells, Rule, Shelf, case

from durable_jobs_core.events import DiscardRequested, RedriveRequested, SendRequested
from durable_jobs_core.kinds.task import _facts, _requests, _work
from durable_jobs_core.results import SendResult

FAILURES = Faults(hook_failure=0.4)

put = Shelf("core", case("orders"))


@put("I-7", Cells("task", SendRequested))
def answers_a_send_and_forgets_it(right: Any) -> Any:
    """`send` answers that the event is queued and stores nothing."""
    return lambda d, event: d.reply(SendResult(instance_id=str(d.key), created=False, queued=True))


@put("I-1", Attribute(_facts, "event_done"))
def leaves_an_applied_event_in_the_inbox(right: Any) -> Any:
    """A queued event that `on_event` has handled is applied once more."""

    def wrong(d: Any) -> None:
        inbox = d.body.inbox
        right(d)
        d.change(inbox=inbox)

    return wrong


@put("S-51", Attribute(_facts, "event_done"))
def applies_the_latest_event_next(right: Any) -> Any:
    """Once a queued event is applied, the others are turned round."""

    def wrong(d: Any) -> None:
        right(d)
        d.change(inbox=d.body.inbox[::-1])

    return wrong


@put("I-1", Attribute(_facts, "end"), Attribute(_requests, "end"), faults=FAILURES)
def drops_the_inbox_when_a_hook_terminates(right: Any) -> Any:
    """What is queued when a hook ends the instance goes with it, and not into the next life."""

    def wrong(d: Any, reason: Any) -> None:
        d.terminated(reason)
        d.end_life()

    return wrong


@put("I-1", Attribute(_facts, "_bury"), faults=FAILURES)
def drops_an_event_that_gave_up(right: Any) -> Any:
    """An event that exhausted its attempts is not put to the dead letters."""
    return lambda d, run, failure: _work.event_done(d)


@put("I-1", Cells("task", RedriveRequested), faults=FAILURES)
def redrives_and_keeps_the_dead_letters(right: Any) -> Any:
    """After `redrive` an event is in the inbox and a dead letter as well."""

    def wrong(d: Any, event: Any) -> None:
        dead = d.maybe_body and d.body.dead
        right(d, event)
        if dead:
            d.change(dead=dead)

    return wrong


@put("I-7", Cells("task", DiscardRequested), faults=FAILURES)
def says_discarded_and_keeps_the_dead_letters(right: Any) -> Any:
    """`discard` tells how many dead letters there are, and drops none."""

    def wrong(d: Any, event: Any) -> None:
        before = d.body
        right(d, event)
        d.body = before

    return wrong


@put("I-3", Cells("task", SendRequested, ("RUNNING",)))
def applies_an_event_during_an_attempt(right: Any) -> Any:
    """An event that comes while `execute` runs is not queued: its `on_event` changes the state beside it."""
    return lambda d, event: _requests._send(d, event)


@put("I-3", Cells("task", SendRequested, ("RUNNING",)))
def runs_two_hooks_at_once(right: Any) -> Any:
    """A queued event is leased although an attempt holds a lease."""

    def wrong(d: Any, event: Any) -> None:
        right(d, event)
        if d.body.inbox and d.body.intake is None and d.env.may_start:
            d.change(intake=d.lease(_work._new_run(d, "on_event")))

    return wrong


@put("I-4", Rule("task", "deadline"))
def forgets_the_alarm_of_a_schedule(right: Any) -> Any:
    """What a hook has scheduled is stored, and nothing wakes the instance for it."""
    return lambda body: right(evolve(body, scheduled_at=None))


@put("I-4", Rule("task", "deadline"))
def forgets_the_alarm_of_the_inbox(right: Any) -> Any:
    """Queued events wait until something else wakes the instance."""
    return lambda body: None if body.inbox and body.in_flight is None else right(body)


@put("S-13", Attribute(_work, "is_due"), faults=FAILURES)
def retries_a_second_early(right: Any) -> Any:
    """An event between attempts starts the next one before its time."""
    return lambda run, now: right(run, now + 1_000)


@put("I-6", Attribute(_facts, "next_hook"), Attribute(_work, "next_hook"), faults=FAILURES)
def counts_on_from_the_hook_before(right: Any) -> Any:
    """`on_idle` begins with the attempt that `execute` had come to."""
    return lambda d, run, hook: evolve(right(d, run, hook), attempt=run.attempt + 1)
