"""Everything durable about one instance: one record, one row, written whole (SPEC §1).

A record is a *head* that every kind has, and a *body* of its kind. All of it is frozen: a step makes
new ones. What can be derived (statuses, the alarm, whether a run is parked) is not stored.
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from durable_jobs_core._values import evolve, value
from durable_jobs_core.words import Failure, Hook, Json, Revision, Token

FlushReason = Literal["flushAfter", "maxEvents", "manual"]
Result = Literal["succeeded", "retrying", "failed", "parked", "terminated", "cleared"]

WRITERS_MAX = 8
"""How many engines a record remembers the last write of (D-6)."""

LOST_MAX = 4
"""How many runs whose events were dropped a debounce remembers, for the flushes that wait (S-38)."""


@value
class Stored:
    """A user's state as JSON, with the version of the schema it was written under."""

    version: int
    value: Json


@value
class Lease:
    """The right of one engine to perform an attempt.

    `token`: the fence; `since`: when the attempt began; `until`: when others may take over.
    """

    token: Token
    since: int
    until: int


@value(kw_only=True, slots=False)
class Run:
    """One piece of work until it succeeds or is dropped.

    In flight: `lease` is set. Waiting: `due` is set. Parked: neither is.

    `number`: counts the runs of this life, and makes the idempotency key. `hook`: the one to call.
    `attempt`: of that hook, the one in flight or the next. `crashes`: since the run began or was
    revived. `first_at`: when its first attempt since then began. `scheduled_for`: the tick it serves.
    `failure`: what made `execute` or `on_event` give up. `forced`: a trigger came, so that it may start
    although the instance is paused; of an `on_idle` in flight, so that `execute` follows it.
    """

    number: int
    hook: Hook
    attempt: int = 1
    crashes: int = 0
    due: int | None = None
    lease: Lease | None = None
    first_at: int | None = None
    scheduled_for: int | None = None
    failure: Failure | None = None
    forced: bool = False

    @property
    def parked(self) -> bool:
        """Whether it gave up and waits for a revival (S-25)."""
        return self.due is None and self.lease is None


@value
class Outcome:
    """How the last attempt ended, for those who wait for it (S-38).

    `run`: the number of its run; `result`; `error`; `retry_at`: when `retrying`; `at`: when it ended.
    """

    run: int
    result: Result
    at: int
    error: Failure | None = None
    retry_at: int | None = None


@value(kw_only=True, slots=False)
class Body:
    """What the kinds have in common.

    `run`: the unfinished run. `runs`: runs begun in this life. `ended`: attempts that ended in it.
    `last_error`: the latest failure. `outcome`: how the latest attempt ended.
    """

    run: Run | None = None
    runs: int = 0
    ended: int = 0
    last_error: Failure | None = None
    outcome: Outcome | None = None

    @property
    def in_flight(self) -> Run | None:
        """The run a lease is out for, if any: there is at most one (I-3)."""
        return self.run if self.run is not None and self.run.lease is not None else None

    def keep(self, run: Run) -> Self:
        """The body with `run` in the place of the run with its number."""
        return evolve(self, run=run)


@value(kw_only=True, slots=False)
class ContinuousBody(Body):
    """Recurring work. `next_at`: the next due instant of the schedule, or the one a run serves."""

    state: Stored
    next_at: int | None
    paused: bool = False
    last_run_at: int | None = None


@value(kw_only=True, slots=False)
class Window:
    """What a debounce is collecting now.

    `due_at`: when it falls due by time; `cause`: what made it due first, if it was not time alone;
    `deferred`: a parked batch put it off, so that neither events nor their number move it (S-25).
    """

    state: Stored
    count: int
    started_at: int
    due_at: int
    cause: FlushReason | None = None
    deferred: bool = False


@value(kw_only=True)
class Batch:
    """A closed window being flushed; its `run` is the body's."""

    state: Stored
    count: int
    started_at: int
    reason: FlushReason


@value(kw_only=True, slots=False)
class DebounceBody(Body):
    """Collected events.

    `ids`: event ids with the instant each is forgotten, oldest first; `marked`: a flush asked for the
    outcome to be kept for a while (S-38); `lost`: how the latest runs ended whose events were dropped,
    oldest first, a cleared window being the run it would have become.
    """

    window: Window | None = None
    batch: Batch | None = None
    ids: tuple[tuple[str, int], ...] = ()
    marked: bool = False
    lost: tuple[Outcome, ...] = ()


@value(kw_only=True)
class QueuedEvent:
    """An event in the inbox of a task: its JSON, and its id if it was given one."""

    event: Json
    id: str | None = None


@value(kw_only=True)
class DeadEvent:
    """An event that was given up, with the error that ended it."""

    event: Json
    failure: Failure
    at: int
    id: str | None = None


@value(kw_only=True, slots=False)
class TaskBody(Body):
    """An event-driven state machine.

    `intake`: the work on the first event of `inbox`; `dead`: the dead letters; `ids`: as in a debounce.
    """

    state: Stored | None = None
    scheduled_at: int | None = None
    intake: Run | None = None
    inbox: tuple[QueuedEvent, ...] = ()
    dead: tuple[DeadEvent, ...] = ()
    ids: tuple[tuple[str, int], ...] = ()
    event_count: int = 0
    execute_count: int = 0

    @property
    def in_flight(self) -> Run | None:
        if self.intake is not None and self.intake.lease is not None:
            return self.intake
        return super().in_flight

    def keep(self, run: Run) -> Self:
        if self.intake is not None and self.intake.number == run.number:
            return evolve(self, intake=run)
        return super().keep(run)


AnyBody: TypeAlias = ContinuousBody | DebounceBody | TaskBody


@value
class Record:
    """One instance, as it is stored.

    `writers`: (engine, number) of the last write of each of the last few engines, latest first.
    `created_at`: when this life began; `at`: the instant of the last commit; `seq`: the telemetry
    values this life has given.
    """

    revision: Revision
    writers: tuple[tuple[int, int], ...]
    created_at: int
    at: int
    seq: int
    body: AnyBody

    def wrote(self, engine: int) -> int | None:
        """The number of that engine's last write, as far as the record remembers."""
        return next((number for writer, number in self.writers if writer == engine), None)

    def has_forgotten(self, number: int) -> bool:
        """Whether it may no longer name an engine whose last write had that number."""
        return len(self.writers) == WRITERS_MAX and min(entry[1] for entry in self.writers) > number

    def may_follow(self, earlier: Record) -> bool:
        """Whether that record of the same life may be among those it was made from: no writer is missing, and
        none is back where it was before."""
        return all(self._names(engine, number) for engine, number in earlier.writers)

    def _names(self, engine: int, number: int) -> bool:
        """Whether that write of an engine, or a later one, may be among those it was made from."""
        written = self.wrote(engine)
        return self.has_forgotten(number) if written is None else written >= number
