"""A case: everything about a run but its seed. The command line and the Hypothesis helpers take cases."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

from attrs import frozen

from durable_jobs_core.durations import Duration
from durable_jobs_core.jobs import Jobs
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.simulation import Invariant, Scenario, simulate
from durable_jobs_simulation.tasks import SimulationError
from durable_jobs_simulation.trace import Trace


@frozen(kw_only=True)
class Case:
    """Arguments of `simulate`, under a name."""

    name: str
    jobs: Jobs | Sequence[Jobs]
    scenario: Scenario
    invariants: Sequence[Invariant] = ()
    at_end: Sequence[Invariant] = ()
    nodes: int = 2
    clients: int = 1
    until: Duration = "10 minutes"

    def run(self, seed: int, faults: Faults | None = None) -> Trace:
        """Simulate it. Raises `Violation`."""
        return simulate(
            self.jobs,
            self.scenario,
            seed=seed,
            faults=faults,
            nodes=self.nodes,
            clients=self.clients,
            until=self.until,
            invariants=self.invariants,
            at_end=self.at_end,
        )


MakeCase: TypeAlias = Callable[[], Case]
"""Makes a case anew for each run, so that what its hooks note is of one run."""


def load(name: str) -> MakeCase:
    """The case that `module:name` names: a `Case`, a function that makes one, or a scenario in a module
    that has `jobs`."""
    module_name, _, attribute = name.partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, attribute or "scenario")
    if isinstance(found, Case):
        case = found
        return lambda: case
    if not inspect.iscoroutinefunction(found):
        return cast(MakeCase, found)
    jobs: Any = getattr(module, "jobs", None)
    if jobs is None:
        raise SimulationError(f"{module_name} has a scenario and no `jobs` to run it with")
    case = Case(name=name, jobs=jobs, scenario=found)
    return lambda: case
