"""The debounce: SPEC §6, and what §2 to §4 and §8 mean for it."""

from __future__ import annotations

import pytest
from support.steps import DAY, HOUR, MINUTE, SECOND, Bench, T, append, debounce, raises

from durable_jobs_core.effects import CancelHandler
from durable_jobs_core.errors import (
    DuplicateEventError,
    ExecutionError,
    Issue,
    OverloadedError,
    ValidationError,
)
from durable_jobs_core.record import Stored
from durable_jobs_core.telemetry import DebounceFlushed, JobTerminated
from durable_jobs_core.words import INSTANT_MAX, Token, to_datetime
from durable_jobs_core.words import to_datetime as at


def test_a_window_that_would_end_after_the_calendar_ends_with_it() -> None:
    bench = Bench(debounce(flush_after="418000 weeks"))

    reply = bench.add()

    assert reply.will_flush_at == to_datetime(INSTANT_MAX)


def test_S_4_an_early_alarm_changes_nothing_also_while_one_of_the_ids_has_expired() -> None:
    bench = Bench(debounce(remember_ids_for="1 hour"))
    bench.add(1, "one")
    bench.wait(10 * SECOND)
    bench.add(2, "two")
    bench.flush()
    bench.succeed()
    bench.wait(HOUR - 5 * SECOND)  # "one" is forgotten, "two" is not

    bench.fire()

    assert bench.transition.commit == ()


# -- S-40: add


def test_S_40_add_answers_created_the_count_and_when_it_is_flushed() -> None:
    bench = Bench(debounce())

    first = bench.add(1)
    bench.wait(10 * SECOND)
    second = bench.add(2)

    assert (first.created, first.event_count, first.will_flush_at) == (True, 1, at(T + 30 * SECOND))
    assert (second.created, second.event_count, second.will_flush_at) == (False, 2, at(T + 30 * SECOND))


def test_S_40_by_default_the_latest_event_is_the_state() -> None:
    bench = Bench(debounce())
    bench.add(1)
    bench.add(2)

    bench.flush()

    assert (bench.call.state, bench.call.event_count) == (Stored(1, 2), 2)
    assert bench.shown == []


def test_S_40_S_43_the_reducer_sees_the_event_the_state_and_the_count() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1)
    bench.add(2)

    shown = [(call.event, call.state, call.event_count, call.leased) for call in bench.shown]

    assert shown == [(1, None, 1, False), (2, Stored(1, [1]), 2, False)]


def test_S_40_the_first_event_of_each_window_sees_no_state() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1)
    bench.flush()

    bench.add(2)

    assert bench.shown[-1].state is None


def test_S_40_a_failing_reducer_leaves_nothing() -> None:
    bench = Bench(debounce(reducer=True), inline={"on_event": raises(ValueError("no"))})

    with pytest.raises(ExecutionError) as caught:
        bench.add(1, id="x")

    assert (caught.value.hook, str(caught.value.__cause__), bench.record) == ("on_event", "no", None)
    assert [(value.type, value.seq) for value in bench.telemetry] == [("job.failed", None)]
    bench.inline["on_event"] = append
    assert bench.add(1, id="x").created


def test_S_6_S_40_a_window_whose_state_does_not_decode_refuses_the_add() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1)
    bench.inline["on_event"] = raises(ValidationError("state", (Issue("$", "a list", "1"),)))
    before = bench.record

    with pytest.raises(ValidationError):
        bench.add(2)

    assert bench.record is before


# -- S-41: when a window is due


def test_S_41_flush_after_counts_from_the_first_event() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wait(29 * SECOND)
    bench.add()

    bench.wake()

    assert (bench.now, bench.call.flush_reason) == (T + 30 * SECOND, "flushAfter")


def test_S_41_quiet_restarts_it_at_every_event() -> None:
    bench = Bench(debounce(mode="quiet", max_wait=None))
    for _ in range(5):
        bench.add()
        bench.wait(30 * SECOND - 1)

    assert bench.alarm == bench.now + 1

    bench.wait(1)
    added = bench.add()  # now it is due

    assert (added.event_count, added.will_flush_at) == (6, at(bench.now))
    assert (bench.phase, bench.call.flush_reason) == ("running", "flushAfter")


