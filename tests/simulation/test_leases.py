"""What the observer takes for a violation: leases, attempts, and when they begin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from durable_jobs_simulation import leases
from durable_jobs_simulation.violation import Violated
from support.watching import (
    BEGAN,
    BOX,
    LEASE_MS,
    ONE,
    ORDER,
    TICK,
    UNTIL,
    W1,
    W2,
    World,
    body_of,
    violates,
    waits,
)

from durable_jobs_core import events
from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.engine import HookDetached, HookOutcome, HookRaised, HookReturned, Limits
from durable_jobs_core.errors import OutcomeUnknownError
from durable_jobs_core.record import (
    Run,
    Stored,
)
from durable_jobs_core.words import Key, Revision, Token


@pytest.fixture
def world() -> World:
    return World()


# -- I-3: only the holder of the lease


def test_I_3_the_holder_ends_its_lease_with_the_outcome(world: World) -> None:
    world.attempt()
    world.end(HookReturned(None))

    world.commit(TICK, body_of(TICK, state=ONE))


@pytest.mark.parametrize("ended", [True, False])
def test_I_3_another_that_ends_it_before_its_time_is_found(world: World, ended: bool) -> None:
    world.attempt()
    if ended:
        world.end(HookReturned(None))

    with violates("I-3", "ended by one that did not hold it"):
        world.commit(TICK, body_of(TICK), W2)


def test_I_3_the_holder_that_ends_it_before_its_hook_has_ended_is_found(world: World) -> None:
    world.attempt()

    with violates("I-3", "ended by one that did not hold it"):
        world.commit(TICK, body_of(TICK))


def test_I_3_the_holder_may_end_it_if_its_hook_was_not_called(world: World) -> None:
    world.attempt(called=False)

    world.commit(TICK, body_of(TICK))


@pytest.mark.parametrize(("late", "fine"), [(0, True), (-1, False)])
def test_I_3_another_ends_it_when_its_time_is_up(world: World, late: int, fine: bool) -> None:
    world.attempt()
    world.now = UNTIL + late

    if fine:
        world.commit(TICK, body_of(TICK), W2)
    else:
        with violates("I-3", "ended by one that did not hold it"):
            world.commit(TICK, body_of(TICK), W2)


@pytest.mark.parametrize("asked", [True, False])
def test_I_3_who_was_asked_to_terminate_ends_any_lease(world: World, asked: bool) -> None:
    world.attempt()
    if asked:
        world.call(events.TerminateRequested(), node=W2)
        world.commit(TICK, None, W2)
    else:
        with violates("I-3", "ended by one that did not hold it"):
            world.commit(TICK, None, W2)


def test_I_3_who_was_asked_to_terminate_and_does_not_ends_no_lease(world: World) -> None:
    world.attempt()
    world.call(events.TerminateRequested(), node=W2)

    with violates("I-3", "ended by one that did not hold it"):
        world.commit(TICK, body_of(TICK), W2)


def test_I_3_a_new_life_after_a_termination_that_nobody_saw_is_no_violation(world: World) -> None:
    world.attempt()
    world.call(events.TerminateRequested(), node=W1)

    world.commit(TICK, body_of(TICK), W2, revision=Revision(2, 9, 2))


@pytest.mark.parametrize(
    ("node", "until", "fine"), [(W1, 1, True), (W1, -1, False), (W2, 1, False), (W2, 0, True)]
)
def test_I_3_a_lease_is_renewed_by_its_holder_and_never_shortened(
    world: World, node: Any, until: int, fine: bool
) -> None:
    attempt = world.attempt()
    renewed = world.lease(until=UNTIL + until, token=attempt.token)

    if fine:
        world.commit(TICK, body_of(TICK, run=renewed), node)
        assert attempt.until == UNTIL + until
    else:
        with violates("I-3", "renewed by another, or shortened"):
            world.commit(TICK, body_of(TICK, run=renewed), node)


def test_I_3_the_state_stays_during_an_attempt(world: World) -> None:
    attempt = world.attempt()

    with violates("I-3", "the state changed during an attempt"):
        world.commit(TICK, body_of(TICK, run=world.lease(token=attempt.token), state=ONE))


def test_I_3_the_state_of_a_continuous_job_stays_between_attempts(world: World) -> None:
    world.commit(TICK, body_of(TICK))

    with violates("I-3", "while no attempt was in flight"):
        world.commit(TICK, body_of(TICK, state=ONE))


def test_I_3_an_older_state_is_written_anew_at_any_time(world: World) -> None:
    world.commit(TICK, body_of(TICK))

    world.commit(TICK, body_of(TICK, state=Stored(2, 5)))


def test_I_3_events_change_the_state_of_a_task_between_attempts(world: World) -> None:
    world.commit(ORDER, body_of(ORDER))

    world.commit(ORDER, body_of(ORDER, state=ONE))


@pytest.mark.parametrize("key", [TICK, ORDER])
def test_I_3_another_that_changes_the_state_is_found(world: World, key: Key) -> None:
    """Also when the lease is over; but of a task an event may have come."""
    world.attempt(key)
    world.now = UNTIL

    if key == ORDER:
        world.commit(key, body_of(key, state=ONE), W2)
    else:
        with violates("I-3", "by one that did not hold the lease"):
            world.commit(key, body_of(key, state=ONE), W2)


def test_S_15_a_hook_that_was_left_behind_changes_nothing(world: World) -> None:
    world.attempt()
    world.end(HookDetached())

    with violates("S-15", "was left behind"):
        world.commit(TICK, body_of(TICK, state=ONE))


# -- S-12


def test_S_12_a_token_is_the_revision_that_took_it(world: World) -> None:
    for token in (Token(2, 1), Token(1, 2)):
        with violates("S-12", "is not the revision"):
            world.commit(TICK, body_of(TICK, run=world.lease(token=token)), revision=Revision(1, 1, 1))


def test_S_12_a_token_is_used_once(world: World) -> None:
    attempt = world.attempt()
    world.end(HookReturned(None))
    world.commit(TICK, body_of(TICK))

    with violates("S-12", "used again"):
        world.commit(TICK, body_of(TICK, run=world.lease(token=attempt.token)))


# -- I-6, S-14: what is counted


def again(world: World, outcome: HookOutcome | None, after_ms: int, changes: dict[str, int]) -> None:
    """A second attempt follows the first: by its node if its hook has ended, or else by another."""
    world.attempt()
    if outcome is not None:
        world.end(outcome)
    world.now += after_ms
    node = W2 if outcome is None else W1
    world.attempt(called=False, node=node, **{"attempt": 1, "crashes": 0, **changes})


ERROR = HookRaised(ValueError())
FAR = LEASE_MS


@pytest.mark.parametrize(
    ("outcome", "after_ms", "changes", "by"),
    [
        (ERROR, 0, {"attempt": 2}, None),
        (ERROR, 0, {"attempt": 3}, "I-6"),
        (None, FAR, {"crashes": 1}, None),
        (None, FAR, {"attempt": 2}, "I-6"),
        (None, FAR, {"attempt": 2, "crashes": 1}, "I-6"),
        (None, FAR, {"crashes": 2}, "I-6"),
        (HookReturned(None), 0, {}, None),  # of another run, or after a revival
        (HookReturned(None), 0, {"attempt": 2}, None),
    ],
)
def test_I_6_attempts_and_crashes_count_what_happened(
    world: World, outcome: Any, after_ms: int, changes: dict[str, int], by: str | None
) -> None:
    if by is None:
        again(world, outcome, after_ms, changes)
    else:
        with pytest.raises(Violated) as found:
            again(world, outcome, after_ms, changes)
        assert found.value.invariant == by


@pytest.mark.parametrize("stopping", [True, False])
def test_I_6_what_began_again_is_counted_unless_its_node_was_shut_down(world: World, stopping: bool) -> None:
    world.attempt(attempt=2)
    W1.stopping = stopping
    world.end(HookReturned(None))
    world.commit(TICK, body_of(TICK, run=waits()))

    if stopping:
        world.attempt(attempt=2)
    else:
        with violates("I-6", "began again and nothing was counted"):
            world.attempt(attempt=2)


def test_I_6_what_was_not_called_may_begin_again(world: World) -> None:
    world.attempt(attempt=2, called=False)
    world.commit(TICK, body_of(TICK, run=waits()))

    world.attempt(attempt=2)


def test_S_14_a_crash_is_counted_when_the_lease_has_ended(world: World) -> None:
    world.attempt(called=False)
    world.commit(TICK, body_of(TICK, run=waits(attempt=1)))
    world.now = UNTIL - 1

    with violates("S-14", "1 ms before the lease ended"):
        world.attempt(crashes=1)


@pytest.mark.parametrize(
    ("attempt", "crashes", "by"), [(2, 0, None), (3, 0, "of at most 2"), (1, 99, "of at most")]
)
def test_I_6_attempts_and_crashes_keep_to_the_policy(
    world: World, attempt: int, crashes: int, by: str | None
) -> None:
    if by is None:
        world.attempt(attempt=attempt, crashes=crashes)
    else:
        with violates("I-6", by):
            world.attempt(attempt=attempt, crashes=crashes)


def test_I_6_without_a_policy_there_is_one_attempt(world: World) -> None:
    with violates("I-6", "attempt 2 of at most 1"):
        world.attempt(ORDER, attempt=2)


@pytest.mark.parametrize(
    ("outcome", "run", "fine"),
    [
        (ERROR, waits(), True),
        (ERROR, waits(attempt=1), False),
        (ERROR, waits(attempt=1, number=2), True),
        (ERROR, waits(attempt=1, first_at=None), True),
        (ERROR, waits(attempt=1, due=None), True),
        (HookReturned(None), waits(attempt=1), True),
    ],
)
def test_I_6_an_attempt_that_failed_is_counted_at_once(
    world: World, outcome: HookOutcome, run: Run, fine: bool
) -> None:
    world.attempt()
    world.end(outcome)

    if fine:
        world.commit(TICK, body_of(TICK, run=run))
    else:
        with violates("I-6", "attempt 1 of run 1 failed and was not counted"):
            world.commit(TICK, body_of(TICK, run=run))


def test_I_6_what_another_life_counts_is_its_own(world: World) -> None:
    world.attempt()
    world.end(ERROR)

    world.commit(TICK, body_of(TICK, run=waits(attempt=1)), revision=Revision(2, 9, 1))


# -- S-13, S-35: when it starts


@pytest.mark.parametrize(
    ("drift", "early", "forced", "by"),
    [
        (0.0, 0, False, None),
        (0.0, 1, False, "S-13"),
        (0.0, 1, True, None),
        (0.5, 1, False, None),
    ],
)
def test_S_13_no_tick_is_early(drift: float, early: int, forced: bool, by: str | None) -> None:
    world = World(drift=drift)
    if by is None:
        world.attempt(scheduled_for=BEGAN + early, forced=forced)
    else:
        with violates(by, "began 1 ms early"):
            world.attempt(scheduled_for=BEGAN + early, forced=forced)


@pytest.mark.parametrize(
    ("number", "attempt", "early", "fine"),
    [(1, 2, 0, True), (1, 2, 1, False), (1, 1, 1, True), (2, 2, 1, True)],
)
def test_S_13_no_retry_of_a_task_is_early(number: int, attempt: int, early: int, fine: bool) -> None:
    world = World(old_release=0.5)
    world.releases += world.releases  # then attempts are not held to a policy
    world.commit(ORDER, body_of(ORDER, run=waits(due=BEGAN + early)))

    if fine:
        world.attempt(ORDER, number=number, attempt=attempt)
    else:
        with violates("S-13", "began 1 ms early"):
            world.attempt(ORDER, number=number, attempt=attempt)


def test_S_13_a_continuous_job_that_is_resumed_does_not_wait_for_its_retry(world: World) -> None:
    world.commit(TICK, body_of(TICK, run=waits(due=BEGAN + 1)))

    world.attempt(attempt=2)


@pytest.mark.parametrize("was", [True, False])
@pytest.mark.parametrize("forced", [True, False])
def test_S_35_a_paused_instance_runs_only_what_a_trigger_has_asked_for(
    world: World, was: bool, forced: bool
) -> None:
    world.commit(TICK, body_of(TICK, paused=was))
    body = body_of(TICK, paused=True, run=world.lease(forced=forced))

    if was and not forced:
        with violates("S-35", "of a paused instance began"):
            world.commit(TICK, body)
    else:
        world.commit(TICK, body)


def test_S_35_it_may_have_been_resumed_between_two_commits(world: World) -> None:
    world.commit(TICK, body_of(TICK, paused=True))
    world.call(events.ResumeRequested(), node=W1)
    world.reply(error=OutcomeUnknownError("who knows"))

    world.commit(TICK, body_of(TICK, paused=True, run=world.lease()))


# -- I-5, S-7, codec


def test_I_5_a_life_that_has_ended_is_not_written_again(world: World) -> None:
    world.commit(TICK, body_of(TICK))
    world.commit(TICK, None)

    with violates("I-5", "of a life that had ended"):
        world.commit(TICK, body_of(TICK))


def test_what_is_written_can_be_read(world: World) -> None:
    row = Row(TICK, b"", None, "running", b"nothing")

    with violates("codec", "cannot be read"):
        world.observer.committed(1, Write(TICK, b"", row), None)


def test_what_is_written_over_something_damaged_can_be_read_again(world: World) -> None:
    world.commit(TICK, body_of(TICK))
    world.observer.replaced(TICK, None, lost=True)
    history = world.observer.history(TICK)
    assert (history.rotten, history.damaged) == (True, True)
    assert history.record is not None, "it is what any other write was made from"

    row = world.store.rows[TICK]
    world.observer.committed(1, Write(TICK, b"", None), Damaged(TICK, row.revision, b"", "checksum"))
    assert (history.rotten, history.damaged) == (False, True)
    world.observer.replaced(TICK, None)
    assert (history.rotten, history.damaged) == (True, True), "for good"


def test_I_4_the_entry_of_a_row_is_not_later_than_its_alarm_but_for_a_hold(world: World) -> None:
    world.commit(TICK, body_of(TICK))
    row = world.store.rows[TICK]
    assert isinstance(row, Row)

    for entry, fine in ((0, True), (BEGAN + 60_000, True), (BEGAN + 60_001, False), (None, False)):
        world.store.entries = {} if entry is None else {TICK: entry}
        if fine:
            world.observer.indexed(TICK)
        else:
            with violates("I-4", "is filed under"):
                world.observer.indexed(TICK)


# -- S-69


def node(most: int, own: int | None, *running: Key) -> Any:
    """A node that runs attempts of these keys, and an inline hook."""
    hooks = [SimpleNamespace(invoke=SimpleNamespace(key=key, leased=True)) for key in running]
    inline = SimpleNamespace(invoke=SimpleNamespace(key=TICK, leased=False))
    jobs = SimpleNamespace(by_key={("continuous", "tick"): SimpleNamespace(concurrency=own)})
    limits = Limits(concurrency=most)
    return SimpleNamespace(hooks=[*hooks, inline], jobs=jobs, world=SimpleNamespace(limits=limits))


@pytest.mark.parametrize(
    ("most", "own", "running", "by"),
    [
        (2, None, (ORDER,), None),
        (2, None, (ORDER, BOX), "2 attempts run already, of at most 2"),
        (9, 2, (ORDER, BOX, TICK), None),
        (9, 2, (TICK, ORDER, TICK), "2 attempts of its job run already, of at most 2"),
    ],
)
def test_S_69_there_is_a_slot_for_one_more_attempt(
    most: int, own: int | None, running: Any, by: str | None
) -> None:
    it = node(most, own, *running)

    assert leases.has_slot(it, ("continuous", "tick")) is (by is None)
    if by is None:
        leases.check_slots(it, TICK)
    else:
        with violates("S-69", by):
            leases.check_slots(it, TICK)


def test_S_69_limits_of_a_process_come_before_those_of_a_job() -> None:
    it = node(9, 1, TICK)
    it.world.limits = Limits(per_job={("continuous", "tick"): 2})

    leases.check_slots(it, TICK)
