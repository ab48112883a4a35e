"""The debounce: flush, clear, what clients see, and being parked (S-44, S-45, S-25)."""

from __future__ import annotations

import pytest
from support.steps import HOUR, MINUTE, SECOND, Bench, T, debounce

from durable_jobs_core.errors import DuplicateEventError
from durable_jobs_core.record import Stored
from durable_jobs_core.telemetry import DebounceStarted
from durable_jobs_core.words import to_datetime as at

# -- S-44: flush and clear


def test_S_44_flush_makes_batch_then_window_due_and_counts_both() -> None:
    bench = Bench(debounce(reducer=True))
    bench.add(1)
    bench.wake()
    bench.fail()
    key = bench.call.idempotency_key
    bench.add(2)

    reply = bench.flush()
    batch = bench.call
    bench.succeed()

    assert (reply.flushed, reply.event_count, reply.reason) == (False, 2, "manual")
    assert (batch.state, batch.attempt, batch.idempotency_key) == (Stored(1, [1]), 1, key)
    assert (bench.call.state, bench.call.flush_reason) == (Stored(1, [2]), "manual")


def test_S_44_flush_of_a_batch_in_flight_lets_it_go_on() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.fail()
    bench.wake()
    calls = len(bench.calls)

    bench.flush()

    assert (len(bench.calls), bench.body.run.attempt) == (calls, 2)


def test_S_18_S_44_flush_gives_a_parked_batch_fresh_attempts_in_the_same_run() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.crash()
    key = bench.call.idempotency_key
    bench.fail_for_good()

    bench.flush()

    assert (bench.call.attempt, bench.call.crashes, bench.call.idempotency_key) == (1, 0, key)


def test_S_44_flushed_is_true_only_if_all_of_it_succeeded() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.add()
    bench.flush()
    waiting = bench.waiting()

    bench.succeed()
    half = waiting()
    bench.succeed()

    assert half is None
    assert (waiting().flushed, waiting().event_count, waiting().outcome) == (True, 2, "succeeded")


@pytest.mark.parametrize("idle", [False, True])
def test_S_44_flush_of_nothing_is_empty(idle: bool) -> None:
    bench = Bench(debounce())
    if idle:
        bench.add(id="x")
        bench.flush()
        bench.succeed()

    reply = bench.flush()

    assert (reply.flushed, reply.reason, reply.event_count) == (False, "empty", 0)
    assert bench.transition.commit == ()


@pytest.mark.parametrize("way", ["fail", "fail_for_good"])
def test_S_44_clear_drops_the_window_and_a_batch_that_nobody_executes(way: str) -> None:
    bench = Bench(debounce())
    bench.add(id="x")
    bench.wake()
    bench.add()
    getattr(bench, way)()

    reply = bench.clear()

    assert (reply.cleared, reply.discarded_events, reply.in_flight) == (True, 2, False)
    assert (bench.phase, bench.status().event_count, bench.status().batch_event_count) == ("idle", 0, 0)
    with pytest.raises(DuplicateEventError):
        bench.add(id="x")  # ids stay


def test_S_44_clear_lets_a_batch_in_flight_go_on_retries_included() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()

    reply = bench.clear()
    bench.fail()
    bench.wake()

    assert (reply.cleared, reply.discarded_events, reply.in_flight) == (False, 0, True)
    assert bench.call.attempt == 2


def test_S_44_clear_of_nothing_clears_nothing() -> None:
    reply = Bench(debounce()).clear()

    assert (reply.cleared, reply.discarded_events, reply.in_flight) == (False, 0, False)


# -- S-45: what clients see, and how long a record is kept


def test_S_45_the_first_status_that_applies() -> None:
    bench = Bench(debounce())
    seen = [bench.status().status]
    for happen in (
        bench.add,  # debouncing
        bench.wake,  # flushing: in flight
        bench.fail,  # waiting for a retry
        bench.add,  # a window too
        bench.fire,
        bench.wake,
        bench.fail_for_good,  # parked
        bench.flush,  # in flight
        bench.succeed,  # the window, in flight
        bench.succeed,  # idle: an outcome is kept
        bench.wake,
    ):
        happen()
        seen.append(bench.status().status)

    assert seen == [
        "not_found", "debouncing", "flushing", "flushing", "flushing", "flushing", "flushing", "parked",
        "flushing", "flushing", "idle", "not_found",
    ]  # fmt: skip


def test_S_45_status_tells_of_window_and_batch() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.add()
    bench.wake()
    bench.fail()
    bench.wait(SECOND)
    bench.add()

    status = bench.status()

    start = T + 31 * SECOND
    assert (status.event_count, status.started_at, status.will_flush_at) == (
        1,
        at(start),
        at(start + 30 * SECOND),
    )
    assert (status.batch_event_count, status.attempt, str(status.last_error)) == (2, 2, "Error: boom")


