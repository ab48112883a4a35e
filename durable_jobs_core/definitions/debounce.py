"""The definition of a debounce job (SPEC §6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, Unpack, overload

from attrs import frozen

from durable_jobs_core.checks import NOT_GIVEN, check
from durable_jobs_core.definitions._base import (
    Definition,
    E,
    Event,
    EventOptions,
    HookFunction,
    S,
    State,
    choice,
    common,
    count,
    hook,
    on_exhausted,
    taking_events,
)
from durable_jobs_core.durations import Duration, defined_ms, maybe_ms
from durable_jobs_core.schema import Schema
from durable_jobs_core.words import Hook

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from durable_jobs_core.context import DebounceContext, DebounceEventContext

PARK_OR_END = '"park" or "terminate" (a batch cannot be skipped)'


class DebounceOptions(EventOptions, total=False):
    """The options of a debounce, as `Debounce` explains them."""

    on_exhausted: Literal["park", "terminate"]
    mode: Literal["fixed", "quiet"]
    max_wait: Duration | None
    max_events: int | None
    max_pending: int | None


@frozen(kw_only=True, eq=False, repr=False)
class Debounce(Definition[S], Generic[E, S]):
    """Events are collected, then handled as one batch. Make one with `make` or `job`; the rules are in the
    specification, §6.

    Options of `make` and `job`:

    `mode`: the window ends `flush_after` its first event, `"fixed"`, the default, or its last, `"quiet"`.
    `max_wait`: the longest that a quiet window may stay open; there it must be given, and may be `None`.
    `max_events`: so many events make the window due at once, default no limit.
    `max_pending`: beyond so many events in the window `add` raises `OverloadedError`, default no limit.
    `remember_ids`: how many event ids an instance remembers, default 128; `remember_ids_for`: for how
    long, default 24 h (S-60).

    Options that every kind of job has:

    `retry`: a `Retry`, default 7 attempts in some two minutes; `None` for one (S-23).
    `on_exhausted`: what happens when a run gives up, `"park"` (default) or `"terminate"`, which drops the
    batch (S-24).
    `timeout`: of one attempt of `execute`, default none; `hook_timeout`: of any other hook, default 30 s.
    `max_crashes`: the run gives up when so many attempts were lost with their process, default 5 (S-14).
    `concurrency`: how many attempts of this job one process makes at a time, default no limit (S-69).
    `state_version`, `upcasters`: for a changed state class, `state_version=2, upcasters={1: f}`, where
    `f` makes JSON of version 2 from JSON of version 1 (S-6).
    `codec`: how values become JSON, default a `StrictCodec`.
    """

    kind = "debounce"

    event: Schema
    flush_after_ms: int
    quiet: bool
    max_wait_ms: int | None
    max_events: int | None
    max_pending: int | None
    ids_max: int
    ids_for_ms: int

    @overload
    @classmethod
    def make(
        cls,
        *,
        event: TypeForm[Event],
        flush_after: Duration,
        execute: Callable[[DebounceContext[State]], Awaitable[None] | None],
        state: TypeForm[State],
        on_event: Callable[[DebounceEventContext[Event, State]], Awaitable[State] | State],
        **options: Unpack[DebounceOptions],
    ) -> Debounce[Event, State]: ...

    @overload
    @classmethod
    def make(
        cls,
        *,
        event: TypeForm[Event],
        flush_after: Duration,
        execute: Callable[[DebounceContext[Event]], Awaitable[None] | None],
        **options: Unpack[DebounceOptions],
    ) -> Debounce[Event, Event]: ...

    @classmethod
    def make(
        cls,
        *,
        event: Any,
        flush_after: Duration,
        execute: Callable[[Any], Awaitable[None] | None],
        state: Any = None,
        on_event: Callable[[Any], Any] | None = None,
        **options: Unpack[DebounceOptions],
    ) -> Any:
        """A job that hands each window of events to `execute` as one batch.

        `on_event(ctx)` folds `ctx.event` into `ctx.state`, which is `None` at first, and returns the new
        state; without it, the latest event is the state. `help(Debounce)` lists the options.
        Raises `DefinitionError`, which says what was expected.
        """
        missing = "on_event" if on_event is None else "state"
        check(
            (state is None) == (on_event is None), missing, "both state and on_event, or neither", NOT_GIVEN
        )
        quiet = choice(options, "mode", "fixed", ("fixed", "quiet")) == "quiet"
        flush_after_ms = defined_ms(flush_after, "flush_after")
        max_wait = options.get("max_wait", NOT_GIVEN)
        given = max_wait is not NOT_GIVEN
        check(given == quiet, "max_wait", 'a duration or None with mode="quiet" and only then', max_wait)
        max_wait_ms = maybe_ms(max_wait, "max_wait") if given else None
        check(
            max_wait_ms is None or max_wait_ms >= flush_after_ms,
            "max_wait",
            f"at least flush_after, {flush_after_ms} ms",
            max_wait,
        )
        check(on_exhausted(options) != "continue", "on_exhausted", PARK_OR_END, "continue")
        hooks: dict[Hook, HookFunction] = {"execute": hook("execute", execute, "ctx")}
        if on_event is not None:
            hooks["on_event"] = hook("on_event", on_event, "ctx")
        return cls(
            flush_after_ms=flush_after_ms,
            quiet=quiet,
            max_wait_ms=max_wait_ms,
            max_events=count(options, "max_events", None),
            max_pending=count(options, "max_pending", None),
            **taking_events(event, options),
            **common(event if state is None else state, hooks, options, DebounceOptions),
        )

    @overload
    @classmethod
    def job(
        cls,
        *,
        event: TypeForm[Event],
        flush_after: Duration,
        state: TypeForm[State],
        on_event: Callable[[DebounceEventContext[Event, State]], Awaitable[State] | State],
        **options: Unpack[DebounceOptions],
    ) -> Callable[[Callable[[DebounceContext[State]], Awaitable[None] | None]], Debounce[Event, State]]: ...

    @overload
    @classmethod
    def job(
        cls, *, event: TypeForm[Event], flush_after: Duration, **options: Unpack[DebounceOptions]
    ) -> Callable[[Callable[[DebounceContext[Event]], Awaitable[None] | None]], Debounce[Event, Event]]: ...

    @classmethod
    def job(cls, **arguments: Any) -> Any:
        """`make` as a decorator of `execute`: the arguments are the same, without it."""
        return lambda execute: cls.make(execute=execute, **arguments)
