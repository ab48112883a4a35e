"""Small jobs of each kind for the tests of the engine: states are numbers, or lists of the events taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable_jobs_core import Continuous, Debounce, Retry, Task, create_durable_jobs, every
from durable_jobs_core.events import StartRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Key

TICK = Key("continuous", "tick", "a")
LATEST = Key("debounce", "latest", "a")
FOLD = Key("debounce", "fold", "a")
CHORE = Key("task", "chore", "a")

RETRY = Retry(max_attempts=3, delay="1 second", jitter=0)

Hook = Callable[..., Any]


def number(value: int) -> Stored:
    """A stored state that is a number."""
    return Stored(1, value)


START = StartRequested(number(0))


def tick_key(name: object) -> Key:
    """Another instance of `tick`."""
    return TICK._replace(id=str(name))


def nothing(*args: Any) -> None:
    """A hook that does nothing."""


def fold(ctx: Any) -> list[int]:
    """A reducer that collects its events."""
    return [*(ctx.state or ()), ctx.event]


def note(event: int, ctx: Any) -> None:
    """An `on_event` that notes its event in the state."""
    ctx.set_state([*(ctx.state or ()), event])


def tick(execute: Hook = nothing, **options: Any) -> Continuous[int]:
    """Every minute, from now on; the state is a number."""
    return Continuous.make(state=int, schedule=every("1 minute"), execute=execute, **options)


def latest(execute: Hook = nothing, **options: Any) -> Debounce[int, int]:
    """Keeps the latest event; flushed after a second. Its `add` calls no user code."""
    return Debounce.make(event=int, flush_after="1 second", execute=execute, **options)


def folding(on_event: Hook = fold, execute: Hook = nothing, **options: Any) -> Debounce[int, list[int]]:
    """Collects its events with a reducer; flushed after a second."""
    return Debounce.make(
        event=int, state=list[int], flush_after="1 second", on_event=on_event, execute=execute, **options
    )


def chore(on_event: Hook = note, execute: Hook = nothing, **options: Any) -> Task[int, list[int]]:
    """Notes its events."""
    return Task.make(event=int, state=list[int], on_event=on_event, execute=execute, **options)


def jobs(**definitions: Any) -> Any:
    """Definitions as an engine wants them; the four samples, with those given in their place."""
    samples = {"tick": tick(), "latest": latest(), "fold": folding(), "chore": chore()}
    return create_durable_jobs({**samples, **definitions}).by_key
