"""Our own scopes."""

from __future__ import annotations

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


_CALLERS: dict[str, tuple[str, tuple[tuple[Asked, ...], ...]]] = {
    "continuous": ("a start, then a trigger", (_asked(TICK, _START, _TRIGGER),)),
    "debounce": ("two adds, which fill a window", (_asked(HOOKS, _add(1)), _asked(HOOKS, _add(2)))),
    "task": ("two sends, which schedule", (_asked(ORDER, _send(1)), _asked(ORDER, _send(2)))),
    "unknown": ("two adds, exchanges and answers lost", (_asked(HOOKS, _add(1)), _asked(HOOKS, _add(2)))),
    "terminate": ("a start, and an end at any moment", (_asked(TICK, _START), _asked(TICK, _END))),
    "compete": (
        "two workers on one instance, a start by one and a trigger by the other",
        (_asked(TICK, _START), _asked(TICK, _TRIGGER, node=1)),
    ),
}
_SMALL: dict[str, dict[str, int]] = {
    "continuous": {"jump": 1, "crash": 1},
    "debounce": {"jump": 1, "crash": 1},
    "task": {"jump": 1, "crash": 1},
    "unknown": {"jump": 1, "lose": 1},
    "terminate": {"jump": 1, "lose": 1},
    "compete": {"jump": 1},
}
_LARGE: dict[str, dict[str, int]] = {
    "continuous-large": {"jump": 3, "crash": 1, "raise": 1},
    "debounce-large": {"jump": 3, "crash": 1, "raise": 1},
    "task-large": {"jump": 3, "crash": 1, "raise": 1},
    "unknown-large": {"jump": 2, "lose": 2, "refuse": 1},
    "terminate-large": {"jump": 2, "lose": 1, "crash": 1},
    "compete-crash": {"jump": 1, "crash": 1},
    "compete-large": {"jump": 2, "crash": 1, "nudge": 1},
}


def _make(name: str, spent: dict[str, int]) -> Scope:
    kind = name.partition("-")[0]
    what, callers = _CALLERS[kind]
    told = ", ".join(f"{count} {what}" for what, count in spent.items())
    return Scope(
        name=name,
        what=f"{what}; at most {told}",
        jobs=JOBS,
        callers=callers,
        nodes=(True, True) if kind == "compete" else (True,),
        budgets=budgets(**spent),
    )


SMALL = {name: _make(name, spent) for name, spent in _SMALL.items()}
"""Finished in seconds."""
SCOPES = {**SMALL, **{name: _make(name, spent) for name, spent in _LARGE.items()}}
"""All of them; `compete-crash` takes a minute, the large ones many, or hours."""
