"""Continuous: SPEC §5, and what §2 to §4 mean for it."""

from __future__ import annotations

from typing import Any

import pytest
from support.steps import DAY, GRID, HOUR, MINUTE, SECOND, Bench, T, continuous

from durable_jobs_core.effects import CallHandler, EmitTelemetry, Reply
from durable_jobs_core.errors import SchedulerError
from durable_jobs_core.schedule import cron, every, skip
from durable_jobs_core.telemetry import JobFailed, JobTerminated
from durable_jobs_core.words import INSTANT_MAX


def test_S_35_resume_goes_on_after_now_also_if_a_retry_waits() -> None:
    bench = Bench(continuous(GRID))
    bench.start()  # the tick of T
    bench.fail()
    bench.pause()
    bench.wait(10 * MINUTE)
    bench.resume()  # the retry is due now

    bench.succeed()

    assert (bench.phase, bench.alarm) == ("waiting", T + 11 * MINUTE)


# -- S-30, S-31: start


def test_S_30_start_answers_created_and_running_and_says_job_started() -> None:
    bench = Bench(continuous())

    reply = bench.start(5)

    assert (reply.created, reply.status, reply.instance_id) == (True, "running", "continuous:job:a")
    assert (bench.emitted, bench.state) == (["job.started"], 5)


def test_S_30_the_reply_follows_the_creation_not_the_first_run() -> None:
    bench = Bench(continuous())
    bench.start()

    kinds = [type(effect) for effect in bench.transition.then]

    assert kinds == [EmitTelemetry, Reply, CallHandler]


@pytest.mark.parametrize(
    ("happens", "status"),
    [
        ([], "running"),
        (["pause"], "paused"),
        (["fail_for_good"], "parked"),
        (["pause", "fail_for_good"], "parked"),
    ],
)
def test_S_30_start_of_an_existing_instance_answers_its_status_and_ignores_the_input(
    happens: list[str], status: str
) -> None:
    bench = Bench(continuous(on_exhausted="park"))
    bench.start(5)
    for name in happens:
        getattr(bench, name)()

    reply = bench.start(6)

    assert (reply.created, reply.status, bench.state) == (False, status, 5)
    assert bench.transition.commit == ()


def test_S_31_it_is_due_now() -> None:
    bench = Bench(continuous(), worker=False)

    bench.start()

    assert bench.alarm == T


def test_S_31_or_first_due_by_the_schedule() -> None:
    bench = Bench(continuous(start_immediately=False))

    bench.start()

    assert (bench.phase, bench.alarm, bench.status().run_count) == ("waiting", T + MINUTE, 0)


def test_S_61_a_schedule_without_a_next_instant_refuses_the_start() -> None:
    bench = Bench(continuous(every("1 day"), start_immediately=False), now=INSTANT_MAX - HOUR)

    with pytest.raises(SchedulerError):
        bench.start()

    assert bench.record is None


# -- S-32, S-33: the schedule


def test_S_32_every_counts_from_the_end_of_the_last_run() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.wait(10 * SECOND)

    bench.succeed()

    assert bench.alarm == T + 10 * SECOND + MINUTE


def test_S_32_an_aligned_every_does_not_drift() -> None:
    bench = Bench(continuous(GRID))
    bench.start()
    alarms = []
    for _ in range(3):
        bench.wait(10 * SECOND)
        bench.succeed()
        alarms.append(bench.alarm)
        bench.wake()

    assert alarms == [T + MINUTE, T + 2 * MINUTE, T + 3 * MINUTE]


def test_S_32_cron_goes_by_the_clock() -> None:
    bench = Bench(continuous(cron("*/5 * * * *"), start_immediately=False))

    bench.start()

    assert bench.alarm == T + 100 * SECOND  # 22:13:20, then 22:15


@pytest.mark.parametrize(("schedule", "step"), [(GRID, MINUTE), (cron("* * * * *"), MINUTE)])
def test_S_33_ticks_missed_in_downtime_are_one_run_for_the_latest_then_the_next_tick(
    schedule: Any, step: int
) -> None:
    bench = Bench(continuous(schedule, start_immediately=False))
    bench.start()
    assert bench.alarm is not None
    first = bench.alarm
    bench.now = first + 10 * step + 1

    bench.fire()
    bench.succeed()

    assert (bench.call.scheduled_for, bench.call.run_count) == (first + 10 * step, 1)
    assert bench.alarm == first + 11 * step


def test_S_33_ticks_missed_during_its_own_run_with_its_retries_are_one_run_at_once() -> None:
    bench = Bench(continuous(GRID))
    bench.start()
    bench.wait(90 * SECOND)
    bench.fail()
    bench.wake()
    bench.wait(50 * SECOND)

    bench.succeed()

    assert (bench.call.run_count, bench.call.scheduled_for) == (2, T + 2 * MINUTE)
    bench.succeed()
    assert bench.alarm == T + 3 * MINUTE


@pytest.mark.parametrize(("late", "runs"), [(10 * SECOND, True), (10 * SECOND + 1, False)])
def test_S_33_skip_runs_the_latest_only_if_it_is_at_most_grace_old(late: int, runs: bool) -> None:
    bench = Bench(continuous(GRID, misfire=skip("10 seconds"), start_immediately=False))
    bench.start()
    bench.wait(5 * MINUTE + late)

    bench.fire()

    assert (bench.phase == "running") == runs
    if runs:
        assert bench.call.scheduled_for == T + 5 * MINUTE
    else:
        assert bench.alarm == T + 6 * MINUTE


