"""A scope: what is enumerated. Small enough to be finished, and named so that it can be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field, frozen

from durable_jobs_core.engine import Limits
from durable_jobs_core.events import Request
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.words import Key

Asked: TypeAlias = tuple[int, Key, Request, int | None]
"""A request to the node of that number, and how long its caller waits for a run."""

BUDGETS = ("jump", "crash", "lose", "refuse", "raise", "timeout", "nudge", "stop", "stall")
GRACE_MS = 2_000
"""What a handler is given when its node is shut down."""

LIMITS = Limits(lease=9_000, hold=2_000, poll=40_000, exchange=5_000)


def budgets(jump: int, **others: int) -> dict[str, int]:
    """How often each may happen in one history."""
    assert others.keys() <= set(BUDGETS), "there are no others"
    return {**dict.fromkeys(BUDGETS, 0), "jump": jump, **others}


@frozen(kw_only=True)
class Scope:
    """`callers`: each makes its requests in order, the next once it has an answer; `nodes`: whether each is
    a worker; `budgets`: how often the clock may go on and each fault may happen; `late`: what is lost may
    still land; `far_ms`: the clock does not go on to what is further away: idle polls; `rest_every`: it is
    brought to rest from one new state in so many, which its digest tells (I-8)."""

    name: str
    what: str
    jobs: Jobs
    callers: tuple[tuple[Asked, ...], ...]
    nodes: tuple[bool, ...] = (True,)
    budgets: Mapping[str, int]
    limits: Limits = field(default=LIMITS)
    late: bool = True
    far_ms: int = 35_000
    rest_every: int = 8
