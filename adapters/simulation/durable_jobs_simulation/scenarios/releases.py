"""Two releases of the same jobs: the newer one stores states under a new version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from durable_jobs_core import create_durable_jobs
from durable_jobs_core.jobs import Jobs


def releases(definitions: Mapping[str, Any]) -> tuple[Jobs, Jobs]:
    """The jobs as they were, and as they are. The older release does not know the last of them."""
    known = list(definitions)[:-1]
    older = create_durable_jobs({name: definitions[name] for name in known})
    newer = {
        name: evolve(job, state_version=2, upcasters={1: _as_it_was}) for name, job in definitions.items()
    }
    return older, create_durable_jobs(newer)


def _as_it_was(state: Any) -> Any:
    return state