def test_S_33_a_plain_every_has_no_ticks_it_is_only_late() -> None:
    bench = Bench(continuous(misfire=skip("1 second")))
    bench.start()
    bench.succeed()
    bench.wait(HOUR)

    bench.fire()

    assert (bench.phase, bench.call.scheduled_for) == ("running", T + MINUTE)


def test_S_33_a_tick_is_later_than_the_instant_it_is_computed_from() -> None:
    bench = Bench(continuous(cron("13 22 * * *"), start_immediately=False))
    bench.start()
    bench.wake()

    bench.succeed()

    assert bench.alarm == bench.now + DAY


def test_S_61_at_the_end_of_the_calendar_the_schedule_ends_and_says_so() -> None:
    bench = Bench(continuous(), now=INSTANT_MAX - 1)
    bench.start()

    bench.succeed()

    assert (bench.phase, bench.alarm) == ("waiting", None)
    error = bench.status().last_error
    assert error is not None
    assert error.type == "SchedulerError"
    assert bench.last(JobFailed).fields(with_state=True) == {
        "error": {"message": error.message, "name": error.type},
        "runCount": 1,
        "attempt": 1,
        "willRetry": False,
        "preExecutionState": 0,
        "run": 1,
        "hook": "execute",
    }


def test_S_35_S_61_a_run_ends_also_if_a_resume_has_found_the_end_of_the_calendar_meanwhile() -> None:
    bench = Bench(continuous(GRID), now=INSTANT_MAX - SECOND)
    bench.start()
    bench.pause()
    bench.resume()
    ended = bench.emitted

    bench.succeed()

    assert (ended, bench.phase, bench.alarm) == (["job.failed"], "waiting", None)


# -- S-34: trigger


def test_S_34_run_count_rises_by_one_per_run_before_it() -> None:
    bench = Bench(continuous())
    bench.start()
    counts = [(bench.call.run_count, bench.status().run_count)]
    bench.fail()
    bench.wake()
    counts.append((bench.call.run_count, bench.status().run_count))
    bench.succeed()
    bench.wake()
    counts.append((bench.call.run_count, bench.status().run_count))

    assert counts == [(1, 1), (1, 1), (2, 2)]


def test_S_34_trigger_of_a_waiting_instance_is_a_new_run_now_whose_end_sets_the_next_due_time() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.wait(10 * SECOND)

    reply = bench.trigger()
    call = bench.call
    bench.succeed()

    assert (reply.triggered, reply.joined, reply.outcome) == (True, False, "accepted")
    assert (call.run_count, call.scheduled_for) == (2, None)
    assert bench.alarm == T + 10 * SECOND + MINUTE


@pytest.mark.parametrize(("schedule", "next_at"), [(GRID, T + MINUTE), (cron("* * * * *"), T + 40 * SECOND)])
def test_S_34_a_trigger_does_not_move_a_grid(schedule: Any, next_at: int) -> None:
    bench = Bench(continuous(schedule))
    bench.start()
    bench.succeed()
    bench.wait(10 * SECOND)
    bench.trigger()

    bench.succeed()

    assert bench.alarm == next_at


def test_S_34_trigger_joins_an_attempt_in_flight_and_writes_nothing() -> None:
    bench = Bench(continuous())
    bench.start()

    reply = bench.trigger()

    assert (reply.triggered, reply.joined, bench.transition.commit) == (True, True, ())


@pytest.mark.parametrize("way", ["fail", "fail_for_good"])
def test_S_18_S_34_trigger_of_a_run_that_waits_or_is_parked_is_that_run_with_attempts_from_1(
    way: str,
) -> None:
    bench = Bench(continuous(on_exhausted="park"))
    bench.start()
    key = bench.call.idempotency_key
    bench.crash()
    getattr(bench, way)()

    bench.trigger()

    assert (bench.call.attempt, bench.call.crashes, bench.call.run_count) == (1, 0, 1)
    assert bench.call.idempotency_key == key


def test_S_34_trigger_of_no_instance_triggers_nothing() -> None:
    reply = Bench(continuous()).trigger()

    assert (reply.triggered, reply.outcome) == (False, None)


# -- S-24: giving up


def test_S_24_continue_goes_on_with_the_next_scheduled_run_and_keeps_the_last_good_state() -> None:
    bench = Bench(continuous(retry=None))
    bench.start(7)

    bench.fail()

    assert (bench.phase, bench.alarm, bench.state) == ("waiting", T + MINUTE, 7)
    bench.wake()
    assert (bench.call.run_count, bench.call.attempt) == (2, 1)


def test_S_24_park_keeps_the_run_and_is_default_elsewhere() -> None:
    bench = Bench(continuous(on_exhausted="park"))
    bench.start(7)

    bench.fail_for_good()

    assert (bench.phase, bench.alarm, bench.state) == ("parked", None, 7)


def test_S_24_terminate_deletes() -> None:
    bench = Bench(continuous(retry=None, on_exhausted="terminate"))
    bench.start()

    bench.fail()

    assert (bench.record, bench.last(JobTerminated).reason) == (None, "max_attempts")
