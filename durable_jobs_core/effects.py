"""What is to be done: orders out of `step`, in two parts that are never mixed (S-2).

`Transition.commit` is at most one atomic write of the instance; `Transition.then` may happen only
after that write is known to be committed. A transition without a commit changes nothing, and its
`then` rests on the record it was computed from.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from durable_jobs_core._values import value
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.operations import HookCall
from durable_jobs_core.record import Record
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Token

# -- commit: one write


@value
class Persist:
    """Write the record whole, under the revision it was loaded with."""

    record: Record


@value
class Delete:
    """Remove the record, under the revision it was loaded with."""


@value
class SetAlarm:
    """Wake the instance at this instant."""

    at: int


@value
class ClearAlarm:
    """The instance does not want to be woken."""


# -- then: after the commit


@value
class CallHandler:
    """Call a hook. With a `token` it is leased by this commit; without, it is inline.

    An inline call comes without a commit: step the same request again with its outcome added.
    """

    call: HookCall
    token: Token | None = None


@value
class CancelHandler:
    """The handler with this token, if this engine has it, can no longer commit: cancel it."""

    token: Token


@value(kw_only=True)
class Watch:
    """How to tell that a run has ended that somebody waits for (S-38).

    `life`: of the instance; `ended`: attempts that had ended at the commit; `runs`: the first and the
    last run that must succeed (a flush), or `None` for the next attempt to end.
    """

    life: int
    ended: int
    runs: tuple[int, int] | None = None


@value
class Reply:
    """Answer the request with a result.

    `watch`: a caller that waits is answered when this is over, with `result` completed by the outcome.
    """

    result: Any
    watch: Watch | None = None


@value
class ReplyError:
    """Raise `error` to who made the request; `cause`: the exception that a hook raised, if it is of one."""

    error: DurableJobsError
    cause: BaseException | None = None


@value
class EmitTelemetry:
    """Give these values to the trackers, in this order."""

    events: tuple[TelemetryEvent, ...]


Commit: TypeAlias = Persist | Delete | SetAlarm | ClearAlarm
Then: TypeAlias = CallHandler | CancelHandler | Reply | ReplyError | EmitTelemetry


@value
class Transition:
    """One step: the record after it, and what to do once that is committed.

    `writes`: whether there is something to commit; if not, `record` is the one that was stepped, the same
    object; `alarm`: when the instance is to be woken.
    """

    record: Record | None
    then: tuple[Then, ...]
    writes: bool = False
    alarm: int | None = None

    @property
    def commit(self) -> tuple[Commit, ...]:
        """The one write, in its two parts: the record and its alarm; empty if nothing changed (S-2)."""
        if not self.writes:
            return ()
        record = Delete() if self.record is None else Persist(self.record)
        return record, ClearAlarm() if self.alarm is None else SetAlarm(self.alarm)
