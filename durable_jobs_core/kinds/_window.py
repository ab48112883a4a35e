"""The window of a debounce: how it opens, grows and falls due (S-41). Functions of values."""

from __future__ import annotations

from typing import Any

from durable_jobs_core._values import evolve
from durable_jobs_core.definitions import Debounce
from durable_jobs_core.record import FlushReason, Stored, Window
from durable_jobs_core.words import INSTANT_MAX


def due_reason(window: Window, now: int) -> FlushReason | None:
    """What made the window due first, if anything has."""
    return window.cause or ("flushAfter" if window.due_at <= now else None)


def flush_after(definition: Debounce[Any, Any], now: int) -> int:
    """When a window falls due that is counted from now: at the calendar's end if that is earlier."""
    return min(now + definition.flush_after_ms, INSTANT_MAX)


def opened(definition: Debounce[Any, Any], state: Stored, now: int) -> Window:
    """A window with its first event."""
    window = Window(state=state, count=1, started_at=now, due_at=flush_after(definition, now))
    return _filled(definition, window, now)


def extended(definition: Debounce[Any, Any], window: Window, state: Stored, now: int) -> Window:
    """The window with one event more. Once due it stays due."""
    window = evolve(window, state=state, count=window.count + 1)
    if due_reason(window, now) is not None:
        return window
    if definition.quiet and not window.deferred:
        due_at = flush_after(definition, now)
        if definition.max_wait_ms is not None:
            due_at = min(due_at, window.started_at + definition.max_wait_ms)
        window = evolve(window, due_at=due_at)
    return _filled(definition, window, now)


def put_off(definition: Debounce[Any, Any], window: Window, now: int) -> Window:
    """A window that was due, behind a batch that has parked again (S-25)."""
    return evolve(window, due_at=flush_after(definition, now), cause=None, deferred=True)


def _filled(definition: Debounce[Any, Any], window: Window, now: int) -> Window:
    """The window, due at once if it has reached `max_events`."""
    full = definition.max_events
    if full is None or window.count < full or window.deferred:
        return window
    return evolve(window, cause="maxEvents", due_at=now)