def test_S_41_max_wait_caps_a_quiet_window() -> None:
    bench = Bench(debounce(mode="quiet", max_wait="1 minute"))
    due = []
    for _ in range(3):
        due.append(bench.add().will_flush_at)
        bench.wait(20 * SECOND)

    assert due == [at(T + 30 * SECOND), at(T + 50 * SECOND), at(T + MINUTE)]


def test_S_41_max_events_makes_the_window_due_at_once() -> None:
    bench = Bench(debounce(max_events=2))
    bench.add()

    bench.add()

    assert (bench.call.flush_reason, bench.call.event_count) == ("maxEvents", 2)


def test_S_41_a_window_once_due_stays_due() -> None:
    bench = Bench(debounce(mode="quiet", max_wait=None))
    bench.add()
    bench.wake()
    bench.add()
    bench.wait(31 * SECOND)  # the second window falls due behind the batch

    due = bench.add().will_flush_at
    bench.succeed()

    assert due == at(T + 60 * SECOND)
    assert (bench.call.event_count, bench.call.flush_reason) == (2, "flushAfter")


def test_S_8_a_lowered_max_events_acts_at_the_next_add_and_stored_instants_stand() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.add()
    bench.definition = debounce(flush_after="1 hour", max_events=2)

    bench.fire()
    stands = (bench.phase, bench.alarm)
    bench.add()

    assert stands == ("collecting", T + 30 * SECOND)
    assert (bench.call.flush_reason, bench.call.event_count) == ("maxEvents", 3)


# -- S-42: batch and window


def test_S_42_what_is_added_during_a_flush_or_a_retry_belongs_to_the_next_window() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1)
    bench.flush()
    bench.add(2)
    bench.fail()
    bench.add(3)
    bench.wake()

    batch = (bench.call.state, bench.call.attempt, bench.call.event_count)
    bench.succeed()
    bench.wake()

    assert batch == (Stored(1, [1]), 2, 1)
    assert (bench.call.state, bench.call.attempt) == (Stored(1, [2, 3]), 1)


def test_S_42_a_window_that_is_full_while_a_batch_is_unfinished_goes_on_collecting() -> None:
    bench = Bench(debounce(max_events=1))
    bench.add(1)
    bench.wait(SECOND)

    replies = [bench.add(2), bench.add(3)]
    phase = bench.phase
    bench.succeed()

    assert [(reply.event_count, reply.will_flush_at) for reply in replies] == [
        (1, at(T + SECOND)),
        (2, at(T + SECOND)),
    ]
    assert (phase, bench.call.event_count, bench.call.flush_reason) == ("running", 2, "maxEvents")


def test_S_42_it_closes_in_the_commit_that_ends_the_batch() -> None:
    bench = Bench(debounce())
    bench.add(1)
    bench.flush()
    bench.add(2)
    bench.flush()
    bench.worker = False

    bench.succeed()

    assert (bench.body.window, bench.body.batch.count, bench.body.run.number) == (None, 1, 2)


def test_S_42_the_flush_reason_is_the_first_cause() -> None:
    bench = Bench(debounce(max_events=2))
    bench.add(1)
    bench.flush()
    bench.add(2)
    bench.wait(30 * SECOND)  # due by time
    bench.add(3)  # and full
    bench.flush()  # and asked for

    bench.succeed()

    assert bench.call.flush_reason == "flushAfter"


def test_S_42_max_pending_refuses_instead() -> None:
    bench = Bench(debounce(max_pending=2))
    bench.add(1)
    bench.add(2)
    before = bench.record

    with pytest.raises(OverloadedError) as caught:
        bench.add(3, id="x")

    assert (caught.value.limit, caught.value.current) == (2, 2)
    assert bench.record is before
    bench.definition = debounce(max_pending=1)
    with pytest.raises(OverloadedError, match="the window of debounce:job:a is full: 2 of at most 1"):
        bench.add(3)


