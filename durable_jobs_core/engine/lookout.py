"""The look-out for due work: when a lane is asked for some, of which jobs, and who comes first (D-4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import define, field

from durable_jobs_core.backend import Answer, Claim
from durable_jobs_core.engine.clock import Clock
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.words import Job, job_of

SHY_FIRST_MS = 8
SHY_MAX_MS = 128


@define(eq=False)
class Lookout:
    """What may be due in one lane, as far as is known here.

    It looks when it is `poll_at`, on the driver's clock, or `next_wake`, the earliest due instant known: all
    jobs are `unasked` then, and each is asked for as soon as it has a slot. `hot`: the jobs that filled their
    last claim; `turn`: which job is named first; `asked`: whether a claim was answered yet; `trusted`: the
    lane has answered, and lost no claim since: until then it is offered no slots, which others can use.

    Other processes look too. `told_wake`: the `next_wake` of the last claim's answer, unless it is of what
    that claim took; `called`: that instant has come; `hinted`: a hint says that there is work, due now or
    soon. Who then finds that others have taken it is `shy` for so many milliseconds, and looks `later` the
    next time by a part of them.
    """

    next_wake: int | None = None
    poll_at: int = 0
    unasked: set[Job] = field(factory=set)
    hot: set[Job] = field(factory=set)
    turn: int = 0
    asked: bool = False
    trusted: bool = False
    told_wake: int | None = None
    called: bool = False
    hinted: bool = False
    shy: int = 0
    later: int = 0

    # -- when

    def sees_nothing(self, clock: Clock) -> bool:
        """Whether nothing is due, as far as the lane has said."""
        return self.asked and not self.unasked and (self.next_wake is None or self.next_wake > clock.now)

    def ask_at(self, clock: Clock, slots: Slots) -> int:
        """When, on the driver's clock, to ask for due work, if a slot is free then."""
        return clock.t if slots.any_free(self.unasked) else self.look_at(clock)

    def look_at(self, clock: Clock) -> int:
        """When, on the driver's clock, something may have fallen due."""
        if self.next_wake is None:
            return self.poll_at
        return min(self.poll_at, clock.t_of(self.next_wake + self.later))

    def note_wake(self, instant: int) -> None:
        """Something falls due at that instant."""
        self.next_wake = instant if self.next_wake is None else min(self.next_wake, instant)

    def hint(self, t: int) -> None:
        """Another process says that there is work."""
        self.hinted, self.poll_at = True, min(self.poll_at, t + self.later)

    # -- asking

    def look(self, jobs: Iterable[Job], now: int, poll_at: int) -> None:
        """It is time to ask for the due runs of all jobs; the next time is at `poll_at`."""
        self.called = self.told_wake is not None and self.told_wake <= now
        self.unasked.update(jobs)
        self.next_wake, self.poll_at = None, poll_at

    def choose(self, jobs: Sequence[Job], slots: Slots, among: int) -> dict[Job, int]:
        """How many runs of which of all jobs to ask for, in turn; `among`: how many lanes share the slots."""
        order = (*jobs[self.turn :], *jobs[: self.turn])
        limits = slots.offer([job for job in order if job in self.unasked], self.hot, among=among)
        assert limits, "one of them has a slot, or nobody asks"
        self.unasked -= limits.keys()
        self.turn = (jobs.index(next(reversed(limits))) + 1) % len(jobs)
        return limits

    # -- hearing

    def lost(self, claim: Claim, *, alone: bool) -> None:
        """A claim was not answered: ask again. A lane that is `alone` has no other to leave the slots to."""
        self.trusted = alone
        self.unasked.update(claim.limits)

    def answered(self, claim: Claim, answer: Answer, *, useful: bool, node: int) -> None:
        """A claim was answered; `useful`: some of what it brought this release can run."""
        self.asked = True
        if useful:
            self.came_first()
        elif answer.claimed:
            self.gives_way()
        elif self.called or (self.hinted and not _is_near(answer.next_wake, claim.now)):
            self.came_in_vain(node)
        self.called = self.hinted = False
        self.told_wake = None if answer.next_wake == claim.until else answer.next_wake
        counts = Counter([job_of(row.key) for row in answer.claimed])
        full = {job for job, limit in claim.limits.items() if counts[job] >= limit}
        self.hot = (self.hot - claim.limits.keys()) | full
        self.unasked |= full
        if answer.next_wake is not None and answer.next_wake > claim.now:
            self.note_wake(answer.next_wake)
        elif answer.next_wake is not None and answer.claimed:
            self.unasked.update(claim.limits)  # there is more, and when the others fall due was not told

    # -- who comes first

    def came_first(self) -> None:
        """A claim brought due work: whoever is quickest stays so."""
        self.shy = self.later = 0

    def came_in_vain(self, node: int) -> None:
        """Others have taken what a claim was called for: come later each time, each process by another
        part, so that not all of them ask for each due run (D-4)."""
        self.shy = min(2 * self.shy or SHY_FIRST_MS, SHY_MAX_MS)
        self.later = self.shy // 2 + node % (self.shy // 2 + 1)

    def gives_way(self) -> None:
        """What it claimed only a newer release can run: come after all others, so that they get it (S-6)."""
        self.shy, self.later = SHY_MAX_MS, 2 * SHY_MAX_MS


def _is_near(instant: int | None, now: int) -> bool:
    """Whether something falls due in a moment, of which a hint has told: then nobody has taken it."""
    return instant is not None and instant - now <= SHY_MAX_MS
