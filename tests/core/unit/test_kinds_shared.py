"""What is the same in every kind: leases, attempts, alarms, stale tokens (SPEC §3, §4, §9)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.steps import HOUR, LEASE, MINUTE, SECOND, Bench, T, asked, continuous, debounce, task

from durable_jobs_core._values import evolve
from durable_jobs_core.durations import Duration
from durable_jobs_core.effects import CallHandler
from durable_jobs_core.retry import Retry
from durable_jobs_core.telemetry import JobExecuted, JobFailed, RetryExhausted
from durable_jobs_core.words import Token, to_datetime

Make = Callable[..., Bench]


def _continuous(**options: Any) -> Bench:
    bench = Bench(continuous(**{"on_exhausted": "park", **options}))
    bench.start()
    return bench


def _debounce(**options: Any) -> Bench:
    bench = Bench(debounce(**options))
    bench.add()
    bench.flush()
    return bench


def _task(**options: Any) -> Bench:
    bench = Bench(task(**options))
    bench.send()
    bench.trigger()
    return bench


def _queued(**options: Any) -> Bench:
    bench = _task(**options)
    bench.send("queued")
    bench.succeed()
    return bench


@pytest.fixture(params=[_continuous, _debounce, _task, _queued], ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a bench with the first attempt of a run in flight, of each kind; takes options of the job."""
    chosen: Make = request.param
    return chosen


# -- S-10, S-11, S-12: leases and fences


def test_S_10_the_claim_is_committed_before_the_hook_is_called(make: Make) -> None:
    bench = make()

    assert bench.transition.commit
    assert bench.transition.record is bench.record
    assert isinstance(bench.transition.then[-1], CallHandler)
    assert (bench.lease.since, bench.lease.until, bench.in_flight.attempt) == (
        bench.now,
        bench.now + LEASE,
        1,
    )


def test_S_12_the_token_is_the_revision_of_the_commit_that_took_the_lease(make: Make) -> None:
    bench = make()

    assert bench.record is not None
    assert bench.lease.token == Token(bench.record.revision.number, bench.record.revision.engine)


def test_S_12_tokens_never_repeat_not_even_in_a_new_life() -> None:
    bench = _continuous()
    for happen in (bench.crash, bench.release, bench.fail, bench.wake, bench.terminate, bench.start):
        happen()

    tokens = [call.token for call in bench.calls]

    assert len(set(tokens)) == len(tokens) == 5


def test_S_11_a_completion_after_the_lease_end_commits_if_the_token_is_current(make: Make) -> None:
    bench = make()
    bench.wait(HOUR)

    bench.succeed()

    assert "job.executed" in bench.emitted


@pytest.mark.parametrize("what", ["succeed", "fail", "release", "renew"])
def test_S_11_I_3_a_token_that_was_replaced_changes_nothing(make: Make, what: str) -> None:
    bench = make()
    old = bench.lease.token
    bench.crash()
    before = bench.record

    getattr(bench, what)(token=old)

    assert (bench.record, bench.transition.commit) == (before, ())
    assert bench.emitted == ([] if what == "renew" else ["job.stale"])


@pytest.mark.parametrize("what", ["succeed", "fail", "release", "renew"])
def test_S_11_I_3_a_token_that_was_released_changes_nothing(make: Make, what: str) -> None:
    bench = make()
    old = bench.lease.token
    bench.worker = False
    bench.release()
    before = bench.record

    getattr(bench, what)(token=old)

    assert (bench.record, bench.transition.commit) == (before, ())


def test_S_11_a_lease_is_not_taken_over_before_its_end(make: Make) -> None:
    bench = make()
    bench.engine = 2
    bench.wait(LEASE - 1)

    bench.fire()

    assert bench.transition.commit == ()


