"""What a world consists of beside its store."""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from durable_jobs_core.backend import Answer, Batch, Row
from durable_jobs_core.engine import Engine, Exchange, Invoke
from durable_jobs_simulation.exhaustive import canonical
from durable_jobs_simulation.exhaustive.forking import changes
from durable_jobs_simulation.exhaustive.ledger import Ledger


class Action(NamedTuple):
    """What happens next. `at`: to which node, caller or late batch; `hook`: to which of its hooks."""

    what: str
    at: int = 0
    hook: int = 0


@define(eq=False)
class Steady:
    """Entropy without jitter, for the engine of that number: new lives differ, and no delay is drawn."""

    engine: int
    step: int
    count: int = 0

    def __call__(self) -> int:
        self.count += 1
        return canonical.LIVES // self.step * self.step + (self.engine * 1_000 + self.count) * self.step


@define(eq=False)
class Node:
    """An engine and what it waits for. `asked`: its exchange, `answer`: what the store said, if it was
    performed; `hooks`: those that run, by number; `cancelled`: those that are to end; `calls`: the callers;
    `text`: all of it but the exchange told, until it is fed again."""

    name: str
    engine_id: int
    engine: Engine
    asked: Exchange | None = None
    answer: Answer | None = None
    hooks: dict[int, Invoke] = field(factory=dict[int, Invoke])
    cancelled: set[int] = field(factory=set[int])
    calls: dict[int, int] = field(factory=dict[int, int])
    stopping: bool = False
    text: str | None = None

    def tell(self, teller: canonical.Teller) -> str:
        """It as text; its name is nothing to its future."""
        if self.text is None:
            parts = (self.engine_id, self.engine, self.hooks, self.cancelled, self.calls)
            self.text = canonical.Teller().tell(parts)
        return f"{self.text}{teller.tell(self.asked)}{teller.tell(self.answer)}"


@define(eq=False)
class Caller:
    """One caller: how many of its requests were made, and whether the last one is open."""

    made: int = 0
    open: bool = False


@define(eq=False)
class Late:
    """A batch whose sender knows no more of it, and that may still land."""

    engine: int
    batch: Batch


class Rot:
    """Stored rows do not rot here."""

    def after_commit(self, row: Row) -> None:
        """A row was written."""


changes(Node, Caller, Steady, Ledger)
