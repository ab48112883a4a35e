"""An instance of each kind in its phases, brought there by the real `step`, and an event of each type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve, frozen

from durable_jobs_core import Continuous, Debounce, Task, events, every
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import CallHandler
from durable_jobs_core.kinds import KINDS
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations, ScheduleChange
from durable_jobs_core.record import Record, Stored
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Failure, Json, Key, Kind, Token

NOW = 1_800_000_000_000
MINUTE = 60_000
STATE = Stored(1, {"n": 1, "note": "a note that makes this state about as long as a small real one"})
EVENT: Json = {"kind": "changed", "path": "/users/17"}
FAILURE = Failure("ValueError", "it did not work")


def _never(*arguments: Any) -> Any:
    raise AssertionError("no hook is called here: its outcome is given")


DEFINITIONS: dict[Kind, AnyDefinition] = {
    "continuous": Continuous.make(state=dict[str, Any], schedule=every("1 minute"), execute=_never),
    "debounce": Debounce.make(event=dict[str, Any], flush_after="1 minute", execute=_never),
    "task": Task.make(state=dict[str, Any], event=dict[str, Any], on_event=_never, execute=_never),
}
ON_EVENT = Operations(state=STATE, schedule=ScheduleChange(after_ms=MINUTE))


@frozen
class Situation:
    """One call of `step`."""

    definition: AnyDefinition
    record: Record | None
    event: Any
    env: Env

    @property
    def phase(self) -> str:
        """Of the instance before the step."""
        body = None if self.record is None else self.record.body
        phase: str = KINDS[self.definition.kind].phase_of(body).value
        return phase

    @property
    def name(self) -> str:
        """As its figure is called."""
        return f"step {self.definition.kind} {self.phase} {_name_of(self.event)}"

    def step(self) -> Any:
        """Make it."""
        return step(self.definition, self.record, self.event, self.env)

    def after(self, event: Any, *, minutes: int = 0) -> Situation:
        """The next one, when this has been committed."""
        record = self.step().record
        number = self.env.number + 1
        env = evolve(self.env, now=self.env.now + minutes * MINUTE, number=number, may_start=True)
        event = event(record) if callable(event) else event
        return Situation(self.definition, record, event, env)


def _name_of(event: Any) -> str:
    name = type(event).__name__
    return name if not getattr(event, "outcomes", ()) else f"{name}, with its outcome"


def _first(kind: Kind, event: Any) -> Situation:
    """Asked of a process that runs no jobs; the next steps are those of one that does."""
    key = Key(kind, "job", "user-17")
    env = Env(key=key, now=NOW, entropy=7, number=1, engine=1, may_start=False, lease_ms=30_000)
    return Situation(DEFINITIONS[kind], None, event, env)


def _leased(make: Callable[[Token], Any]) -> Callable[[Record], Any]:
    """An event about the hook that runs."""

    def event(record: Record) -> Any:
        assert record.body.in_flight is not None
        assert record.body.in_flight.lease is not None
        return make(record.body.in_flight.lease.token)

    return event


OF_HANDLERS = [
    _leased(lambda token: events.HandlerSucceeded(token, Operations(state=STATE))),
    _leased(lambda token: events.HandlerFailed(token, FAILURE)),
    _leased(events.HandlerReleased),
    _leased(events.LeaseRenewed),
]
OF_ALL = [
    events.StatusRequested(),
    events.StateRequested(),
    events.TerminateRequested(),
    events.AlarmMisfiled(None),
]
FIRED = events.AlarmFired()


def situations() -> Iterator[Situation]:
    """Each event type of each kind, in the phase in which it does most."""
    yield from _continuous()
    yield from _debounce()
    yield from _task()


def _continuous() -> Iterator[Situation]:
    start = _first("continuous", events.StartRequested(STATE))
    yield start
    waiting = start.after(events.StatusRequested())
    running = start.after(FIRED, minutes=1)
    yield running
    for event in (*OF_ALL, events.TriggerRequested(), events.PauseRequested(), events.RescheduleRequested()):
        yield evolve(waiting, event=event)
    yield waiting.after(events.PauseRequested()).after(events.ResumeRequested())
    yield from map(running.after, OF_HANDLERS)


def _debounce() -> Iterator[Situation]:
    add = events.AddRequested(event=EVENT, event_id="event-1")
    first = _first("debounce", add)
    yield first
    yield first.after(evolve(add, event_id="event-2"))
    fired = first.after(FIRED, minutes=1)
    yield fired
    yield from map(first.after, (*OF_ALL, events.FlushRequested(), events.ClearRequested()))
    yield from map(fired.after, OF_HANDLERS)


def _task() -> Iterator[Situation]:
    send = events.SendRequested(event=EVENT, event_id="event-1")
    asked = _first("task", send)
    yield asked
    first = evolve(asked, event=_with_outcome(asked))
    yield first
    fired = first.after(FIRED, minutes=1)
    yield fired
    later = (
        *OF_ALL,
        events.TriggerRequested(),
        events.DeadLettersRequested(),
        events.RedriveRequested(),
        events.DiscardRequested(),
    )
    yield from map(first.after, later)
    yield from map(fired.after, OF_HANDLERS)


def _with_outcome(asked: Situation) -> Any:
    call: HookCall = next(effect.call for effect in asked.step().then if isinstance(effect, CallHandler))
    return evolve(asked.event, outcomes=(InlineOutcome(call=call, operations=ON_EVENT),))


def running(kind: Kind) -> Record:
    """The record of an instance whose hook runs."""
    for situation in situations():
        if situation.definition.kind == kind and situation.phase == "running":
            assert situation.record is not None
            return situation.record
    raise AssertionError(f"no situation of a {kind} in which its hook runs")
