"""What may happen to an instance: facts and requests, the inputs of `step` (SPEC §1).

Each is one frozen value, sent to one instance. A request is answered by one `Reply`; or by a `ReplyError`, or
a `DurableJobsError` that `step` raises, and then nothing has changed. Which requests are legal in which phase
is in the table of the kind. Requests carry values that were checked at the edge.
"""

from __future__ import annotations

from typing import TypeAlias

from durable_jobs_core._values import value
from durable_jobs_core.operations import InlineOutcome, Operations
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Failure, Json, Token

# -- requests of all kinds


@value
class StatusRequested:
    """A client asked for the status. Changes nothing."""


@value
class StateRequested:
    """A client asked for the user's state. Changes nothing."""


@value
class TerminateRequested:
    """A client asked to end the instance, with a `reason` for the telemetry (S-36)."""

    reason: str | None = None


@value
class TriggerRequested:
    """A client asked a continuous instance or a task to run now (S-34, S-53)."""


# -- requests of one kind


@value
class StartRequested:
    """A client asked for a continuous instance with `input` as its first state (S-30)."""

    input: Stored


@value
class PauseRequested:
    """A client asked a continuous instance to start no tick and no retry (S-35)."""


@value
class ResumeRequested:
    """A client asked a paused instance to go on (S-35)."""


@value
class RescheduleRequested:
    """A client asked for the due time to be computed anew, by the schedule in force (S-8)."""


@value(kw_only=True)
class AddRequested:
    """A client added an event to a debounce (S-40).

    `event`: its JSON; `event_id`: for idempotency (S-60); `outcomes`: of the inline hooks called for
    this request so far, filled in by the engine.
    """

    event: Json
    event_id: str | None = None
    outcomes: tuple[InlineOutcome, ...] = ()


@value
class FlushRequested:
    """A client asked for all that a debounce holds to be flushed now (S-44)."""


@value
class ClearRequested:
    """A client asked for all that a debounce holds to be dropped (S-44)."""


@value(kw_only=True)
class SendRequested:
    """A client sent an event to a task (S-50). Fields as in `AddRequested`."""

    event: Json
    event_id: str | None = None
    outcomes: tuple[InlineOutcome, ...] = ()


@value
class DeadLettersRequested:
    """A client asked for the dead letters of a task. Changes nothing."""


@value
class RedriveRequested:
    """A client asked for the dead letters to go back to the inbox (S-51)."""


@value
class DiscardRequested:
    """A client asked for the dead letters to be dropped (S-51)."""


# -- facts


@value
class AlarmFired:
    """The alarm went off, or the instance was claimed. Early, late and repeated ones are ordinary."""


@value
class AlarmMisfiled:
    """A load found the alarm `found` stored, and the record wants another (S-4)."""

    found: int | None


@value
class HandlerSucceeded:
    """A leased hook returned; `operations` is what it asked for. `token`: of the lease it had."""

    token: Token
    operations: Operations


@value
class HandlerFailed:
    """A leased hook raised, timed out, or left a state that does not fit.

    `retryable`: whether the policy in force matches the error (S-21); `unreadable`: it was not called, for
    what is stored does not decode (S-22).
    """

    token: Token
    failure: Failure
    retryable: bool = True
    unreadable: bool = False


@value
class HandlerReleased:
    """A leased hook was handed back at shutdown: the same attempt is to run again (S-14)."""

    token: Token


@value
class LeaseRenewed:
    """The engine still runs the hook and wants the lease to end later (S-13)."""

    token: Token


Request: TypeAlias = (
    StatusRequested
    | StateRequested
    | TerminateRequested
    | TriggerRequested
    | StartRequested
    | PauseRequested
    | ResumeRequested
    | RescheduleRequested
    | AddRequested
    | FlushRequested
    | ClearRequested
    | SendRequested
    | DeadLettersRequested
    | RedriveRequested
    | DiscardRequested
)
HandlerEvent: TypeAlias = HandlerSucceeded | HandlerFailed | HandlerReleased | LeaseRenewed
Event: TypeAlias = Request | AlarmFired | AlarmMisfiled | HandlerEvent
