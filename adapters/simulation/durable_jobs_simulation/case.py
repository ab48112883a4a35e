"""A case: everything about a run but its seed. The command line and the Hypothesis helpers take cases."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

from durable_jobs_core.durations import Duration
from durable_jobs_core.engine import Limits
from durable_jobs_simulation.arguments import ManyJobs
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.simulation import Invariant, Scenario, simulate
from durable_jobs_simulation.tasks import SimulationError
from durable_jobs_simulation.trace import Trace
from durable_jobs_simulation.violation import Violation

T = TypeVar("T")


@frozen(kw_only=True)
class Case:
    """The arguments of `simulate`, which explains them, under a name."""

    name: str
    jobs: ManyJobs
    scenario: Scenario
    invariants: Sequence[Invariant] = ()
    at_end: Sequence[Invariant] = ()
    nodes: int = 2
    clients: int = 1
    lanes: int | None = 1
    until: Duration = "10 minutes"
    faults: Faults | None = None
    limits: Limits | None = None

    def run(self, seed: int, faults: Faults | None = None) -> Trace:
        """Simulate it, with these faults or its own. Raises `Violation`; all else has a note of the seed."""
        try:
            return simulate(
                self.jobs,
                self.scenario,
                seed=seed,
                faults=self.faults if faults is None else faults,
                nodes=self.nodes,
                clients=self.clients,
                lanes=self.lanes,
                until=self.until,
                invariants=self.invariants,
                at_end=self.at_end,
                limits=self.limits,
            )
        except Violation:
            raise
        except Exception as error:
            error.add_note(f"{self.name}, seed {seed}")
            raise


MakeCase: TypeAlias = Callable[[], Case]
"""Makes a case anew for each run, so that what its hooks note is of one run."""


SCENARIO = (
    "expected module:case, as in shop:orders: a Case, a function that makes one, or a scenario in a "
    "module that has `jobs`"
)


def load(name: str, expected: str = SCENARIO) -> MakeCase:
    """The case that `module:name` names: a `Case`, a function that makes one, or a scenario in a module
    that has `jobs`. Raises `SimulationError`, which says what was `expected`, if it is none of these; what
    the module raises comes as it is."""
    found = named(name, "scenario", expected)
    if not inspect.iscoroutinefunction(found):
        return partial(made, name, found, Case, expected)
    module_name = name.partition(":")[0]
    jobs: Any = getattr(importlib.import_module(module_name), "jobs", None)
    if jobs is None:
        raise SimulationError(f"{module_name} has a scenario and no `jobs` to run it with")
    case = Case(name=name, jobs=jobs, scenario=found)
    return lambda: case


def python_of(case: MakeCase | str) -> str | None:
    """What in Python makes a case, if others can say it: `module:name`, or the function that does."""
    where: Any = case
    name = case if isinstance(case, str) else f"{where.__module__}:{getattr(where, '__qualname__', '')}"
    module, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module), attribute, None)
    if found is None or inspect.iscoroutinefunction(found):
        return None
    return f"{module}.{attribute}" + ("" if isinstance(found, Case) else "()")


def named(name: str, otherwise: str, expected: str) -> Any:
    """What `module:name` names; `otherwise`, if it names a module alone."""
    module_name, _, attribute = name.partition(":")
    if not module_name or module_name.startswith("."):
        raise SimulationError(f"{name}: no module is named; {expected}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses another
        raise SimulationError(f"{name}: there is no module {error.name} to import; {expected}") from None
    if not hasattr(module, attribute or otherwise):
        raise SimulationError(f"{name}: {module_name} has no {attribute or otherwise}; {expected}")
    return getattr(module, attribute or otherwise)


def made(name: str, found: Any, wanted: type[T], expected: str) -> T:
    """What was found, or what it makes when it is called."""
    if isinstance(found, wanted):
        return found
    if not callable(found):
        raise SimulationError(f"{name} is of type {type(found).__name__}; {expected}")
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):
        raise SimulationError(f"{name} takes arguments; {expected}") from None
    result = found()
    if not isinstance(result, wanted):
        raise SimulationError(f"{name} gave a value of type {type(result).__name__}; {expected}")
    return result


def tried(case: Case, seed: int, faults: Faults | None = None) -> tuple[Trace, Violation | None]:
    """The trace of a run, and what it violated, if it did.

    To run it again wait until this has returned: within an `except` the violation would be the context of
    all that hooks raise, and so be in what is stored.
    """
    try:
        return case.run(seed, faults), None
    except Violation as violation:
        return violation.trace, violation


def commits_of(trace: Trace) -> int:
    """How often something was committed in a run."""
    return trace.counts.get("commits", 0)


def refuse_idle(runs: int, commits: int) -> None:
    """Raise `SimulationError` if in several runs nothing was done that an invariant could look at."""
    if runs > 1 and not commits:
        raise SimulationError(
            f"nothing was committed in {runs} runs: expected a scenario of which some requests get through; "
            "what they raise may be caught by it"
        )