def test_S_13_a_renewal_makes_the_lease_end_a_whole_length_from_now(make: Make) -> None:
    bench = make()
    token = bench.lease.token
    bench.wait(LEASE // 3)

    bench.renew()

    assert (bench.lease.token, bench.alarm) == (token, bench.now + LEASE)


# -- S-14: crashes and hand-backs


def test_S_14_a_crash_runs_the_same_attempt_again_and_is_counted(make: Make) -> None:
    bench = make()
    first = bench.call
    bench.engine = 2

    bench.crash()

    assert (bench.call.run, bench.call.attempt, bench.call.crashes) == (first.run, 1, 1)
    assert bench.call.idempotency_key == first.idempotency_key
    assert "job.crashed" in bench.emitted
    assert bench.lease.token.engine == 2


def test_S_14_after_max_crashes_the_run_gives_up_because_it_crashed(make: Make) -> None:
    bench = make(max_crashes=3)
    for _ in range(3):
        bench.crash()

    exhausted = bench.last(RetryExhausted)

    assert (exhausted.reason, exhausted.attempts) == ("crashed", 1)
    assert str(bench.status().last_error).startswith("Crashed: ")


def test_S_14_by_default_that_are_five(make: Make) -> None:
    bench = make()
    for _ in range(4):
        bench.crash()
    before = bench.call.crashes

    bench.crash()

    assert before == 4
    assert "job.retryExhausted" in bench.emitted


def test_S_14_a_failure_does_not_forget_crashes(make: Make) -> None:
    bench = make()
    bench.crash()
    bench.fail()

    bench.wake()

    assert (bench.call.attempt, bench.call.crashes) == (2, 1)


def test_S_14_a_lease_handed_back_is_the_same_attempt_due_now_and_nothing_is_counted(make: Make) -> None:
    bench = make()
    first = bench.call
    bench.worker = False

    bench.release()
    due = bench.alarm
    bench.worker = True
    bench.fire()

    assert due == bench.now
    assert (bench.call.run, bench.call.attempt, bench.call.crashes) == (first.run, 1, 0)
    assert bench.call.idempotency_key == first.idempotency_key


def test_S_14_the_hook_that_follows_a_crashed_run_sees_every_crash() -> None:
    bench = Bench(task("on_error", max_crashes=2))
    bench.send()
    bench.trigger()
    bench.crash()

    bench.crash()

    assert (bench.call.hook, bench.call.crashes) == ("on_error", 2)


# -- S-18: the key of a run


def test_S_18_retries_crashes_hand_backs_and_parking_stay_in_the_run(make: Make) -> None:
    bench = make()
    run = bench.call.run
    for happen in (bench.fail, bench.wake, bench.crash, bench.release):
        happen()

    assert {call.call.idempotency_key for call in bench.calls if call.call.run == run} == {
        bench.call.idempotency_key
    }
    assert (bench.call.attempt, bench.call.crashes) == (2, 1)


def test_S_18_the_next_run_has_another_key(make: Make) -> None:
    bench = make()
    first = bench.call.idempotency_key
    if bench.definition.kind == "debounce":
        bench.add()
        bench.flush()
    bench.succeed()
    if bench.definition.kind != "debounce":
        bench.trigger()

    assert bench.call.idempotency_key != first


# -- S-21: retry


def patience(attempts: int, delay: Duration, longest: Duration | None = None) -> Retry:
    """A policy without jitter."""
    return Retry(max_attempts=attempts, delay=delay, jitter=0, max_duration=longest)


def test_S_21_the_delay_counts_from_the_end_of_the_failed_attempt(make: Make) -> None:
    bench = make()
    bench.wait(25 * SECOND)

    bench.fail()

    assert bench.alarm == bench.now + 10 * SECOND


def test_S_21_max_duration_is_judged_on_the_planned_instant_of_the_next_attempt(make: Make) -> None:
    bench = make(retry=patience(9, "10 seconds", "20 seconds"))
    bench.wait(10 * SECOND)
    bench.fail()  # 20 s after the first attempt began: not later than that
    planned = bench.alarm
    bench.wake()

    bench.fail()

    assert planned == T + 20 * SECOND
    assert (bench.last(RetryExhausted).reason, bench.last(RetryExhausted).attempts) == ("max_duration", 2)


@pytest.mark.parametrize("late", [0, 1])
def test_S_21_max_duration_counts_to_the_millisecond_from_the_first_attempt(make: Make, late: int) -> None:
    bench = make(retry=patience(9, "10 seconds", "20 seconds"))
    bench.fail()
    bench.wake()
    bench.release()  # it is begun anew, later than the first
    bench.wait(late)

    bench.fail()

    assert ("job.retryExhausted" in bench.emitted) == bool(late)


def test_S_21_downtime_and_crashes_do_not_exhaust_by_themselves(make: Make) -> None:
    bench = make(retry=patience(9, "10 seconds", "20 seconds"))
    bench.wait(HOUR)
    bench.crash()
    bench.worker = False
    bench.release()
    bench.worker = True

    bench.fire()

    assert (bench.call.attempt, bench.call.crashes) == (1, 1)


@pytest.mark.parametrize("make", [_continuous, _debounce, _task])
def test_S_18_S_21_a_revived_run_has_its_time_anew(make: Make) -> None:
    bench = make(retry=patience(2, "10 seconds", "20 seconds"))
    bench.fail()
    bench.wake()
    bench.fail()
    bench.wait(HOUR)
    getattr(bench, "flush" if bench.definition.kind == "debounce" else "trigger")()

    bench.fail()

    assert bench.alarm == bench.now + 10 * SECOND


def test_S_21_what_must_not_be_retried_gives_up_at_once(make: Make) -> None:
    bench = make()

    bench.fail_for_good()

    assert (bench.last(RetryExhausted).reason, bench.last(JobFailed).will_retry) == ("non_retryable", False)


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: sys.exit("no"), "SystemExit: no"),
        (lambda: "-1 s", "ValidationError: its result: expected a duration"),
    ],
)
def test_a_delay_function_that_fails_gives_up_and_the_failure_says_so(
    make: Make, came: Any, why: str
) -> None:
    answers: list[Any] = [lambda: "1 s"]  # a definition asks for the first
    bench = make(retry=Retry(delay=lambda attempt: answers[-1]()))
    answers.append(came)

    bench.fail("refused")

    told, error = bench.last(JobFailed), bench.body.last_error
    assert error is not None
    assert error.message.startswith(f"refused\n  not tried again, for Retry(delay) failed with {why}")
    assert (told.failure.message, told.will_retry) == (error.message, False)
    assert bench.last(RetryExhausted).reason == "non_retryable"


