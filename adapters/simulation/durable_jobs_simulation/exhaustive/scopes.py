"""Our own scopes."""

from __future__ import annotations

from typing import Any

from durable_jobs_core import (
    Backoff,
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    Retry,
    Task,
    TaskContext,
    create_durable_jobs,
    every,
)
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    Request,
    SendRequested,
    StartRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Key
from durable_jobs_simulation.exhaustive.scope import Asked, Scope, budgets

RETRY = Retry(max_attempts=2, delay=Backoff.constant("4 seconds"), jitter=0)
TICK, HOOKS, ORDER = Key("continuous", "tick", "a"), Key("debounce", "hooks", "a"), Key("task", "order", "a")


async def _tick(ctx: ContinuousContext[int]) -> None:
    ctx.set_state(ctx.state + 1)


def _collect(ctx: DebounceEventContext[int, list[int]]) -> list[int]:
    return [*(ctx.state or ()), ctx.event]


async def _deliver(ctx: DebounceContext[list[int]]) -> None:
    pass


async def _note(event: int, ctx: TaskContext[list[int]]) -> None:
    ctx.set_state([*(ctx.state or ()), event])
    ctx.schedule("4 seconds")


async def _work(ctx: TaskContext[list[int]]) -> None:
    pass


JOBS = create_durable_jobs(
    {
        "tick": Continuous.make(state=int, schedule=every("1 hour"), execute=_tick, retry=RETRY),
        "hooks": Debounce.make(
            event=int,
            state=list[int],
            on_event=_collect,
            execute=_deliver,
            flush_after="5 seconds",
            max_events=2,
            retry=RETRY,
        ),
        "order": Task.make(event=int, state=list[int], on_event=_note, execute=_work, retry=RETRY),
    }
)


def _asked(key: Key, *requests: Request, node: int = 0) -> tuple[Asked, ...]:
    return tuple((node, key, request, None) for request in requests)


def _add(number: int) -> AddRequested:
    return AddRequested(event=number, event_id=f"e{number}")


def _send(number: int) -> SendRequested:
    return SendRequested(event=number, event_id=f"e{number}")


_START, _TRIGGER, _END = StartRequested(Stored(1, 0)), TriggerRequested(), TerminateRequested()


def _scope(name: str, what: str, *callers: tuple[Asked, ...], **options: Any) -> Scope:
    return Scope(name=name, what=what, jobs=JOBS, callers=callers, **options)


SCOPES: dict[str, Scope] = {
    scope.name: scope
    for scope in (
        _scope(
            "continuous",
            "a start and a trigger, a crash, a failed attempt",
            _asked(TICK, _START, _TRIGGER),
            budgets=budgets(4, crash=1, **{"raise": 1}),
        ),
        _scope(
            "debounce",
            "two adds at once, a crash, a failed attempt",
            _asked(HOOKS, _add(1)),
            _asked(HOOKS, _add(2)),
            budgets=budgets(4, crash=1, **{"raise": 1}),
        ),
        _scope(
            "task",
            "two sends at once, a crash, a failed attempt",
            _asked(ORDER, _send(1)),
            _asked(ORDER, _send(2)),
            budgets=budgets(4, crash=1, **{"raise": 1}),
        ),
        _scope(
            "unknown",
            "two adds at once, two answers or exchanges lost, which may land late",
            _asked(HOOKS, _add(1)),
            _asked(HOOKS, _add(2)),
            budgets=budgets(4, lose=2),
        ),
        _scope(
            "terminate",
            "a start, and a terminate at any moment of its run; a crash, and a loss",
            _asked(TICK, _START, _START),
            _asked(TICK, _END),
            budgets=budgets(3, crash=1, lose=1),
        ),
        _scope(
            "compete",
            "two workers and an instance: a start by one, a trigger by the other, a crash",
            _asked(TICK, _START),
            _asked(TICK, _TRIGGER, node=1),
            nodes=(True, True),
            budgets=budgets(3, crash=1, nudge=1),
        ),
    )
}
