"""Exchanges: what lanes are asked, and what is read (D-3, D-7)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from support.frames import framed
from support.lanes import add, latest, reading, refused
from support.rig import EPOCH, Rig, client, greeted, lease_of, running, start, writes
from support.samples import CHORE, LATEST, START, TICK, jobs, tick_key

from durable_jobs_core.backend import Answer, Batch, Conflicted, Damaged, Defer, Refused, Unknown, Write
from durable_jobs_core.engine import Trouble
from durable_jobs_core.engine.lookout import SHY_MAX_MS
from durable_jobs_core.errors import OutcomeUnknownError, StorageError
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    PauseRequested,
    SendRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.telemetry import AlarmRepaired, HistoryRegressed, JobNewer, JobQuarantined
from durable_jobs_core.words import Key, to_datetime

# -- what is read


def test_S_4_a_wrong_alarm_is_repaired_and_said() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    row = rig.row(LATEST)
    assert row is not None
    wrong = EPOCH + 77_000
    rig.stores[0]._store.rows[LATEST] = evolve(row, wake=wrong)

    rig.ask(LATEST, StatusRequested())

    repaired = rig.row(LATEST)
    assert repaired is not None
    assert repaired.wake == row.wake == rig.entry(LATEST)
    assert [event.found for event in rig.events if isinstance(event, AlarmRepaired)] == [wrong]


def test_a_step_back_in_history_is_reported() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    older = rig.row(LATEST)
    assert older is not None
    rig.ask(LATEST, add())
    rig.stores[0]._store.rows[LATEST] = older

    rig.ask(LATEST, StatusRequested())

    (regressed,) = [event for event in rig.events if isinstance(event, HistoryRegressed)]
    assert regressed.found < regressed.expected


def test_another_life_with_a_smaller_number_is_no_step_back_in_history() -> None:
    rig = greeted(worker=False)
    for event in range(5):
        rig.ask(LATEST, add(event))
    client(rig).ask(LATEST, TerminateRequested())
    client(rig, node=77).ask(LATEST, add())
    assert rig.record(LATEST).revision.number == 1

    assert rig.ask(LATEST, StatusRequested()).event_count == 1

    assert not any(isinstance(event, HistoryRegressed) for event in rig.events)


def test_a_step_back_in_history_is_reported_also_when_another_has_gone_on_from_there() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    older = rig.row(LATEST)
    assert older is not None
    rig.ask(LATEST, add())
    rig.stores[0]._store.rows[LATEST] = older
    other = client(rig)
    other.ask(LATEST, add())
    other.ask(LATEST, add())

    rig.ask(LATEST, StatusRequested())

    (regressed,) = [event for event in rig.events if isinstance(event, HistoryRegressed)]
    assert regressed.found >= regressed.expected


def test_what_another_wrote_over_a_commit_is_no_step_back() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    for node in range(50, 60):  # more than a record remembers
        client(rig, node=node).ask(LATEST, add())

    rig.ask(LATEST, StatusRequested())

    assert [event for event in rig.events if isinstance(event, HistoryRegressed)] == []


def test_S_6_a_newer_record_that_is_due_is_held_longer_each_time_and_left_as_it_is() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    newer = framed(row, schema=9)
    rig.stores[0]._store.rows[TICK] = newer

    def hold() -> int:
        rig.engine._state.lanes[0].lookout.came_first()
        rig.nudge()
        rig.settle()
        entry = rig.entry(TICK)
        assert entry is not None
        held = entry - rig.now()
        rig.t += held
        return held

    holds = [hold() for _ in range(8)]
    assert holds == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    assert rig.row(TICK) is newer
    assert {type(event) for event in rig.events} == {JobNewer}

    rig.stores[0]._store.rows[TICK] = evolve(newer, revision=b"of a newer engine", wake=rig.now())
    assert hold() == 1_000, "others run it, and need not wait so long"


@pytest.mark.parametrize("wake", [None, EPOCH + 5_000])
def test_S_6_a_newer_record_that_is_not_due_and_was_claimed_is_held_for_the_shortest(
    wake: int | None,
) -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.stores[0]._store.rows[TICK] = evolve(framed(row, schema=9), wake=wake)

    rig.nudge()
    rig.settle()

    assert rig.entry(TICK) == EPOCH + 1_000


@pytest.mark.parametrize("also", [False, True])
def test_S_6_who_claims_newer_records_alone_comes_after_all_others(also: bool) -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.stores[0]._store.rows[TICK] = framed(row, schema=9)
    if also:
        start(rig, "tick", "b")
    rig.nudge()
    rig.settle()

    assert rig.engine._state.lanes[0].lookout.later == (0 if also else 2 * SHY_MAX_MS)


def test_S_6_a_damaged_record_that_is_due_is_taken_out_of_the_index_and_left_as_it_is() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    damaged = evolve(row, blob=row.blob[:-1] + b"?")
    rig.stores[0]._store.rows[TICK] = damaged

    rig.nudge()
    rig.settle()

    assert (rig.row(TICK), rig.entry(TICK)) == (damaged, None)
    assert [type(event) for event in rig.events] == [JobQuarantined]


def test_S_6_a_row_the_backend_calls_damaged_is_left_as_it_is() -> None:
    rig = greeted()
    call = rig.call(TICK, START)

    rig.answer(Answer(outcomes=(Conflicted(Damaged(TICK, b"r", b"", "torn")),), clock=rig.now()))
    rig.settle()

    assert isinstance(rig.result(call), StorageError)


def test_S_6_a_row_that_was_damaged_in_place_is_not_taken_for_the_one_known_before() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    rig.wait(900)
    rig.wait(1_000, settle=False)  # the window is due, and a claim is out
    row = rig.row(LATEST)
    assert row is not None
    rig.stores[0]._store.rows[LATEST] = evolve(row, blob=row.blob[:-1] + b"?")
    refused = rig.call(LATEST, add())
    rig.answer()
    asked = rig.call(LATEST, StatusRequested())
    rig.refuse(transient=False)
    rig.settle()

    assert isinstance(rig.result(refused), StorageError)
    assert rig.result(asked).status == "quarantined"


def test_S_8_an_instance_of_a_job_that_is_not_registered_is_left_alone() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    rig.nudge()
    row = rig.row(TICK)
    assert row is not None
    stray = evolve(row, key=Key("continuous", "stranger", "a"))

    rig.answer(Answer(claimed=(stray, row), clock=rig.now()))
    rig.settle()

    assert ([invoke.key for invoke in rig.invokes], rig.slots_taken) == ([TICK], 1)
    assert {event.key for event in rig.events} <= {TICK}


def test_S_8_claims_name_registered_jobs_only() -> None:
    rig = greeted()
    rig.nudge()

    claim = rig.exchanges[0].batch.claim

    assert claim is not None
    assert set(claim.limits) == set(jobs())


def test_a_claim_that_was_not_used_is_put_back_to_its_due_time() -> None:
    rig = greeted(jobs(), concurrency=1)
    start(rig, "tick", "a")
    rig.nudge()
    answer = rig.perform(rig.exchanges[0])
    held = rig.entry(TICK)
    rig.call(CHORE, SendRequested(event=1))
    rig.stop(grace=5_000)

    rig.answer(answer)
    rig.settle()

    assert (held, rig.entry(TICK)) == (EPOCH + 5_000, EPOCH)
    assert rig.invokes == []


@pytest.mark.parametrize("outcome", [Refused("no", transient=True), Unknown("no")])
def test_an_index_entry_that_could_not_be_put_back_costs_a_hold(outcome: Refused | Unknown) -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.stores[0]._store.rows[TICK] = framed(row, schema=9)
    rig.nudge()
    rig.answer()
    (exchange,) = rig.exchanges

    rig.answer(Answer(outcomes=(outcome,), clock=rig.now()))

    assert isinstance(exchange.batch.writes[0], Defer)
    assert rig.entry(TICK) == EPOCH + 5_000
    assert rig.engine.troubles == (Trouble("no", 1),)


@pytest.mark.parametrize("transient", [True, False])
def test_what_was_refused_is_the_trouble_of_its_lane_until_something_can_be_done(transient: bool) -> None:
    rig = greeted()
    rig.call(TICK, START)

    rig.answer(Answer(outcomes=(Refused("no", transient),), clock=rig.now()))
    refused = rig.engine.troubles
    rig.call(LATEST, AddRequested(event=1))
    rig.wait(1_000)

    assert (refused, rig.engine.troubles) == ((Trouble("no", 1),), (None,))


def test_while_writes_are_not_taken_reads_go_on_and_no_claim_does() -> None:
    rig = refused(greeted(), times=4)
    call = rig.call(latest("a"), StatusRequested())
    rig.nudge()

    (exchange,) = rig.exchanges
    assert (exchange.batch.writes, exchange.batch.loads) == ((), (latest("a"),))
    assert exchange.batch.claim is None
    rig.answer()
    assert rig.result(call).status == "not_found"


def test_a_read_is_no_sign_that_writes_are_taken() -> None:
    rig = refused(greeted(), times=4)
    at = rig.engine._state.lanes[0].write_at
    rig.ask(latest("a"), StatusRequested())

    assert rig.engine.troubles == (Trouble("no", 4),)
    assert (rig.exchanges, rig.engine.next_wakeup, at - rig.t) == ([], at, 200)
    rig.wait(200, settle=False)
    assert [write.key for write in writes(rig.exchanges[0])] == [TICK]
    rig.refuse(transient=True)
    assert rig.engine.troubles == (Trouble("no", 5),)
    assert rig.engine.next_wakeup == rig.t + 400


def test_a_read_that_was_asked_before_the_next_try_is_none_either() -> None:
    rig = refused(greeted())
    rig.call(latest("a"), StatusRequested())
    rig.wait(1_000, settle=False)
    rig.answer()

    assert rig.engine.troubles == (Trouble("no", 1),)
    assert [write.key for write in writes(rig.exchanges[0])] == [TICK]


def test_a_write_that_is_taken_ends_the_trouble_of_those_that_were_not() -> None:
    rig = refused(greeted(), times=2)
    rig.wait(50)
    rig.call(LATEST, add())
    rig.refuse(transient=True)

    assert rig.engine.troubles == (Trouble("no", 1),)
    assert rig.engine.next_wakeup == rig.t + 25


def test_an_answer_ends_the_trouble_of_those_that_did_not_come() -> None:
    rig = refused(greeted())
    for _ in range(3):
        rig.call(latest("a"), StatusRequested())
        rig.fail()
        rig.wait(rig.engine._state.lanes[0].asking.at - rig.t)
    rig.wait(1_000)
    rig.call(latest("b"), StatusRequested())
    rig.fail()

    assert (rig.engine.troubles, rig.engine.next_wakeup) == (
        (Trouble("ConnectionError: lost", 1),),
        rig.t + 25,
    )


def test_when_the_last_who_asked_gives_up_nothing_is_read_for_it() -> None:
    rig = refused(greeted(worker=False))
    rig.wait(30_000 - 1, settle=False)
    rig.refuse(transient=True)
    rig.wait(1, settle=False)

    assert (type(rig.result(1)), rig.exchanges) == (StorageError, [])
    assert rig.engine.troubles == (Trouble("no", 2),)


def test_who_gives_up_behind_a_write_has_nothing_read() -> None:
    rig = greeted()
    rig.call(TICK, START)
    late = rig.call(TICK, PauseRequested(), deadline=500)
    rig.wait(500, settle=False)
    rig.answer()
    rig.finish()

    assert type(rig.result(late)) is StorageError
    assert [exchange.batch.loads for exchange in rig.exchanges] == [()]


def test_where_nothing_waits_to_be_written_a_read_ends_the_trouble() -> None:
    rig = greeted(worker=False)
    rig.draw(0)
    call = rig.call(TICK, START)
    rig.refuse(transient=True)
    rig.abandon(call)
    rig.wait(24)
    rig.ask(latest("a"), StatusRequested())
    early = rig.engine.troubles
    rig.wait(1)
    rig.ask(latest("a"), StatusRequested())

    assert (early, rig.engine.troubles) == ((Trouble("no", 1),), (None,))


def test_what_is_unknown_is_read_back_at_once_and_written_again_later() -> None:
    rig = running()
    rig.draw(0)
    call = rig.call(TICK, PauseRequested())
    rig.doubt()
    assert rig.exchanges[0].batch.loads == (TICK,)
    rig.answer()

    assert (rig.exchanges, rig.engine.next_wakeup) == ([], rig.t + 25)
    rig.wait(25)
    assert (rig.engine.troubles, rig.result(call).paused) == ((None,), True)


def test_what_is_no_answer_is_the_trouble_of_its_lane() -> None:
    rig = greeted()
    rig.call(TICK, START)

    rig.answer(Answer(clock=rig.now()))

    why = "its answer has 0 outcomes for 1 writes, 0 rows for 0 loads"
    assert rig.engine.troubles == (Trouble(why, 1),)


def test_I_9_a_request_refused_after_its_deadline_is_over_and_holds_up_no_other() -> None:
    """As of a memory that is full for long: its caller was told that no one can tell."""
    rig = greeted()
    rig.ask(TICK, START)
    late = rig.call(TICK, TerminateRequested(), deadline=500)
    rig.wait(500, settle=False)
    told = rig.result(late)

    rig.answer(Answer(outcomes=(Refused("full", transient=True),), clock=rig.now()))
    rig.wait(10_000)
    status = rig.ask(TICK, StatusRequested())

    assert isinstance(told, OutcomeUnknownError)
    assert status.run_count == 1
    assert rig.row(TICK) is not None


def test_I_9_of_requests_refused_together_those_are_over_whose_deadline_has_come() -> None:
    rig = greeted()
    rig.ask(TICK, START)
    rig.call(LATEST, StatusRequested())  # meanwhile both wait for the lane
    early = rig.call(TICK, PauseRequested())
    late = rig.call(TICK, TerminateRequested(), deadline=500)
    rig.answer()
    rig.wait(500, settle=False)

    rig.answer(Answer(outcomes=(Refused("full", transient=True),), clock=rig.now()))
    rig.wait(10_000)

    assert isinstance(rig.result(late), OutcomeUnknownError)
    assert rig.result(early).paused
    assert rig.ask(TICK, StatusRequested()).status == "paused"


@pytest.mark.parametrize("reason", ["no", f"{TICK} cannot be written: no"])
def test_a_request_refused_for_good_names_its_key_once(reason: str) -> None:
    rig = greeted()
    call = rig.call(TICK, START)

    rig.answer(Answer(outcomes=(Refused(reason, transient=False),), clock=rig.now()))

    said = str(rig.result(call))
    assert said.startswith(f"{TICK}")
    assert (said.count(f"{TICK}"), "no" in said) == (1, True)


@pytest.mark.parametrize("beside", ["0", "b"])
def test_S_6_who_claims_something_of_its_own_beside_a_newer_record_gives_way_to_nobody(beside: str) -> None:
    rig = greeted()
    start(rig, "tick", "a", beside)
    newer = rig.row(TICK)
    assert newer is not None
    rig.stores[0]._store.rows[TICK] = framed(newer, schema=9)
    rig.nudge()

    rig.answer()

    assert rig.engine._state.lanes[0].lookout.later == 0


# -- leases that wait for their turn


def test_S_10_a_lease_that_waited_for_its_turn_is_counted_from_when_it_is_written() -> None:
    rig = greeted(lease=3_000)
    start(rig, "tick", 0, 1, 2)
    rig.nudge()
    rig.answer()
    rig.fail()  # now one write goes at a time
    rig.wait(30, settle=False)
    rig.answer()
    rig.wait(5_000, settle=False)  # the first of them takes a while
    rig.answer()
    (exchange,) = rig.exchanges
    rig.answer()

    runs = [rig.record(write.key).body.in_flight for write in writes(exchange)]
    assert [run.lease.until - rig.now() for run in runs if run and run.lease] == [3_000, 3_000]


@pytest.mark.parametrize(
    ("busy", "age", "taken"), [(0, 3_000, 0), (0, 3_001, 3_001), (4_000, 3_000, 0), (4_000, 3_001, 3_001)]
)
def test_S_10_a_lease_is_taken_anew_if_it_waited_more_than_a_tenth_of_its_length(
    busy: int, age: int, taken: int
) -> None:
    rig = reading()
    rig.t += busy
    rig.call(TICK, START)
    rig.call(TICK, START)  # it exists by then: answered with that write
    rig.t += age
    rig.answer()
    rig.answer()

    assert lease_of(rig).until - EPOCH == busy + taken + 30_000


def test_S_10_a_lease_left_behind_by_one_batch_after_another_is_taken_anew() -> None:
    rig = reading()
    for name in range(8):
        rig.call(tick_key(name), START)
    rig.answer()
    rig.refuse(transient=False)
    rig.refuse(transient=False)  # from here on two, then four, then the rest
    for wait in (2_000, 1_100, 0):
        rig.t += wait
        rig.answer()

    ends = sorted(lease_of(rig, tick_key(name)).until - EPOCH for name in range(8))
    assert ends == [30_000] * 6 + [33_100] * 2


def test_S_36_a_lease_that_waited_for_its_turn_and_was_ended_meanwhile_is_not_taken_anew() -> None:
    rig = greeted(poll=1_000_000)
    rig.ask(TICK, START)
    rig.finish()
    rig.settle()
    rig.call(latest("other"), StatusRequested())
    rig.call(TICK, TriggerRequested())
    ended = rig.call(TICK, TerminateRequested())
    rig.t += 5_000
    rig.settle()

    assert (rig.result(ended).terminated, rig.invokes, rig.slots_taken) == (True, [], 0)


@pytest.mark.parametrize("executing", [False, True])
def test_S_41_an_add_that_waited_for_its_turn_counts_from_when_it_came(executing: bool) -> None:
    rig = greeted(poll=1_000_000)
    if executing:
        rig.ask(LATEST, add())
        rig.ask(LATEST, FlushRequested())
    rig.t += 4_000
    rig.call(latest("other"), StatusRequested())
    call = rig.call(LATEST, add())
    rig.t += 5_000
    rig.answer()
    rig.answer()

    assert rig.result(call).will_flush_at == to_datetime(EPOCH + 5_000)


# -- time and slots


def test_rule_2_the_first_exchange_of_a_lane_asks_only_what_time_it_is() -> None:
    rig = Rig(exchange=1_234)
    rig.call(LATEST, add())

    assert [exchange.batch for exchange in rig.exchanges] == [Batch(not_after=1_234)]


def test_rule_2_an_engine_that_is_ahead_of_the_backends_clock_waits_for_it() -> None:
    rig = greeted(poll=1_000_000)
    seen = []
    rig.t = 100_000
    rig.nudge()
    rig.answer(Answer(clock=rig.now() - 5_000))
    for t in (100_000, 103_000, 106_000):
        rig.t = t
        rig.tick()
        seen.append(rig.engine.now)

    assert seen == [EPOCH + 100_000, EPOCH + 100_000, EPOCH + 101_000]


def test_S_69_a_settling_read_goes_before_a_claim_and_takes_no_slots() -> None:
    rig = greeted(poll=1_000_000)
    rig.call(LATEST, add(), deadline=60_000)
    rig.fail()
    rig.wait(10_000)
    rig.t = rig.engine.next_wakeup or rig.t
    rig.nudge()
    (exchange,) = rig.exchanges
    assert (exchange.batch.settle, exchange.batch.claim, rig.slots_taken) == (True, None, 0)

    rig.answer()

    assert [exchange.batch.claim is not None for exchange in rig.exchanges] == [True]
    rig.settle()
    assert rig.slots_taken == 0


def test_D_4_a_lost_index_entry_is_not_asked_for_again() -> None:
    rig = greeted(poll=1_000_000)
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.stores[0]._store.rows[TICK] = framed(row, schema=9)
    rig.nudge()
    rig.answer()
    assert [type(write) for write in rig.exchanges[0].batch.writes] == [Defer]

    rig.fail()
    rig.wait(4_999, settle=False)  # the hold of the claim

    assert (rig.exchanges, rig.engine.idle) == ([], True)


def test_D_4_an_index_entry_in_a_batch_is_no_ones_write() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    rig.stores[0]._store.rows[TICK] = framed(row, schema=9)
    rig.nudge()
    call = rig.call(LATEST, add())
    rig.answer()
    assert [type(write) for write in rig.exchanges[0].batch.writes] == [Defer, Write]

    rig.answer()

    assert rig.result(call).event_count == 1


@pytest.mark.parametrize("request_", [START, StatusRequested()], ids=["a conflict", "a read"])
def test_D_7_what_was_shown_is_written_from_without_reading_it_again(request_: Any) -> None:
    rig = greeted(worker=False)
    start(rig, "tick", "a")
    rig.ask(TICK, request_)

    rig.call(TICK, PauseRequested())

    assert [(len(writes(exchange)), exchange.batch.loads) for exchange in rig.exchanges] == [(1, ())]


def test_D_7_a_row_in_the_cache_stays_there_though_a_request_that_came_was_given_up() -> None:
    rig = greeted(worker=False)
    rig.ask(LATEST, add())
    rig.call(latest("other"), StatusRequested())
    rig.call(LATEST, add(), deadline=100)
    rig.wait(100, settle=False)
    rig.settle()

    rig.call(LATEST, add())

    assert [write.expected is None for write in writes(rig.exchanges[0])] == [False]


@pytest.mark.parametrize("transient", [(True, False), (False, True)])
def test_backing_off_follows_any_refusal_for_the_moment(transient: tuple[bool, bool]) -> None:
    rig = reading()
    for name in "ab":
        rig.call(latest(name), add())
    rig.answer()

    rig.answer(Answer(outcomes=tuple(Refused("no", each) for each in transient), clock=rig.now()))

    assert rig.exchanges == []
    assert (rig.engine.next_wakeup or 0) > rig.t


def test_the_instance_whose_forged_record_breaks_the_engine_is_named() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    row = rig.row(TICK)
    assert row is not None
    forged = row.blob[12:].replace(b'"state":[1,0]', b'"state":["x",0]')
    rig.stores[0]._store.rows[TICK] = framed(row, forged)

    with pytest.raises(TypeError) as raised:
        rig.ask(TICK, StatusRequested())
    assert raised.value.__notes__ == ["at continuous:tick:a"]
