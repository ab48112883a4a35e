"""What a hook is given, and how what it did becomes data (S-16, S-37, S-43, S-52).

A context shows the facts of one `HookCall` and records what the hook asks for. Nothing it does takes
effect before the hook has returned; if the hook raises, all of it is discarded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime
from types import UnionType
from typing import Any, Generic, NoReturn, TypeVar, Union, get_args, get_origin

from durable_jobs_core.checks import NO_YIELD, shown_apart
from durable_jobs_core.definitions import AnyDefinition, Continuous, Debounce
from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.operations import HookCall, Operations, ScheduleChange, Termination
from durable_jobs_core.record import FlushReason, Stored
from durable_jobs_core.words import INSTANT_MAX, from_datetime, maybe_datetime, to_datetime

S = TypeVar("S")
E = TypeVar("E")


class TerminateSignal(BaseException):
    """Raised by `ctx.terminate`; not an `Exception`, so that user code does not swallow it (S-17)."""


class _Context(Generic[S]):
    """What every hook may ask."""

    __slots__ = (
        "__weakref__",
        "_call",
        "_cancelled",
        "_ended",
        "_schedule",
        "_state",
        "_state_set",
        "_termination",
    )

    def __init__(self, call: HookCall, state: Any) -> None:
        self._call = call
        self._state = state
        self._state_set = False
        self._schedule: ScheduleChange | None = None
        self._termination: Termination | None = None
        self._cancelled = False
        self._ended = False

    @property
    def instance_id(self) -> str:
        """The printed key of the instance, `kind:job:id`."""
        return str(self._call.key)

    @property
    def job_name(self) -> str:
        """The name the job is registered under."""
        return self._call.key.job

    def _check_open(self) -> None:
        """Nobody would hear what a hook that has ended asks for, as from a task it left behind."""
        if self._ended:
            call = self._call
            raise RuntimeError(f"{call.hook} of {call.key} has ended: its context changes nothing any more")


class _AttemptContext(_Context[S]):
    """What every hook but a reducer may ask."""

    __slots__ = ()

    @property
    def attempt(self) -> int:
        """Counts the attempts of this hook within its run, from 1."""
        return self._call.attempt

    @property
    def is_retry(self) -> bool:
        """Whether an earlier attempt of this hook has failed in this run."""
        return self._call.attempt > 1

    @property
    def crashes(self) -> int:
        """How often this run was lost with its worker since it began or was revived (S-14)."""
        return self._call.crashes

    @property
    def cancelled(self) -> bool:
        """Whether this call is not to go on: its right to commit is lost, or the program ends (S-15, S-67).

        A plain `def` that takes long should look, and raise or return: at the end of a program it has two
        seconds, and what it returns in that time is committed.
        """
        return self._cancelled

    @property
    def idempotency_key(self) -> str | None:
        """The same for every attempt of a run, crashes included; give it to the systems you call.

        `None` in an inline hook. ASCII, at most 60 characters (S-18). `on_idle` and `on_error` have that of
        the run they follow: add a word to it where they ask the same system for something else.
        """
        return self._call.idempotency_key


class _RunContext(_AttemptContext[S]):
    """What the hooks may ask that are always called for a run."""

    __slots__ = ()

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of a run, crashes included; give it to the systems you call.

        ASCII, at most 60 characters (S-18).
        """
        key = super().idempotency_key
        assert key is not None, "a run has a key"
        return key


class _StateContext(_AttemptContext[S]):
    """What the hooks of continuous jobs and tasks may ask, and change."""

    __slots__ = ()

    def set_state(self, state: S) -> None:
        """Make `state` the instance's state when this hook returns.

        Only this does: what a hook merely changes inside `ctx.state` is not kept. Raises `RuntimeError`, as
        all that changes something does, once the hook has ended.
        """
        self._check_open()
        self._state, self._state_set = state, True

    def terminate(self, reason: str | None = None) -> NoReturn:
        """End the instance: stop this hook here and delete everything when it has stopped (S-17).

        Raises `ValidationError`, and ends nothing, if `reason` is not text.
        """
        if reason is not None and not isinstance(reason, str):
            raise ValidationError.of("terminate(reason)", "text or None", *shown_apart(reason))
        self._check_open()
        self._termination = Termination(reason)
        raise TerminateSignal


