"""SPEC §5 as a dumb model: one instance, plain numbers, ticks counted one by one."""

from __future__ import annotations

from support.model import Piece, Refused


class ContinuousModel:
    """One continuous instance.

    `span`: of `every`, or `None` for a tick each full minute; `grid`: whether there are ticks that can be
    missed; `grace`: of `skip`, or `None` for coalesce.
    """

    def __init__(
        self,
        *,
        span: int | None,
        grid: bool,
        grace: int | None,
        immediately: bool,
        attempts: int,
        delay: int,
        max_crashes: int,
        policy: str,
    ) -> None:
        self.span, self.grid, self.grace, self.immediately = span, grid, grace, immediately
        self.attempts, self.delay, self.max_crashes, self.policy = attempts, delay, max_crashes, policy
        self.exists = False

    def after(self, tick: int) -> int:
        """The tick after another, or after any instant for `cron`."""
        return (tick // 60_000 + 1) * 60_000 if self.span is None else tick + self.span

    def after_now(self, tick: int, now: int) -> int:
        """The first tick later than now."""
        while tick <= now:
            tick = self.after(tick)
        return tick

    @property
    def stands(self) -> str:
        """Where the run stands, or that there is none."""
        return "none" if not self.exists or self.run is None else self.run.stands

    @property
    def in_flight(self) -> Piece | None:
        """The run an attempt is in flight for."""
        return self.run if self.flies else None

    @property
    def flies(self) -> bool:
        """Whether an attempt is in flight."""
        return self.stands == "flies"

    def status(self) -> str:
        """S-35: the first that applies."""
        if not self.exists:
            return "not_found"
        if self.stands == "parked":
            return "parked"
        return "paused" if self.paused else "running"

    def alarm(self, lease_until: int | None) -> int | None:
        """I-4: when the instance must be woken."""
        if not self.exists or self.stands == "parked":
            return None
        if self.run is None:
            return None if self.paused else self.due
        if self.run.stands == "flies":
            return lease_until
        return None if self.paused and not self.run.forced else self.run.at

    # -- requests

    def start(self, now: int, value: int) -> tuple[bool, str]:
        """S-30, S-31."""
        if self.exists:
            return False, self.status()
        self.exists, self.state, self.paused = True, value, False
        self.runs, self.last_run, self.failed = 0, None, False
        self.run: Piece | None = None
        self.due = now if self.immediately else self.after(now)
        return True, "running"

    def trigger(self, now: int) -> tuple[bool, bool]:
        """S-34: whether there was an instance, and whether an attempt was joined."""
        if not self.exists:
            return False, False
        if self.run is None:
            self.runs += 1
            self.run = Piece(now, serves=None, forced=True)
        elif self.run.stands == "flies":
            return True, True
        else:
            self.run.revive(now)
            self.run.forced = True
        return True, False

    def pause(self) -> bool | Refused:
        """S-35."""
        if self.stands == "parked":
            return Refused("InvalidStateError")
        changed = self.exists and not self.paused
        self.paused = self.exists
        return changed

    def resume(self, now: int) -> bool | Refused:
        """S-35: a waiting retry now; the schedule at the first of stored due + k·d after now."""
        if self.stands == "parked":
            return Refused("InvalidStateError")
        if not self.exists or not self.paused:
            return False
        self.paused = False
        if self.run is not None and self.run.stands == "waits":
            self.run.at = now
        self.due = self.after_now(self.due, now)
        return True

    def reschedule(self, now: int) -> bool | Refused:
        """S-8."""
        if not self.exists:
            return Refused("InstanceNotFoundError")
        if self.run is not None:
            return False
        self.due = self.after(now)
        return True

    def terminate(self) -> int:
        """S-36: how many events are dropped."""
        self.exists = False
        return 0

    # -- what happens

    def advance(self, now: int, worker: bool) -> bool:
        """A worker starts the run that is due, if there is one (S-33)."""
        if not self.exists or not worker:
            return False
        if self.run is None:
            if self.paused or self.due > now:
                return False
            tick = self.due
            while self.grid and self.after(tick) <= now:
                tick = self.after(tick)
            if self.grace is not None and self.grid and now - tick > self.grace:
                self.due = self.after_now(tick, now)
                return False
            self.runs += 1
            self.run = Piece(now, serves=tick)
        run = self.run
        if run.stands != "waits" or run.at > now or (self.paused and not run.forced):
            return False
        run.stands = "flies"
        return True

    def succeed(self, now: int, value: int | None) -> None:
        """The run is over."""
        self.state, self.last_run = self.state if value is None else value, now
        self.end_run(now)

    def fail(self, now: int, retryable: bool) -> None:
        """S-21: the next attempt counts from the end of this one."""
        run, self.failed = self.run, True
        assert run is not None
        if retryable and run.attempt < self.attempts:
            run.stands, run.at, run.attempt, run.forced = "waits", now + self.delay, run.attempt + 1, False
        else:
            self.give_up(now)

    def crash(self, now: int) -> None:
        """S-14: the same attempt, at once, until it is too many."""
        assert self.run is not None
        self.run.crashes += 1
        if self.run.crashes < self.max_crashes:
            self.hand_back(now)
        else:
            self.failed = True
            self.give_up(now)

    def hand_back(self, now: int) -> None:
        """S-14: the same attempt is due, nothing is counted."""
        assert self.run is not None
        self.run.stands, self.run.at = "waits", now

    def end(self) -> None:
        """The hook terminated the instance."""
        self.exists = False

    def give_up(self, now: int) -> None:
        """S-24."""
        assert self.run is not None
        if self.policy == "terminate":
            self.exists = False
        elif self.policy == "park":
            self.run.stands, self.run.forced = "parked", False
        else:
            self.end_run(now)

    def end_run(self, now: int) -> None:
        """S-32 to S-34: when the schedule goes on."""
        assert self.run is not None
        serves, self.run = self.run.serves, None
        if not self.grid:
            self.due = self.after(now)
        elif serves is not None and self.due <= serves:  # else a resume has moved it
            self.due = self.after(serves)
