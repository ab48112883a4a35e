"""What happened, as values (S-65). The table of types and their fields on the wire:

    job.started          input?                                     an instance was created
    job.executed         runCount durationMs attempt run hook       a hook succeeded
    job.failed           error runCount attempt willRetry run hook  a hook failed
    job.retryExhausted   attempts reason                            a run gave up
    job.terminated       reason? runCount                           an instance, or its data, ended
    debounce.started     flushAt                                    a window was opened
    debounce.flushed     eventCount reason durationMs               a batch succeeded
    task.scheduled       scheduledAt trigger                        a task set its schedule
    job.crashed          attempt crashes hook                       a lease ended without completion
    job.stale                                                       a completion came too late
    alarm.repaired       found                                      a stored alarm was wrong
    job.quarantined      why                                        a stored record cannot be read
    job.newer            what found known                           a record of a newer release is due
    job.unregistered                                                instances of a job nobody registered
    history.regressed    found expected                             a store went back behind a commit

The last seven, and `run`, `hook`, `life` and `seq`, are ours; the rest is the original's format.
Fields marked `?` are sent only if there is something to send; `input`, and `preExecutionState` with
`job.executed` and `job.failed`, only if asked for.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal, Self

from durable_jobs_core._values import evolve, value
from durable_jobs_core.record import FlushReason, Stored
from durable_jobs_core.retry import GiveUpReason
from durable_jobs_core.words import Failure, Hook, Json, Key, to_datetime


def iso(instant: int) -> str:
    """An instant as the wire format writes it: ISO 8601, milliseconds, `Z`."""
    return to_datetime(instant).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@value
class TelemetryEvent:
    """The head of every value.

    `key`; `at`: the instant; `life`: of this existence of the instance; `seq`: counts the values of a
    life from 1, `None` where nothing was committed.
    """

    type: ClassVar[str]
    key: Key
    at: int
    life: int
    seq: int | None

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        """The fields of this type as the wire names them."""
        raise NotImplementedError

    def without_state(self) -> Self:
        """The value without the user's state and input, as it is held where they are not sent: they may be
        large, and values wait by the thousand while a collector is away."""
        return self

    def wire(self, *, with_state: bool = False) -> dict[str, Any]:
        """The value as a JSON object, without the tracker's `env` and `serviceKey`.

        `with_state`: send the user's state and input too; they may hold secrets.
        """
        kind, job, id_ = self.key
        head: dict[str, Any] = {
            "eventId": self._event_id(),
            "timestamp": iso(self.at),
            "source": "job",
            "instanceId": str(self.key),
            "jobType": kind,
            "jobName": job,
            "id": id_,
            "type": self.type,
        }
        head.update(self.fields(with_state=with_state))
        head["life"] = f"{self.life:016x}"
        if self.seq is not None:
            head["seq"] = self.seq
        return head

    def _event_id(self) -> str:
        """A version 7 UUID that is the same whenever the same value is sent again."""
        told = self.fields(with_state=False)  # what rests on no commit has no `seq` to tell it from others
        text = repr((tuple(self.key), self.life, self.seq, self.type, self.at, told))
        tail = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
        head = f"{self.at & 0xFFFFFFFFFFFF:012x}"
        variant = f"{int(tail[3], 16) & 3 | 8:x}"
        return f"{head[:8]}-{head[8:]}-7{tail[:3]}-{variant}{tail[4:7]}-{tail[7:19]}"


@value(kw_only=True)
class JobStarted(TelemetryEvent):
    """A continuous instance was created with `input`."""

    type = "job.started"
    input: Json

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"input": self.input} if with_state else {}

    def without_state(self) -> Self:
        return evolve(self, input=None)


@value(kw_only=True)
class JobExecuted(TelemetryEvent):
    """A hook succeeded. `state`: what it found; `duration_ms`: by the engine's clock."""

    type = "job.executed"
    hook: Hook
    run: int
    run_count: int
    attempt: int
    duration_ms: int
    state: Stored | None

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {
            "runCount": self.run_count,
            "durationMs": self.duration_ms,
            "attempt": self.attempt,
            **_state(self.state, with_state),
            "run": self.run,
            "hook": self.hook,
        }

    def without_state(self) -> Self:
        return evolve(self, state=None)