def test_S_45_get_state_is_the_windows_else_the_batches_else_none() -> None:
    bench = Bench(debounce(reducer=True))
    states = [bench.state]
    bench.add(1)
    states.append(bench.state)
    bench.flush()
    states.append(bench.state)
    bench.add(2)
    states.append(bench.state)

    assert states == [None, [1], [1], [2]]


def test_S_45_created_says_that_there_was_no_record_or_it_was_idle() -> None:
    bench = Bench(debounce())
    created = [bench.add(id="x").created]
    bench.flush()
    created.append(bench.add().created)
    bench.clear()
    bench.succeed()

    created.append(bench.add().created)

    assert created == [True, False, True]


def test_S_45_debounce_started_is_told_for_each_window() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    bench.add()
    bench.add()

    started = [value for value in bench.telemetry if isinstance(value, DebounceStarted)]

    assert [value.flush_at for value in started] == [T + 30 * SECOND] * 2


def test_S_45_an_add_that_closes_the_window_answers_its_count_and_now() -> None:
    bench = Bench(debounce(max_events=2))
    bench.add()
    bench.wait(SECOND)

    reply = bench.add()

    assert (reply.event_count, reply.will_flush_at) == (2, at(T + SECOND))


def test_S_45_the_record_goes_with_the_last_batch_if_nothing_is_kept() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()

    bench.succeed()

    assert bench.record is None


def test_S_45_the_record_is_kept_for_its_ids() -> None:
    bench = Bench(debounce(remember_ids_for="1 hour"))
    bench.add(id="x")
    bench.wake()
    bench.succeed()

    kept = (bench.phase, bench.alarm)
    bench.wake()

    assert kept == ("idle", T + HOUR)
    assert bench.record is None


def test_S_38_S_45_the_record_is_kept_a_minute_for_a_flush_the_later_expiry_counts() -> None:
    bench = Bench(debounce(remember_ids_for="1 second"))
    bench.add(id="x")
    bench.flush()
    bench.wait(SECOND)
    bench.succeed()

    kept = (bench.phase, bench.alarm, bench.body.outcome.result)
    bench.wake()

    assert kept == ("idle", T + SECOND + MINUTE, "succeeded")
    assert bench.record is None


# -- S-25: parked


def parked() -> Bench:
    """A batch of one event has given up."""
    bench = Bench(debounce(max_events=2))
    bench.add(1)
    bench.wake()
    bench.fail_for_good()
    return bench


def test_S_25_a_parked_batch_has_no_alarm_and_is_kept() -> None:
    bench = parked()

    status = bench.status()
    assert (bench.alarm, status.status, status.batch_event_count) == (None, "parked", 1)
    assert (status.attempt, str(status.last_error)) == (1, "Error: boom")


def test_S_25_it_is_tried_when_the_open_window_falls_due_by_time_batch_first() -> None:
    bench = parked()
    bench.add(2)

    bench.wake()
    batch = (bench.now, bench.call.run, bench.call.attempt)
    bench.succeed()

    assert batch == (T + MINUTE, 1, 1)
    assert (bench.call.run, bench.call.flush_reason) == (2, "flushAfter")


def test_S_25_or_by_max_events() -> None:
    bench = parked()
    bench.add(2)

    bench.add(3)
    batch = bench.call.run
    bench.succeed()

    assert batch == 1
    assert (bench.call.run, bench.call.event_count, bench.call.flush_reason) == (2, 2, "maxEvents")


def test_S_25_if_it_gives_up_again_the_window_is_put_off_and_its_number_not_counted_before() -> None:
    bench = parked()
    bench.add(2)
    bench.add(3)
    bench.wait(SECOND)
    bench.fail_for_good()

    put_off = (bench.phase, bench.alarm, bench.emitted)
    bench.add(4)  # it is full, still
    quiet = bench.phase
    bench.wake()

    assert put_off == ("parked", T + 61 * SECOND, ["job.failed", "job.retryExhausted"])
    assert quiet == "parked"
    assert (bench.call.run, bench.call.attempt) == (1, 1)


def test_S_25_events_do_not_move_a_quiet_window_that_was_put_off() -> None:
    bench = Bench(debounce(mode="quiet", max_wait=None))
    bench.add(1)
    bench.wake()
    bench.add(2)
    bench.flush()
    bench.fail_for_good()  # the window is due again in 30 s
    bench.wait(10 * SECOND)

    reply = bench.add(3)

    assert (reply.will_flush_at, bench.alarm) == (at(T + MINUTE), T + MINUTE)


def test_S_25_flush_tries_a_parked_batch_at_once() -> None:
    bench = parked()

    bench.flush()

    assert (bench.call.run, bench.call.attempt) == (1, 1)
