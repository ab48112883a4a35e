"""A claim that takes several calls: first each tells what is due, then each gives its share.

So what is due comes earliest first, and never more than is asked for, wherever it is kept; a claim that
finds nothing takes one round trip, as a claim of one call does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import evolve

from durable_jobs_core.backend import Claim
from durable_jobs_core.words import Job
from durable_jobs_redis._names import job_name


class Due(NamedTuple):
    """An entry that is due: when, of which call, the size of its row, its job."""

    instant: float
    call: int
    size: int
    job: Job


def chosen(claim: Claim, seen: Mapping[int, Sequence[Sequence[Any]]]) -> list[Due]:
    """Which entries to claim, in order, of those that each call has seen to be due: (job, instant, size)."""
    found: list[Due] = []
    size = 0
    for job, limit in claim.limits.items():
        name = job_name(*job)
        due = sorted(
            Due(float(instant), call, size, job)
            for call, entries in seen.items()
            for of, instant, size in entries
            if of == name
        )
        for entry in due[:limit]:
            size += entry.size
            if found and size > claim.max_bytes:
                return found
            found.append(entry)
    return found


def shares(claim: Claim, chosen: Iterable[Due]) -> dict[int, Claim]:
    """The claim that each call gets. It names all jobs, to be told what is due next of them."""
    found: dict[int, Claim] = {}
    for entry in chosen:
        mine = found.get(entry.call) or evolve(claim, limits=dict.fromkeys(claim.limits, 0), max_bytes=0)
        limits = {**mine.limits, entry.job: mine.limits[entry.job] + 1}
        found[entry.call] = evolve(mine, limits=limits, max_bytes=mine.max_bytes + entry.size)
    return found