@value(kw_only=True)
class JobFailed(TelemetryEvent):
    """A hook failed, for the reason in `failure`. `state`: what it found."""

    type = "job.failed"
    hook: Hook
    run: int
    run_count: int
    attempt: int
    will_retry: bool
    failure: Failure
    state: Stored | None

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        error: dict[str, Json] = {"message": self.failure.message, "name": self.failure.type}
        if self.failure.stack is not None:
            error["stack"] = self.failure.stack
        return {
            "error": error,
            "runCount": self.run_count,
            "attempt": self.attempt,
            "willRetry": self.will_retry,
            **_state(self.state, with_state),
            "run": self.run,
            "hook": self.hook,
        }

    def without_state(self) -> Self:
        return evolve(self, state=None)


@value(kw_only=True)
class RetryExhausted(TelemetryEvent):
    """A run gave up after `attempts` attempts."""

    type = "job.retryExhausted"
    attempts: int
    reason: GiveUpReason

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"attempts": self.attempts, "reason": self.reason}


@value(kw_only=True)
class JobTerminated(TelemetryEvent):
    """An instance was deleted, or its data dropped (S-46)."""

    type = "job.terminated"
    reason: str | None
    run_count: int

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        reason = {} if self.reason is None else {"reason": self.reason}
        return {**reason, "runCount": self.run_count}


@value(kw_only=True)
class DebounceStarted(TelemetryEvent):
    """A window was opened; it falls due at `flush_at`."""

    type = "debounce.started"
    flush_at: int

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"flushAt": iso(self.flush_at)}


_FLUSH_REASONS: dict[FlushReason, str] = {"flushAfter": "timeout"}


@value(kw_only=True)
class DebounceFlushed(TelemetryEvent):
    """A batch succeeded. `duration_ms`: from its first event to the attempt that succeeded."""

    type = "debounce.flushed"
    event_count: int
    reason: FlushReason
    duration_ms: int

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        reason = _FLUSH_REASONS.get(self.reason, self.reason)
        return {"eventCount": self.event_count, "reason": reason, "durationMs": self.duration_ms}


ScheduleTrigger = Literal["event", "execute", "idle", "error"]


@value(kw_only=True)
class TaskScheduled(TelemetryEvent):
    """A task set its schedule; `trigger` says in which hook."""

    type = "task.scheduled"
    scheduled_at: int
    trigger: ScheduleTrigger

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"scheduledAt": iso(self.scheduled_at), "trigger": self.trigger}


@value(kw_only=True)
class JobCrashed(TelemetryEvent):
    """A lease ended without completion; the same attempt runs again, or the run gives up (S-14)."""

    type = "job.crashed"
    hook: Hook
    attempt: int
    crashes: int

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"attempt": self.attempt, "crashes": self.crashes, "hook": self.hook}


@value(kw_only=True)
class JobStale(TelemetryEvent):
    """A completion came with a token that is not current; it changed nothing (S-11)."""

    type = "job.stale"

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {}


@value(kw_only=True)
class AlarmRepaired(TelemetryEvent):
    """A stored alarm, `found`, was not the one its record wants, and was put right (S-4)."""

    type = "alarm.repaired"
    found: int | None

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"found": None if self.found is None else iso(self.found)}


@value(kw_only=True)
class JobQuarantined(TelemetryEvent):
    """A stored record cannot be read; it is left as it is, out of the due index (S-6)."""

    type = "job.quarantined"
    why: str

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"why": self.why}


@value(kw_only=True)
class JobNewer(TelemetryEvent):
    """A due record was written by a newer release; it is held back for one (S-6)."""

    type = "job.newer"
    what: str
    found: int
    known: int

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"what": self.what, "found": self.found, "known": self.known}


@value(kw_only=True)
class JobUnregistered(TelemetryEvent):
    """The store holds instances of a job that is not registered here; said once a job (S-8)."""

    type = "job.unregistered"

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {}


@value(kw_only=True)
class HistoryRegressed(TelemetryEvent):
    """A store gave back a record older than one it had acknowledged (D-6)."""

    type = "history.regressed"
    found: int
    expected: int

    def fields(self, *, with_state: bool) -> dict[str, Any]:
        return {"found": self.found, "expected": self.expected}


def _state(state: Stored | None, with_state: bool) -> dict[str, Json]:
    return {"preExecutionState": None if state is None else state.value} if with_state else {}
