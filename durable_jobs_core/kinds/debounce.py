"""Debounce: events are collected in a window and handled as one batch (SPEC §6).

Rules that keep this file readable:

1. Every transition is a cell of `TABLE`, or part of `advance`: close a window that is due, start the
   batch that is due, delete what is no longer needed.
2. There is one batch at a time. A window that falls due behind it stays open and goes on collecting;
   `cause` remembers what made it due first.
3. The alarm is `deadline(body)` and is never set by hand.

An instance is COLLECTING (a window, no batch), or holds a batch: PENDING (due at an instant), RUNNING
(a lease is out) or PARKED (given up, kept), with or without a window behind it; or it is IDLE, kept
for its event ids or for an outcome somebody waits for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from durable_jobs_core._values import evolve
from durable_jobs_core.definitions import Debounce
from durable_jobs_core.errors import OverloadedError
from durable_jobs_core.events import (
    AddRequested,
    AlarmFired,
    AlarmMisfiled,
    ClearRequested,
    FlushRequested,
    HandlerFailed,
    HandlerReleased,
    HandlerSucceeded,
    LeaseRenewed,
    StateRequested,
    StatusRequested,
    TerminateRequested,
)
from durable_jobs_core.kinds import _shared as shared
from durable_jobs_core.kinds._draft import Draft, is_due, parked, revived
from durable_jobs_core.kinds._inline import outcome_of, refuse
from durable_jobs_core.kinds._table import Table, fenced, stay, to
from durable_jobs_core.kinds._window import due_reason, extended, flush_after, opened, put_off
from durable_jobs_core.record import LOST_MAX, Batch, DebounceBody, FlushReason, Result, Run, Stored, Window
from durable_jobs_core.results import (
    AddResult,
    ClearResult,
    DebounceState,
    DebounceStatus,
    FlushResult,
    StateResult,
)
from durable_jobs_core.retry import GiveUp, GiveUpReason
from durable_jobs_core.telemetry import DebounceFlushed, DebounceStarted
from durable_jobs_core.words import Failure, maybe_datetime, to_datetime

OUTCOME_KEPT_MS = 60_000
"""How long a flushed instance that would be gone is kept for those who wait for it (S-38)."""


class Phase(StrEnum):
    """Where an instance is; derived, never stored."""

    ABSENT = "absent"
    IDLE = "idle"
    COLLECTING = "collecting"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"


# by name: to look one up in its class is slow in Python 3.11
_ABSENT, _IDLE, _COLLECTING, _PENDING, _RUNNING, _PARKED = Phase
_EXISTING = (_IDLE, _COLLECTING, _PENDING, _RUNNING, _PARKED)
_AFTER_RUN = (_ABSENT, _IDLE, _COLLECTING, _PENDING, _RUNNING)


def phase_of(body: DebounceBody | None) -> Phase:
    """The phase of a body."""
    if body is None:
        return _ABSENT
    if body.run is None:
        return _IDLE if body.window is None else _COLLECTING
    if body.run.lease is not None:
        return _RUNNING
    return _PARKED if body.run.parked else _PENDING


def deadline(body: DebounceBody) -> int | None:
    """The alarm: when the instance next wants to be woken, or `None` (S-4)."""
    run = body.run
    if run is not None and run.lease is not None:
        return run.lease.until
    if run is not None and not run.parked:
        return run.due
    if body.window is not None:
        return body.window.due_at
    return None if run is not None else _kept_until(body)


def _kept_until(body: DebounceBody) -> int:
    """When an idle instance has nothing left to be kept for (S-45)."""
    forgotten = max((until for _, until in body.ids), default=0)
    if not body.marked:
        return forgotten
    assert body.outcome is not None, "what was flushed has ended, or was dropped"
    return max(forgotten, body.outcome.at + OUTCOME_KEPT_MS)


_STATUS: dict[Phase, DebounceState] = {
    _ABSENT: "not_found",
    _IDLE: "idle",
    _COLLECTING: "debouncing",
    _PENDING: "flushing",
    _RUNNING: "flushing",
    _PARKED: "parked",
}


def status_of(body: DebounceBody | None) -> DebounceState:
    """The status, the first that applies (S-45)."""
    return _STATUS[phase_of(body)]


_Draft = Draft[DebounceBody, Debounce[Any, Any]]


# -- starting what is due


def advance(d: _Draft) -> None:
    """Close the window if it is due, start the batch if this engine may, drop what is not needed."""
    window, run = d.body.window, d.body.run
    if window is not None and (reason := due_reason(window, d.now)) is not None:
        if run is None:
            run = _close(d, window, reason)
        elif run.parked:
            run = revived(run, d.now)
            d.change(run=run)
    if run is not None and is_due(run, d.now) and d.env.may_start:
        _start(d, run)
    elif run is None and d.body.window is None and _kept_until(d.body) <= d.now:
        d.end_life()


def _close(d: _Draft, window: Window, reason: FlushReason) -> Run:
    batch = Batch(state=window.state, count=window.count, started_at=window.started_at, reason=reason)
    run = Run(number=d.body.runs + 1, hook="execute", due=d.now)
    d.change(window=None, batch=batch, run=run, runs=run.number)
    return run


def _start(d: _Draft, run: Run) -> None:
    batch = _batch(d)
    run = d.lease(run)
    d.change(run=run)
    call = d.call_of(
        "execute",
        run,
        state=batch.state,
        event_count=batch.count,
        flush_reason=batch.reason,
        started_at=batch.started_at,
    )
    d.call(run, call)


def _batch(d: _Draft) -> Batch:
    assert d.body.batch is not None, "a run of a debounce is that of its batch"
    return d.body.batch


def _give_up(d: _Draft, run: Run, reason: GiveUpReason) -> None:
    """A batch gave up: it parks, or is deleted; an open window lives on (S-24, S-25)."""
    # What cannot be read another release may read (S-22).
    parks = d.definition.on_exhausted == "park" or reason == "unreadable"
    d.exhausted(run, reason, parks=parks)
    if not parks:
        d.terminated(reason)
        d.change(run=None, batch=None)
        _lose(d, run.number, "terminated", d.body.last_error)
        return
    d.ended(run.number, "parked", d.body.last_error, run=parked(run))
    window = d.body.window
    if window is not None and due_reason(window, d.now) is not None:
        d.change(window=put_off(d.definition, window, d.now))


def _lose(d: _Draft, run: int, result: Result, failure: Failure | None = None) -> None:
    """Note that the events of a run were dropped, for the flushes that wait for them (S-38)."""
    d.ended(run, result, failure)
    assert d.body.outcome is not None, "it has just ended"
    d.change(lost=(*d.body.lost, d.body.outcome)[-LOST_MAX:])


# -- requests


def _add(d: _Draft, event: AddRequested) -> None:
    definition, body = d.definition, d.maybe_body or DebounceBody()
    window = body.window
    ids = shared.remember(d, body.ids, event.event_id)
    limit = definition.max_pending
    if window is not None and limit is not None and window.count >= limit:
        raise OverloadedError(f"the window of {d.key}", limit, window.count)
    state = _reduce(d, event, window)
    if state is None:
        return
    created = window is None and body.batch is None
    if window is None:
        window = opened(definition, state, d.now)
        d.emit(DebounceStarted, flush_at=flush_after(definition, d.now))
    else:
        window = extended(definition, window, state, d.now)
    d.body = evolve(body, window=window, ids=ids)
    closes = body.batch is None and due_reason(window, d.now) is not None
    d.reply(
        AddResult(
            instance_id=str(d.key),
            created=created,
            event_count=window.count,
            will_flush_at=to_datetime(d.now if closes else window.due_at),
        )
    )


def _reduce(d: _Draft, event: AddRequested, window: Window | None) -> Stored | None:
    """The window's new state, or `None` while the reducer is to be called, or has failed."""
    if "on_event" not in d.definition.hooks:
        return Stored(d.definition.state_version, event.event)
    call = d.call_of(
        "on_event",
        None,
        state=None if window is None else window.state,
        event=event.event,
        event_count=1 if window is None else window.count + 1,
    )
    outcome = outcome_of(d, event, call)
    if outcome is None:
        return None
    if outcome.operations is None:
        refuse(d, outcome)
        return None
    return outcome.operations.state


