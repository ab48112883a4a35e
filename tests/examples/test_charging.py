"""`examples/charging.py`: the simulation finds who pays twice, within a small budget of seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import charging
import pytest
from durable_jobs_simulation import Faults, Violation
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.cli import main

SEEDS = range(20)
"""As many as the command runs by default."""


def violations(
    make: Callable[[], Case], faults: Faults | None = None, seeds: Iterable[int] = SEEDS
) -> set[str]:
    """The invariants that failed."""
    found: set[str] = set()
    for seed in seeds:
        try:
            make().run(seed, faults)
        except Violation as violation:
            found.add(violation.invariant)
    return found


def test_S_18_a_key_of_ones_own_charges_twice() -> None:
    assert violations(charging.wrong) == {"nobody_pays_twice"}


@pytest.mark.parametrize(
    "faults",
    [Faults(crash=0.15), Faults(hook_failure=0.2), Faults(hook_exit=0.2)],
    ids=str,
)
def test_S_14_S_18_it_does_so_if_the_worker_dies(faults: Faults) -> None:
    assert violations(charging.wrong, faults) == {"nobody_pays_twice"}


def test_S_14_S_18_it_does_so_if_answers_are_lost_until_a_lease_has_ended() -> None:
    rare = range(100)

    assert violations(charging.wrong, Faults(lost_answer=0.25), rare) == {"nobody_pays_twice"}


def test_S_18_the_key_of_the_run_charges_once() -> None:
    assert violations(charging.right) == set()


def test_S_18_without_faults_the_bug_does_not_show() -> None:
    assert violations(charging.wrong, Faults()) == set()


def test_the_commands_of_the_example_say_what_it_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "charging:wrong"]) == 1
    assert "VIOLATED nobody_pays_twice" in capsys.readouterr().out
    assert main(["run", "charging:right"]) == 0
    assert ": 0 violations" in capsys.readouterr().out
