"""The schedule of a task, and `on_idle` (S-53)."""

from __future__ import annotations

from typing import Any

import pytest
from support.steps import MINUTE, SECOND, Bench, T, asked, returns, task
from support.tasks import queued, triggered


def test_S_53_a_due_schedule_is_consumed_with_the_claim() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked(after=MINUTE))})
    bench.send()
    bench.worker = False
    bench.wake()
    unclaimed = bench.body.scheduled_at
    bench.worker = True

    bench.wake()

    assert (unclaimed, bench.body.scheduled_at, bench.call.scheduled_at) == (T + MINUTE, None, None)
    assert (bench.call.hook, bench.call.execute_count) == ("execute", 1)


def test_S_53_a_past_instant_is_due_at_once() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked(at=T - MINUTE))})

    bench.send()

    assert bench.call.hook == "execute"


def test_S_53_a_schedule_that_falls_due_during_a_run_waits_and_fires_when_that_ends() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked(after=SECOND))})
    bench.send()
    bench.trigger()
    bench.wait(SECOND)
    bench.fail()  # now it waits for a retry
    bench.fire()
    waiting = (bench.phase, bench.body.scheduled_at)
    bench.wake()

    bench.succeed()

    assert waiting == ("pending", T + SECOND)
    assert (bench.call.run, bench.call.execute_count, bench.body.scheduled_at) == (2, 2, None)


def test_S_25_S_53_a_schedule_of_a_parked_task_fires_as_usual_and_is_its_trial() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked(after=MINUTE))})
    bench.send()
    bench.trigger()
    key = bench.call.idempotency_key
    bench.fail_for_good()

    bench.wake()

    assert (bench.call.attempt, bench.call.idempotency_key, bench.body.execute_count) == (1, key, 1)
    bench.fail_for_good()
    assert (bench.phase, bench.emitted) == ("parked", ["job.failed", "job.retryExhausted"])


def test_S_53_a_retry_is_not_a_schedule() -> None:
    bench = triggered(task())
    bench.fail()
    retry_at = bench.alarm

    bench.inline["on_event"] = returns(asked(cancel=True))
    reply = bench.send()

    assert (reply.scheduled_at, bench.shown[-1].scheduled_at, bench.status().scheduled_at) == (
        None,
        None,
        None,
    )
    assert bench.alarm == retry_at


def test_S_53_on_idle_follows_a_run_once_if_nothing_is_scheduled() -> None:
    bench = triggered(task("on_idle"))

    bench.succeed()
    hook = bench.call.hook
    bench.succeed()

    assert (hook, bench.phase) == ("on_idle", "idle")


def test_S_53_on_idle_does_not_follow_a_run_that_scheduled() -> None:
    bench = triggered(task("on_idle"))

    bench.succeed(asked(after=MINUTE))

    assert (bench.phase, bench.alarm) == ("scheduled", T + MINUTE)


def test_S_53_on_idle_follows_the_queued_events_once() -> None:
    bench = queued(task("on_idle"), "one", "two")
    bench.succeed()
    bench.succeed()
    hook = bench.call.hook

    bench.succeed()

    assert (hook, bench.phase) == ("on_idle", "idle")


@pytest.mark.parametrize(
    ("asks", "hook"), [({"cancel": True}, "on_idle"), ({}, "execute")], ids=["cancelled", "still scheduled"]
)
def test_S_18_S_53_what_follows_the_queued_events_is_one_run_more(asks: dict[str, Any], hook: str) -> None:
    bench = Bench(task("on_idle"), inline={"on_event": returns(asked(after=MINUTE))})
    bench.send()
    bench.trigger()
    bench.send("one")
    bench.send("two")
    bench.succeed()
    bench.succeed(asked(**asks))
    bench.succeed()
    if bench.phase == "scheduled":
        bench.wake()

    runs = [(effect.call.hook, effect.call.run) for effect in bench.calls]

    assert runs == [("execute", 1), ("on_event", 2), ("on_event", 3), (hook, 4)]


def test_S_53_trigger_runs_execute_now_and_leaves_a_pending_schedule_in_place() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked(after=MINUTE))})
    bench.send()

    reply = bench.trigger()
    bench.succeed()

    assert (reply.triggered, reply.joined, bench.call.hook) == (True, False, "execute")
    assert (bench.phase, bench.alarm) == ("scheduled", T + MINUTE)


def test_S_34_S_53_trigger_joins_an_attempt_in_flight_and_writes_nothing() -> None:
    bench = triggered(task())

    reply = bench.trigger()

    assert (reply.triggered, reply.joined, bench.transition.commit) == (True, True, ())
    waiting = bench.waiting()
    bench.succeed()
    assert waiting().outcome == "succeeded"


def idling(**options: Any) -> Bench:
    """`execute` is over, and `on_idle` is in flight when the task is triggered."""
    bench = triggered(task("on_idle", **options))
    bench.succeed()
    bench.trigger()
    return bench


@pytest.mark.parametrize("end", ["succeed", "fail", "fail_for_good", "crash", "release"])
def test_S_53_a_trigger_while_on_idle_is_in_flight_runs_execute_after_it(end: str) -> None:
    bench = idling(max_crashes=1)

    getattr(bench, end)()

    assert (bench.call.hook, bench.call.run, bench.call.execute_count) == ("execute", 2, 2)
    bench.succeed()
    assert bench.call.hook == "on_idle"
    bench.succeed()
    assert bench.phase == "idle"


def test_S_53_a_trigger_while_on_idle_is_in_flight_leaves_what_it_schedules_in_place() -> None:
    bench = idling()

    bench.succeed(asked("idled", after=MINUTE))
    bench.succeed()

    assert (bench.phase, bench.alarm, bench.state) == ("scheduled", T + MINUTE, "idled")


@pytest.mark.parametrize("end", ["succeed", "fail", "fail_for_good"])
def test_S_38_who_waits_for_a_trigger_while_on_idle_is_in_flight_waits_for_execute(end: str) -> None:
    bench = idling()
    waiting = bench.waiting()
    getattr(bench, end)()  # of `on_idle`

    assert waiting() is None
    bench.fail("of execute")
    assert (waiting().outcome, str(waiting().error)) == ("retrying", "Error: of execute")


def test_S_53_two_triggers_while_on_idle_is_in_flight_are_one() -> None:
    bench = idling()

    reply = bench.trigger()

    assert (reply.triggered, reply.joined, bench.transition.commit) == (True, True, ())


def test_S_51_events_sent_while_on_idle_is_in_flight_go_before_the_execute_that_was_triggered() -> None:
    bench = idling()
    bench.send("queued")

    bench.succeed()
    first = bench.call.hook
    bench.succeed()

    assert (first, bench.call.hook) == ("on_event", "execute")


def test_S_8_a_trigger_is_not_lost_with_an_on_idle_that_a_newer_definition_no_longer_has() -> None:
    bench = idling()
    bench.definition = task()

    bench.fail_for_good()

    assert bench.call.hook == "execute"


def test_S_34_S_61_trigger_of_no_instance_triggers_nothing() -> None:
    assert not Bench(task()).trigger().triggered


@pytest.mark.parametrize("way", ["fail", "fail_for_good"])
def test_S_18_a_trigger_of_a_run_that_waits_or_is_parked_stays_in_it_with_attempts_from_1(way: str) -> None:
    bench = triggered(task())
    key = bench.call.idempotency_key
    bench.crash()
    getattr(bench, way)()

    bench.trigger()

    assert (bench.call.idempotency_key, bench.call.execute_count) == (key, 1)
    assert (bench.call.attempt, bench.call.crashes) == (1, 0)
