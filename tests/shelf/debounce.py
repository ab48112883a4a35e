"""Wrong cores: debounces."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from durable_jobs_simulation import Faults
from shelf.plants import Attribute, Cells, Rule, Shelf, case

from durable_jobs_core.effects import ReplyError
from durable_jobs_core.events import AddRequested, ClearRequested, HandlerSucceeded
from durable_jobs_core.kinds import _shared
from durable_jobs_core.kinds import debounce as kind
from durable_jobs_core.kinds._draft import Draft

FAILURES = Faults(hook_failure=0.3)
UNSURE = Faults(impatient=0.3, abandoned=0.3)

put = Shelf("core", case("webhooks"))


@put("I-1", Cells("debounce", HandlerSucceeded, ("RUNNING",)))
def drops_the_window_with_the_batch(right: Any) -> Any:
    """When a batch succeeds, the window behind it goes with it."""

    def wrong(d: Any, event: Any) -> None:
        right(d, event)
        d.change(window=None)

    return wrong


@put("I-1", Cells("debounce", AddRequested, ("RUNNING",)))
def drops_the_event_added_during_a_flush(right: Any) -> Any:
    """An event that comes while a batch is in flight is acknowledged and kept nowhere."""

    def wrong(d: Any, event: Any) -> None:
        before = d.body
        right(d, event)
        if d.body is not before:
            d.body, d.touched = before, True

    return wrong


@put("I-2", Attribute(kind, "_close"))
def closes_a_window_and_loses_an_event(right: Any) -> Any:
    """The batch that a window becomes has all of its events but one."""

    def wrong(d: Any, window: Any, reason: Any) -> Any:
        run = right(d, window, reason)
        batch = d.body.batch
        d.change(batch=evolve(batch, state=evolve(batch.state, value=batch.state.value[:-1])))
        return run

    return wrong


@put("I-2", Cells("debounce", AddRequested, ("PENDING", "RUNNING")), faults=FAILURES)
def adds_to_the_batch_that_waits(right: Any) -> Any:
    """An event that comes during a flush or before a retry is put in the batch."""

    def wrong(d: Any, event: Any) -> None:
        before = d.body
        right(d, event)
        if d.body is not before and before.window is None and d.body.run is not None:
            state = before.batch.state
            grown = evolve(state, value=[*state.value, *d.body.window.state.value])
            d.change(window=None, batch=evolve(before.batch, state=grown, count=len(grown.value)))

    return wrong


@put("I-2", Cells("debounce", HandlerSucceeded, ("RUNNING",)))
def delivers_an_event_twice(right: Any) -> Any:
    """When a batch succeeds, its last event is put into the window behind it as well."""

    def wrong(d: Any, event: Any) -> None:
        last, window = d.body.batch.state.value[-1:], d.body.window
        right(d, event)
        if window is not None:
            state = evolve(window.state, value=[*last, *window.state.value])
            d.change(window=evolve(window, state=state, count=window.count + 1))

    return wrong


@put("I-2", Attribute(kind, "outcome_of"))
def uses_the_outcome_of_a_hook_that_saw_something_else(right: Any) -> Any:
    """After a conflict the reducer is not called again on the fresh state."""
    return lambda d, event, call: event.outcomes[-1] if event.outcomes else right(d, event, call)


@put("I-1", Attribute(kind, "_give_up"), faults=Faults(hook_failure=0.7))
def drops_a_batch_that_gave_up(right: Any) -> Any:
    """A batch that exhausted its attempts is deleted although the policy is to park it."""

    def wrong(d: Any, run: Any, *why: Any) -> None:
        right(d, run, *why)
        d.change(run=None, batch=None)

    return wrong


@put("I-3", Cells("debounce", ClearRequested, ("RUNNING",)))
def clears_a_batch_in_flight(right: Any) -> Any:
    """`clear` drops the batch that is being delivered."""

    def wrong(d: Any, event: Any) -> None:
        d.change(run=None, batch=None)
        right(d, event)
        d.touched = True

    return wrong


@put("S-44", Attribute(Draft, "watch"), faults=Faults(hook_slow=0.3))
def says_flushed_when_the_first_batch_is(right: Any) -> Any:
    """`flush` answers for the batch and not for the window behind it."""
    return lambda self, runs=None: right(self, None if runs is None else (runs[0], runs[0]))


@put("S-60", Attribute(_shared, "register"), faults=UNSURE)
def takes_an_id_twice(right: Any) -> Any:
    """An `event_id` that is remembered is taken again."""

    def wrong(key: Any, ids: Any, event_id: Any, **rest: Any) -> Any:
        return right(key, tuple(entry for entry in ids if entry[0] != event_id), event_id, **rest)

    return wrong


@put("I-9", Cells("debounce", AddRequested))
def remembers_the_id_of_an_event_it_refused(right: Any) -> Any:
    """The `event_id` of an event whose reducer failed is registered."""

    def wrong(d: Any, event: Any) -> None:
        right(d, event)
        refused = any(isinstance(effect, ReplyError) for effect in d.then)
        if refused and event.event_id is not None and d.maybe_body is not None:
            d.change(ids=(*d.body.ids, (event.event_id, d.now + 3_600_000)))

    return wrong


@put("I-4", Rule("debounce", "deadline"))
def forgets_the_alarm_of_a_window(right: Any) -> Any:
    """A window that is open by itself has no alarm."""
    return lambda body: None if body.run is None and body.window is not None else right(body)


@put("S-13", Attribute(kind, "is_due"), faults=FAILURES)
def retries_a_second_early(right: Any) -> Any:
    """A batch that waits for its next attempt starts with the next `add`."""
    return lambda run, now: right(run, now + 1_000)