def test_S_42_I_2_a_batch_leaves_the_record_by_success_only() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1)
    bench.flush()
    held = [bench.body.batch]
    for happen in (bench.fail, bench.wake, bench.crash, bench.release, bench.fail_for_good, bench.fire):
        happen()
        held.append(bench.body.batch)
    bench.flush()

    bench.succeed()

    assert len(set(map(str, held))) == 1
    assert bench.body.batch is None


def test_S_43_the_flush_reason_is_kept_over_retries() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    bench.fail()

    bench.wake()

    assert (bench.call.flush_reason, bench.call.started_at, bench.call.attempt) == ("manual", T, 2)


# -- S-46: telemetry


def test_S_46_terminate_drops_window_batch_and_ids_and_says_so() -> None:
    bench = Bench(debounce())
    bench.add(id="x")
    bench.wake()
    bench.add()

    reply = bench.terminate("why")

    assert (reply.terminated, reply.was_running, reply.discarded_events, reply.reason) == (
        True,
        True,
        2,
        "why",
    )
    assert (bench.record, bench.last(JobTerminated).reason) == (None, "why")
    assert bench.transition.then[1] == CancelHandler(bench.calls[-1].token or Token(0, 0))
    assert bench.add(id="x").created


@pytest.mark.parametrize("flushing", [False, True])
def test_S_36_terminate_counts_the_events_of_a_window_or_a_batch(flushing: bool) -> None:
    bench = Bench(debounce())
    bench.add()
    bench.add()
    if flushing:
        bench.flush()

    assert bench.terminate().discarded_events == 2


def test_S_46_a_clear_that_dropped_something_says_so() -> None:
    bench = Bench(debounce())
    bench.add()

    bench.clear()
    said = bench.emitted, bench.last(JobTerminated).reason
    bench.clear()

    assert said == (["job.terminated"], "cleared")
    assert bench.emitted == []


def test_S_46_a_successful_flush_does_not_and_its_reason_is_timeout_on_the_wire() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.wait(SECOND)

    bench.succeed()

    assert bench.emitted == ["job.executed", "debounce.flushed"]
    wire = bench.last(DebounceFlushed).wire()
    assert (wire["reason"], wire["eventCount"], wire["durationMs"]) == ("timeout", 1, 30_000)


def test_S_24_S_46_terminate_on_exhaustion_ends_the_batch_and_an_open_window_lives_on() -> None:
    bench = Bench(debounce(reducer=True, retry=None, on_exhausted="terminate"))
    bench.add(1)
    bench.wake()
    bench.add(2)

    bench.fail()

    assert (bench.phase, bench.state, bench.body.batch) == ("collecting", [2], None)
    assert bench.last(JobTerminated).reason == "max_attempts"


# -- S-60


def test_S_60_a_repeated_id_changes_nothing_and_the_reducer_is_not_called() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1, "x")
    before = bench.record

    with pytest.raises(DuplicateEventError) as caught:
        bench.add(2, "x")

    assert caught.value.event_id == "x"
    assert (bench.record, len(bench.shown)) == (before, 1)


def test_S_60_by_default_an_id_is_forgotten_after_128_later_ones_or_a_day() -> None:
    bench = Bench(debounce())
    for number in range(129):
        bench.add(1, str(number))

    bench.add(1, "0")
    with pytest.raises(DuplicateEventError):
        bench.add(1, "2")
    bench.wait(DAY)

    assert bench.add(1, "2").event_count == 131


def test_S_60_how_many_and_how_long_can_be_set() -> None:
    bench = Bench(debounce(remember_ids=2, remember_ids_for="1 minute"))
    bench.add(1, "a")
    bench.add(1, "b")
    bench.add(1, "c")

    bench.add(1, "a")  # two later ids
    with pytest.raises(DuplicateEventError):
        bench.add(1, "c")
    bench.wait(MINUTE)

    assert bench.add(1, "c").event_count == 5
