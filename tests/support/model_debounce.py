"""SPEC §6 as a dumb model: one instance, its events in plain lists.

Every event is a number of its own, and the reducer makes the list of them, so that where each event went
is plain to see: `window`, `batch`, `flushed` (each batch that succeeded), `dropped` (I-1, I-2).
"""

from __future__ import annotations

from support.model import Piece, Refused

KEPT = 60_000
"""How long an outcome is kept that a flush asked for (S-38)."""


class DebounceModel:
    """One debounce instance.

    `max_wait`: of a quiet window, with `quiet`; `ids_max`, `ids_for`: as in the definition.
    """

    def __init__(
        self,
        *,
        flush_after: int,
        quiet: bool,
        max_wait: int | None,
        max_events: int | None,
        max_pending: int | None,
        attempts: int,
        delay: int,
        max_crashes: int,
        policy: str,
        ids_max: int,
        ids_for: int,
    ) -> None:
        self.flush_after, self.quiet, self.max_wait = flush_after, quiet, max_wait
        self.max_events, self.max_pending = max_events, max_pending
        self.attempts, self.delay, self.max_crashes, self.policy = attempts, delay, max_crashes, policy
        self.ids_max, self.ids_for = ids_max, ids_for
        self.accepted: list[int] = []
        self.flushed: list[list[int]] = []
        self.dropped: list[int] = []
        self.forget_all()

    def forget_all(self) -> None:
        """There is no instance."""
        self.exists, self.marked, self.failed = False, False, False
        self.window: list[int] = []
        self.batch: list[int] = []
        self.run: Piece | None = None
        self.ids: list[tuple[str, int]] = []
        self.started = self.due = self.outcome_at = 0
        self.cause: str | None = None
        self.deferred = False

    @property
    def in_flight(self) -> Piece | None:
        """The run an attempt is in flight for."""
        return self.run if self.flies else None

    @property
    def flies(self) -> bool:
        """Whether an attempt is in flight."""
        return self.run is not None and self.run.stands == "flies"

    def first_cause(self, now: int) -> str | None:
        """S-42: what made the window due first, if anything has."""
        if not self.window:
            return None
        return self.cause or ("flushAfter" if self.due <= now else None)

    def kept_until(self) -> int:
        """S-45: the later expiry."""
        return max([0, *(until for _, until in self.ids), self.outcome_at + KEPT if self.marked else 0])

    def status(self) -> str:
        """S-45: the first that applies."""
        if not self.exists:
            return "not_found"
        if self.run is not None:
            return "parked" if self.run.stands == "parked" else "flushing"
        return "debouncing" if self.window else "idle"

    def alarm(self, lease_until: int | None) -> int | None:
        """I-4: when the instance must be woken."""
        if not self.exists:
            return None
        if self.run is not None and self.run.stands == "flies":
            return lease_until
        if self.run is not None and self.run.stands == "waits":
            return self.run.at
        if self.window:
            return self.due
        return None if self.run is not None else self.kept_until()

    # -- requests

    def add(self, now: int, event: int, id: str | None, fails: bool) -> Refused | tuple[bool, int, int]:
        """S-40 to S-42: whether it created the instance, the window's count, and when that is due."""
        fresh = [(known, until) for known, until in self.ids if until > now]
        if id is not None and any(known == id for known, _ in fresh):
            return Refused("DuplicateEventError")
        if self.max_pending is not None and len(self.window) >= self.max_pending:
            return Refused("OverloadedError")
        if fails:
            return Refused("ExecutionError")
        if id is not None:
            self.ids = [*fresh, (id, now + self.ids_for)][-self.ids_max :]
        created = not self.window and not self.batch
        self.exists = True
        self.accepted.append(event)
        if not self.window:
            self.started, self.due, self.cause, self.deferred = now, now + self.flush_after, None, False
        elif self.first_cause(now):
            self.cause = self.first_cause(now)
        elif self.quiet and not self.deferred:
            self.due = now + self.flush_after
            if self.max_wait is not None:
                self.due = min(self.due, self.started + self.max_wait)
        self.window.append(event)
        full = self.max_events is not None and len(self.window) >= self.max_events
        if full and not self.deferred and not self.first_cause(now):
            self.cause, self.due = "maxEvents", now
        closes = self.first_cause(now) is not None and not self.batch
        return created, len(self.window), now if closes else self.due

    def flush(self, now: int) -> tuple[str, int]:
        """S-44: the reason, and the sum of the events."""
        held = len(self.window) + len(self.batch)
        if not held:
            return "empty", 0
        self.marked = True
        if self.run is not None and self.run.stands != "flies":
            self.run.revive(now)
        if self.window:
            self.cause = self.first_cause(now) or "manual"
            self.due, self.deferred = min(self.due, now), False
        return "manual", held

    def clear(self, now: int) -> tuple[int, bool]:
        """S-44: how many events were dropped, and whether a batch goes on."""
        dropped, self.window = list(self.window), []
        if not self.flies:
            dropped = [*self.batch, *dropped]
            self.batch, self.run = [], None
        self.dropped.extend(dropped)
        if dropped:
            self.outcome_at = now
        return len(dropped), self.flies

    def terminate(self) -> int:
        """S-36: how many events are dropped."""
        dropped = [*self.batch, *self.window]
        self.dropped.extend(dropped)
        self.forget_all()
        return len(dropped)

    # -- what happens

    def advance(self, now: int, worker: bool) -> bool:
        """Close the window that is due, start the batch that is, or let the record go."""
        cause = self.first_cause(now)
        if cause is not None and self.run is None:
            self.batch, self.window = self.window, []
            self.run = Piece(now, reason=cause, started=self.started)
        elif cause is not None and self.run is not None and self.run.stands == "parked":
            self.run.revive(now)
            self.cause = cause
        if self.run is not None and self.run.stands == "waits" and self.run.at <= now and worker:
            self.run.stands = "flies"
            return True
        if self.run is None and not self.window and self.kept_until() <= now:
            self.forget_all()
        return False

    def succeed(self, now: int) -> None:
        """The batch is done."""
        self.flushed.append(self.batch)
        self.batch, self.run, self.outcome_at = [], None, now

    def fail(self, now: int, retryable: bool) -> None:
        """S-21."""
        assert self.run is not None
        self.failed, self.outcome_at = True, now
        if retryable and self.run.attempt < self.attempts:
            self.run.stands, self.run.at, self.run.attempt = "waits", now + self.delay, self.run.attempt + 1
        else:
            self.give_up(now)

    def crash(self, now: int) -> None:
        """S-14."""
        assert self.run is not None
        self.run.crashes += 1
        if self.run.crashes < self.max_crashes:
            self.hand_back(now)
        else:
            self.failed, self.outcome_at = True, now
            self.give_up(now)

    def hand_back(self, now: int) -> None:
        """S-14."""
        assert self.run is not None
        self.run.stands, self.run.at = "waits", now

    def give_up(self, now: int) -> None:
        """S-24, S-25."""
        assert self.run is not None
        if self.policy == "terminate":
            self.dropped.extend(self.batch)
            self.batch, self.run = [], None
            return
        self.run.stands = "parked"
        if self.first_cause(now):
            self.due, self.cause, self.deferred = now + self.flush_after, None, True
