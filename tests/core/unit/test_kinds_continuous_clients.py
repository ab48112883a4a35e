"""Continuous: status, pause, resume, reschedule, terminate, and waiting (S-35, S-8, S-36, S-38)."""

from __future__ import annotations

from typing import Any

import pytest
from support.steps import GRID, HOUR, MINUTE, SECOND, Bench, T, asked, continuous

from durable_jobs_core.effects import CancelHandler, ClearAlarm, Delete
from durable_jobs_core.errors import InstanceNotFoundError, InvalidStateError
from durable_jobs_core.schedule import cron, every, skip
from durable_jobs_core.telemetry import JobTerminated
from durable_jobs_core.words import INSTANT_MAX
from durable_jobs_core.words import to_datetime as at

# -- S-35: status, pause, resume


def test_S_35_the_first_status_that_applies() -> None:
    bench = Bench(continuous(on_exhausted="park"))
    seen = [bench.status().status]
    for happen in (bench.start, bench.pause, bench.fail_for_good):
        happen()
        seen.append(bench.status().status)

    assert seen == ["not_found", "running", "paused", "parked"]


def test_S_35_status_tells_of_runs_and_errors() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.wake()
    bench.fail()

    status = bench.status()

    assert (status.run_count, status.attempt, str(status.last_error)) == (2, 2, "Error: boom")
    assert (status.next_run_at, status.last_run_at) == (at(T + 70 * SECOND), at(T))


def test_S_35_pause_starts_no_tick_and_tells_whether_it_changed_anything() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()

    first, again = bench.pause(), bench.pause()
    bench.wait(HOUR)
    bench.fire()

    assert (first.paused, again.paused, bench.phase) == (True, False, "waiting")
    assert (bench.status().next_run_at, bench.alarm) == (None, None)


def test_S_35_pause_starts_no_retry() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.fail()

    bench.pause()
    bench.wait(HOUR)
    bench.fire()

    assert (bench.phase, bench.status().next_run_at) == ("pending", None)


def test_S_35_an_attempt_in_flight_ends_and_is_committed() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.pause()

    bench.succeed(asked(9))

    assert (bench.state, bench.status().status, bench.alarm) == (9, "paused", None)


def test_S_35_resume_makes_a_waiting_retry_due_now_and_tells_whether_it_changed_anything() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.fail()
    bench.pause()

    first, again = bench.resume(), bench.resume()

    assert (first.resumed, again.resumed) == (True, False)
    assert (bench.call.attempt, bench.phase) == (2, "running")


@pytest.mark.parametrize(
    ("wait", "due"),
    [(10 * SECOND, T + MINUTE), (MINUTE, T + 2 * MINUTE), (150 * SECOND, T + 3 * MINUTE)],
)
@pytest.mark.parametrize("schedule", [GRID, every("1 minute")])
def test_S_35_resume_goes_on_at_the_first_of_stored_due_plus_k_d_after_now(
    schedule: Any, wait: int, due: int
) -> None:
    bench = Bench(continuous(schedule))
    bench.start()
    bench.succeed()
    bench.pause()
    bench.wait(wait)

    bench.resume()

    assert (bench.phase, bench.alarm) == ("waiting", due)


def test_S_35_resume_goes_on_with_cron_after_now() -> None:
    bench = Bench(continuous(cron("* * * * *"), start_immediately=False))
    bench.start()
    bench.pause()
    bench.wait(HOUR)

    bench.resume()

    assert bench.alarm == T + HOUR + 40 * SECOND


def test_S_8_S_35_resume_leaves_a_stored_due_time_after_now_as_it_is() -> None:
    bench = Bench(continuous(every("1 hour")))
    bench.start()
    bench.succeed()
    bench.definition = continuous()
    bench.pause()

    bench.resume()

    assert bench.alarm == T + HOUR


def test_S_35_resume_of_a_schedule_that_has_ended_finds_nothing_due() -> None:
    bench = Bench(continuous(), now=INSTANT_MAX - 1)
    bench.start()
    bench.succeed()
    bench.pause()

    reply = bench.resume()

    assert (reply.resumed, bench.alarm) == (True, None)


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_S_35_a_parked_instance_is_neither_paused_nor_resumed(name: str) -> None:
    bench = Bench(continuous(on_exhausted="park"))
    bench.start()
    bench.fail_for_good()
    before = bench.record

    with pytest.raises(InvalidStateError) as caught:
        getattr(bench, name)()

    assert (caught.value.state, caught.value.request) == ("parked", name)
    assert bench.record is before


def test_S_35_S_61_no_instance_is_neither_paused_nor_resumed() -> None:
    bench = Bench(continuous())

    assert (bench.pause().paused, bench.resume().resumed) == (False, False)


def test_S_35_trigger_runs_a_paused_instance_once_and_it_stays_paused() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.pause()

    bench.trigger()
    bench.succeed()

    assert (bench.status().run_count, bench.status().status, bench.alarm) == (2, "paused", None)


def test_S_35_a_run_triggered_while_paused_is_tried_again_after_a_crash_and_not_after_a_failure() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.pause()
    bench.trigger()

    bench.crash()
    crashes = bench.call.crashes
    bench.fail()

    assert (crashes, bench.phase, bench.alarm) == (1, "pending", None)


# -- S-8: reschedule


def test_S_8_reschedule_recomputes_a_waiting_instance_from_now_by_the_schedule_in_force() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.definition = continuous(every("1 hour"))
    bench.wait(10 * SECOND)
    bench.fire()
    stands = bench.alarm

    reply = bench.reschedule()

    assert stands == T + MINUTE
    assert (reply.rescheduled, reply.next_run_at) == (True, at(T + 10 * SECOND + HOUR))
    assert bench.alarm == T + 10 * SECOND + HOUR


