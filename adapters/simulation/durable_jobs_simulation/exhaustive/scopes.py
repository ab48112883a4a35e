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
    ClearRequested,
    FlushRequested,
    PauseRequested,
    Request,
    ResumeRequested,
    SendRequested,
    StartRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Key
from durable_jobs_simulation.exhaustive.scope import Asked, Scope, budgets

RETRY = Retry(max_attempts=2, delay=Backoff.constant("4 seconds"), jitter=0)
TICK, PLAIN = Key("continuous", "tick", "a"), Key("continuous", "plain", "a")
HOOKS, ORDER, IDLER = Key("debounce", "hooks", "a"), Key("task", "order", "a"), Key("task", "idler", "a")


async def _tick(ctx: ContinuousContext[int]) -> None:
    ctx.set_state(ctx.state + 1)


def _plain(ctx: ContinuousContext[int]) -> None:
    ctx.set_state(ctx.state + 1)


def _collect(ctx: DebounceEventContext[int, list[int]]) -> list[int]:
    return [*(ctx.state or ()), ctx.event]


async def _deliver(ctx: DebounceContext[list[int]]) -> None:
    pass


async def _note(event: int, ctx: TaskContext[list[int]]) -> None:
    ctx.set_state([*(ctx.state or ()), event])
    ctx.schedule("4 seconds")


async def _keep(event: int, ctx: TaskContext[list[int]]) -> None:
    ctx.set_state([*(ctx.state or ()), event])


async def _work(ctx: TaskContext[list[int]]) -> None:
    pass


JOBS = create_durable_jobs(
    {
        "tick": Continuous.make(state=int, schedule=every("1 hour"), execute=_tick, retry=RETRY),
        "plain": Continuous.make(
            state=int, schedule=every("1 hour"), execute=_plain, retry=RETRY, timeout="6 seconds"
        ),
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
        "idler": Task.make(
            event=int, state=list[int], on_event=_keep, execute=_work, on_idle=_work, retry=RETRY
        ),
    }
)


def _asked(key: Key, *requests: Request, node: int = 0) -> tuple[Asked, ...]:
    return tuple((node, key, request, None) for request in requests)


def _add(number: int) -> AddRequested:
    return AddRequested(event=number, event_id=f"e{number}")


def _send(number: int) -> SendRequested:
    return SendRequested(event=number, event_id=f"e{number}")


_START, _TRIGGER, _END = StartRequested(Stored(1, 0)), TriggerRequested(), TerminateRequested()
_FLUSH, _CLEAR = FlushRequested(), ClearRequested()
_PAUSE, _RESUME = PauseRequested(), ResumeRequested()


def _two(key: Key, *requests: Request) -> tuple[tuple[Asked, ...], ...]:
    """Two callers, of a node each; the second makes the last request."""
    return (_asked(key, *requests[:-1]), _asked(key, requests[-1], node=1))