class ContinuousContext(_RunContext[S], _StateContext[S]):
    """What `execute` of a continuous job is given (S-37)."""

    __slots__ = ()

    @property
    def state(self) -> S:
        """The state, with what this hook has set."""
        state: S = self._state
        return state

    def update_state(self, change: Callable[[S], S]) -> None:
        """`set_state(change(state))`."""
        self.set_state(change(self._state))

    @property
    def run_count(self) -> int:
        """Counts the runs of this instance, from 1; the same for every attempt of a run."""
        return self._call.run_count

    @property
    def scheduled_for(self) -> datetime | None:
        """The tick this run serves; `None` if it was triggered."""
        return maybe_datetime(self._call.scheduled_for)


class DebounceContext(_RunContext[S]):
    """What `execute` of a debounce is given: one closed window (S-43)."""

    __slots__ = ()

    @property
    def state(self) -> S:
        """What `on_event` made of the events."""
        state: S = self._state
        return state

    @property
    def event_count(self) -> int:
        """How many events are in the batch."""
        return self._call.event_count

    @property
    def flush_reason(self) -> FlushReason:
        """What closed the window first; kept over retries."""
        assert self._call.flush_reason is not None, "a batch has a reason"
        return self._call.flush_reason

    @property
    def debounce_started_at(self) -> datetime:
        """When the first event came."""
        assert self._call.started_at is not None, "a batch has a beginning"
        return to_datetime(self._call.started_at)


class DebounceEventContext(_Context[S], Generic[E, S]):
    """What `on_event` of a debounce, the reducer, is given (S-43)."""

    __slots__ = ("_event",)

    def __init__(self, call: HookCall, state: Any, event: Any) -> None:
        super().__init__(call, state)
        self._event = event

    @property
    def event(self) -> E:
        """The event to fold in."""
        event: E = self._event
        return event

    @property
    def state(self) -> S | None:
        """The window's state; `None` at its first event."""
        state: S | None = self._state
        return state

    @property
    def event_count(self) -> int:
        """How many events the window has, this one included."""
        return self._call.event_count


class TaskContext(_StateContext[S]):
    """What every hook of a task is given; the members mean the same in each (S-52)."""

    __slots__ = ()

    @property
    def state(self) -> S | None:
        """The state, with what this hook has set; `None` before the first."""
        state: S | None = self._state
        return state

    def update_state(self, change: Callable[[S | None], S]) -> None:
        """`set_state(change(state))`."""
        self.set_state(change(self._state))

    def schedule(self, when: Duration | datetime) -> None:
        """Run `execute` at an aware `datetime`, or a duration after the end of this hook.

        The last call wins; a past instant is due at once. Raises `ValidationError` for a bare number, a
        naive datetime, one finer than a millisecond (`.replace(microsecond=0)` mends it), or out of range.
        """
        self._check_open()
        if isinstance(when, datetime):
            self._schedule = ScheduleChange(at=_instant(when))
        else:
            after_ms = to_ms(when, "schedule(when)", also="an aware datetime, or ")
            self._schedule = ScheduleChange(after_ms=after_ms)

    def cancel_schedule(self) -> None:
        """Drop the pending schedule. A retry is not a schedule (S-53)."""
        self._check_open()
        self._schedule = ScheduleChange()

    @property
    def scheduled_time(self) -> datetime | None:
        """The pending schedule, with what this hook has set.

        For a duration it is counted from the beginning of the hook here, and from its end in truth.
        """
        if self._schedule is None:
            return maybe_datetime(self._call.scheduled_at)
        return maybe_datetime(self._schedule.due(self._call.at))

    @property
    def is_first_event(self) -> bool:
        """Whether the instance has had one event so far, the present one included."""
        return self._call.event_count == 1

    @property
    def event_count(self) -> int:
        """How many events were applied; in `on_event`, the present one included."""
        return self._call.event_count

    @property
    def execute_count(self) -> int:
        """How many runs of `execute` have begun, a present one included."""
        return self._call.execute_count

    @property
    def created_at(self) -> datetime:
        """When the instance came into being."""
        return to_datetime(self._call.created_at)


