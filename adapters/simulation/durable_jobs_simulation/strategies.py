"""Hypothesis strategies: let it choose the seed, the faults and the steps of a run, and shrink them all.

    @given(seed=seeds(), faults=faults())
    def test_my_jobs(seed, faults):
        simulate(jobs, scenario, seed=seed, faults=faults)

A failing example shrinks to few faults, at low rates, and a small seed. For a run that is written step by
step, by rules, see `durable_jobs_simulation.machine`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from durable_jobs_core.checks import check
from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_simulation.faults import ALL, HIGHEST, Faults


def seeds() -> st.SearchStrategy[int]:
    """Any seed."""
    return st.integers(min_value=0, max_value=2**32 - 1)


def faults(*, only: Sequence[str] = ALL, loses_data: bool = True) -> st.SearchStrategy[Faults]:
    """Any subset of the faults, each at a rate at which a run still gets something done.

    `only`: of these; `loses_data`: also those that destroy what is stored.
    """
    check(set(only) <= set(ALL), "faults(only)", f"names of faults: some of {', '.join(ALL)}", only)
    names = [name for name in only if loses_data or name != "damage"]
    rates = {name: st.sampled_from([HIGHEST.get(name, 0.25) / part for part in (10, 4, 1)]) for name in names}
    return st.fixed_dictionaries({}, optional=rates).map(lambda chosen: Faults(**chosen))


def spans(longest: Duration = "1 minute") -> st.SearchStrategy[str]:
    """Durations for a rule that lets time pass: often a few milliseconds, so that something is in flight
    when the next rule comes."""
    limit = to_ms(longest, "spans(longest)")
    parts = [st.integers(1, ms) for ms in (20, 2_000) if ms < limit]
    return st.one_of(*parts, st.integers(1, limit)).map(lambda ms: f"{ms} ms")