_CALLERS: dict[str, tuple[str, tuple[tuple[Asked, ...], ...]]] = {
    "continuous": ("a start, then a trigger", (_asked(TICK, _START, _TRIGGER),)),
    "debounce": ("two adds, which fill a window", (_asked(HOOKS, _add(1)), _asked(HOOKS, _add(2)))),
    "task": ("two sends, which schedule", (_asked(ORDER, _send(1)), _asked(ORDER, _send(2)))),
    "inbox": ("a send, a trigger; a send", (_asked(ORDER, _send(1), _TRIGGER), _asked(ORDER, _send(2)))),
    "idle": ("a send, a trigger; a trigger", (_asked(IDLER, _send(1), _TRIGGER), _asked(IDLER, _TRIGGER))),
    "unknown": ("two adds, exchanges and answers lost", (_asked(HOOKS, _add(1)), _asked(HOOKS, _add(2)))),
    "terminate": ("a start, and an end at any moment", (_asked(TICK, _START), _asked(TICK, _END))),
    "shutdown": ("a start and a trigger, and the node shut down", (_asked(TICK, _START, _TRIGGER),)),
    "threads": ("a start and an end, of a plain hook", (_asked(PLAIN, _START), _asked(PLAIN, _END))),
    "flush": ("an add and a flush, and an add", (_asked(HOOKS, _add(1), _FLUSH), _asked(HOOKS, _add(2)))),
    "clear": ("an add and a clear, and an add", (_asked(HOOKS, _add(1), _CLEAR), _asked(HOOKS, _add(2)))),
    "compete": ("two workers, a start by one and a trigger by the other", _two(TICK, _START, _TRIGGER)),
    "stall": ("two workers, one stalls past its lease", _two(TICK, _START, _TRIGGER)),
    "leave": ("two workers, one is shut down", _two(TICK, _START, _TRIGGER)),
    "end": ("two workers, an end by the other", _two(TICK, _START, _END)),
    "adds": ("two workers, an add by each", _two(HOOKS, _add(1), _add(2))),
    "flushes": ("two workers, an add by each and a flush", _two(HOOKS, _add(1), _FLUSH, _add(2))),
    "clears": ("two workers, an add by each and a clear", _two(HOOKS, _add(1), _CLEAR, _add(2))),
    "sends": ("two workers, a send by each", _two(ORDER, _send(1), _send(2))),
    "lost": ("two workers, adds by each, exchanges and answers lost", _two(HOOKS, _add(1), _add(2))),
    "detach": ("two workers, a plain hook, and an end by the other", _two(PLAIN, _START, _END)),
    "pause": (
        "a start, a pause and a resume; a trigger",
        (_asked(TICK, _START, _PAUSE, _RESUME), _asked(TICK, _TRIGGER)),
    ),
    "pauses": (
        "two workers, a start, a pause and a resume, and a trigger by the other",
        (_asked(TICK, _START, _PAUSE, _RESUME), _asked(TICK, _TRIGGER, node=1)),
    ),
    "batches": (
        "two workers, two adds, which fill a window, and a third and a flush during the run",
        (_asked(HOOKS, _add(1), _add(2)), _asked(HOOKS, _add(3), _FLUSH, node=1)),
    ),
    "lives": (
        "two workers, two adds, and an end and an add to the next life by the other",
        (_asked(HOOKS, _add(1), _add(2)), _asked(HOOKS, _END, _add(3), node=1)),
    ),
    "timers": (
        "two workers, a send and a trigger, and a send by the other",
        (_asked(ORDER, _send(1), _TRIGGER), _asked(ORDER, _send(2), node=1)),
    ),
    "queue": (
        "two workers, two sends and a trigger, and a send and an end by the other",
        (_asked(ORDER, _send(1), _TRIGGER, _send(2)), _asked(ORDER, _send(3), _END, node=1)),
    ),
    "again": (
        "two workers, a start and a trigger, and an end and a start by the other",
        (_asked(TICK, _START, _TRIGGER), _asked(TICK, _END, _START, node=1)),
    ),
}
_SMALL: dict[str, dict[str, int]] = {
    "continuous": {"jump": 1, "crash": 1},
    "debounce": {"jump": 1, "crash": 1},
    "task": {"jump": 1, "crash": 1},
    "inbox": {"jump": 0},
    "idle": {"jump": 0},
    "unknown": {"jump": 1, "lose": 1},
    "terminate": {"jump": 1, "lose": 1},
    "shutdown": {"jump": 1, "stop": 1},
    "threads": {"jump": 1, "timeout": 1},
    "flush": {"jump": 0},
    "clear": {"jump": 0},
    "compete": {"jump": 1},
    "stall": {"jump": 1, "stall": 1},
    "pause": {"jump": 1},
}
_LARGE: dict[str, dict[str, int]] = {
    "continuous-large": {"jump": 3, "crash": 1, "raise": 1},
    "debounce-large": {"jump": 2, "crash": 1, "raise": 1},
    "task-large": {"jump": 2, "crash": 1, "raise": 1},
    "inbox-large": {"jump": 1, "crash": 1},
    "idle-large": {"jump": 1, "crash": 1, "raise": 1},
    "unknown-large": {"jump": 1, "lose": 2},
    "terminate-large": {"jump": 2, "lose": 1, "crash": 1},
    "shutdown-large": {"jump": 2, "stop": 1, "crash": 1},
    "threads-large": {"jump": 2, "timeout": 1, "lose": 1},
    "flush-large": {"jump": 1, "crash": 1},
    "clear-large": {"jump": 1, "crash": 1},
    "compete-crash": {"jump": 1, "crash": 1},
    "compete-large": {"jump": 2, "crash": 1},
    "stall-large": {"jump": 2, "stall": 1},
    "leave-large": {"jump": 1, "stop": 1},
    "end-large": {"jump": 1, "crash": 1},
    "adds-large": {"jump": 1, "crash": 1},
    "flushes-large": {"jump": 1},
    "clears-large": {"jump": 1},
    "sends-large": {"jump": 1, "crash": 1},
    "lost-large": {"jump": 1, "lose": 1},
    "detach-large": {"jump": 1, "timeout": 1},
    "pauses-large": {"jump": 1, "crash": 1},
    "detach-late": {"jump": 2, "timeout": 1, "lose": 1},
    "lost-crash": {"jump": 1, "lose": 1, "crash": 1},
    "leave-crash": {"jump": 1, "stop": 1, "crash": 1, "raise": 1},
    "again-large": {"jump": 2, "lose": 1, "crash": 1},
    "stall-crash": {"jump": 2, "stall": 1, "crash": 1, "raise": 1},
    "pauses-failed": {"jump": 2, "raise": 1, "crash": 1},
    "batches-large": {"jump": 2, "raise": 1, "crash": 1},
    "lives-large": {"jump": 1, "lose": 1, "crash": 1},
    "timers-large": {"jump": 3, "raise": 2, "crash": 1},
    "queue-large": {"jump": 2, "raise": 1, "crash": 1, "refuse": 1},
}


def _make(name: str, spent: dict[str, int], rest_every: int = 8) -> Scope:
    what, callers = _CALLERS[name.partition("-")[0]]
    told = ", ".join(f"{count} {what}" for what, count in spent.items())
    return Scope(
        name=name,
        what=f"{what}; at most {told}",
        jobs=JOBS,
        callers=callers,
        nodes=(True,) * (1 + max(asked[0] for requests in callers for asked in requests)),
        budgets=budgets(**spent),
        rest_every=rest_every,
    )


SMALL = {name: _make(name, spent) for name, spent in _SMALL.items()}
"""Finished in seconds."""
LARGE = {name: _make(name, spent, 64) for name, spent in _LARGE.items()}
"""For a soak: minutes each, and not all are finished."""
SCOPES = {**SMALL, **LARGE}
