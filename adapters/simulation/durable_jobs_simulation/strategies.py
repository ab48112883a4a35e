"""Hypothesis strategies: let it choose the seed and the faults of a run, and shrink both.

    @given(seed=seeds(), faults=faults())
    def test_my_jobs(seed, faults):
        simulate(jobs, scenario, seed=seed, faults=faults)

A failing example shrinks to few faults, at low rates, and a small seed.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from durable_jobs_simulation.faults import ALL, HIGHEST, LOSES_DATA, Faults


def seeds() -> st.SearchStrategy[int]:
    """Any seed."""
    return st.integers(min_value=0, max_value=2**32 - 1)


def faults(*, only: Sequence[str] = ALL, loses_data: bool = True) -> st.SearchStrategy[Faults]:
    """Any subset of the faults, each at a rate at which a run still gets something done.

    `only`: of these; `loses_data`: also those that destroy what is stored.
    """
    names = [name for name in only if loses_data or name not in LOSES_DATA]
    rates = {name: st.sampled_from([HIGHEST.get(name, 0.25) / part for part in (10, 4, 1)]) for name in names}
    return st.fixed_dictionaries({}, optional=rates).map(lambda chosen: Faults(**chosen))
