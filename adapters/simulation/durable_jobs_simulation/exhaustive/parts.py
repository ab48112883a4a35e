"""What a world consists of beside its engines and its store. None of it changes: a world gets another."""

from __future__ import annotations

from typing import NamedTuple

from attrs import frozen

from durable_jobs_core.backend import Answer, Batch
from durable_jobs_simulation.exhaustive.canonical import Part, part_of
from durable_jobs_simulation.exhaustive.nodes import Node


class Action(NamedTuple):
    """What happens next. `at`: to which node, caller or late batch; `hook`: to which of its hooks."""

    what: str
    at: int = 0
    hook: int = 0


class Seat(NamedTuple):
    """A node and what its engine does not know: `answer`: what the store said, if its exchange was performed;
    `stalled`: it does nothing, whatever time it is."""

    node: Node
    answer: Answer | None = None
    stalled: bool = False

    def tell(self) -> tuple[Part, ...]:
        """It in parts."""
        return (self.node.part, part_of(self.answer), part_of(self.stalled))


class Caller(NamedTuple):
    """One caller: how many of its requests were made, and whether the last one is open."""

    made: int = 0
    open: bool = False


@frozen(eq=False)
class Late:
    """A batch whose sender knows no more of it, and that may still land."""

    engine: int
    batch: Batch
