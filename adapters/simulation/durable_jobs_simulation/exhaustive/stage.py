"""What the worlds of a search have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.record import Record
from durable_jobs_core.words import Key
from durable_jobs_simulation.exhaustive import canonical
from durable_jobs_simulation.exhaustive.nodes import Turns
from durable_jobs_simulation.exhaustive.scope import Scope
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.trace import Event, Trace

if TYPE_CHECKING:
    from durable_jobs_simulation.exhaustive.world import World


class Stage:
    """What the worlds of a search share, and what observers and stores see of the one that goes on."""

    def __init__(self, scope: Scope, *, keeps_trace: bool = False) -> None:
        self.scope = scope
        self.releases: tuple[Jobs, ...] = (scope.jobs,)
        self.faults = Faults(stall=float(scope.budgets["stall"] > 0))  # who stalls may answer late
        self.trace = Trace(seed=0, faults=self.faults)
        self.keeps_trace = keeps_trace
        self.turns: Turns = {}
        self.world: World

    @property
    def now(self) -> int:
        """What time it is."""
        return self.world.now

    @property
    def store(self) -> Store:
        """The store."""
        return self.world.store

    def clock(self) -> int:
        """The store's clock, and that of the nodes."""
        return self.world.now

    def say(
        self,
        lane: str,
        what: str,
        *details: object,
        key: Key | None = None,
        fault: bool = False,
        change: tuple[Record | None, Record | None] | None = None,
    ) -> None:
        """A line of the trace."""
        if self.keeps_trace:
            at = self.now - canonical.EPOCH
            event = Event(self.trace.steps, at, lane, what, key, details, fault, change)
            self.trace.events.append(event)

    def committed(self, engine: int, write: Write, before: Row | Damaged | None) -> None:
        """The store's word to the observer. That it is a hint to others is an action of its own: `nudge`."""
        self.world.committed(engine, write, before)

    def indexed(self, key: Key) -> None:
        """The store's word to the observer."""
        self.world.observer.indexed(key)
