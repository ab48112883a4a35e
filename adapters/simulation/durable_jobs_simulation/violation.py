"""An invariant that did not hold."""

from __future__ import annotations

from durable_jobs_simulation.trace import Trace


class Violated(Exception):
    """Raised where an invariant is found violated: its name, and what was seen."""

    def __init__(self, invariant: str, why: str) -> None:
        self.invariant, self.why = invariant, why
        super().__init__(f"{invariant}: {why}")


class Violation(AssertionError):
    """A run of `simulate` violated an invariant. `trace` has all that led to it."""

    def __init__(self, invariant: str, why: str, trace: Trace) -> None:
        self.invariant, self.why, self.trace = invariant, why, trace
        super().__init__(f"{invariant}: {why}\n{trace.story(last=40)}")

    def __reduce__(self) -> tuple[type[Violation], tuple[str, str, Trace]]:
        return Violation, (self.invariant, self.why, self.trace)
