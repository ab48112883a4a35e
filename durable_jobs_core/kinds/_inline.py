"""Inline hooks: a request asks for a call, and is stepped again with the outcome (S-10, D-5)."""

from __future__ import annotations

from typing import Any

from durable_jobs_core.effects import CallHandler, ReplyError
from durable_jobs_core.errors import ExecutionError, ValidationError
from durable_jobs_core.events import AddRequested, SendRequested
from durable_jobs_core.kinds._draft import Draft
from durable_jobs_core.operations import HookCall, InlineOutcome
from durable_jobs_core.telemetry import JobFailed


def outcome_of(
    d: Draft[Any, Any], event: AddRequested | SendRequested, call: HookCall
) -> InlineOutcome | None:
    """The outcome of a call that was shown the same; if there is none, `None`, and the order to make it."""
    outcome = next((outcome for outcome in event.outcomes if outcome.call == call), None)
    if outcome is None:
        d.then.append(CallHandler(call))
    return outcome


def report(d: Draft[Any, Any], outcome: InlineOutcome, *, committed: bool) -> None:
    """Say that an inline hook failed."""
    assert outcome.failure is not None, "only failures are reported"
    d.emit(
        JobFailed,
        committed=committed,
        hook=outcome.call.hook,
        run=0,
        run_count=0,
        attempt=1,
        will_retry=False,
        failure=outcome.failure,
        state=outcome.call.state,
    )


def refuse(d: Draft[Any, Any], outcome: InlineOutcome) -> None:
    """Answer a request whose inline hook failed: nothing of it is kept."""
    assert outcome.failure is not None, "only failures are refused"
    if outcome.unreadable:
        assert isinstance(outcome.error, ValidationError), "it did not decode"
        raise outcome.error
    report(d, outcome, committed=False)
    error = ExecutionError(d.key, outcome.call.hook, outcome.failure)
    d.then.append(ReplyError(error, outcome.error))
