"""The look-out for due work: when a lane is asked, for which jobs, and who comes first (D-4)."""

from __future__ import annotations

import pytest

from durable_jobs_core.backend import Answer, Claim, Row
from durable_jobs_core.engine.clock import Clock
from durable_jobs_core.engine.lookout import SHY_FIRST_MS, SHY_MAX_MS, Lookout
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.words import Job, Key

A: Job = ("task", "a")
B: Job = ("task", "b")
C: Job = ("task", "c")
NOW = 1_000
UNTIL = 6_000
CLAIM = Claim({A: 2, B: 1}, NOW, UNTIL)
AHEAD = 900
"""So far is the backend's clock ahead of the driver's."""


def clock(t: int) -> Clock:
    """The driver's clock says `t`."""
    return Clock(t=t, at=t + AHEAD, at_t=t)


def answer(*names: str, next_wake: int | None = None) -> Answer:
    """A claim brought a row of each of these jobs."""
    rows = tuple(Row(Key("task", name, str(n)), b"r", NOW, "active", b"") for n, name in enumerate(names))
    return Answer(claimed=rows, next_wake=next_wake, clock=NOW)


# -- when


@pytest.mark.parametrize(
    ("lookout", "expected"),
    [
        pytest.param(Lookout(poll_at=50), 50, id="nothing known"),
        pytest.param(Lookout(poll_at=50, next_wake=AHEAD + 40), 40, id="something falls due"),
        pytest.param(Lookout(poll_at=50, next_wake=AHEAD + 40, later=7), 47, id="others come first"),
        pytest.param(Lookout(poll_at=50, next_wake=AHEAD + 40, later=70), 50, id="never later than a poll"),
        pytest.param(Lookout(poll_at=50, next_wake=AHEAD - 40), 10, id="it is due already"),
    ],
)
def test_it_looks_when_something_may_have_fallen_due(lookout: Lookout, expected: int) -> None:
    assert lookout.look_at(clock(10)) == expected


@pytest.mark.parametrize(
    ("unasked", "taken", "expected"),
    [
        pytest.param(set[Job](), 0, 50, id="all were asked for"),
        pytest.param({A}, 0, 10, id="one was not"),
        pytest.param({A}, 1, 50, id="one was not, which has no slot"),
    ],
)
def test_a_job_that_was_not_asked_for_is_as_soon_as_it_has_a_slot(
    unasked: set[Job], taken: int, expected: int
) -> None:
    slots = Slots(10, {A: 1})
    slots.take(A, taken)

    assert Lookout(poll_at=50, unasked=unasked).ask_at(clock(10), slots) == expected


@pytest.mark.parametrize(("before", "noted", "after"), [(None, 5, 5), (9, 5, 5), (3, 5, 3)])
def test_the_earliest_due_instant_is_kept(before: int | None, noted: int, after: int) -> None:
    lookout = Lookout(next_wake=before)

    lookout.note_wake(noted)

    assert lookout.next_wake == after


@pytest.mark.parametrize(("poll_at", "later", "expected"), [(50, 0, 10), (50, 7, 17), (5, 0, 5)])
def test_a_hint_has_it_look_as_soon_as_its_turn_comes(poll_at: int, later: int, expected: int) -> None:
    lookout = Lookout(poll_at=poll_at, later=later)

    lookout.hint(10)

    assert (lookout.hinted, lookout.poll_at) == (True, expected)


@pytest.mark.parametrize(
    ("lookout", "expected"),
    [
        pytest.param(Lookout(), False, id="not asked yet"),
        pytest.param(Lookout(asked=True), True, id="nothing"),
        pytest.param(Lookout(asked=True, unasked={A}), False, id="a job to be asked for"),
        pytest.param(Lookout(asked=True, next_wake=NOW), False, id="something is due"),
        pytest.param(Lookout(asked=True, next_wake=NOW + 1), True, id="something will be"),
    ],
)
def test_whether_it_sees_nothing(lookout: Lookout, expected: bool) -> None:
    assert lookout.sees_nothing(clock(NOW - AHEAD)) is expected


def test_before_it_was_asked_it_need_not_know_the_time() -> None:
    assert not Lookout().sees_nothing(Clock())


# -- asking


def test_a_new_look_asks_for_all_jobs() -> None:
    lookout = Lookout(next_wake=5, unasked={C})

    lookout.look([A, B], NOW, 77)

    assert lookout.unasked == {A, B, C}
    assert (lookout.next_wake, lookout.poll_at) == (None, 77)


@pytest.mark.parametrize(("told", "called"), [(None, False), (NOW, True), (NOW + 1, False)])
def test_a_look_is_called_for_if_the_instant_that_was_told_has_come(told: int | None, called: bool) -> None:
    lookout = Lookout(told_wake=told)

    lookout.look([A], NOW, 77)

    assert lookout.called is called


def test_the_jobs_take_turns_where_there_is_not_a_slot_for_each() -> None:
    lookout, slots = Lookout(unasked={A, B, C}), Slots(2, {})

    first = lookout.choose((A, B, C), slots, among=1)
    assert (list(first), lookout.unasked, lookout.turn) == ([A, B], {C}, 2)

    lookout.unasked |= {A, B}
    assert list(lookout.choose((A, B, C), slots, among=1)) == [C, A]


