"""Which hooks were called in a run, and how they ended: one that was not, or always failed, is not tested.

And what became of the instances: invariants often pass over what is parked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

from durable_jobs_core.telemetry import JobFailed
from durable_jobs_core.words import Key
from durable_jobs_simulation.arguments import releases_of
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.trace import Trace

Calls: TypeAlias = Counter[tuple[str, str, str]]
"""How often a hook ended so, by its job, its name, and `returned` or what it raised. Each hook that there is
has a count of `returned`, if only 0."""

Ends: TypeAlias = Counter[tuple[str, str]]
"""How many instances there were at the end, by their job and status, and with dead letters."""

RETURNED = "returned"
NEARLY_ALL = 0.95
"""The share of calls that fail where something else is wrong than what the fakes and the faults do: before it
calls a server that is not there, a hook may find that there is nothing to do."""


def calls_of(case: Case, trace: Trace) -> Calls:
    """Those of a run. What a fault raised, or cut off, says nothing of a hook."""
    definitions = [one for jobs in releases_of(case.jobs) for one in jobs.by_name.items()]
    calls: Calls = Counter({(job, hook, RETURNED): 0 for job, one in definitions for hook in one.hooks})
    ended: dict[tuple[str, Key, str], str] = {}
    for event in trace.events:
        if event.key is None or not event.details:
            continue
        if event.what == "invoke":
            ended.pop((event.lane, event.key, event.details[0]), None)  # this call may be cut off
        elif event.what == "emit" and event.details[0] == JobFailed.type:
            hook, error = event.details[-2:]
            if ended.pop((event.lane, event.key, hook), None) == RETURNED:  # and what it left did not fit
                calls[event.key.job, hook, RETURNED] -= 1
                calls[event.key.job, hook, error.partition(":")[0]] += 1
        elif event.what in (RETURNED, "raised", "timedout"):
            hook, *error = event.details
            how = RETURNED if event.what == RETURNED else error[0] if error else TimeoutError.__name__
            ended[event.lane, event.key, hook] = how
            if "injected" not in how:
                calls[event.key.job, hook, how] += 1
    return calls


def told(calls: Calls, ends: Ends) -> Iterator[str]:
    """For a terminal: how often each hook was called, what became of instances, and what is not tested."""
    sums: Counter[tuple[str, str]] = Counter()
    for (job, hook, _), count in calls.items():
        sums[job, hook] += count
    parts: list[str] = []
    for (job, hook), count in sorted(sums.items()):
        failed = count - calls[job, hook, RETURNED]
        parts.append(f"{job}.{hook} {count}" + (f" ({failed} failed)" if failed else ""))
    yield f"hooks: {', '.join(parts) or 'none'}"
    jobs: dict[str, list[str]] = {}
    for (job, status), count in sorted(ends.items()):
        jobs.setdefault(job, []).append(f"{count} {status}")
    if jobs:
        yield "at the end: " + "; ".join(f"{job} {', '.join(counts)}" for job, counts in jobs.items())
    yield from untested(calls)


def untested(calls: Calls) -> Iterator[str]:
    """The hooks that were called, and failed nearly each time."""
    raised: dict[tuple[str, str], Counter[str]] = {}
    for (job, hook, how), count in calls.items():
        if how != RETURNED:
            raised.setdefault((job, hook), Counter())[how] += count
    for (job, hook), errors in sorted(raised.items()):
        failed, total = errors.total(), errors.total() + calls[job, hook, RETURNED]
        ((error, _),) = errors.most_common(1)
        if failed >= total * NEARLY_ALL:
            yield (
                f"{hook} of {job} failed in {failed} of its {total} calls, mostly {error}: "
                "what it does is hardly tested"
            )
