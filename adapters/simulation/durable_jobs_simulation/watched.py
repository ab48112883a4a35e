"""What an observer asks of a world and of its nodes: those of a simulation, or of the exhaustive checker."""

from __future__ import annotations

from typing import Any, Protocol

from durable_jobs_core.jobs import Jobs
from durable_jobs_core.record import Record
from durable_jobs_core.words import Key
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.store import Store


class Watched(Protocol):
    """A world. `faults`: what befalls it; `releases`: what its nodes may run, the newest last."""

    @property
    def now(self) -> int:
        """What time it is."""
        ...

    @property
    def faults(self) -> Faults:
        """The rates."""
        ...

    @property
    def releases(self) -> tuple[Jobs, ...]:
        """The jobs."""
        ...

    @property
    def store(self) -> Store:
        """What its nodes share."""
        ...

    def say(
        self,
        lane: str,
        what: str,
        *details: Any,
        key: Key | None = None,
        fault: bool = False,
        change: tuple[Record | None, Record | None] | None = None,
    ) -> None:
        """Add to the trace."""
        ...


class Peer(Protocol):
    """A node. `engine_id`: of the engine it has now; `stopping`: it was told to."""

    @property
    def name(self) -> str:
        """Its lane in the trace."""
        ...

    @property
    def engine_id(self) -> int:
        """Whose writes are its own."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether it is shut down."""
        ...