@pytest.mark.parametrize("happens", [[], ["fail"], ["fail_for_good"]])
def test_S_8_reschedule_leaves_a_run_in_flight_waiting_or_parked(happens: list[str]) -> None:
    bench = Bench(continuous(on_exhausted="park"))
    bench.start()
    for name in happens:
        getattr(bench, name)()

    reply = bench.reschedule()

    assert (reply.rescheduled, bench.transition.commit) == (False, ())


def test_S_8_S_61_reschedule_of_no_instance_is_not_found() -> None:
    with pytest.raises(InstanceNotFoundError):
        Bench(continuous()).reschedule()


def test_S_8_the_new_definition_rules_from_the_next_due_time_computed() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.definition = continuous(every("1 hour"))

    bench.succeed()

    assert bench.alarm == T + HOUR


# -- S-36: terminate


def test_S_36_terminate_deletes_in_one_commit_and_frees_the_id() -> None:
    bench = Bench(continuous())
    bench.start(1)
    bench.succeed()

    reply = bench.terminate("why")

    assert bench.transition.commit == (Delete(), ClearAlarm())
    assert (reply.terminated, reply.reason, reply.was_running) == (True, "why", False)
    assert (bench.last(JobTerminated).reason, bench.last(JobTerminated).run_count) == ("why", 1)
    assert bench.start(2).created


def test_S_36_it_does_not_wait_for_the_handler_and_has_it_cancelled() -> None:
    bench = Bench(continuous())
    bench.start()
    token = bench.lease.token

    reply = bench.terminate()

    assert (reply.was_running, bench.record) == (True, None)
    assert CancelHandler(token) in bench.transition.then


def test_I_5_nothing_of_a_terminated_life_can_appear_in_the_next() -> None:
    bench = Bench(continuous())
    bench.start(1)
    token = bench.lease.token
    bench.terminate()
    bench.start(2)
    life = bench.record

    for late in (bench.succeed, bench.fail, bench.release, bench.renew):
        late(token=token)

    assert bench.record is life
    assert (bench.state, bench.status().run_count, bench.status().last_error) == (2, 1, None)


def test_S_36_terminate_of_no_instance() -> None:
    reply = Bench(continuous()).terminate("why")

    assert (reply.terminated, reply.was_running) == (False, False)


def test_S_17_S_46_a_hook_that_terminates_ends_the_instance() -> None:
    bench = Bench(continuous())
    bench.start()

    bench.succeed(asked(5, terminate="done"))

    assert (bench.record, bench.emitted, bench.last(JobTerminated).reason) == (
        None,
        ["job.terminated"],
        "done",
    )


# -- S-38: waiting for a trigger


@pytest.mark.parametrize(
    ("job", "happen", "outcome"),
    [
        ({}, "succeed", "succeeded"),
        ({}, "fail", "retrying"),
        ({}, "fail_for_good", "failed"),
        ({"on_exhausted": "park"}, "fail_for_good", "parked"),
        ({"on_exhausted": "terminate"}, "fail_for_good", "terminated"),
        ({}, "terminate", "terminated"),
    ],
)
def test_S_38_a_waiting_trigger_is_told_how_the_next_attempt_ended(
    job: dict[str, Any], happen: str, outcome: str
) -> None:
    bench = Bench(continuous(**job))
    bench.start()
    bench.succeed()
    bench.trigger()
    waiting = bench.waiting()
    before = waiting()

    getattr(bench, happen)()

    told = waiting()
    assert (before, told.outcome) == (None, outcome)
    failed = outcome in ("retrying", "failed", "parked")
    assert (str(told.error) if told.error else None) == ("Error: boom" if failed else None)
    assert told.retry_at == (at(T + 10 * SECOND) if outcome == "retrying" else None)


def test_S_38_a_life_that_ended_and_began_anew_answers_terminated() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.trigger()
    waiting = bench.waiting()
    bench.terminate()

    bench.start()

    assert waiting().outcome == "terminated"


def test_S_24_S_33_a_run_on_a_grid_that_gives_up_is_followed_by_the_next_tick() -> None:
    bench = Bench(continuous(GRID, retry=None))
    bench.start()
    bench.wait(10 * SECOND)

    bench.fail()

    assert (bench.phase, bench.alarm) == ("waiting", T + MINUTE)


@pytest.mark.parametrize(("late", "tick"), [(MINUTE - 1, 1), (MINUTE, 2)])
def test_S_33_the_latest_tick_is_one_that_has_passed_to_the_millisecond(late: int, tick: int) -> None:
    bench = Bench(continuous(GRID))
    bench.start()
    bench.succeed()
    bench.wait(MINUTE + late)

    bench.fire()

    assert bench.call.scheduled_for == T + tick * MINUTE


def test_S_33_what_is_skipped_is_followed_by_the_next_tick_also_a_moment_before_it() -> None:
    bench = Bench(continuous(GRID, misfire=skip("1 second")))
    bench.start()
    bench.succeed()
    bench.wait(2 * MINUTE - 1)

    bench.fire()

    assert (bench.phase, bench.alarm) == ("waiting", T + 2 * MINUTE)


def test_S_35_a_resume_a_moment_before_the_due_time_leaves_it() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.pause()
    bench.wait(MINUTE - 1)

    bench.resume()

    assert bench.alarm == T + MINUTE


def test_S_34_a_triggered_run_is_counted_though_no_worker_is_up() -> None:
    bench = Bench(continuous(), worker=False)
    bench.start()

    bench.trigger()

    assert (bench.phase, bench.status().run_count) == ("pending", 1)
