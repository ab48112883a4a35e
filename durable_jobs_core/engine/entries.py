"""The inputs of a key, what stepping made of them, the writes that carry them, and why it is read."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define

from durable_jobs_core._values import evolve, value
from durable_jobs_core.backend import Row
from durable_jobs_core.codec import Loaded
from durable_jobs_core.effects import Then
from durable_jobs_core.events import AddRequested, Event, SendRequested
from durable_jobs_core.operations import InlineOutcome
from durable_jobs_core.record import Record

OUTCOME_BYTES_MAX = 16 * 1024 * 1024
"""No inline hook is called while the outcomes of others hold states of more bytes: they are written first."""


@define(eq=False)
class Entry:
    """One input of a key.

    `arrived`: when, in the engine's count of inputs; `urgent`: it overtakes inline hooks; `brings_slot`: it
    ends an attempt, whose slot it may use again; `call`: of the caller, if it has one; `wait_ms`: how long
    the caller waits for a run; `conflicts`: how often it was stepped in vain; `exposed`: it is in a write
    that may still land.
    """

    event: Event
    arrived: int
    urgent: bool = False
    brings_slot: bool = False
    call: int | None = None
    wait_ms: int | None = None
    conflicts: int = 0
    exposed: bool = False

    def add_outcome(self, outcome: InlineOutcome) -> None:
        """The inline hook that it asked for has ended: it is stepped again with what came of it."""
        assert isinstance(self.event, AddRequested | SendRequested), "only these have inline hooks"
        self.event = evolve(self.event, outcomes=(*self.event.outcomes, outcome))


@value
class Stepped:
    """An input that was stepped, and what is to follow once the write is committed.

    `writes`: it changed the working copy; `leases`: it took a lease, and so a slot; `ends`: it ended a life;
    `outcome_bytes`: those of the states in its outcomes and in those of the ones before it.
    """

    entry: Entry
    then: tuple[Then, ...]
    writes: bool = False
    leases: bool = False
    ends: bool = False
    outcome_bytes: int = 0


@value
class Released:
    """What may be done now for an input: `then`, resting on a commit or on a fresh record."""

    entry: Entry
    then: tuple[Then, ...]
    committed: bool


@value
class Writing:
    """A write handed out.

    `base`: what it is based on; `work`: the record it leaves, `None` if it deletes; `row`: the same encoded;
    `number`: of its revision; `steps`: whose it is; `not_after`: it cannot land later.
    """

    base: Loaded | None
    work: Record | None
    row: Row | None
    number: int
    steps: tuple[Stepped, ...]
    not_after: int


class Reading(Enum):
    """Why a key is to be read; until it is, nothing of it is stepped."""

    LOAD = "what is stored is not known, or not as fresh as it has to be"
    SETTLE = "its last write was lost: what became of that is to be known first"
    SETTLE_LATE = "likewise, once no lost write can land any more"
    LOOK_LATE = "nobody asks any more, but a lease that lands late is kept: likewise, unless an input comes"


def outcome_bytes(steps: Sequence[Stepped], entry: Entry | None = None) -> int:
    """The bytes of the states in the outcomes of inline hooks, with those of an input to be added."""
    before = steps[-1].outcome_bytes if steps else 0
    if entry is None or not isinstance(entry.event, AddRequested | SendRequested):
        return before
    return before + sum(outcome.operations.size for outcome in entry.event.outcomes if outcome.operations)


def is_full(steps: Sequence[Stepped]) -> bool:
    """Whether they are to be written before another inline hook is called."""
    return outcome_bytes(steps) > OUTCOME_BYTES_MAX
