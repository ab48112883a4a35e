"""A task whose hooks fail: `on_error`, giving up, and being parked (S-54, S-25)."""

from __future__ import annotations

import pytest
from support.steps import MINUTE, Bench, T, asked, returns, task
from support.tasks import queued, triggered

from durable_jobs_core.errors import DuplicateEventError
from durable_jobs_core.record import Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.words import Failure

# -- S-54: giving up


def test_S_54_execute_is_retried_then_on_error_ends_the_run_on_the_last_committed_state() -> None:
    bench = triggered(task("on_error", retry=Retry(max_attempts=2, delay="1 second", jitter=0)))
    bench.fail("first")
    bench.wake()
    bench.fail("second")

    call = bench.call
    bench.succeed(asked("handled"))

    assert (call.hook, call.failure, call.attempt) == ("on_error", Failure("Error", "second"), 1)
    assert call.state == Stored(1, "e")
    assert (bench.phase, bench.state, str(bench.status().last_error)) == ("idle", "handled", "Error: second")


def test_S_38_S_54_a_run_that_on_error_ended_has_failed_also_after_its_on_idle() -> None:
    bench = triggered(task("on_error", "on_idle"))
    waiting = bench.waiting()
    bench.fail_for_good()
    bench.succeed()  # on_error

    bench.succeed()  # on_idle: whoever waits may look only now

    assert (waiting().outcome, str(waiting().error)) == ("failed", "Error: boom")


def test_S_38_a_run_that_was_dropped_has_failed_also_after_its_on_idle() -> None:
    bench = triggered(task("on_idle", on_exhausted="continue"))
    waiting = bench.waiting()
    bench.fail_for_good()

    bench.succeed()  # on_idle

    assert (waiting().outcome, str(waiting().error)) == ("failed", "Error: boom")


@pytest.mark.parametrize("hook", ["on_idle", "on_error"])
def test_S_10_S_21_a_hook_that_follows_has_the_whole_duration_of_the_policy(hook: str) -> None:
    retry = Retry(max_attempts=9, delay="1 minute", jitter=0, max_duration="90 seconds")
    bench = triggered(task(hook, retry=retry))
    bench.fail()
    bench.wake()
    end = bench.succeed if hook == "on_idle" else bench.fail_for_good
    end()

    bench.fail()  # of the hook, a minute after the first attempt of `execute`

    assert (bench.phase, bench.body.run.hook) == ("pending", hook)


def test_S_54_on_error_is_told_of_crashes_too() -> None:
    bench = triggered(task("on_error", max_crashes=1))

    bench.crash()

    assert bench.call.hook == "on_error"
    assert bench.call.failure is not None
    assert bench.call.failure.type == "Crashed"


def test_S_8_an_on_idle_that_a_newer_definition_no_longer_has_is_dropped_when_it_gives_up() -> None:
    bench = triggered(task("on_idle"))
    bench.succeed()
    bench.definition = task()

    bench.fail_for_good()  # as the engine says of a hook that is not there

    assert bench.phase == "idle"


def test_S_8_an_on_error_that_a_newer_definition_no_longer_has_loses_nothing() -> None:
    bench = triggered(task("on_error"))
    bench.fail_for_good()
    bench.definition = task()

    bench.fail_for_good()

    assert (bench.status().status, bench.status().parked_at) == ("parked", "on_error")


@pytest.mark.parametrize("hook", ["on_idle", "on_error"])
def test_S_10_a_hook_that_follows_is_repeated_alone_and_parks_the_instance_there(hook: str) -> None:
    bench = triggered(task(hook, retry=Retry(max_attempts=2, delay="1 second", jitter=0)))
    if hook == "on_idle":
        bench.succeed(asked("done"))
    else:
        bench.fail_for_good()
    first = bench.call

    bench.fail()
    bench.wake()
    second = bench.call
    bench.fail()

    assert [(call.hook, call.attempt) for call in (first, second)] == [(hook, 1), (hook, 2)]
    assert (bench.status().status, bench.status().parked_at) == ("parked", hook)
    assert bench.state == ("done" if hook == "on_idle" else "e"), "the result of execute stays stored"
    bench.trigger()
    assert (bench.call.hook, bench.call.attempt, bench.call.run) == (hook, 1, first.run)


def test_S_10_the_commit_that_ends_execute_claims_the_hook_that_follows() -> None:
    bench = triggered(task("on_idle"))
    token = bench.lease.token

    bench.succeed()

    assert bench.calls[-1].token == bench.lease.token
    assert bench.lease.token != token


def test_S_10_on_error_is_claimed_with_the_end_of_execute_and_queued_events_wait_for_it() -> None:
    bench = triggered(task("on_error"))
    bench.send("queued")

    bench.fail_for_good()
    hooks = [bench.call.hook]
    bench.succeed()
    hooks.append(bench.call.hook)

    assert hooks == ["on_error", "on_event"]


def test_S_51_queued_events_go_before_a_retry_of_on_error() -> None:
    bench = triggered(task("on_error"))
    bench.fail_for_good()
    bench.send("queued")

    bench.fail()  # of on_error

    assert bench.call.hook == "on_event"


def test_S_51_queued_events_go_before_an_on_error_that_is_tried_again() -> None:
    bench = triggered(task("on_error"))
    bench.fail_for_good()
    bench.send("one")
    bench.send("two")
    bench.fail_for_good()  # of on_error: parked
    bench.trigger()

    bench.succeed()

    assert (bench.call.hook, bench.call.event) == ("on_event", "two")


