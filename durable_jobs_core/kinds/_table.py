"""The form of the transition tables: which event in which phase is handled by what, leading where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import frozen

from durable_jobs_core.events import LeaseRenewed
from durable_jobs_core.kinds._draft import Draft
from durable_jobs_core.record import Run
from durable_jobs_core.telemetry import JobStale

Reaction: TypeAlias = Callable[[Draft[Any, Any], Any], None]


@frozen
class Cell:
    """`reaction`: to the event; `to`: the phases the instance may be in when the step is over."""

    reaction: Reaction
    to: frozenset[Enum]


Table: TypeAlias = Mapping[type, Mapping[Enum, Cell]]


def to(reaction: Reaction, *phases: Enum) -> Cell:
    """A cell that may lead to any of `phases`."""
    return Cell(reaction, frozenset(phases))


def stay(reaction: Reaction, *phases: Enum) -> dict[Enum, Cell]:
    """Cells for several phases, each of which is kept."""
    return {phase: to(reaction, phase) for phase in phases}


def fenced(reaction: Callable[[Draft[Any, Any], Run, Any], None], *phases: Enum) -> dict[Enum, Cell]:
    """The cells for what a leased hook did: heard while RUNNING, if its token is current (S-11), and then it
    may lead to any of `phases`; else it is stale."""

    def checked(d: Draft[Any, Any], event: Any) -> None:
        run = d.body.in_flight
        assert run is not None, "RUNNING"
        assert run.lease is not None, "in flight"
        if run.lease.token != event.token:
            _stale(d, event)
        else:
            reaction(d, run, event)

    every = type(phases[0])
    return {**stay(_stale, *every), every["RUNNING"]: to(checked, *phases)}


def _stale(d: Draft[Any, Any], event: Any) -> None:
    """It changes nothing; a completion is reported."""
    if not isinstance(event, LeaseRenewed):
        d.emit(JobStale, committed=False)
