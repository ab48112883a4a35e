"""The pytest fixture `simulate_jobs`: there once this distribution is installed.

    def test_nobody_pays_twice(simulate_jobs):
        simulate_jobs("shop:orders", seeds=50)

A violation is shrunk before it is raised, and the whole trace is written. `--simulation-seed 7` runs that
seed alone, `--simulation-seeds 5000` more of them.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from durable_jobs_simulation.case import MakeCase
    from durable_jobs_simulation.violation import Violation

CASE = "a function that makes a Case, anew for each seed, or module:name as on the command line"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("durable_jobs_simulation")
    group.addoption(
        "--simulation-seed", type=int, metavar="N", help="run `simulate_jobs` with this seed alone"
    )
    group.addoption("--simulation-seeds", type=int, metavar="N", help="run it with so many seeds")


class SimulateJobs:
    """What the fixture is; call it."""

    def __init__(self, seed: int | None, seeds: int | None, folder: Path) -> None:
        self._seed, self._seeds, self._folder = seed, seeds, folder

    def __call__(self, case: MakeCase | str, *, seeds: int = 50, first: int = 0) -> None:
        """Run a case, one that is made anew for each seed, under `seeds` seeds from `first` on.

        `case`: a function that makes a `Case`, or `module:name` as on the command line. Raises the first
        `Violation`, in as small a run as was found.
        """
        __tracebackhide__ = True
        from durable_jobs_core.checks import check, check_whole
        from durable_jobs_simulation.calls import Calls, calls_of, untested
        from durable_jobs_simulation.case import Case, commits_of, load, made, refuse_idle, tried
        from durable_jobs_simulation.shrink import repeats

        seeds = seeds if self._seeds is None else self._seeds
        check_whole(seeds, "seeds", 1)
        check(isinstance(case, str) or callable(case), "case", CASE, case)
        name = getattr(case, "__name__", "case")
        make = load(case) if isinstance(case, str) else partial(made, name, case, Case, f"expected {CASE}")
        chosen = range(first, first + seeds) if self._seed is None else (self._seed,)
        commits, calls = 0, Calls()
        for seed in chosen:
            one = make()
            trace, violation = tried(one, seed)
            if violation is not None:
                raise self._smaller(case, make, violation)
            commits += commits_of(trace)
            calls.update(calls_of(one, trace))
        refuse_idle(len(chosen), commits)
        if len(chosen) > 1:
            for what in filter(None, (*untested(calls), repeats(make, chosen[0]))):
                warnings.warn(what, stacklevel=2)

    def _smaller(self, case: MakeCase | str, make: MakeCase, violation: Violation) -> Violation:
        """The same of as small a run as is found, which is written, and how to have it again."""
        from durable_jobs_simulation.case import python_of
        from durable_jobs_simulation.shrink import as_test, shrink, strays
        from durable_jobs_simulation.violation import Violation

        again = strays(make, violation.trace)
        small = shrink(make, violation.trace, violation.invariant)
        small.case = case if isinstance(case, str) else make().name
        path = self._folder / f"seed-{small.seed}.txt"
        small.write(path)
        small.write(path.with_suffix(".html"))
        where = f"seed {small.seed}, shrunk; all of it is in {path} and, as a page, .html"
        again = again or as_test(python_of(case), make, small)
        seen = str(small.violation).removeprefix(f"{violation.invariant}: ")
        return Violation(violation.invariant, "\n".join(filter(None, (seen, where, again))), small)


@pytest.fixture
def simulate_jobs(request: pytest.FixtureRequest, tmp_path: Path) -> SimulateJobs:
    """Runs your jobs under simulated faults: `simulate_jobs("module:case", seeds=50)`."""
    option = request.config.getoption
    return SimulateJobs(option("--simulation-seed"), option("--simulation-seeds"), tmp_path)