@pytest.mark.parametrize("policy", ["continue", "terminate"])
def test_without_a_policy_there_is_nothing_to_exhaust(policy: str) -> None:
    bench = triggered(task(retry=None, on_exhausted=policy))

    bench.fail()

    assert "job.retryExhausted" not in bench.emitted


def test_S_24_continue_drops_the_run_and_keeps_state_and_schedule() -> None:
    job = task(on_exhausted="continue")
    bench = Bench(job, inline={"on_event": returns(asked("kept", after=MINUTE))})
    bench.send()
    bench.trigger()

    bench.fail_for_good()

    assert (bench.phase, bench.state, bench.alarm) == ("scheduled", "kept", T + MINUTE)


def test_S_24_the_policy_ends_a_task_and_what_is_queued_or_dead_lives_on_with_its_ids() -> None:
    job = task(retry=None, on_exhausted="terminate")
    bench = queued(job, "dead")
    bench.fail()
    bench.trigger()
    bench.send("next", id="n")
    bench.send("last", id="l")
    life = bench.record and bench.record.revision.life

    bench.fail()

    assert bench.record is not None
    assert bench.record.revision.life != life
    assert (bench.state, bench.body.event_count, bench.body.execute_count) == (None, 0, 0)
    assert [queued.event for queued in bench.body.inbox] == ["next", "last"]
    assert [dead.event for dead in bench.body.dead] == ["dead"]
    assert (bench.call.event, bench.call.life) == ("next", bench.record.revision.life)
    with pytest.raises(DuplicateEventError):
        bench.send("next", id="n")


def test_S_24_S_60_the_ids_of_what_lives_on_are_kept_and_no_others() -> None:
    bench = Bench(task(retry=None, on_exhausted="terminate"))
    bench.send("applied", id="a")
    bench.trigger()
    bench.send("dead", id="d")
    bench.succeed()
    bench.fail()
    bench.trigger()
    bench.send("queued", id="q")

    bench.fail()

    assert [name for name, _ in bench.body.ids] == ["d", "q"]


def test_S_24_a_hook_that_terminates_takes_its_own_event_out_of_the_inbox_first() -> None:
    bench = queued(task(), "one", "two")

    bench.succeed(asked(terminate="done"))

    assert [queued.event for queued in bench.body.inbox] == ["two"]


def test_S_24_S_36_the_clients_terminate_drops_inbox_and_dead_letters() -> None:
    bench = queued(task(retry=None), "one", "two", "three")
    bench.fail()

    reply = bench.terminate()

    assert (reply.discarded_events, reply.was_running, bench.record) == (3, True, None)


# -- S-25: parked


def test_S_25_a_parked_task_has_no_alarm_and_keeps_state_error_and_counters() -> None:
    bench = triggered(task())

    bench.fail_for_good()

    status = bench.status()
    assert (bench.alarm, status.status, status.parked_at, status.attempt) == (None, "parked", "execute", 1)
    assert (str(status.last_error), status.event_count, status.execute_count) == ("Error: boom", 1, 1)
    assert bench.state == "e"


def test_S_25_a_parked_run_is_tried_at_once_after_the_on_event_of_a_send() -> None:
    bench = triggered(task())
    bench.fail_for_good()

    bench.send("next")

    assert (bench.call.hook, bench.call.attempt, bench.call.run) == ("execute", 1, 1)
    assert bench.call.state == Stored(1, "next")


def test_S_25_or_when_that_scheduled_and_not_before() -> None:
    bench = triggered(task())
    bench.fail_for_good()
    bench.inline["on_event"] = returns(asked(after=MINUTE))

    bench.send()
    waiting = (bench.phase, bench.alarm)
    bench.wake()

    assert waiting == ("parked", T + MINUTE)
    assert (bench.call.hook, bench.call.run) == ("execute", 1)


def test_S_25_S_53_a_schedule_tries_the_event_a_task_is_stuck_at_and_the_run_follows() -> None:
    bench = queued(task(retry=None, inbox_limit=1), "dead")
    bench.fail()
    bench.trigger()
    bench.send("stuck")
    bench.succeed(asked(after=MINUTE))
    bench.fail()
    parked = (bench.phase, bench.alarm)

    bench.wake()
    trial = (bench.call.hook, bench.call.event, bench.call.attempt, bench.call.scheduled_at)
    bench.succeed()

    assert parked == ("parked", T + MINUTE)
    assert trial == ("on_event", "stuck", 1, None)
    assert (bench.call.hook, bench.call.execute_count) == ("execute", 3)


def test_S_25_a_schedule_tries_the_event_also_if_a_retry_waits_behind_it() -> None:
    bench = queued(task(inbox_limit=1), "dead")
    bench.fail_for_good()
    bench.inline["on_event"] = returns(asked(after=MINUTE))
    bench.send()
    bench.trigger()
    bench.send("stuck")
    bench.fail()  # of execute: its retry waits
    bench.fail_for_good()  # of the event
    parked = (bench.status().parked_at, bench.alarm)

    bench.wake()
    trial = bench.call.event
    bench.succeed()

    assert parked == ("on_event", T + MINUTE)
    assert (trial, bench.call.hook, bench.call.execute_count) == ("stuck", "execute", 2)


def test_S_25_not_at_all_if_that_cancelled() -> None:
    bench = triggered(task())
    bench.fail_for_good()
    bench.inline["on_event"] = returns(asked(cancel=True))

    bench.send()

    assert (bench.phase, bench.alarm) == ("parked", None)


def test_S_25_not_at_all_if_that_terminated() -> None:
    bench = triggered(task())
    bench.fail_for_good()
    bench.inline["on_event"] = returns(asked(terminate="done"))

    bench.send()

    assert bench.record is None
