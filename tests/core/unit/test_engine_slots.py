"""How many leased attempts may run, in all and per job (S-69)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.words import Job

A: Job = ("task", "a")
B: Job = ("task", "b")
C: Job = ("continuous", "c")
NONE: frozenset[Job] = frozenset()


@pytest.mark.parametrize(("job", "expected"), [(A, 3), (B, 10), (C, 10)])
def test_S_69_the_limit_of_a_job_is_its_own_or_that_of_the_engine(job: Job, expected: int) -> None:
    assert Slots(10, {A: 3, B: 99}).limit(job) == expected


def test_S_69_what_is_taken_is_not_free_for_the_job_nor_in_all() -> None:
    slots = Slots(10, {A: 3})
    slots.take(A, 2)
    slots.take(B, 5)

    assert (slots.free(A), slots.free(B), slots.free(C)) == (1, 3, 3)


def test_S_69_what_is_given_back_is_free_again() -> None:
    slots = Slots(2, {})
    slots.take(A, 2)

    slots.give(A)

    assert (slots.free(A), slots.free(B)) == (1, 1)


def test_a_slot_that_was_not_taken_cannot_be_given_back() -> None:
    with pytest.raises(AssertionError, match="once"):
        Slots(2, {}).give(A)


@pytest.mark.parametrize(
    ("jobs", "hot", "expected"),
    [
        pytest.param([A], NONE, {A: 8}, id="one job may have all"),
        pytest.param([A, B], NONE, {A: 4, B: 4}, id="jobs share what is free"),
        pytest.param([A, B], {A}, {A: 7, B: 1}, id="a backlog has what is free, the others a chance each"),
        pytest.param([A, B], {B}, {A: 1, B: 7}, id="so does the other"),
        pytest.param([C, A], NONE, {C: 3, A: 5}, id="not more than its limit; the rest is for others"),
        pytest.param([A, C], {C}, {A: 1, C: 3}, id="a backlog has not more than its limit"),
        pytest.param([], NONE, {}, id="no job"),
    ],
)
def test_S_69_how_slots_are_offered(jobs: list[Job], hot: set[Job], expected: dict[Job, int]) -> None:
    assert Slots(8, {C: 3}).offer(jobs, hot) == expected


@pytest.mark.parametrize(("taken", "offered"), [(0, 4), (1, 4), (6, 1), (7, 1), (8, 0)])
def test_S_69_of_what_is_free_a_part_is_left_to_others(taken: int, offered: int) -> None:
    slots = Slots(8, {})
    slots.take(A, taken)

    assert sum(slots.offer([A, B], NONE, among=2).values()) == offered


def test_S_69_with_fewer_slots_than_jobs_the_first_have_one_each() -> None:
    assert Slots(2, {}).offer([C, A, B], frozenset({B})) == {C: 1, A: 1}


def test_S_69_a_job_without_a_slot_is_not_asked_for() -> None:
    slots = Slots(8, {A: 1})
    slots.take(A)

    assert slots.offer([A, B], NONE) == {B: 7}


def test_S_69_with_all_taken_nothing_is_asked_for() -> None:
    slots = Slots(2, {})
    slots.take(A, 3)

    assert slots.offer([A, B], NONE) == {}


@given(
    total=st.integers(1, 20),
    limits=st.dictionaries(st.sampled_from([A, B, C]), st.integers(0, 10)),
    taken=st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 8)),
    hot=st.sets(st.sampled_from([A, B, C])),
)
def test_S_69_never_more_is_offered_than_may_start_and_nothing_is_left_over(
    total: int, limits: dict[Job, int], taken: dict[Job, int], hot: set[Job]
) -> None:
    slots = Slots(total, limits)
    for job, count in taken.items():
        slots.take(job, count)
    free = {job: max(0, slots.free(job)) for job in (A, B, C)}
    left = max(0, total - sum(taken.values()))

    offered = slots.offer([A, B, C], hot)

    assert all(0 < count <= free[job] for job, count in offered.items())
    assert sum(offered.values()) <= left
    assert len(offered) == min(left, sum(count > 0 for count in free.values()))
    eager = hot & offered.keys() or offered.keys()
    assert sum(offered.values()) == left or all(offered[job] == free[job] for job in eager)
