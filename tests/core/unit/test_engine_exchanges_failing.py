"""Exchanges that are refused, not answered, or come too late (D-3, D-6)."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from support.lanes import add, latest
from support.rig import EPOCH, Rig, client, greeted, start, writes
from support.samples import FOLD, LATEST, START, TICK, chore, jobs

from durable_jobs_core.backend import Answer, Defer, Unknown
from durable_jobs_core.errors import OutcomeUnknownError, StorageError
from durable_jobs_core.events import AddRequested, FlushRequested, StatusRequested, TerminateRequested
from durable_jobs_core.journal import Journal
from durable_jobs_core.telemetry import JobExecuted


def adding(rig: Rig, *names: object) -> list[int]:
    """Calls that add an event to each of these instances, all waiting for the lane."""
    rig.nudge()
    assert rig.exchanges, "the lane is busy, so that they wait"
    return [rig.call(latest(name), add()) for name in names]


# -- refused batches are tried in halves (D-3)


def test_D_3_a_write_that_is_refused_fails_alone() -> None:
    rig = greeted()
    calls = adding(rig, *range(8))
    rig.answer()
    bad = latest(5)
    sizes = []
    while rig.exchanges:
        (exchange,) = rig.exchanges
        sizes.append(len(exchange.batch.writes))
        refused = any(write.key == bad for write in exchange.batch.writes)
        rig.refuse(transient=False) if refused else rig.answer()

    failed = [call for call in calls if isinstance(rig.result(call), StorageError)]
    assert (failed, sizes[0]) == ([calls[5]], 8)


def test_S_3_a_journal_is_told_what_became_of_each_write() -> None:
    lines: list[bytes] = []
    rig = Rig(journal=Journal(lines.append))
    rig.ask(LATEST, AddRequested(event=1))

    assert b'"write":"committed"' in lines[-1]


def test_D_3_a_write_that_breaks_its_batch_breaks_it_alone_in_the_end() -> None:
    rig = greeted()
    for name in range(8):
        rig.ask(latest(name), add())
    calls = adding(rig, *range(8))
    rig.answer()
    bad = latest(5)
    for _ in range(60):
        if not rig.exchanges:
            rig.t = max(rig.t, rig.engine.next_wakeup or 0)
            rig.tick()
            continue
        (exchange,) = rig.exchanges
        broken = any(write.key == bad for write in exchange.batch.writes)
        rig.fail() if broken else rig.answer()

    answered = [call for call in calls if call in rig.replies]
    assert answered == [call for call in calls if call != calls[5]]


def test_an_index_entry_does_not_keep_a_refused_write_from_being_alone() -> None:
    rig = greeted(jobs(chore=chore(concurrency=1)))
    call = rig.call(latest(1), add())
    rig.refuse(transient=False)
    assert isinstance(rig.result(call), StorageError)
    calls = adding(rig, 1, 2)
    rig.answer()
    rig.engine._state.lanes[0].defers[latest(9)] = Defer(latest(9), b"", None)

    rig.refuse(transient=False)

    assert [len(exchange.batch.writes) for exchange in rig.exchanges] == [1]
    assert calls


@pytest.mark.parametrize("how", ["refuse", "doubt"])
def test_backing_off_is_counted_once_an_answer(how: str) -> None:
    rig = greeted()
    adding(rig, *range(100))
    rig.answer()

    rig.refuse(transient=True) if how == "refuse" else rig.doubt()

    lane = rig.engine._state.lanes[0]
    assert (lane.writing.times, 25 <= lane.write_at - rig.t <= 50) == (1, True)


def test_backing_off_grows_while_writes_are_refused_for_the_moment() -> None:
    rig = greeted(poll=1_000_000)
    rig.call(LATEST, add(), deadline=10_000_000)
    pauses = []
    for _ in range(12):
        rig.refuse(transient=True)
        wakeup = rig.engine.next_wakeup
        assert wakeup is not None
        pauses.append(wakeup - rig.t)
        rig.t = wakeup
        rig.tick()

    assert pauses[-1] >= 2_500
    assert max(pauses) <= 5_000


def test_backing_off_begins_again_after_a_success() -> None:
    rig = greeted(poll=1_000_000)
    rig.call(LATEST, add())
    for _ in range(5):
        rig.refuse(transient=True)
        rig.t = rig.engine.next_wakeup or rig.t
        rig.tick()
    rig.answer()
    rig.call(LATEST, add())
    rig.refuse(transient=True)

    assert (rig.engine.next_wakeup or 0) - rig.t <= 50


def test_what_was_refused_for_the_moment_is_tried_again() -> None:
    rig = greeted()
    call = rig.call(LATEST, add())
    rig.refuse(transient=True)

    rig.wait(1_000)

    assert rig.result(call).event_count == 1


def test_a_read_is_not_refused_with_the_write_it_waited_for() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    adding(rig, "a")
    reading = rig.call(LATEST, StatusRequested())
    rig.answer()

    rig.refuse(transient=False)
    rig.settle()

    assert rig.result(reading).event_count == 1


def test_a_repair_that_is_refused_is_given_up() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    row = rig.row(LATEST)
    assert row is not None
    rig.stores[0]._store.rows[LATEST] = evolve(row, wake=row.wake and row.wake + 1)
    rig.call(LATEST, StatusRequested())
    rig.answer()
    assert len(writes(rig.exchanges[0])) == 1

    rig.refuse(transient=False)
    rig.wait(10)

    assert rig.engine.idle


def test_the_end_of_an_attempt_that_is_refused_is_kept() -> None:
    rig = greeted()
    rig.ask(TICK, START)
    rig.finish()
    for _ in range(3):
        rig.refuse(transient=False)
        rig.t = rig.engine.next_wakeup or rig.t
        rig.tick()
    rig.settle()

    assert [type(event) for event in rig.events][-1] is JobExecuted
    assert rig.record(TICK).body.run is None


def test_an_alarm_that_is_refused_is_given_up_until_it_is_claimed_again() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    rig.nudge()
    rig.answer()
    assert len(writes(rig.exchanges[0])) == 1

    rig.refuse(transient=False)
    kept = dict(rig.engine._state.keepers)
    rig.wait(5_000)

    assert (kept, len(rig.invokes), rig.slots_taken) == ({}, 1, 1)


# -- no answer


def test_a_lost_exchange_is_asked_again_later_each_time() -> None:
    rig = Rig(poll=1_000_000)
    pauses = []
    for _ in range(12):
        rig.fail()
        wakeup = rig.engine.next_wakeup
        assert wakeup is not None
        pauses.append(wakeup - rig.t)
        rig.t = wakeup
        rig.tick()

    assert all(pause > 0 for pause in pauses)
    assert pauses[-1] >= 2_500


def test_while_it_backs_off_it_does_not_wake_in_vain() -> None:
    rig = greeted()
    rig.call(LATEST, add())
    rig.fail()
    rig.wait(11_000, settle=False)  # reads that nothing is there yet, and waits until nothing can land
    for _ in range(6):
        while rig.exchanges:
            rig.fail()
        wakeup = rig.engine.next_wakeup
        assert wakeup is not None
        assert wakeup > rig.t
        rig.t = wakeup
        rig.tick()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(clock=EPOCH), id="too few outcomes"),
        pytest.param(ConnectionError(), id="an exception"),
        pytest.param(KeyboardInterrupt(), id="a cancellation"),
    ],
)
@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_S_3_a_write_without_an_outcome_is_resolved_by_reading_back(
    answer: Answer | BaseException, landed: bool
) -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    call = rig.call(LATEST, add())
    if landed:
        rig.perform(rig.exchanges[0])

    rig.answer(answer)
    rig.wait(1_000)

    assert rig.result(call).event_count == 2
    assert not isinstance(rig.record(LATEST), StorageError)


@pytest.mark.parametrize(
    "changes",
    [{"rows": ("no row",)}, {"outcomes": None}, {"next_wake": "soon"}, {"claimed": (None,)}],
    ids=str,
)
def test_rule_12_an_answer_that_cannot_be_counts_as_none(changes: dict[str, Any]) -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    call = rig.call(LATEST, StatusRequested())
    answer = rig.perform(rig.exchanges[0])

    rig.answer(evolve(answer, **changes))
    rig.wait(1_000)

    assert rig.result(call).status == "debouncing"


def test_S_3_one_unknown_outcome_among_others_is_resolved_by_reading_back() -> None:
    rig = greeted()
    for name in "ab":
        rig.ask(latest(name), add())
    calls = adding(rig, "a", "b")
    rig.answer()
    answer = rig.perform(rig.exchanges[0])

    rig.answer(evolve(answer, outcomes=(Unknown("torn"), answer.outcomes[1])))
    assert [call in rig.replies for call in calls] == [False, True]
    rig.wait(1_000)

    assert [rig.result(call).event_count for call in calls] == [2, 2]


def test_S_3_a_creation_of_which_no_one_can_tell_is_told_so_when_it_cannot_land() -> None:
    rig = greeted(worker=False)
    call = rig.call(LATEST, add(), deadline=60_000)
    rig.fail()

    rig.wait(10_000)
    before = call in rig.replies
    assert rig.engine.next_wakeup == 10_001
    rig.wait(1)

    assert (before, type(rig.result(call))) == (False, OutcomeUnknownError)


def test_a_settling_read_is_an_exchange_of_its_own_with_the_deadline_of_the_write() -> None:
    rig = greeted()
    rig.call(LATEST, add(), deadline=60_000)
    lost = rig.fail()
    while not (rig.exchanges and rig.exchanges[0].batch.settle):
        rig.settle()
        rig.t = rig.engine.next_wakeup or rig.t
        rig.tick()

    batch = rig.exchanges[0].batch

    assert (batch.loads, batch.writes, batch.claim) == ((LATEST,), (), None)
    assert batch.not_after == lost.batch.not_after < rig.now()


def test_a_settling_read_that_is_lost_is_asked_again() -> None:
    rig = greeted()
    call = rig.call(LATEST, add(), deadline=60_000)
    rig.fail()
    rig.wait(10_000)
    rig.t = rig.engine.next_wakeup or rig.t
    rig.tick()
    while not (rig.exchanges and rig.exchanges[0].batch.settle):
        rig.settle()
        rig.t = rig.engine.next_wakeup or rig.t
        rig.tick()
    rig.fail()

    rig.wait(2_000)

    assert isinstance(rig.result(call), OutcomeUnknownError)


def test_every_exchange_has_a_deadline_for_its_writes() -> None:
    rig = greeted(exchange=1_234)
    rig.call(LATEST, add())

    assert rig.exchanges[0].batch.not_after == rig.now() + 1_234


def test_a_write_after_its_deadline_does_not_happen_and_is_tried_again() -> None:
    rig = greeted(exchange=1_000)
    call = rig.call(LATEST, add())
    rig.t += 1_500

    rig.answer()
    wanted = call in rig.replies
    rig.wait(1_000)

    assert (wanted, rig.result(call).event_count) == (False, 1)


# -- conflicts


def test_a_conflict_is_stepped_again_at_once() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    call = rig.call(LATEST, add())
    client(rig).ask(LATEST, add())

    rig.settle()

    assert (rig.result(call).event_count, rig.t) == (3, 0)


def test_D_3_from_the_third_conflict_on_a_key_waits_a_moment() -> None:
    rig = greeted(poll=1_000_000)
    rig.ask(LATEST, add())
    other = client(rig)
    rig.call(LATEST, add())
    waited = []
    for _ in range(6):
        other.ask(LATEST, add())
        rig.answer()
        waited.append(not rig.exchanges)
        rig.t = other.t = rig.t if rig.exchanges else (rig.engine.next_wakeup or 0)
        rig.tick()

    assert waited == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("conflicts", "drawn", "pause"),
    [(3, 0, 1), (3, 7, 8), (3, 8, 1), (4, 15, 16), (9, 511, 512), (9, 512, 1), (12, 511, 512), (12, 512, 1)],
)
def test_D_3_after_a_conflict_a_key_waits_up_to_twice_as_long_as_before_at_most_half_a_second(
    conflicts: int, drawn: int, pause: int
) -> None:
    rig = greeted(worker=False)
    rig.ask(LATEST, add())
    other = client(rig)
    rig.call(LATEST, add())
    for _ in range(conflicts):
        if not rig.exchanges:
            rig.t = other.t = rig.engine.next_wakeup or 0
            rig.tick()
        other.ask(LATEST, add())
        rig.draw(drawn)
        rig.answer()

    assert (rig.engine.next_wakeup or 0) - rig.t == pause


def test_D_3_an_end_of_an_attempt_that_conflicts_again_and_again_waits_too() -> None:
    rig = greeted(poll=1_000_000)
    rig.ask(LATEST, add())
    rig.ask(LATEST, FlushRequested())
    other = client(rig)
    rig.finish()
    for _ in range(3):
        assert rig.exchanges
        other.ask(LATEST, add())
        rig.answer()
    assert rig.exchanges == []

    rig.wait(8)

    assert rig.record(LATEST).body.in_flight is None


@pytest.mark.parametrize(
    ("refusals", "drawn", "pause"),
    [
        (1, 0, 1),
        (1, 199, 200),
        (1, 200, 1),
        (2, 399, 400),
        (6, 4_999, 5_000),
        (6, 5_000, 1),
        (9, 4_999, 5_000),
    ],
)
def test_an_end_of_an_attempt_that_is_refused_waits_up_to_twice_as_long_each_time(
    refusals: int, drawn: int, pause: int
) -> None:
    rig = greeted(poll=1_000_000, lease=1_000_000)
    rig.ask(TICK, START)
    rig.finish()
    for _ in range(refusals):
        if not rig.exchanges:
            rig.t = rig.engine.next_wakeup or 0
            rig.tick()
        rig.draw(drawn)
        rig.refuse(transient=False)

    assert (rig.engine.next_wakeup or 0) - rig.t == pause


def test_S_3_a_conflict_with_a_write_of_its_own_that_landed_late_is_that_writes_success() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    call = rig.call(LATEST, add())
    lost = rig.fail()
    while not any(writes(exchange) for exchange in rig.exchanges):
        rig.t = rig.t if rig.exchanges else (rig.engine.next_wakeup or 0)
        rig.answer() if rig.exchanges else rig.tick()
    assert call not in rig.replies

    rig.perform(lost)
    rig.settle()

    assert rig.result(call).event_count == rig.ask(LATEST, StatusRequested()).event_count == 2


def test_D_5_an_alarm_overtakes_an_inline_hook() -> None:
    rig = greeted()
    rig.ask_inline(FOLD, add(1))
    rig.call(FOLD, add(2))

    rig.wait(1_000)

    assert [(invoke.hook, invoke.ctx.state) for invoke in rig.invokes] == [
        ("on_event", [1]),
        ("execute", [1]),
    ]


def test_D_3_a_request_that_conflicts_until_its_deadline_did_not_happen() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    other = client(rig)
    call = rig.call(LATEST, add(), deadline=200)
    while call not in rig.replies:
        if rig.exchanges:
            other.ask(LATEST, add())
            rig.answer()
        else:
            rig.t = other.t = rig.engine.next_wakeup or rig.t
            rig.tick()

    assert isinstance(rig.result(call), StorageError)


def test_a_keeper_that_was_given_up_while_it_waited_does_not_stop_the_next_one() -> None:
    rig = greeted(poll=1_000_000)
    rig.ask(LATEST, add())
    other = client(rig)
    rig.call(LATEST, add(), deadline=20)
    while rig.exchanges:
        other.ask(LATEST, add())
        rig.answer()
    keeper = rig.engine._state.keepers[LATEST]
    assert keeper.resume_at is not None
    keeper.resume_at = 30
    rig.t = 20
    rig.tick()
    rig.t = 31

    again = rig.call(LATEST, StatusRequested())
    rig.settle()

    assert rig.result(again).status == "debouncing"


def test_a_conflict_with_a_deletion_begins_a_new_life() -> None:
    rig = greeted()
    rig.ask(LATEST, add())
    call = rig.call(LATEST, add())
    client(rig).ask(LATEST, TerminateRequested())

    rig.settle()

    assert (rig.result(call).created, rig.result(call).event_count) == (True, 1)
