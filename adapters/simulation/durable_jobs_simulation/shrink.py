"""A smaller run that fails the same way: fewer faults, then milder ones, then fewer nodes and lanes.

And how to have it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from durable_jobs_simulation.case import Case, MakeCase, traced
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.trace import WHY, Trace, parting
from durable_jobs_simulation.violation import Violation

RUNS_MAX = 60
SIZES = ((1, 0), (1, 1), (2, 0))
"""Workers and clients, the fewest first."""


def shrink(
    make: MakeCase, trace: Trace, invariant: str, *, tried: Callable[[int], None] = lambda n: None
) -> Trace:
    """The smallest trace found that violates the same invariant under the same seed."""
    search = _Search(make, trace, invariant, tried)
    search.drop()
    for name, rate in search.best.faults.rates().items():
        search.try_(evolve(search.best.faults, **{name: round(rate / 4, 6)}))
    any(search.try_(search.best.faults, nodes=nodes, clients=clients) for nodes, clients in SIZES)
    search.try_(search.best.faults, lanes=1)
    search.drop()  # in the smaller run, other faults are needed
    return search.best


def strays(make: MakeCase, trace: Trace) -> str | None:
    """Told of a seed that does not repeat its run: then a smaller one, or a replay, may be another."""
    again = traced(make(), trace.seed, trace.faults)
    parted = parting(trace.lines(), again.lines())
    return None if parted is None else f"seed {trace.seed} does not repeat its run: {WHY}\n{parted}"


def repeats(make: MakeCase, seed: int) -> str | None:
    """The same of a seed of which there is no trace any more."""
    return strays(make, traced(make(), seed))


def as_test(made: str | None, make: MakeCase, trace: Trace) -> str | None:
    """The line of Python that has a run again; `made`: what has its case."""
    if made is None:
        return None
    case = make()
    sizes = {name: getattr(trace, name) for name in ("nodes", "clients", "lanes")}
    changed = "".join(f", {name}={size}" for name, size in sizes.items() if size != getattr(case, name))
    rates = ", ".join(f"{name}={rate}" for name, rate in trace.faults.rates().items())
    return f"as a test: {f'evolve({made}{changed})' if changed else made}.run({trace.seed}, Faults({rates}))"


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

    def try_(self, faults: Faults, **changes: int) -> bool:
        """Keep it if it fails the same way in not many more steps; whether it does."""
        if self._runs >= RUNS_MAX:
            return False
        self._runs += 1
        self._tried(self._runs)
        sizes: dict[str, Any] = {**self._changes, **changes}
        case: Case = evolve(self._make(), **sizes)
        try:
            case.run(self.best.seed, faults)
        except Violation as violation:
            if violation.invariant == self._invariant and violation.trace.steps <= self.best.steps * 2:
                self.best, self._changes = violation.trace, {**self._changes, **changes}
                return True
        return False