def test_a_lane_that_shares_the_slots_offers_half_and_the_hot_job_has_most_of_it() -> None:
    lookout = Lookout(unasked={A, B}, hot={B})

    assert lookout.choose((A, B), Slots(20, {}), among=2) == {A: 1, B: 9}


# -- hearing


@pytest.mark.parametrize("alone", [True, False])
def test_a_claim_that_was_lost_is_made_again_and_the_slots_are_left_to_other_lanes(alone: bool) -> None:
    lookout = Lookout(trusted=True)

    lookout.lost(CLAIM, alone=alone)

    assert (lookout.unasked, lookout.trusted) == ({A, B}, alone)


def test_a_job_that_filled_its_claim_is_hot_and_asked_for_again() -> None:
    lookout = Lookout(hot={B, C})

    lookout.answered(CLAIM, answer("a", "a", "other"), useful=True, node=0)

    assert (lookout.hot, lookout.unasked, lookout.asked) == ({A, C}, {A}, True)


@pytest.mark.parametrize(
    ("names", "next_wake", "unasked", "noted"),
    [
        pytest.param("a", None, set[Job](), None, id="nothing is left"),
        pytest.param("a", NOW + 1, set[Job](), NOW + 1, id="something falls due"),
        pytest.param("a", NOW, {A, B}, None, id="more is due: it did not fit"),
        pytest.param("aa", NOW, {A, B}, None, id="more is due: of what filled its claim, perhaps"),
        pytest.param("", NOW, set[Job](), None, id="nothing came, though something is due"),
    ],
)
def test_what_is_left_after_a_claim(
    names: str, next_wake: int | None, unasked: set[Job], noted: int | None
) -> None:
    lookout = Lookout()

    lookout.answered(CLAIM, answer(*names, next_wake=next_wake), useful=bool(names), node=0)

    assert (lookout.unasked, lookout.next_wake) == (unasked, noted)


@pytest.mark.parametrize(
    ("next_wake", "told"), [(None, None), (UNTIL, None), (UNTIL - 1, UNTIL - 1), (UNTIL + 1, UNTIL + 1)]
)
def test_what_the_next_look_is_called_for_is_no_hold_of_its_own(
    next_wake: int | None, told: int | None
) -> None:
    lookout = Lookout(told_wake=5)

    lookout.answered(CLAIM, answer(next_wake=next_wake), useful=False, node=0)

    assert lookout.told_wake == told


# -- who comes first


NEAR = NOW + SHY_MAX_MS


@pytest.mark.parametrize(
    ("called", "hinted", "next_wake", "shy"),
    [
        pytest.param(False, False, None, 10, id="a look of its own"),
        pytest.param(True, False, None, 20, id="called"),
        pytest.param(True, False, NEAR, 20, id="called, and more is near"),
        pytest.param(False, True, None, 20, id="hinted"),
        pytest.param(False, True, NEAR + 1, 20, id="hinted, and more is far"),
        pytest.param(False, True, NEAR, 10, id="hinted, and it is near"),
    ],
)
def test_a_claim_that_brought_nothing_was_in_vain_if_it_was_called_for(
    called: bool, hinted: bool, next_wake: int | None, shy: int
) -> None:
    lookout = Lookout(shy=10, called=called, hinted=hinted)

    lookout.answered(CLAIM, answer(next_wake=next_wake), useful=False, node=0)

    assert (lookout.shy, lookout.called, lookout.hinted) == (shy, False, False)


def test_the_first_claim_of_all_was_called_for_by_nobody() -> None:
    lookout = Lookout()

    lookout.answered(CLAIM, answer(), useful=False, node=0)

    assert (lookout.shy, lookout.later) == (0, 0)


@pytest.mark.parametrize(
    ("useful", "expected"), [(True, (0, 0)), (False, (SHY_MAX_MS, 2 * SHY_MAX_MS))], ids=["own", "newer"]
)
def test_S_6_who_brought_only_what_a_newer_release_can_run_comes_after_all_others(
    useful: bool, expected: tuple[int, int]
) -> None:
    lookout = Lookout(shy=10, later=7, called=True)

    lookout.answered(CLAIM, answer("a"), useful=useful, node=0)

    assert (lookout.shy, lookout.later) == expected


@pytest.mark.parametrize("node", [0, 1, 12_345])
def test_who_comes_in_vain_comes_later_each_time_up_to_a_limit_and_who_comes_first_at_once(
    node: int,
) -> None:
    lookout = Lookout()
    later = []
    for _ in range(8):
        lookout.came_in_vain(node)
        later.append((lookout.shy, lookout.later))
    lookout.came_first()

    assert [shy for shy, _ in later[:5]] == [SHY_FIRST_MS << n for n in range(5)]
    assert later[-1][0] == SHY_MAX_MS
    assert all(shy // 2 <= late <= shy for shy, late in later)
    assert (lookout.shy, lookout.later) == (0, 0)


def test_each_process_comes_later_by_another_part() -> None:
    drawn = set()
    for node in range(50):
        lookout = Lookout()
        lookout.came_in_vain(node)
        drawn.add(lookout.later)

    assert drawn == {*range(SHY_FIRST_MS // 2, SHY_FIRST_MS + 1)}