AnyContext = ContinuousContext[Any] | DebounceContext[Any] | DebounceEventContext[Any, Any] | TaskContext[Any]


def _instant(moment: datetime) -> int:
    naive = moment.utcoffset() is None
    if naive or moment.microsecond % 1000 or not 0 <= from_datetime(moment) <= INSTANT_MAX:
        expected = "an aware datetime in whole milliseconds, 1970 to 9999"
        raise ValidationError.of("schedule(when)", expected, repr(moment))
    return from_datetime(moment)


def open_context(definition: AnyDefinition, call: HookCall) -> tuple[AnyContext, tuple[Any, ...]]:
    """The context for a call, and the arguments to call the hook with.

    Raises `ValidationError` if the stored state or event does not fit its schema, or the definition no
    longer has the hook.
    """
    if call.hook not in definition.hooks:
        raise ValidationError.of(f"{call.hook} of {call.key}", "a hook of the definition", "none")
    stored = call.state
    state = None
    if stored is not None:
        state = definition.decode(stored, "state of", call.key)
    if isinstance(definition, Debounce):
        if call.hook == "on_event":
            event = definition.event.decode(call.event, "event for", call.key)
            reducing: DebounceEventContext[Any, Any] = DebounceEventContext(call, state, event)
            return reducing, (reducing,)
        batch: DebounceContext[Any] = DebounceContext(call, state)
        return batch, (batch,)
    if isinstance(definition, Continuous):
        tick: ContinuousContext[Any] = ContinuousContext(call, state)
        return tick, (tick,)
    task: TaskContext[Any] = TaskContext(call, state)
    if call.hook == "on_event":
        return task, (definition.event.decode(call.event, "event for", call.key), task)
    return task, (call.failure, task) if call.hook == "on_error" else (task,)


def close_context(definition: AnyDefinition, ctx: AnyContext, returned: Any) -> Operations:
    """What a hook that returned `returned`, or terminated, asked for.

    Raises `ValidationError` if the new state does not fit its schema (S-22), and if what was returned would
    be lost: something to be awaited, a generator, or a state that was not set.
    """
    if ctx._termination is not None:
        return Operations(terminate=ctx._termination)
    if returned is not None:
        _check_returned(definition, ctx, returned)
    if isinstance(ctx, DebounceEventContext):
        ctx._state, ctx._state_set = returned, True
    state, size = None, 0
    if ctx._state_set:
        origin = ("as on_event returned it",) if isinstance(ctx, DebounceEventContext) else ()
        value, size = definition.state.encode(ctx._state, "new state of", ctx._call.key, *origin)
        state = Stored(definition.state_version, value)
    return Operations(state, ctx._schedule, size=size)


def _check_returned(definition: AnyDefinition, ctx: AnyContext, returned: Any) -> None:
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        expected = "nothing to be awaited, for nobody would await it: make it an async def that does"
    elif inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        expected = NO_YIELD
    elif isinstance(ctx, _StateContext) and not ctx._state_set and type(returned) in _classes(definition):
        expected = "no state to be returned, for only ctx.set_state keeps one"
    else:
        return
    raise ValidationError.of(f"{ctx._call.hook} of {ctx.instance_id}", expected, type(returned).__name__)


def _classes(definition: AnyDefinition) -> tuple[Any, ...]:
    """The class of the state, or those of its union."""
    state = definition.state.type
    members = get_args(state) if get_origin(state) in (Union, UnionType) else (state,)
    return tuple(get_origin(member) or member for member in members)


def cancel_context(ctx: AnyContext) -> None:
    """Tell a hook that it can no longer commit."""
    ctx._cancelled = True


def end_context(ctx: AnyContext) -> None:
    """The hook has ended: what it asked for is known."""
    ctx._ended = True


def is_terminated(ctx: AnyContext) -> bool:
    """Whether the hook asked to end the instance, even if it swallowed the signal (S-17)."""
    return ctx._termination is not None
