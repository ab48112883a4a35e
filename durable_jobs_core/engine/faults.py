"""What a driver may do wrong, looked at before anything changes (rule 12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from durable_jobs_core.checks import shown
from durable_jobs_core.engine.protocol import (
    Abandoned,
    Answered,
    Called,
    Finished,
    HookOutcome,
    HookRaised,
    Input,
    Nudged,
    Returned,
    Stopping,
    Ticked,
)
from durable_jobs_core.engine.state import State
from durable_jobs_core.errors import DriverError
from durable_jobs_core.events import Request
from durable_jobs_core.words import Key

_REQUESTS = frozenset(get_args(Request))
_OUTCOMES = frozenset(get_args(HookOutcome))


def check(state: State, t: int, input: Input) -> None:
    """Raise `DriverError` for what breaks the contract."""
    if type(t) is not int:
        raise DriverError(f"t: expected whole milliseconds, got {shown(t)}")
    if t < state.clock.t:
        raise DriverError(f"t went back from {state.clock.t} to {t}")
    fault = _FAULTS.get(type(input), _no_input)(state, input)
    if fault is not None:
        raise DriverError(fault)


def _no_input(state: State, input: object) -> str:
    return f"expected an input of durable_jobs_core.engine, got {shown(input)}"


def _none(state: State, input: object) -> None:
    """There is nothing to look at."""


def _called(state: State, called: Called) -> str | None:
    if not type(called.call) is type(called.deadline) is type(called.size) is int:
        numbers = called.call, called.deadline, called.size
        return f"expected whole numbers for call, deadline and size, got {numbers}"
    if called.wait_ms is not None and type(called.wait_ms) is not int:
        return f"wait_ms: expected whole milliseconds or None, got {shown(called.wait_ms)}"
    if type(called.key) is not Key or type(called.request) not in _REQUESTS:
        return f"expected a Key and a request, got {shown(called.key)} and {shown(called.request)}"
    if called.call in state.calls.by_id:
        return f"call {called.call} was made before"
    return _lane_of(state, called.key)


def _lane_of(state: State, key: Key) -> str | None:
    lane, lanes = state.lane_of(key), len(state.lanes)
    if type(lane) is int and 0 <= lane < lanes:
        return None
    return f"lane({key}): expected a number from 0 to {lanes - 1}, got {shown(lane)}"


def _abandoned(state: State, abandoned: Abandoned) -> str | None:
    call = abandoned.call
    return None if type(call) is int else f"call: expected a whole number, got {shown(call)}"


def _answered(state: State, answered: Answered) -> str | None:
    for lane in state.lanes:
        if lane.flight is not None and lane.flight.id == answered.exchange:
            return None
    return f"exchange {answered.exchange} is not in flight"


def _finished(state: State, finished: Finished) -> str | None:
    if type(finished.invocation) is not int or finished.invocation not in state.handlers.running:
        return f"invocation {finished.invocation} is not running"
    outcome = finished.outcome
    if type(outcome) not in _OUTCOMES:
        return f"expected an outcome such as HookReturned(value), got {shown(outcome)}"
    if isinstance(outcome, HookRaised) and not isinstance(outcome.error, BaseException):
        return f"expected HookRaised with an exception, got {shown(outcome.error)}"
    return None


def _returned(state: State, returned: Returned) -> str | None:
    if type(returned.invocation) is int and returned.invocation in state.handlers.detached:
        return None
    return f"invocation {returned.invocation} is not detached"


def _stopping(state: State, stopping: Stopping) -> str | None:
    grace = stopping.grace_ms
    return None if type(grace) is int else f"grace_ms: expected whole milliseconds, got {shown(grace)}"


_FAULTS: dict[type, Callable[[State, Any], str | None]] = {
    Called: _called,
    Abandoned: _abandoned,
    Answered: _answered,
    Finished: _finished,
    Returned: _returned,
    Ticked: _none,
    Nudged: _none,
    Stopping: _stopping,
}
