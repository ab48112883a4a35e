"""Leases: renewing them, and losing them (S-11, S-13, S-14)."""

from __future__ import annotations

import pytest
from attrs import evolve
from support.rig import EPOCH, LEASE, Rig, client, greeted, lease_of, running, second, start, writes
from support.samples import START, TICK, number

from durable_jobs_core.engine import HookCancelled
from durable_jobs_core.events import TerminateRequested, TriggerRequested
from durable_jobs_core.telemetry import JobStale
from durable_jobs_core.words import Key

# -- renewing (S-13)


def renewing() -> Rig:
    """An engine whose renewal of a lease is with the store."""
    rig = running()
    rig.wait(10_000, settle=False)
    while not any(writes(exchange) for exchange in rig.exchanges):
        rig.answer()
        rig.tick()
    return rig


def test_S_13_a_lease_is_renewed_at_a_third_of_its_length() -> None:
    rig = running()

    rig.wait(9_999)
    before = lease_of(rig).until
    rig.wait(1)

    assert (before, lease_of(rig).until) == (EPOCH + LEASE, EPOCH + 10_000 + LEASE)
    assert rig.entry(TICK) == EPOCH + 10_000 + LEASE


def test_S_13_a_lease_is_renewed_for_as_long_as_its_handler_runs() -> None:
    rig = running()
    token = lease_of(rig).token

    rig.wait(600_000)

    assert (lease_of(rig).token, rig.cancels, len(rig.invokes)) == (token, [], 1)
    assert lease_of(rig).until > rig.now() + LEASE // 2


