"""The callers that wait: their number, their deadlines, and when to look for the runs they watch (S-38)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support.samples import LATEST, TICK

from durable_jobs_core.effects import Watch
from durable_jobs_core.engine.calls import Call, Calls
from durable_jobs_core.engine.entries import Entry
from durable_jobs_core.events import StatusRequested
from durable_jobs_core.words import Key

WATCH = Watch(life=1, ended=0)


def call(calls: Calls, id: int, *, key: Key = TICK, deadline: int = 1_000, size: int = 1) -> Call:
    """A caller that came."""
    made = Call(id, key, Entry(StatusRequested(), 0, call=id), deadline, size)
    calls.add(made)
    return made


def watching(calls: Calls, id: int, *, key: Key = TICK, until: int = 100_000, t: int = 0) -> Call:
    """A caller that waits for a run."""
    made = call(calls, id, key=key)
    calls.watch(made, WATCH, "result", until, t)
    return made


def ids(found: list[Call]) -> list[int]:
    return [call.id for call in found]


def test_the_bytes_of_those_who_wait_are_added_up() -> None:
    calls = Calls()
    call(calls, 1, size=5)
    call(calls, 2, size=7)
    before = calls.bytes

    calls.remove(1)

    assert (before, calls.bytes) == (12, 7)


def test_a_caller_that_is_not_there_cannot_be_removed() -> None:
    assert Calls().remove(7) is None


def test_nothing_is_due_before_the_earliest() -> None:
    calls = Calls()
    call(calls, 1, deadline=500)
    call(calls, 2, deadline=300)

    assert (calls.earliest, calls.due(299)) == (300, ([], []))


def test_at_its_deadline_a_caller_is_out_of_time() -> None:
    calls = Calls()
    call(calls, 1, deadline=500)
    call(calls, 2, deadline=300)

    expired, polls = calls.due(300)

    assert (ids(expired), polls, calls.earliest) == ([2], [], 500)


def test_S_38_looks_are_twice_as_far_apart_each_time_up_to_a_second() -> None:
    calls = Calls()
    watching(calls, 1)
    times = [0]
    for _ in range(9):
        assert calls.earliest is not None
        times.append(calls.earliest)
        calls.due(calls.earliest)

    assert [later - time for time, later in pairwise(times)] == [
        20,
        40,
        80,
        160,
        320,
        640,
        1_000,
        1_000,
        1_000,
    ]


def test_S_38_nobody_looks_before_it_is_time_because_another_is_out_of_time() -> None:
    calls = Calls()
    call(calls, 1, deadline=19)
    watching(calls, 2)

    expired, polls = calls.due(19)

    assert (ids(expired), polls, calls.earliest) == ([1], [], 20)


def test_S_38_a_hint_makes_all_look_now() -> None:
    calls = Calls()
    watching(calls, 1)
    watching(calls, 2, key=LATEST)
    call(calls, 3)

    calls.hurry(5)

    assert (calls.earliest, ids(calls.due(5)[1])) == (5, [1, 2])


def test_a_hint_is_nothing_to_those_who_do_not_watch() -> None:
    calls = Calls()
    call(calls, 1, deadline=500)

    calls.hurry(5)

    assert calls.earliest == 500


def test_those_who_watch_a_key_are_known_until_the_last_has_gone() -> None:
    calls = Calls()
    one, two = watching(calls, 1), watching(calls, 2)
    seen = [list(calls.watching[TICK].values())]
    calls.remove(1)
    seen.append(list(calls.watching[TICK].values()))
    calls.remove(2)

    assert (seen, calls.watching) == ([[one, two], [two]], {})


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3_000), st.integers(0, 300)), max_size=20),
    st.integers(0, 4_000),
)
def test_waking_at_the_earliest_no_deadline_is_missed_and_none_comes_early(
    made: list[tuple[bool, int, int]], until: int
) -> None:
    calls, t, seen = Calls(), 0, {}
    for id, (watches, deadline, passed) in enumerate(made):
        t += passed
        if watches:
            watching(calls, id, until=t + deadline, t=t)
        else:
            call(calls, id, deadline=t + deadline)
        seen[id] = t + deadline
    expected = dict(seen)
    while calls.earliest is not None and calls.earliest <= max(t, until):
        t = max(t, calls.earliest)
        for found in calls.due(t)[0]:
            calls.remove(found.id)
            assert seen.pop(found.id) <= t

    assert all(at > until or at > t for at in seen.values())
    assert calls.by_id.keys() == seen.keys() <= expected.keys()
