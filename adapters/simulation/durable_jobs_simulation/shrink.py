"""A smaller run that fails the same way: fewer faults, then milder ones, then fewer nodes and lanes.

And how to have it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from durable_jobs_simulation.case import Case, MakeCase, tried
from durable_jobs_simulation.faults import HIGHEST, Faults
from durable_jobs_simulation.trace import WHY, Trace, parting

RUNS_MAX = 80
SIZES = ((1, 0), (1, 1), (2, 0))
"""Workers and clients, the fewest first."""


def shrink(
    make: MakeCase, trace: Trace, invariant: str, *, told: Callable[[int, Trace], None] = lambda n, best: None
) -> Trace:
    """The smallest trace found that violates the same invariant under the same seed. `told`: before each try,
    of its number and of the smallest so far."""
    search = _Search(make, trace, invariant, told)
    search.drop()
    search.single_out()
    for name, rate in search.best.faults.rates().items():
        search.try_(evolve(search.best.faults, **{name: round(rate / 4, 6)}))
    any(search.try_(search.best.faults, nodes=nodes, clients=clients) for nodes, clients in SIZES)
    search.try_(search.best.faults, lanes=1)
    search.drop()  # in the smaller run, other faults are needed
    return search.best


def strays(make: MakeCase, trace: Trace) -> str | None:
    """Told of a seed that does not repeat its run: then a smaller one, or a replay, may be another."""
    again, _ = tried(make(), trace.seed, trace.faults)
    parted = parting(trace.lines(), again.lines())
    return None if parted is None else f"seed {trace.seed} does not repeat its run: {WHY}\n{parted}"


def repeats(make: MakeCase, seed: int) -> str | None:
    """The same of a seed of which there is no trace any more."""
    return strays(make, tried(make(), seed)[0])


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
    def __init__(
        self, make: MakeCase, trace: Trace, invariant: str, told: Callable[[int, Trace], None]
    ) -> None:
        self._make, self._invariant, self._told = make, invariant, told
        self._runs = 0
        self._changes: dict[str, int] = {}
        self._seen = {(trace.faults, trace.nodes, trace.clients, trace.lanes)}
        self.best = trace

    def drop(self) -> None:
        """Do without each fault, until all that are left are needed."""
        before: Faults | None = None
        while before != self.best.faults:
            before = self.best.faults
            for name in before.rates():
                self.try_(self.best.faults.without(name))

    def single_out(self) -> None:
        """Do with one of several: to drop any changes when the others strike, so that none may be spared of
        which each would do alone, a little more often."""
        rates = self.best.faults.rates()
        for factor in (1, 2, 5):
            for name, rate in rates.items():
                more = max(rate, round(min(factor * rate, HIGHEST.get(name, 0.25)), 6))
                if len(rates) > 1 and self.try_(Faults(**{name: more})):
                    return

    def try_(self, faults: Faults, **changes: int) -> bool:
        """Keep it if it fails the same way in a trace that is not much longer; whether it does. What was seen
        would end as it did."""
        sizes: dict[str, Any] = {**self._changes, **changes}
        case: Case = evolve(self._make(), **sizes)
        run = faults, case.nodes, case.clients, case.lanes or self.best.lanes
        if self._runs >= RUNS_MAX or run in self._seen:
            return False
        self._seen.add(run)
        self._runs += 1
        self._told(self._runs, self.best)
        try:
            trace, violation = tried(case, self.best.seed, faults)
        except Exception:  # with other faults, something else is wrong: its scenario never ends, perhaps
            return False
        longest = 2 * len(self.best.events)  # of steps, idle workers make most
        if violation is None or violation.invariant != self._invariant or len(trace.events) > longest:
            return False
        self.best, self._changes = trace, {**self._changes, **changes}
        return True