def _event_count(body: DebounceBody) -> int:
    """How many events there are, in the window and in the batch."""
    window, batch = body.window, body.batch
    return (0 if window is None else window.count) + (0 if batch is None else batch.count)


def _flush(d: _Draft, event: FlushRequested) -> None:
    window, run, count = d.body.window, d.body.run, _event_count(d.body)
    if run is not None and run.lease is None:
        run = revived(run, d.now)
    first = last = d.body.runs + 1 if run is None else run.number
    if window is not None:
        last = d.body.runs + 1
        reason = due_reason(window, d.now) or "manual"
        window = evolve(window, cause=reason, due_at=min(window.due_at, d.now))
    d.change(run=run, window=window, marked=True)
    result = FlushResult(instance_id=str(d.key), flushed=False, event_count=count, outcome="accepted")
    d.reply(result, d.watch((first, last)))


def _flush_nothing(d: _Draft, event: FlushRequested) -> None:
    d.reply(FlushResult(instance_id=str(d.key), flushed=False, event_count=0, reason="empty"))


def _clear(d: _Draft, event: ClearRequested) -> None:
    window, batch, run = d.body.window, d.body.batch, d.body.run
    in_flight = run is not None and run.lease is not None
    discarded, runs = 0, d.body.runs
    if window is not None:
        discarded, runs = window.count, runs + 1
    lost = runs
    if run is not None and not in_flight:
        discarded, lost = discarded + _batch(d).count, run.number
        batch, run = None, None
    if discarded:
        d.terminated("cleared")
        d.change(window=None, batch=batch, run=run, runs=runs)
        _lose(d, lost, "cleared")
    d.reply(
        ClearResult(
            instance_id=str(d.key),
            cleared=discarded > 0,
            discarded_events=discarded,
            in_flight=in_flight,
        )
    )


