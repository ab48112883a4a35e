"""What a hook is shown, and what it asked for: both plain data (S-16, D-5)."""

from __future__ import annotations

import hashlib

from attrs import field

from durable_jobs_core._values import value
from durable_jobs_core.record import FlushReason, Stored
from durable_jobs_core.words import INSTANT_MAX, Failure, Hook, Json, Key


@value
class HookCall:
    """One call of a hook, and all it is shown.

    Two calls are equal if the hook could not tell them apart: then the outcome of one serves for the
    other. `at`, `life` and `created_at` are told to the hook but not compared.
    """

    key: Key
    hook: Hook
    leased: bool
    at: int = field(eq=False)
    life: int = field(eq=False)
    created_at: int = field(eq=False)
    run: int = 0
    state: Stored | None = None
    event: Json = None
    failure: Failure | None = None
    attempt: int = 1
    crashes: int = 0
    run_count: int = 0
    event_count: int = 0
    execute_count: int = 0
    scheduled_for: int | None = None
    scheduled_at: int | None = None
    flush_reason: FlushReason | None = None
    started_at: int | None = None

    @property
    def idempotency_key(self) -> str | None:
        """The same text for every attempt of a run, another for every other run; ASCII (S-18)."""
        if not self.leased:
            return None
        name = hashlib.blake2b("\0".join(self.key).encode(), digest_size=8).hexdigest()
        return f"{name}-{self.life:016x}-{self.run}"


@value
class ScheduleChange:
    """A new schedule, `at` an instant or `after_ms` from the end of the hook; with neither, none."""

    at: int | None = None
    after_ms: int | None = None

    def due(self, now: int) -> int | None:
        """The instant it names, for a hook that ended `now`; the calendar's end if that is later."""
        return self.at if self.after_ms is None else min(now + self.after_ms, INSTANT_MAX)


@value
class Termination:
    """The instance is to end."""

    reason: str | None = None


@value
class Operations:
    """What a hook that returned asked for; `None` leaves a thing as it is. `size`: the bytes of the state."""

    state: Stored | None = None
    schedule: ScheduleChange | None = None
    terminate: Termination | None = None
    size: int = field(default=0, eq=False)


@value(kw_only=True)
class InlineOutcome:
    """How an inline hook ended: `operations` or `failure`, for what it was shown.

    `error`: the exception, to be the cause of what the caller is told. `unreadable`: the stored state
    did not decode, so the hook was not called.
    """

    call: HookCall
    operations: Operations | None = None
    failure: Failure | None = None
    error: BaseException | None = field(default=None, eq=False)
    unreadable: bool = False
