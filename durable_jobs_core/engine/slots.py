"""How many leased attempts may run, in all and per job (S-69)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from durable_jobs_core.words import Job


class Slots:
    """Counts slots taken: by attempts, by claims on their way, and by detached threads."""

    def __init__(self, total: int, limits: Mapping[Job, int]) -> None:
        self._total = total
        self._limits = {job: min(total, limit) for job, limit in limits.items()}
        self._taken: Counter[Job] = Counter()
        self._sum = 0

    def limit(self, job: Job) -> int:
        """How many attempts of the job may run at a time."""
        return self._limits.get(job, self._total)

    def free(self, job: Job) -> int:
        """How many more attempts of the job may start."""
        own = self._limits.get(job)
        free = self._total - self._sum
        return free if own is None else min(free, own - self._taken[job])

    def any_free(self, jobs: Iterable[Job]) -> bool:
        """Whether an attempt of one of them may start. It is asked after every input: it looks at few."""
        return self._sum < self._total and any(self.free(job) > 0 for job in jobs)

    def take(self, job: Job, count: int = 1) -> None:
        """Take slots; the caller has looked that they are free."""
        self._taken[job] += count
        self._sum += count

    def give(self, job: Job, count: int = 1) -> None:
        """Give slots back."""
        self._taken[job] -= count
        self._sum -= count
        assert self._taken[job] >= 0, "a slot is given back once"

    def offer(self, jobs: Iterable[Job], hot: Set[Job], *, among: int = 1) -> dict[Job, int]:
        """How many runs of each job to claim: never more in all than may start, and of what is free one part
        in `among`: if a lane does not answer, what it was offered is idle.

        Jobs that filled their last claim (`hot`) share what is free; each of the others is given one
        chance at a time, so that no backlog keeps another job's slots idle. The jobs come in the order
        in which they take turns when there is not a slot for each.
        """
        free = -((self._sum - self._total) // among)
        able = [job for job in jobs if self.free(job) > 0][:free]
        offered = dict.fromkeys(able, 1)
        left = free - len(able)
        eager = [job for job in able if job in hot] or able
        while left > 0 and eager:
            share = max(1, left // len(eager))
            for job in tuple(eager):
                more = min(share, left, self.free(job) - offered[job])
                offered[job] += more
                left -= more
                if offered[job] >= self.free(job):
                    eager.remove(job)
        return offered
