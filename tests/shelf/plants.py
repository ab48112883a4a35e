"""The form of the shelf: what is put where, and how it is found by simulation.

A wrong one is made of the right one: a function that is given what is there and returns what is put in its
place. The reverse of it, `through`, puts the right one there by the same hands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from typing import Any, Literal, Protocol, cast

import pytest
from attrs import evolve, field, frozen
from durable_jobs_simulation import Faults, Violation, simulation
from durable_jobs_simulation.case import MakeCase
from durable_jobs_simulation.scenarios import CASES

from durable_jobs_core.kinds import KINDS
from durable_jobs_core.kinds._table import Cell
from durable_jobs_core.words import Kind

Patch = pytest.MonkeyPatch
Make = Callable[[Any], Any]
Sort = Literal["core", "engine", "driver", "backend"]

SEEDS = 60
"""The budget: `python -m tests.shelf --margins` says how many of these seeds find each."""

PATIENCE_MS, PATIENCE_STEPS = 5 * 60_000, 30_000
"""A quarter, or less, of what a simulation allows for all to be done: the right ones need no more of it, and
the wrong ones that never come to an end are given up sooner."""


# -- where it is put


class Place(Protocol):
    """Something of the library that can be replaced."""

    def put(self, patch: Patch, make: Make) -> None:
        """Replace what is there by what `make` makes of it."""


@frozen
class Attribute:
    """A function, method, property or class, by the module or class that has it."""

    owner: Any
    name: str

    def put(self, patch: Patch, make: Make) -> None:
        patch.setattr(self.owner, self.name, make(getattr(self.owner, self.name)))


@frozen
class Item:
    """An entry of a table."""

    table: Any
    key: Any

    def put(self, patch: Patch, make: Make) -> None:
        patch.setitem(self.table, self.key, make(self.table[self.key]))


@frozen
class Cells:
    """The handlers of an event in a kind's table, in all phases or in those named."""

    kind: Kind
    event: type
    phases: tuple[str, ...] = ()

    def put(self, patch: Patch, make: Make) -> None:
        row = cast(dict[Any, Cell], KINDS[self.kind].table[self.event])
        for phase, cell in tuple(row.items()):
            if not self.phases or phase.name in self.phases:
                patch.setitem(row, phase, Cell(make(cell.reaction), frozenset(type(phase))))


@frozen
class Rule:
    """One of the functions that a kind is made of: `deadline`, `advance`."""

    kind: Kind
    name: str

    def put(self, patch: Patch, make: Make) -> None:
        rules = KINDS[self.kind]
        changed: Any = {self.name: make(getattr(rules, self.name))}
        patch.setitem(cast(dict[Kind, Any], KINDS), self.kind, evolve(rules, **changed))


def through(right: Any) -> Any:
    """The right one, put in its own place as a wrong one would be."""
    if isinstance(right, type):
        return type(right.__name__, (right,), {})
    if isinstance(right, property):
        return property(lambda self: right.__get__(self))

    @wraps(right)
    def same(*args: Any, **kwargs: Any) -> Any:
        return right(*args, **kwargs)

    return same


# -- what is put there


@frozen(kw_only=True)
class Planted:
    """A wrong core, engine or driver.

    `by`: the check that names its fault; `make`: of what is at the `places`; `case`, `faults`: the runs that
    find it, faults drawn from the seed if `None`.
    """

    name: str
    sort: Sort
    says: str
    by: str
    make: Make
    places: tuple[Place, ...]
    case: MakeCase
    faults: Faults | None

    def violations(self, seeds: int) -> Iterator[str | None]:
        """What each run violates with the wrong one in its place."""
        for seed in range(seeds):
            yield violated([self], lambda wrong: wrong.make, seed)

    def caught_after(self) -> int | None:
        """How many runs it takes the check to find the wrong one; `None`: more than the budget."""
        for runs, violated in enumerate(self.violations(SEEDS), 1):
            if violated == self.by:
                return runs
        return None


def violated(those: Sequence[Planted], make: Callable[[Planted], Make], seed: int) -> str | None:
    """What a run violates with what is made for each of these in its places; they have their runs in common.

    The first run is one without faults, unless they are named.
    """
    case, faults = those[0].case, those[0].faults
    with Patch.context() as patch:
        patch.setattr(simulation, "PATIENCE_MS", PATIENCE_MS)
        patch.setattr(simulation, "PATIENCE_STEPS", PATIENCE_STEPS)
        for planted in those:
            for place in planted.places:
                place.put(patch, make(planted))
        try:
            case().run(seed, Faults() if faults is None and seed == 0 else faults)
        except Violation as violation:
            return violation.invariant
    return None


@frozen
class Shelf:
    """Where the wrong ones of a sort are put, as functions with a docstring that says what is wrong."""

    sort: Sort
    case: MakeCase
    wrongs: list[Planted] = field(factory=list)

    def __call__(
        self, by: str, *places: Place, faults: Faults | None = None, case: MakeCase | None = None
    ) -> Callable[[Make], Make]:
        """Put it on the shelf."""

        def add(make: Make) -> Make:
            wrong = Planted(
                name=make.__name__,
                sort=self.sort,
                says=(make.__doc__ or "").strip(),
                by=by,
                make=make,
                places=places,
                case=case or self.case,
                faults=faults,
            )
            self.wrongs.append(wrong)
            return make

        return add


@cache
def case(name: str) -> MakeCase:
    """One of the simulation's own scenarios, on one lane, where it takes the fewest steps."""
    return lambda: evolve(CASES[name](), lanes=1)
