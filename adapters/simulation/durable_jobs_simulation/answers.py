"""What requests and answers say, and what records say about the same."""

from __future__ import annotations

from typing import Any

from durable_jobs_core import events, results
from durable_jobs_core.context import TerminateSignal
from durable_jobs_core.engine import HookOutcome, HookRaised
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.record import DebounceBody, Record, Stored
from durable_jobs_core.telemetry import JobFailed, TelemetryEvent

REFUSED = ValidationError.__name__


def told(call: Any, leased: bool) -> tuple[str, ...]:
    """A call of a hook, for the trace."""
    if not leased:
        return (call.hook,)
    crashes = (f"crashes {call.crashes}",) if call.crashes else ()
    return (call.hook, f"run {call.run} attempt {call.attempt}", *crashes)


def ended(outcome: HookOutcome, injected: str) -> tuple[str, ...]:
    """How a hook ended, for the trace; `injected`: what is told of a failure that is a fault's. That it ends
    its instance is no failure (S-17)."""
    if not isinstance(outcome, HookRaised):
        return type(outcome).__name__.removeprefix("Hook").lower(), *([injected] if injected else ())
    if isinstance(outcome.error, TerminateSignal):
        return "returned", "terminates"
    return "raised", f"{type(outcome.error).__name__}{', ' if injected else ''}{injected}"


def emitted(value: TelemetryEvent) -> tuple[object, ...]:
    """Telemetry, for the trace: of a failure also the hook, and why. A hook may have returned, and what it
    returned or set does not fit: then its error says what was expected."""
    head = (value.type,) if value.seq is None else (value.type, value.seq)
    if not isinstance(value, JobFailed):
        return head
    failure = value.failure
    return *head, value.hook, str(failure).splitlines()[0] if failure.type == REFUSED else failure.type


def request(request: events.Request) -> str:
    """A request, for the trace."""
    name = type(request).__name__.removesuffix("Requested").lower()
    id = getattr(request, "event_id", None)
    return name if id is None else f"{name} {id}"


def wrote(result: Any) -> bool:
    """Whether an answer says that something was changed."""
    match result:
        case results.StartResult():
            return result.created
        case results.TriggerResult():
            return result.triggered and not result.joined
        case results.FlushResult():
            return result.reason != "empty"
        case results.ClearResult():
            return result.cleared
        case results.PauseResult():
            return result.paused
        case results.ResumeResult():
            return result.resumed
        case results.RedriveResult():
            return result.redriven > 0
        case results.DiscardResult():
            return result.discarded > 0
        case results.SendResult():
            return not (result.created and result.terminated)
        case results.AddResult():
            return True
        case _:
            return False


READS = (
    results.StateResult,
    results.TaskStateResult,
    results.ContinuousStatus,
    results.DebounceStatus,
    results.TaskStatus,
)


def view(result: Any) -> tuple[Any, ...]:
    """What a read shows, as far as it can be told from a record without the core's rules."""
    match result:
        case results.ContinuousStatus():
            return (result.status == "not_found", result.run_count, result.attempt)
        case results.DebounceStatus():
            return (result.status == "not_found", result.event_count, result.batch_event_count)
        case results.TaskStatus():
            facts = (result.event_count, result.execute_count, result.queued_events, result.dead_letters)
            return (result.status == "not_found", *facts)
        case _:
            return (_value(result.state),)


def stored(record: Record | None, result: Any) -> tuple[Any, ...]:
    """The same of a record."""
    body: Any = None if record is None else record.body
    match result:
        case results.ContinuousStatus():
            run = None if body is None else body.run
            return (body is None, 0 if body is None else body.runs, None if run is None else run.attempt)
        case results.DebounceStatus():
            parts = (None, None) if body is None else (body.window, body.batch)
            return (body is None, *(0 if part is None else part.count for part in parts))
        case results.TaskStatus():
            if body is None:
                return (True, 0, 0, 0, 0)
            return (False, body.event_count, body.execute_count, len(body.inbox), len(body.dead))
        case _:
            held = (body.window or body.batch) if isinstance(body, DebounceBody) else body
            return (None if held is None else _value(held.state),)


def _value(state: Stored | None) -> Any:
    """Without its version: an older one is made current before it is shown (S-6)."""
    return None if state is None else state.value


def ended_as(record: Record, outcome: str) -> bool:
    """Whether a record says that an attempt has ended so."""
    body = record.body
    if body.outcome is not None and body.outcome.result == outcome:
        return True
    return isinstance(body, DebounceBody) and outcome == "succeeded" and body.batch is None
