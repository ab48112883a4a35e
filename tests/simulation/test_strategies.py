"""Hypothesis chooses faults and seeds, and shrinks them."""

from __future__ import annotations

from typing import Any

import pytest
from durable_jobs_simulation import Faults, Simulation, Violation, simulate
from durable_jobs_simulation.strategies import faults, seeds
from hypothesis import find, given, settings

from durable_jobs_core import Continuous, ContinuousContext, DefinitionError, create_durable_jobs, every
from durable_jobs_core.words import Key

KEY = Key("continuous", "tick", "a")


def execute(ctx: ContinuousContext[int]) -> None:
    ctx.set_state(ctx.state + 1)


JOBS = create_durable_jobs({"tick": Continuous.make(state=int, schedule=every("5 seconds"), execute=execute)})


async def scenario(sim: Simulation) -> None:
    await sim.client.continuous("tick").start("a", 0)
    await sim.sleep("1 minute")


def never_fails(sim: Simulation) -> None:
    record = sim.record(KEY)
    assert record is None or record.body.last_error is None, "it failed"


@given(seed=seeds(), faults=faults())
@settings(max_examples=15)
def test_I_8_any_faults_and_any_seed(seed: int, faults: Faults) -> None:
    simulate(JOBS, scenario, seed=seed, faults=faults)


def test_a_failing_run_shrinks_to_the_fault_that_it_needs() -> None:
    def fails(chosen: Faults) -> bool:
        try:
            simulate(JOBS, scenario, seed=2, faults=chosen, invariants=[never_fails])
        except Violation:
            return True
        return False

    smallest = find(faults(loses_data=False), fails)

    assert set(smallest.rates()) <= {"hook_failure", "hook_exit", "hook_unspeakable"}
    assert len(smallest.rates()) == 1


@pytest.mark.parametrize("only", [["crsh"], "crash"])
def test_the_name_of_a_fault_that_is_none_is_told(only: Any) -> None:
    with pytest.raises(DefinitionError, match=r"faults\(only\): expected names of faults: .*crash"):
        faults(only=only)
