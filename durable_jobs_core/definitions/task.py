"""The definition of a task job (SPEC §7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, Unpack

from attrs import frozen

from durable_jobs_core.definitions._base import (
    Definition,
    E,
    Event,
    EventOptions,
    HookFunction,
    OnExhausted,
    S,
    State,
    common,
    count,
    hook,
    taking_events,
)
from durable_jobs_core.schema import Schema
from durable_jobs_core.words import Failure, Hook

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from durable_jobs_core.context import TaskContext


class TaskOptions(EventOptions, total=False):
    """The options of a task, as `Task` explains them."""

    on_exhausted: OnExhausted
    inbox_limit: int


@frozen(kw_only=True, eq=False, repr=False)
class Task(Definition[S], Generic[E, S]):
    """An event-driven state machine. Make one with `make` or `job`; the rules are in the specification, §7.

    Options of `make` and `job`:

    `inbox_limit`: how many events may be queued, and how many dead letters kept, default 100 (S-51).
    `remember_ids`: how many event ids an instance remembers, default 128; `remember_ids_for`: for how
    long, default 24 h (S-60).

    Options that every kind of job has:

    `retry`: a `Retry`, default 7 attempts in some two minutes; `None` for one (S-23).
    `on_exhausted`: what happens when a run gives up, `"park"` (default), `"continue"` or
    `"terminate"` (S-24).
    `timeout`: of one attempt of `execute`, default none; `hook_timeout`: of any other hook, default 30 s.
    `max_crashes`: the run gives up when so many attempts were lost with their process, default 5 (S-14).
    `concurrency`: how many attempts of this job one process makes at a time, default no limit (S-69).
    `state_version`, `upcasters`: for a changed state class, `state_version=2, upcasters={1: f}`, where
    `f` makes JSON of version 2 from JSON of version 1 (S-6).
    `codec`: how values become JSON, default a `StrictCodec`.
    """

    kind = "task"

    event: Schema
    inbox_limit: int
    ids_max: int
    ids_for_ms: int

    @classmethod
    def make(
        cls,
        *,
        state: TypeForm[State],
        event: TypeForm[Event],
        on_event: Callable[[Event, TaskContext[State]], Awaitable[None] | None],
        execute: Callable[[TaskContext[State]], Awaitable[None] | None],
        on_idle: Callable[[TaskContext[State]], Awaitable[None] | None] | None = None,
        on_error: Callable[[Failure, TaskContext[State]], Awaitable[None] | None] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task[Event, State]:
        """A job that applies events with `on_event(event, ctx)` and does what it scheduled in `execute(ctx)`.

        `state`, `event`: their classes, unions too; `on_idle(ctx)` is called when nothing is scheduled any
        more, `on_error(error, ctx)` when a run gave up, and in place of an `on_event` that raised, which is
        not tried again then; `help(Task)` lists the options.
        Raises `DefinitionError`, which says what was expected.
        """
        hooks: dict[Hook, HookFunction] = {
            "on_event": hook("on_event", on_event, "event", "ctx"),
            "execute": hook("execute", execute, "ctx"),
        }
        if on_idle is not None:
            hooks["on_idle"] = hook("on_idle", on_idle, "ctx")
        if on_error is not None:
            hooks["on_error"] = hook("on_error", on_error, "error", "ctx")
        return Task(
            inbox_limit=count(options, "inbox_limit", 100),
            **taking_events(event, options),
            **common(state, hooks, options, TaskOptions),
        )

    @classmethod
    def job(
        cls,
        *,
        state: TypeForm[State],
        event: TypeForm[Event],
        on_event: Callable[[Event, TaskContext[State]], Awaitable[None] | None],
        on_idle: Callable[[TaskContext[State]], Awaitable[None] | None] | None = None,
        on_error: Callable[[Failure, TaskContext[State]], Awaitable[None] | None] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Callable[[Callable[[TaskContext[State]], Awaitable[None] | None]], Task[Event, State]]:
        """`make` as a decorator of `execute`: the arguments are the same, without it."""

        def decorate(execute: Callable[[TaskContext[State]], Awaitable[None] | None]) -> Task[Event, State]:
            return cls.make(
                state=state,
                event=event,
                on_event=on_event,
                execute=execute,
                on_idle=on_idle,
                on_error=on_error,
                **options,
            )

        return decorate
