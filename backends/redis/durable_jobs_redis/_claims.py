"""A claim that takes several calls: first each tells what is due, then each gives its share.

So what is due comes earliest first, and never more than is asked for, wherever it is kept; a claim that
finds nothing takes one round trip, as a claim of one call does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from durable_jobs_core.backend import Claim
from durable_jobs_redis._names import job_name


def shares(claim: Claim, seen: Mapping[int, Sequence[Sequence[Any]]]) -> dict[int, Claim]:
    """What each call is to give of a claim, for what each has `seen` to be due: (job, instant, bytes)."""
    due: defaultdict[bytes, list[tuple[float, int, int]]] = defaultdict(list)
    for call, entries in seen.items():
        for job, instant, size in entries:
            due[job].append((float(instant), size, call))
    counts: defaultdict[int, Counter[Any]] = defaultdict(Counter)
    sizes: Counter[int] = Counter()
    for job, limit in claim.limits.items():
        for _, size, call in sorted(due[job_name(*job)])[:limit]:
            if sizes and sizes.total() + size > claim.max_bytes:
                return _claims(claim, counts, sizes)
            counts[call][job] += 1
            sizes[call] += size
    return _claims(claim, counts, sizes)


def _claims(claim: Claim, counts: Mapping[int, Counter[Any]], sizes: Counter[int]) -> dict[int, Claim]:
    """Each names all jobs, since it tells what is due next of them."""
    return {
        call: evolve(claim, limits={job: taken[job] for job in claim.limits}, max_bytes=sizes[call])
        for call, taken in counts.items()
    }