def test_S_8_S_21_the_policy_is_the_one_in_force_when_an_attempt_fails(make: Make) -> None:
    bench = make(retry=patience(2, "10 seconds"))
    bench.fail()
    waiting = bench.alarm
    longer = make(retry=patience(3, "1 minute"))
    bench.definition = longer.definition
    bench.fire()
    stands = bench.alarm
    bench.wake()

    bench.fail()

    assert waiting == stands
    assert (bench.alarm, bench.last(JobFailed).attempt) == (bench.now + MINUTE, 2)


def test_S_23_without_a_policy_there_is_one_attempt(make: Make) -> None:
    bench = make(retry=None)

    bench.fail()

    assert not bench.last(JobFailed).will_retry


def test_I_6_attempts_never_exceed_the_policy(make: Make) -> None:
    bench = make(retry=patience(3, "1 second"))
    run = bench.call.run
    for _ in range(3):
        bench.fail()
        if bench.body.in_flight is None and bench.alarm is not None:
            bench.wake()

    assert [call.call.attempt for call in bench.calls if call.call.run == run] == [1, 2, 3]


# -- S-25: parked


@pytest.mark.parametrize("make", [_continuous, _debounce, _task], ids=lambda make: make.__name__)
def test_status_tells_since_when_an_instance_is_parked(make: Make) -> None:
    bench = make(retry=None)
    bench.wait(SECOND)
    running = bench.status().parked_since
    bench.fail()
    failed_at = to_datetime(bench.now)
    bench.wait(HOUR)

    assert (running, bench.status().parked_since) == (None, failed_at)


# -- S-22, S-65: telemetry of attempts


def test_S_22_S_65_every_failure_is_told_with_the_real_error_and_kept_without_its_stack(make: Make) -> None:
    bench = make()

    bench.fail("the cause")

    told = bench.last(JobFailed)
    assert (str(told.failure), told.failure.stack, told.will_retry) == ("Error: the cause", "a stack", True)
    assert (str(bench.status().last_error), bench.status().last_error.stack) == ("Error: the cause", None)


@pytest.mark.parametrize(
    ("make", "policy"),
    [(_continuous, "terminate"), (_debounce, "terminate"), (_task, "terminate"), (_task, "continue")],
)
def test_S_22_S_24_a_run_that_cannot_be_read_parks_whatever_the_policy_says(make: Make, policy: str) -> None:
    bench = make(retry=None, on_exhausted=policy)
    before = bench.body

    bench.misread()

    parked = bench.body.run
    assert parked == evolve(before.run, lease=None)
    assert bench.last(RetryExhausted).reason == "unreadable"


def test_S_22_S_24_where_nothing_is_dropped_a_schedule_goes_on_though_a_run_could_not_be_read() -> None:
    bench = _continuous(retry=None, on_exhausted="continue")

    bench.misread()

    assert (bench.status().status, bench.body.run, bench.alarm) == ("running", None, bench.body.next_at)


def test_S_22_what_cannot_be_read_is_tried_again_and_a_readable_failure_counts_as_any_other() -> None:
    bench = _task(retry=patience(2, "1 second"), on_exhausted="terminate")

    bench.misread()
    bench.wake()
    assert bench.call.attempt == 2
    bench.fail()

    assert bench.record is None


def test_S_65_a_success_is_told_with_how_long_it_took(make: Make) -> None:
    bench = make()
    bench.wait(3 * SECOND)

    bench.succeed()

    told = bench.last(JobExecuted)
    assert (told.duration_ms, told.attempt, told.hook) == (3_000, 1, bench.call.hook)


# -- S-16


def test_S_16_a_hook_that_fails_changes_nothing_of_the_state(make: Make) -> None:
    bench = make()
    before = bench.state

    bench.fail()

    assert bench.state == before


def test_S_16_state_schedule_and_the_end_of_the_run_are_one_commit() -> None:
    bench = _task()

    bench.succeed(asked("done", after=MINUTE))

    assert len(bench.transition.commit) == 2
    assert (bench.state, bench.alarm, bench.body.run) == ("done", T + MINUTE, None)
