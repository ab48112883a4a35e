"""The engine's time: a lower bound of the backend's clock that never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.engine.clock import Clock


def told(clock: int, at_t: int) -> Clock:
    """A clock that was told `clock` at `at_t`."""
    made = Clock()
    made.t = at_t
    made.told(clock, at_t)
    return made


def test_before_the_first_answer_the_instant_is_not_known() -> None:
    assert not Clock().known


def test_after_the_first_answer_it_is_known() -> None:
    clock = told(1_000, 5)

    assert (clock.known, clock.now) == (True, 1_000)


def test_between_answers_it_goes_with_the_drivers_clock() -> None:
    clock = told(1_000, 5)

    clock.t = 25

    assert clock.now == 1_020


def test_an_answer_moves_it_forward() -> None:
    clock = told(1_000, 5)
    assert clock.now == 1_000

    clock.told(5_000, 5)

    assert clock.now == 5_000


def test_S_7_a_backend_clock_that_goes_back_stands_still_until_it_has_caught_up() -> None:
    clock = told(1_000, 0)
    seen = [clock.now]
    clock.told(900, 0)
    for t in (0, 50, 100, 150):
        clock.t = t
        seen.append(clock.now)

    assert seen == [1_000, 1_000, 1_000, 1_000, 1_050]


@pytest.mark.parametrize(
    ("clock", "took", "expected"),
    [
        pytest.param(1_000, 20, 1_020, id="as old as the question: what is known is nearer"),
        pytest.param(1_010, 20, 1_020, id="from between: what is known is nearer"),
        pytest.param(1_030, 20, 1_030, id="later than what is known: it is nearer"),
        pytest.param(999, 20, 999, id="before the question: the clock went back"),
        pytest.param(1_010, 5, 1_010, id="before the question, which came later: the clock went back"),
    ],
)
def test_an_answer_that_was_long_on_its_way_does_not_take_time_back(
    clock: int, took: int, expected: int
) -> None:
    known = told(1_000, 100)
    known.t = 120

    known.told(clock, 120 - took)

    assert known.now == expected


@pytest.mark.parametrize(("instant", "expected"), [(1_030, 35), (1_001, 6), (1_000, 5), (999, 5), (0, 5)])
def test_when_it_will_be_an_instant(instant: int, expected: int) -> None:
    assert told(1_000, 5).t_of(instant) == expected


def test_while_it_stands_still_it_knows_when_it_will_go_on() -> None:
    clock = told(1_000, 0)
    assert clock.now == 1_000
    clock.told(900, 0)

    assert clock.t_of(1_001) == 101


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.one_of(st.none(), st.integers(0, 1_000)), st.integers(0, 200))
    ),
    st.integers(0, 2_000),
)
def test_it_never_goes_back_and_wakes_exactly_in_time(
    steps: list[tuple[int, int | None, int]], instant: int
) -> None:
    clock = told(500, 0)
    last = clock.now
    for passed, answer, took in steps:
        clock.t += passed
        if answer is not None:
            clock.told(answer, clock.t - took)
        assert clock.now >= last
        last = clock.now
    wake = clock.t_of(instant)
    due = clock.now >= instant

    assert (wake == clock.t) if due else (wake > clock.t)
    clock.t = wake
    assert clock.now >= instant
    if not due:
        clock.t = wake - 1
        clock.last = last
        assert clock.now < instant
