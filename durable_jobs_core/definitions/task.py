"""The definition of a task job (SPEC §7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, Unpack

from attrs import frozen

from durable_jobs_core.definitions._base import (
    IDS_FOR_MS,
    IDS_MAX,
    Definition,
    E,
    Event,
    EventOptions,
    HookFunction,
    NoClass,
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
    from durable_jobs_core.context import TaskContext


class TaskOptions(EventOptions, total=False):
    """The options of a task. `inbox_limit`: how many events may be queued, or dead (S-51)."""

    inbox_limit: int


@frozen(kw_only=True, eq=False)
class Task(Definition[S], Generic[E, S]):
    """An event-driven state machine (SPEC §7). Make one with `make` or `job`."""

    kind = "task"

    event: Schema
    inbox_limit: int = 100
    ids_max: int = IDS_MAX
    ids_for_ms: int = IDS_FOR_MS

    @classmethod
    def make(
        cls,
        *,
        state: type[State] | NoClass,
        event: type[Event] | NoClass,
        on_event: Callable[[Event, TaskContext[State]], Awaitable[None] | None],
        execute: Callable[[TaskContext[State]], Awaitable[None] | None],
        on_idle: Callable[[TaskContext[State]], Awaitable[None] | None] | None = None,
        on_error: Callable[[Failure, TaskContext[State]], Awaitable[None] | None] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task[Event, State]:
        """A job that applies events with `on_event` and does scheduled work with `execute`.

        `on_idle` is called when nothing is scheduled, `on_error` when an event or a run gave up.
        Raises `DefinitionError`.
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
        state: type[State] | NoClass,
        event: type[Event] | NoClass,
        on_event: Callable[[Event, TaskContext[State]], Awaitable[None] | None],
        on_idle: Callable[[TaskContext[State]], Awaitable[None] | None] | None = None,
        on_error: Callable[[Failure, TaskContext[State]], Awaitable[None] | None] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Callable[[Callable[[TaskContext[State]], Awaitable[None] | None]], Task[Event, State]]:
        """`make` as a decorator of `execute`."""

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