def _clear_nothing(d: _Draft, event: ClearRequested) -> None:
    d.reply(ClearResult(instance_id=str(d.key), cleared=False))


def _terminate(d: _Draft, event: TerminateRequested) -> None:
    shared.terminate(d, event, discarded=_event_count(d.body))


def _status(d: _Draft, event: StatusRequested) -> None:
    body = d.maybe_body or DebounceBody()
    window, batch, run = body.window, body.batch, body.run
    status = status_of(d.maybe_body)
    d.reply(
        DebounceStatus(
            instance_id=str(d.key),
            status=status,
            event_count=0 if window is None else window.count,
            started_at=None if window is None else to_datetime(window.started_at),
            will_flush_at=maybe_datetime(None if window is None else window.due_at),
            batch_event_count=0 if batch is None else batch.count,
            attempt=None if run is None else run.attempt,
            last_error=body.last_error,
            parked_since=d.parked_since(status),
        )
    )


def _state(d: _Draft, event: StateRequested) -> None:
    body = d.maybe_body or DebounceBody()
    held = body.window or body.batch
    d.reply(StateResult(instance_id=str(d.key), state=None if held is None else held.state))


# -- facts


def _succeed(d: _Draft, run: Run, event: HandlerSucceeded) -> None:
    batch = _batch(d)
    assert run.lease is not None, "fenced"
    d.executed(run, batch.state)
    d.emit(
        DebounceFlushed,
        event_count=batch.count,
        reason=batch.reason,
        duration_ms=run.lease.since - batch.started_at,
    )
    d.ended(run.number, "succeeded", run=None, batch=None)


def _fail(d: _Draft, run: Run, event: HandlerFailed) -> None:
    after = d.failed(run, event, _batch(d).state, policy=d.definition.retry)
    if isinstance(after, GiveUp):
        _give_up(d, run, after.reason)
    else:
        d.ended(run.number, "retrying", event.failure, after.due, run=after)


TABLE: Table = {
    AddRequested: {
        _ABSENT: to(_add, _ABSENT, _COLLECTING, _PENDING, _RUNNING),
        _IDLE: to(_add, _IDLE, _COLLECTING, _PENDING, _RUNNING),
        _COLLECTING: to(_add, _COLLECTING, _PENDING, _RUNNING),
        _PENDING: to(_add, _PENDING, _RUNNING),
        _RUNNING: to(_add, _RUNNING),
        _PARKED: to(_add, _PARKED, _PENDING, _RUNNING),
    },
    FlushRequested: {
        **stay(_flush_nothing, _ABSENT, _IDLE),
        _COLLECTING: to(_flush, _PENDING, _RUNNING),
        _PENDING: to(_flush, _PENDING, _RUNNING),
        _RUNNING: to(_flush, _RUNNING),
        _PARKED: to(_flush, _PENDING, _RUNNING),
    },
    ClearRequested: {
        **stay(_clear_nothing, _ABSENT, _IDLE),
        _COLLECTING: to(_clear, _IDLE, _ABSENT),
        _PENDING: to(_clear, _IDLE, _ABSENT),
        _RUNNING: to(_clear, _RUNNING),
        _PARKED: to(_clear, _IDLE, _ABSENT),
    },
    TerminateRequested: {
        **stay(shared.terminate_nothing, _ABSENT),
        **{phase: to(_terminate, _ABSENT) for phase in _EXISTING},
    },
    StatusRequested: stay(_status, *Phase),
    StateRequested: stay(_state, *Phase),
    AlarmMisfiled: stay(shared.repair, *Phase),
    AlarmFired: {
        **stay(shared.wake, _ABSENT),
        _IDLE: to(shared.wake, _IDLE, _ABSENT),
        _COLLECTING: to(shared.wake, _COLLECTING, _PENDING, _RUNNING),
        _PENDING: to(shared.wake, _PENDING, _RUNNING),
        _RUNNING: to(shared.expire(_give_up), _ABSENT, _IDLE, _COLLECTING, _RUNNING, _PARKED),
        _PARKED: to(shared.wake, _PARKED, _PENDING, _RUNNING),
    },
    HandlerSucceeded: fenced(_succeed, *_AFTER_RUN),
    HandlerFailed: fenced(_fail, *_AFTER_RUN, _PARKED),
    HandlerReleased: fenced(shared.release, _PENDING, _RUNNING),
    LeaseRenewed: fenced(shared.renew, _RUNNING),
}
