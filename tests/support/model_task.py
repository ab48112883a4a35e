"""SPEC §7 as a dumb model: one instance, its events in plain lists.

Every event is a text of its own, so that where each went is plain to see: `inbox`, `dead`, `applied` (by
one committed `on_event`), `handled` (by one committed `on_error`), `dropped` (I-1).
"""

from __future__ import annotations

from support.model import Piece, Refused

from durable_jobs_core.operations import Operations

Answer = Operations | None
"""What an inline hook asks for, or that it fails."""


class TaskModel:
    """One task instance. `hooks`: which of `on_idle` and `on_error` the definition has."""

    def __init__(
        self,
        *,
        hooks: frozenset[str],
        attempts: int,
        delay: int,
        max_crashes: int,
        policy: str,
        limit: int,
        ids_max: int,
        ids_for: int,
    ) -> None:
        self.hooks, self.attempts, self.delay, self.max_crashes = hooks, attempts, delay, max_crashes
        self.policy, self.limit, self.ids_max, self.ids_for = policy, limit, ids_max, ids_for
        self.accepted: list[str] = []
        self.applied: list[str] = []
        self.handled: list[str] = []
        self.dropped: list[str] = []
        self.inbox: list[tuple[str, str | None]] = []
        self.dead: list[tuple[str, str | None]] = []
        self.ids: list[tuple[str, int]] = []
        self.begin(exists=False)

    def begin(self, *, exists: bool) -> None:
        """A new life, or none; the queues are not of it alone (S-24)."""
        self.exists, self.state, self.scheduled = exists, None, None
        self.events = self.executes = 0
        self.failed = False
        self.run: Piece | None = None
        self.intake: Piece | None = None
        self.taking_over: Piece | None = None
        """S-10: the `on_error` that follows `execute`, before queued events."""

    @property
    def in_flight(self) -> Piece | None:
        """The piece of work an attempt is in flight for."""
        pieces = (self.intake, self.run)
        return next((piece for piece in pieces if piece is not None and piece.stands == "flies"), None)

    @property
    def flies(self) -> bool:
        """Whether an attempt is in flight."""
        return self.in_flight is not None

    @property
    def first(self) -> Piece | None:
        """S-51: queued events come before a run."""
        return self.intake if self.inbox else self.run

    def parked(self) -> Piece | None:
        """What gave up."""
        pieces = (self.intake, self.run)
        return next((piece for piece in pieces if piece is not None and piece.stands == "parked"), None)

    def status(self) -> str:
        """S-55: the first that applies."""
        if not self.exists:
            return "not_found"
        if self.parked() is not None:
            return "parked"
        return "active" if self.inbox or self.run is not None or self.scheduled is not None else "idle"

    def alarm(self, lease_until: int | None) -> int | None:
        """I-4: when the instance must be woken."""
        if self.flies:
            return lease_until
        if self.first is not None and self.first.stands == "waits":
            return self.first.at
        return self.scheduled

    # -- requests

    def send(
        self, now: int, event: str, id: str | None, on_event: Answer, on_error: Answer, on_idle: Answer
    ) -> Refused | tuple[bool, bool, int | None, bool]:
        """S-50, S-51: created, queued, when scheduled, terminated."""
        fresh = [(known, until) for known, until in self.ids if until > now]
        if id is not None and any(known == id for known, _ in fresh):
            return Refused("DuplicateEventError")
        queues = self.flies or bool(self.inbox)
        if queues and len(self.inbox) >= self.limit:
            return Refused("OverloadedError")
        asked = on_event
        if not queues and asked is None:
            asked = on_error if "on_error" in self.hooks else None
        if not queues and asked is None:
            return Refused("ExecutionError")
        idle = None
        if not queues and asked is not None and asked.terminate is None and "on_idle" in self.hooks:
            if self.run is None and self.planned(asked, now) is None:
                if on_idle is None:
                    return Refused("ExecutionError")
                idle = on_idle
        self.accepted.append(event)
        if id is not None:
            self.ids = [*fresh, (id, now + self.ids_for)][-self.ids_max :]
        if queues:
            self.inbox.append((event, id))
            return False, True, None, False
        assert asked is not None
        created, self.exists = not self.exists, True
        self.events += 1
        self.failed = self.failed or on_event is None
        (self.handled if on_event is None else self.applied).append(event)
        ends = asked.terminate is not None or (idle is not None and idle.terminate is not None)
        if ends:
            self.end()
            return created, False, None, True
        self.apply(asked, now)
        if idle is not None:
            self.apply(idle, now)
        self.retry_parked(asked, now)
        return created, False, self.scheduled, False

    def trigger(self, now: int) -> tuple[bool, bool]:
        """S-53: whether there was an instance, and whether an attempt was joined."""
        if not self.exists:
            return False, False
        if self.run is not None and self.run.stands == "flies":
            if self.run.hook != "on_idle" or self.run.forced:
                return True, True
            self.run.forced = True
            return True, False
        if self.intake is not None and self.intake.stands == "parked":
            self.intake.revive(now)
        self.run_now(now)
        return True, False

    def redrive(self) -> int | Refused:
        """S-51: all of them, to the end of the inbox."""
        if not self.exists:
            return Refused("InstanceNotFoundError")
        if len(self.inbox) + len(self.dead) > self.limit:
            return Refused("OverloadedError")
        moved, self.dead = self.dead, []
        self.inbox = [*self.inbox, *moved]
        return len(moved)

    def discard(self) -> int | Refused:
        """S-51: drop them all."""
        if not self.exists:
            return Refused("InstanceNotFoundError")
        dropped, self.dead = self.dead, []
        self.dropped.extend(event for event, _ in dropped)
        return len(dropped)

    def terminate(self) -> int:
        """S-36: how many events are dropped."""
        dropped = [*self.inbox, *self.dead]
        self.dropped.extend(event for event, _ in dropped)
        self.inbox, self.dead, self.ids = [], [], []
        self.begin(exists=False)
        return len(dropped)

    # -- what hooks ask for

    def planned(self, asked: Operations, now: int) -> int | None:
        """The schedule there would be."""
        change = asked.schedule
        if change is None:
            return self.scheduled
        return change.at if change.after_ms is None else now + change.after_ms

    def apply(self, asked: Operations, now: int) -> None:
        """State and schedule, in one commit (S-16)."""
        self.state = self.state if asked.state is None else asked.state.value
        self.scheduled = self.planned(asked, now)

    def end(self) -> None:
        """S-24: what is queued or dead goes into a new life, with its ids."""
        kept = [its for _, its in (*self.inbox, *self.dead)]
        self.ids = [(known, until) for known, until in self.ids if known in kept]
        self.begin(exists=bool(kept))

    def retry_parked(self, asked: Operations, now: int) -> None:
        """S-25: at once, or when the hook scheduled, or not at all."""
        if self.run is not None and self.run.stands == "parked" and asked.schedule is None:
            self.run.revive(now)

    def run_now(self, now: int) -> None:
        """S-18, S-53: the unfinished run, or a new one; an `on_idle` that waits comes after it."""
        if self.run is not None and (self.run.hook != "on_idle" or self.run.stands == "parked"):
            self.run.revive(now)
        else:
            self.executes += 1
            self.run = Piece(now, hook="execute")

    def owe_idle(self, run: Piece | None, now: int) -> None:
        """S-53: `on_idle` after a run, and after the queued events."""
        if "on_idle" not in self.hooks:
            self.run = None
        elif run is None:
            self.run = Piece(now, hook="on_idle")
        else:
            self.next_hook(run, "on_idle", now)

    def next_hook(self, piece: Piece, hook: str, now: int) -> None:
        """S-10: the hook that follows, an attempt of its own."""
        piece.hook, piece.stands, piece.at, piece.attempt = hook, "waits", now, 1

    def event_done(self, now: int) -> None:
        """The first queued event is out of the inbox."""
        self.inbox, self.intake = self.inbox[1:], None
        if not self.inbox and self.run is None and self.scheduled is None:
            self.owe_idle(None, now)

    # -- what happens

    def advance(self, now: int, worker: bool) -> bool:
        """Start the first thing that is due: queued events, the unfinished run, the schedule."""
        taking_over, self.taking_over = self.taking_over, None
        if not self.exists or self.flies:
            return False
        if taking_over is not None and worker:
            taking_over.stands = "flies"
            return True
        if self.run is not None and self.run.hook == "on_idle" and self.run.forced:
            self.run = None
            self.run_now(now)
        if self.run is not None and self.run.hook == "on_idle" and self.scheduled is not None:
            self.run = None
        if self.inbox and self.intake is None:
            self.intake = Piece(now, hook="on_event")
        if worker and self.scheduled is not None and self.scheduled <= now:
            if self.first is None or self.first.stands == "parked":
                self.scheduled = None
                if self.intake is not None:
                    self.intake.revive(now)
                self.run_now(now)
        first = self.first
        if first is None or first.stands != "waits" or first.at > now or not worker:
            return False
        first.stands = "flies"
        return True

    def succeed(self, now: int, asked: Operations) -> None:
        """The hook in flight returned."""
        piece = self.in_flight
        assert piece is not None
        takes_event = piece is self.intake
        if takes_event:
            (self.handled if piece.hook == "on_error" else self.applied).append(self.inbox[0][0])
        if asked.terminate is not None:
            self.inbox = self.inbox[1:] if takes_event else self.inbox
            self.end()
            return
        self.apply(asked, now)
        if takes_event:
            self.events += 1
            self.retry_parked(asked, now)
            self.event_done(now)
        elif piece.forced:
            self.hand_back(now)
        elif piece.hook == "on_idle":
            self.run = None
        else:
            self.owe_idle(piece, now)

    def fail(self, now: int, retryable: bool) -> None:
        """S-51, S-54."""
        piece, self.failed = self.in_flight, True
        assert piece is not None
        handled = piece.hook == "on_event" and "on_error" in self.hooks
        if retryable and not handled and piece.attempt < self.attempts:
            piece.stands, piece.at, piece.attempt = "waits", now + self.delay, piece.attempt + 1
        else:
            self.give_up(now)

    def crash(self, now: int) -> None:
        """S-14."""
        piece = self.in_flight
        assert piece is not None
        piece.crashes += 1
        if piece.crashes < self.max_crashes:
            self.hand_back(now)
        else:
            self.failed = True
            self.give_up(now)

    def hand_back(self, now: int) -> None:
        """S-14."""
        piece = self.in_flight
        assert piece is not None
        piece.stands, piece.at = "waits", now

    def give_up(self, now: int) -> None:
        """S-24, S-51, S-54."""
        piece = self.in_flight
        assert piece is not None
        if piece.hook in ("execute", "on_event") and "on_error" in self.hooks:
            self.next_hook(piece, "on_error", now)
            self.taking_over = piece
        elif piece is self.intake and len(self.dead) < self.limit:
            self.dead.append(self.inbox[0])
            self.event_done(now)
        elif piece.forced:
            self.hand_back(now)
        elif piece is self.intake or piece.hook != "execute" or self.policy == "park":
            piece.stands = "parked"
        elif self.policy == "continue":
            self.owe_idle(piece, now)
        else:
            self.end()
