"""A smaller run that fails the same way: fewer faults, then milder ones, then fewer nodes and lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from durable_jobs_simulation.case import Case, MakeCase
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.trace import Trace
from durable_jobs_simulation.violation import Violation

RUNS_MAX = 60


def shrink(
    make: MakeCase, trace: Trace, invariant: str, *, tried: Callable[[int], None] = lambda n: None
) -> Trace:
    """The smallest trace found that violates the same invariant under the same seed."""
    search = _Search(make, trace, invariant, tried)
    search.drop()
    for name, rate in search.best.faults.rates().items():
        search.try_(evolve(search.best.faults, **{name: round(rate / 4, 6)}))
    for nodes, clients in ((1, 0), (1, 1), (2, 0)):
        search.try_(search.best.faults, nodes=nodes, clients=clients)
    search.try_(search.best.faults, lanes=1)
    search.drop()  # in the smaller run, other faults are needed
    return search.best


class _Search:
    def __init__(self, make: MakeCase, trace: Trace, invariant: str, tried: Callable[[int], None]) -> None:
        self._make, self._invariant, self._tried = make, invariant, tried
        self._runs = 0
        self._changes: dict[str, int] = {}
        self.best = trace

    def drop(self) -> None:
        """Do without each fault, until all that are left are needed."""
        before: Faults | None = None
        while before != self.best.faults:
            before = self.best.faults
            for name in before.rates():
                self.try_(self.best.faults.without(name))

    def try_(self, faults: Faults, **changes: int) -> None:
        """Keep it if it fails the same way in no more events."""
        if self._runs >= RUNS_MAX:
            return
        self._runs += 1
        self._tried(self._runs)
        sizes: dict[str, Any] = {**self._changes, **changes}
        case: Case = evolve(self._make(), **sizes)
        try:
            case.run(self.best.seed, faults)
        except Violation as violation:
            if violation.invariant == self._invariant and violation.trace.steps <= self.best.steps * 2:
                self.best, self._changes = violation.trace, {**self._changes, **changes}
