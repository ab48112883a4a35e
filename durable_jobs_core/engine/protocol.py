"""What goes into an engine and what comes out: the values drivers handle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from attrs import field

from durable_jobs_core._values import value
from durable_jobs_core.backend import Answer, Batch
from durable_jobs_core.checks import check, check_ms, check_whole
from durable_jobs_core.context import AnyContext
from durable_jobs_core.definitions import HookFunction
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.events import Request
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import YEAR_MS, Hook, Job, Key

# -- how a hook ended


@value
class HookReturned:
    """The hook returned `value`."""

    value: Any = None


@value
class HookRaised:
    """The hook raised, a cancellation of its own making included."""

    error: BaseException


@value
class HookTimedOut:
    """The hook took longer than its `timeout_ms`, for which any but a reducer is cancelled, and has ended."""


@value
class HookCancelled:
    """The hook was cancelled because of a `Cancel`, or with all else as the program ends, and has ended.

    Unasked, it has not failed: its lease is released by an engine that is stopping, else expires (S-14).
    """


@value
class HookDetached:
    """The hook runs in a thread, which cannot be stopped, and its time is up or it was cancelled.

    The engine goes on without it; `Returned` follows when the thread returns.
    """


HookOutcome: TypeAlias = HookReturned | HookRaised | HookTimedOut | HookCancelled | HookDetached

# -- inputs


@value
class Called:
    """A caller wants `request` done to the instance `key`.

    `call`: the driver's number for it, never used twice; `deadline`: on the driver's clock, when the
    caller must have an answer; `wait_ms`: how long to wait for the run that a trigger or flush makes
    due, `None` not at all (S-38); `size`: roughly its bytes, for the limit.
    """

    call: int
    key: Key
    request: Request
    deadline: int
    wait_ms: int | None = None
    size: int = 0


@value
class Abandoned:
    """The caller is gone. Its request goes on all the same, until its deadline."""

    call: int


@value
class Answered:
    """An exchange has ended: the backend's answer, or what it raised."""

    exchange: int
    answer: Answer | BaseException


@value
class Finished:
    """A hook has ended, or was detached."""

    invocation: int
    outcome: HookOutcome


@value
class Returned:
    """The thread of a detached hook has returned."""

    invocation: int


@value
class Ticked:
    """Time has passed."""


@value
class Nudged:
    """Another process may have made work due: a hint."""


@value
class Stopping:
    """Shut down: let handlers finish for `grace_ms`, then cancel them (S-67)."""

    grace_ms: int


Input: TypeAlias = Called | Abandoned | Answered | Finished | Returned | Ticked | Nudged | Stopping

# -- needs


@value
class Exchange:
    """Perform `backend.exchange(lane, batch)` and feed `Answered(id, ...)` with what came of it."""

    id: int
    lane: int
    batch: Batch


@value
class Invoke:
    """Call `function.call(*args)` and feed `Finished(id, ...)`.

    `timeout_ms`: cancel it after so long; `ctx`: what the hook was given; `leased`: it may run long.
    A plain function runs in a thread, unless `inline_def`: a reducer, which runs where it is (S-15).
    """

    id: int
    key: Key
    hook: Hook
    function: HookFunction
    args: tuple[Any, ...]
    ctx: AnyContext
    leased: bool
    timeout_ms: int | None
    inline_def: bool


@value
class Cancel:
    """Cancel the hook. Its `Finished` follows when it has ended; of a thread, at once or soon."""

    invocation: int


@value
class Reply:
    """Answer the caller with `result`, or raise `error`; `cause` is the original exception."""

    call: int
    result: Any = None
    error: DurableJobsError | None = None
    cause: BaseException | None = None


@value
class Emit:
    """Give the values to the trackers, in this order."""

    events: tuple[TelemetryEvent, ...]


@value
class Closed:
    """The engine has stopped: feed nothing more."""


Need: TypeAlias = Exchange | Invoke | Cancel | Reply | Emit | Closed


@value
class Attempt:
    """An attempt that holds a slot. `since`: when it began, an aware UTC datetime by the backend's clock;
    `left_behind`: its time is up or it was cancelled, but its thread goes on."""

    key: Key
    hook: Hook
    since: datetime
    left_behind: bool = False


@value
class Trouble:
    """Why a backend could not do what it was asked last, or took no writes; `times`: how often in a row."""

    why: str
    times: int


@value(kw_only=True)
class Limits:
    """What bounds an engine. Spans are milliseconds.

    `concurrency`: leased attempts at a time; `per_job`: the same for a (kind, job), over the definition; with
    zero that job is not run here.
    `queued_requests`, `queued_bytes`: requests not answered yet; `cache_bytes`: records kept in memory.
    `lease`: of an attempt; `hold`: how long a claim keeps others off; `poll`: the longest time between
    two looks for due work; `exchange`: after which a write that has not taken effect no longer may;
    `settle`: how long a shutdown waits for the backend after the handlers have ended.
    Raises `DefinitionError` for what is no such number.
    """

    concurrency: int = 100
    per_job: Mapping[Job, int] = field(factory=dict[Job, int])
    queued_requests: int = 10_000
    queued_bytes: int = 64 * 1024 * 1024
    cache_bytes: int = 8 * 1024 * 1024
    lease: int = 30_000
    hold: int = 5_000
    poll: int = 1_000
    exchange: int = 10_000
    settle: int = 10_000

    def __attrs_post_init__(self) -> None:
        for name, least in _COUNTS.items():
            check_whole(getattr(self, name), f"Limits({name})", least)
        for name, least in _SPANS.items():
            check_ms(getattr(self, name), f"Limits({name})", least, YEAR_MS)
        check(isinstance(self.per_job, Mapping), "Limits(per_job)", "numbers by (kind, job)", self.per_job)
        for job, number in self.per_job.items():
            check_whole(number, f"Limits(per_job[{job}])", 0)


_COUNTS = {"concurrency": 1, "queued_requests": 1, "queued_bytes": 1, "cache_bytes": 0}
_SPANS = {"lease": 10, "hold": 1, "poll": 1, "exchange": 1, "settle": 0}
"""The least of each. A lease is looked at when a tenth of it is left, in whole milliseconds."""