def test_S_13_all_leases_are_renewed_each_at_its_own_time() -> None:
    rig = greeted()
    keys = [Key("continuous", "tick", str(name)) for name in range(20)]
    for key in keys:
        rig.ask(key, START)
        rig.wait(300)

    rig.wait(60_000)

    assert rig.cancels == []
    assert all(lease_of(rig, key).until > rig.now() + 2 * LEASE // 3 - 1 for key in keys)


def test_S_13_a_renewed_lease_is_renewed_again_after_those_that_are_older_now() -> None:
    rig = greeted()
    keys = [Key("continuous", "tick", name) for name in "ab"]
    for key in keys:
        rig.ask(key, START)
        rig.wait(1_000)

    rig.wait(9_000)

    assert [lease_of(rig, key).until - EPOCH - LEASE for key in keys] == [10_000, 11_000]


def test_S_13_the_next_attempts_lease_is_renewed_though_the_last_ended_during_its_renewal() -> None:
    rig = running(limits={"poll": 1_000_000})
    rig.wait(10_000, settle=False)
    assert [write.key for exchange in rig.exchanges for write in writes(exchange)] == [TICK]
    rig.finish()
    rig.settle()
    rig.ask(TICK, TriggerRequested())
    assert len(rig.invokes) == 1

    rig.wait(30_000)

    assert rig.cancels == []
    assert lease_of(rig).until == EPOCH + 40_000 + LEASE


def test_S_13_a_handler_that_could_not_renew_is_cancelled_a_tenth_of_its_lease_before_the_end() -> None:
    rig = running()

    rig.wait(26_999, settle=False)
    before = list(rig.cancels)
    rig.wait(1, settle=False)

    assert (before, rig.cancels) == ([], [rig.invokes[0].id])
    assert rig.invokes[0].ctx.cancelled


@pytest.mark.parametrize("slept", [27_000, 29_999, 3_600_000])
def test_S_13_a_lease_that_is_over_is_not_renewed_so_that_its_run_does_not_wait_for_its_end_again(
    slept: int,
) -> None:
    rig = running()
    rig.t += slept  # the machine slept
    rig.tick()
    rig.settle()
    rig.finish(HookCancelled())

    rig.wait(max(0, LEASE - slept))

    assert lease_of(rig).since == EPOCH + max(slept, LEASE)
    assert [invoke.ctx.crashes for invoke in rig.invokes] == [1]


@pytest.mark.parametrize(("began", "expected"), [(None, 27_000), (12_000, 22_000), (18_000, 27_000)])
def test_S_13_it_wakes_for_the_next_lease_that_is_to_be_renewed_or_is_over(
    began: int | None, expected: int
) -> None:
    rig = Rig(lanes=2, lane=lambda key: int(key != TICK), poll=1_000_000)
    rig.settle()
    rig.ask(TICK, START)
    rig.wait(10_000, settle=False)  # it is being renewed, and its lane does not answer
    assert [exchange.lane for exchange in rig.exchanges] == [0]
    if began is not None:
        rig.t = began
        rig.call(Key("continuous", "tick", "b"), START)
        rig.answer(lane=1)

    assert rig.engine.next_wakeup == expected


def test_S_13_a_handler_is_cancelled_once() -> None:
    rig = running()

    rig.wait(200_000, settle=False)
    rig.stop()
    rig.tick()

    assert rig.cancels == [rig.invokes[0].id]


def told_late(slow: int) -> Rig:
    """An engine that hears of the commit of a lease so long after it took it."""
    rig = greeted()
    rig.call(TICK, START)
    answer = rig.perform(rig.exchanges[0])
    rig.t += slow
    rig.answer(evolve(answer, clock=rig.now()))
    return rig


def test_S_13_a_lease_whose_commit_was_told_late_is_renewed_a_third_after_it_was_taken() -> None:
    rig = told_late(9_000)

    rig.wait(1_000)

    assert lease_of(rig).until == EPOCH + 10_000 + LEASE


def test_S_13_a_late_answer_does_not_make_a_handler_outlive_its_lease() -> None:
    rig = greeted()
    rig.call(TICK, START)
    answer = rig.perform(rig.exchanges[0])
    rig.t += 25_000
    rig.answer(answer)  # the store's clock as it was then

    rig.wait(2_000, settle=False)

    assert rig.cancels == [rig.invokes[0].id]


def test_S_13_a_lease_whose_commit_was_told_late_is_renewed_at_once_and_its_handler_cancelled_in_time() -> (
    None
):
    rig = told_late(25_000)
    renewals = [write.key for exchange in rig.exchanges for write in writes(exchange)]

    rig.wait(2_000, settle=False)

    assert renewals == [TICK]
    assert rig.cancels == [rig.invokes[0].id]


@pytest.mark.parametrize(("first", "second"), ["01", "10"])
def test_S_13_a_late_lease_is_renewed_before_the_ones_taken_after_it(first: str, second: str) -> None:
    rig = Rig(lanes=2, lane=lambda key: int(key.id != first))
    rig.settle()
    early, late = Key("continuous", "tick", first), Key("continuous", "tick", second)
    rig.call(early, START)
    answer = rig.perform(rig.exchanges[0])
    rig.t += 6_000
    rig.call(late, START)
    rig.answer(lane=1)
    rig.answer(evolve(answer, clock=rig.now()), lane=0)

    rig.wait(4_000)

    assert lease_of(rig, early).until == EPOCH + 10_000 + LEASE
    assert lease_of(rig, late).until == EPOCH + 6_000 + LEASE


def test_S_13_a_renewal_that_is_refused_is_tried_again() -> None:
    rig = renewing()

    rig.refuse(transient=False)
    rig.wait(20_000)

    assert rig.cancels == []
    assert lease_of(rig).until > rig.now()


def test_S_13_a_renewal_whose_answer_is_lost_is_a_renewal_if_it_landed() -> None:
    rig = renewing()

    rig.fail(landed=True)
    rig.wait(1_000)

    assert (lease_of(rig).until, rig.cancels) == (EPOCH + 10_000 + LEASE, [])


def test_S_14_a_hook_that_is_cancelled_unasked_has_not_failed_and_its_lease_ends_by_itself() -> None:
    rig = running(limits={"poll": 1_000_000}, retry=None)
    rig.finish(HookCancelled())
    rig.wait(LEASE)

    (invoke,) = rig.invokes
    assert (invoke.ctx.attempt, invoke.ctx.crashes) == (1, 1)


def test_S_36_another_engine_cancels_its_handler_at_its_next_renewal() -> None:
    rig = running()
    client(rig).ask(TICK, TerminateRequested())
    before = list(rig.cancels)

    rig.wait(10_000)

    assert (before, rig.cancels) == ([], [rig.invokes[0].id])
    rig.finish(HookCancelled())
    assert rig.exchanges == []
    assert (rig.row(TICK), rig.slots_taken, rig.engine._state.keepers) == (None, 0, {})
    assert not any(isinstance(event, JobStale) for event in rig.events)


def test_S_14_a_handler_that_has_lost_its_lease_has_nothing_to_hand_back_though_the_engine_stops() -> None:
    rig = running()
    client(rig).ask(TICK, TerminateRequested())
    rig.wait(10_000)
    rig.stop(5_000)
    rig.finish(HookCancelled())
    rig.settle()

    assert rig.closed
    assert not any(isinstance(event, JobStale) for event in rig.events)


def test_S_13_a_renewal_for_a_lease_that_is_gone_wakes_nobody_in_vain() -> None:
    rig = running(limits={"poll": 1_000_000})
    client(rig).ask(TICK, TerminateRequested())
    rig.wait(10_000)
    drains = len(rig.drains)

    rig.wait(100_000)

    assert len(rig.drains) - drains < 5


# -- a lease that was lost (S-11, S-14)


def test_S_11_I_3_a_stalled_engine_cannot_commit_what_another_took_over() -> None:
    rig = running(lambda ctx: ctx.set_state(1))
    other = second(rig)
    rig.t = other.t = LEASE
    other.wait(1_000)
    assert [invoke.ctx.crashes for invoke in other.invokes] == [1]
    rig.t = other.t

    rig.finish()
    rig.settle()

    assert (rig.record(TICK).body.state, rig.slots_taken) == (number(0), 0)
    assert [type(event) for event in rig.events if isinstance(event, JobStale)] == [JobStale]
    other.finish()
    other.settle()
    assert rig.record(TICK).body.state == number(1)


def test_S_11_a_completion_after_the_lease_end_commits_if_nobody_took_over() -> None:
    rig = running(lambda ctx: ctx.set_state(1))
    rig.t = 10 * LEASE

    rig.finish()
    rig.settle()

    assert rig.record(TICK).body.state == number(1)


def test_S_11_an_engine_never_takes_over_a_run_whose_handler_it_still_holds() -> None:
    rig = running(limits={"poll": 1_000})
    rig.wait(27_000, settle=False)
    rig.fail()
    rig.t = 40_000
    rig.tick()
    rig.engine._state.lanes[0].writes.clear()  # the renewal is not written

    rig.wait(100_000)

    assert len(rig.invokes) == 1


def test_S_11_when_its_handler_has_ended_the_alarm_that_came_meanwhile_is_seen_to() -> None:
    rig = running()
    call = client(rig).ask(TICK, TerminateRequested())
    assert call.was_running
    start(rig, "tick", "a")
    rig.nudge()
    rig.settle()
    first = rig.invokes[0]
    assert (len(rig.invokes), rig.cancels) == (1, [first.id])  # the claim showed that its lease is gone

    rig.finish(HookCancelled(), invoke=first)
    rig.settle()

    assert rig.t == 0
    assert [invoke.hook for invoke in rig.invokes] == ["execute"]
    assert (rig.slots_taken, rig.engine._state.handlers.alarmed) == (1, set())


def test_S_14_a_lease_that_is_gone_when_its_commit_is_heard_of_calls_nothing() -> None:
    rig = greeted()
    rig.call(TICK, START)
    rig.fail(landed=True)
    client(rig).ask(TICK, TerminateRequested())

    rig.wait(20_000)

    assert (rig.invokes, rig.slots_taken, rig.row(TICK)) == ([], 0, None)


def test_a_lease_that_another_engine_ended_before_it_was_heard_of_gives_its_slot_back() -> None:
    rig = greeted()
    rig.call(TICK, START)
    rig.perform(rig.exchanges[0])
    other = second(rig)
    rig.t = other.t = LEASE
    other.wait(1_000)
    assert len(other.invokes) == 1
    rig.t = other.t

    rig.answer(ConnectionError("only the answer is lost"))
    rig.wait(1_000)

    assert (rig.invokes, rig.slots_taken) == ([], 0)
