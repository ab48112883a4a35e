"""What `simulate` is given is looked at before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from durable_jobs_core.checks import check, check_whole
from durable_jobs_core.engine import Limits
from durable_jobs_core.jobs import Jobs
from durable_jobs_simulation.faults import Faults

ManyJobs: TypeAlias = Jobs | Sequence[Jobs] | Callable[[], Jobs]
"""What nodes run: jobs, several releases of them, or a function that makes them for each node that starts."""


def releases_of(jobs: ManyJobs) -> tuple[Jobs, ...]:
    """The releases, the newest last; of a function, what it makes now. Raises `DefinitionError` for what is
    none."""
    expected = "what create_durable_jobs gives for one job or more"
    releases: tuple[Jobs, ...]
    if callable(jobs):
        name, releases = "jobs()", (jobs(),)
        came: object = releases[0]
    else:
        name, came, expected = "jobs", jobs, f"{expected}, or a sequence of such releases"
        releases = tuple(jobs) if isinstance(jobs, Sequence) else (jobs,)
    ok = releases and all(isinstance(release, Jobs) and release.by_key for release in releases)
    check(ok, name, expected, came)
    return releases


def check_arguments(
    seed: int, faults: Faults | None, nodes: int, clients: int, lanes: int | None, limits: Limits | None
) -> None:
    """Raises `DefinitionError` for what cannot be."""
    check(type(seed) is int, "seed", "a whole number", seed)
    check(faults is None or isinstance(faults, Faults), "faults", "Faults(...)", faults)
    check(limits is None or isinstance(limits, Limits), "limits", "Limits(...)", limits)
    check_whole(nodes, "nodes", 0)
    check_whole(clients, "clients", 0)
    if lanes is not None:
        check_whole(lanes, "lanes", 1)
    check(nodes + clients, "nodes, clients", "1 or more of either", (nodes, clients))
