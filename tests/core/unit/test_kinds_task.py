"""The task: SPEC §7, and what §2 to §4 and §8 mean for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.laws import with_outcome
from support.steps import HOUR, LEASE, MINUTE, SECOND, Bench, T, asked, nothing, raises, returns, task

from durable_jobs_core.errors import (
    DuplicateEventError,
    ExecutionError,
    InstanceNotFoundError,
    Issue,
    OverloadedError,
    ValidationError,
)
from durable_jobs_core.events import AlarmMisfiled, SendRequested, StateRequested
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.record import QueuedEvent, Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.telemetry import JobExecuted, JobTerminated
from durable_jobs_core.words import INSTANT_MAX, Failure, to_datetime

at = to_datetime


def triggered(job: Any) -> Bench:
    """One event `e` was applied, and `execute` is in flight."""
    bench = Bench(job)
    bench.inline["on_event"] = returns(asked("e"))
    bench.send("e")
    bench.inline["on_event"] = lambda call: asked(call.event)
    bench.trigger()
    return bench


def queued(job: Any, *events: str) -> Bench:
    """Events were queued behind an attempt; the first is in flight."""
    bench = triggered(job)
    for event in events:
        bench.send(event)
    bench.succeed()
    return bench


def stuck() -> Bench:
    """Parked at an event: with room for one dead letter, this is the second."""
    bench = queued(task(retry=None, inbox_limit=1), "dead")
    bench.fail()
    bench.trigger()
    bench.send("stuck")
    bench.succeed()
    bench.fail()
    return bench


def test_a_send_whose_hook_terminates_while_a_run_waits_leaves_the_dead_letters_in_an_idle_life() -> None:
    bench = Bench(task(retry=None))
    bench.send()
    bench.trigger()
    bench.send("dead")  # queued behind the attempt
    bench.succeed()
    bench.fail()  # of the queued event: a dead letter
    bench.worker = False
    bench.trigger()
    bench.inline["on_event"] = returns(asked(terminate="done"))

    bench.send("last")

    assert (bench.phase, len(bench.body.dead)) == ("idle", 1)


def test_S_53_a_schedule_drops_an_on_idle_that_nobody_has_begun() -> None:
    bench = Bench(task("on_idle"))
    bench.send()
    bench.trigger()
    bench.worker = False
    bench.succeed()  # `on_idle` is owed, and no worker is up
    bench.inline["on_event"] = returns(asked(after=5_000))

    bench.send()

    assert (bench.phase, bench.body.run) == ("scheduled", None)


def test_S_53_a_schedule_drops_an_on_idle_that_waits_for_its_retry() -> None:
    bench = Bench(task("on_idle"))
    bench.send()
    bench.trigger()
    bench.succeed()
    bench.fail()  # of `on_idle`
    bench.inline["on_event"] = returns(asked(after=60_000))
    bench.send()

    bench.trigger()

    assert bench.call.hook == "execute"


def test_a_schedule_beyond_the_calendar_is_at_its_end() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked(after=INSTANT_MAX))})

    reply = bench.send()

    assert reply.scheduled_at == to_datetime(INSTANT_MAX)


def test_S_53_a_trigger_runs_execute_also_while_on_idle_waits_for_its_retry() -> None:
    bench = Bench(task("on_idle"))
    bench.send()
    bench.trigger()
    bench.succeed()
    bench.fail()  # of `on_idle`

    bench.trigger()

    assert (bench.call.hook, bench.call.execute_count) == ("execute", 2)


# -- S-50: an event between attempts


def test_S_50_send_applies_the_event_at_once_and_answers_after_the_commit() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked("paid", after=MINUTE))})

    reply = bench.send("paid")

    assert (reply.created, reply.instance_id, reply.scheduled_at) == (True, "task:job:a", at(T + MINUTE))
    assert (reply.queued, reply.terminated) == (False, False)
    assert (bench.state, bench.body.event_count, bench.alarm) == ("paid", 1, T + MINUTE)
    assert not bench.send("again").created


def test_S_65_an_inline_on_event_is_told_with_how_long_it_took() -> None:
    bench = Bench(task())
    bench.send()
    at_once = bench.last(JobExecuted).duration_ms

    def slow(call: HookCall) -> Operations:
        bench.wait(SECOND)
        return asked()

    bench.inline["on_event"] = slow
    bench.send()

    assert (at_once, bench.last(JobExecuted).duration_ms) == (0, SECOND)


def test_S_7_S_65_an_inline_on_event_did_not_take_less_than_no_time() -> None:
    bench = queued(task(retry=None, on_exhausted="terminate"), "dead")
    bench.fail()
    bench.trigger()
    bench.fail()  # the new life has seen no event, as an instance that is not there
    request = SendRequested(event="e")
    bench.feed(request)
    outcome = InlineOutcome(call=bench.shown[-1], operations=asked("e"))
    bench.terminate()
    bench.now -= SECOND  # of an engine that is behind the one that wrote

    bench.feed(with_outcome(request, outcome))

    assert bench.last(JobExecuted).duration_ms == 0


def test_S_50_on_idle_follows_if_nothing_is_scheduled_and_no_run_is_unfinished() -> None:
    bench = Bench(task("on_idle"), inline={"on_idle": returns(asked("idle", after=MINUTE))})

    reply = bench.send("e")

    assert [call.hook for call in bench.shown] == ["on_event", "on_idle"]
    assert bench.shown[1].state == Stored(1, "e"), "it sees what on_event has set"
    assert (bench.state, reply.scheduled_at) == ("idle", at(T + MINUTE))


def test_S_50_on_idle_does_not_follow_if_something_is_scheduled() -> None:
    bench = Bench(task("on_idle"), inline={"on_event": returns(asked(after=MINUTE))})

    bench.send()

    assert [call.hook for call in bench.shown] == ["on_event"]


def test_S_50_on_idle_does_not_follow_while_a_run_is_unfinished() -> None:
    bench = Bench(task("on_idle"))
    bench.send()
    bench.trigger()
    bench.fail()
    bench.shown.clear()

    bench.send()

    assert [call.hook for call in bench.shown] == ["on_event"]


@pytest.mark.parametrize("failing", ["on_event", "on_idle"])
def test_S_50_a_failing_hook_of_a_send_raises_to_the_sender_and_leaves_nothing(failing: str) -> None:
    bench = Bench(task("on_idle"), inline={failing: raises(ValueError("no"))})

    with pytest.raises(ExecutionError) as caught:
        bench.send("e", id="x")

    assert (caught.value.hook, str(caught.value.__cause__)) == (failing, "no")
    assert bench.record is None
    assert [(value.type, value.seq) for value in bench.telemetry] == [("job.failed", None)]
    bench.inline[failing] = nothing
    assert bench.send("e", id="x").created, "the id was not registered"


def test_S_50_the_result_of_on_error_is_committed_instead() -> None:
    inline = {"on_event": raises(ValueError("no")), "on_error": returns(asked("handled", after=MINUTE))}
    bench = Bench(task("on_error", "on_idle"), inline=inline)

    reply = bench.send("e")

    assert (reply.created, reply.scheduled_at, bench.state) == (True, at(T + MINUTE), "handled")
    assert (bench.shown[1].failure, bench.shown[1].event_count) == (Failure("ValueError", "no"), 1)
    assert (bench.status().event_count, bench.status().last_error) == (1, Failure("ValueError", "no"))
    assert [(value.type, value.seq) for value in bench.telemetry] == [
        ("task.scheduled", 1),
        ("job.failed", 2),
    ]


def test_S_65_the_two_failures_of_one_refused_send_have_ids_of_their_own() -> None:
    bench = Bench(
        task("on_error"), inline={"on_event": raises(ValueError("no")), "on_error": raises(ValueError("no"))}
    )

    with pytest.raises(ExecutionError):
        bench.send()

    assert len({value.wire()["eventId"] for value in bench.telemetry}) == 2


@pytest.mark.parametrize("failing", ["on_error", "on_idle"])
def test_S_50_S_65_if_a_further_hook_fails_nothing_is_left_and_both_failures_are_told(failing: str) -> None:
    bench = Bench(task("on_error", "on_idle"), inline={"on_event": raises(ValueError("no"))})
    bench.inline[failing] = raises(KeyError("nor that"))

    with pytest.raises(ExecutionError, match=failing):
        bench.send()

    assert bench.record is None
    told = [(value.wire()["hook"], value.seq) for value in bench.telemetry]
    assert told == [("on_event", None), (failing, None)]


def test_S_6_S_50_on_error_is_not_asked_about_a_state_that_does_not_decode() -> None:
    error = ValidationError("state", (Issue("$", "a str", "1"),))
    bench = Bench(task("on_error"), inline={"on_event": raises(error)})

    with pytest.raises(ValidationError):
        bench.send()

    assert (bench.record, len(bench.shown)) == (None, 1)


@pytest.mark.parametrize("hook", ["on_event", "on_idle", "on_error"])
def test_S_50_send_answers_terminated_if_the_hook_terminated(hook: str) -> None:
    bench = Bench(task("on_idle", "on_error"))
    bench.send()
    if hook == "on_error":
        bench.inline["on_event"] = raises(ValueError("no"))
    bench.inline[hook] = returns(asked(terminate="done"))

    reply = bench.send()

    assert (reply.terminated, reply.scheduled_at, reply.created) == (True, None, False)
    assert bench.record is None
    assert bench.last(JobTerminated).reason == "done"


def test_S_38_S_50_a_waiting_trigger_answers_terminated_if_the_hook_terminated() -> None:
    bench = triggered(task())
    waiting = bench.waiting()

    bench.succeed(asked(terminate="done"))

    assert (waiting().outcome, waiting().terminated) == ("terminated", True)


def overtaken(happen: Callable[[Bench], object]) -> Bench:
    """The hook of a second `send` has returned; it is stepped after something else was committed."""
    bench = Bench(task())
    bench.send("first")
    request = SendRequested(event="second")
    bench.feed(request)
    outcome = InlineOutcome(call=bench.shown[-1], operations=asked("second"))
    happen(bench)
    bench.feed(with_outcome(request, outcome))
    return bench


def test_S_10_an_inline_hook_is_called_again_if_what_it_was_shown_has_changed() -> None:
    bench = overtaken(lambda bench: bench.send("between"))

    assert bench.transition.commit == ()
    assert bench.shown[-1].state == Stored(1, "between")


def test_S_10_an_inline_hook_is_not_called_again_if_what_it_was_shown_is_unchanged() -> None:
    bench = overtaken(lambda bench: bench.feed(AlarmMisfiled(None)))  # a write that the hook is not shown

    assert (bench.state, bench.body.event_count) == ("second", 2)


def test_S_36_an_inline_hook_that_terminate_overtook_is_called_again_as_on_a_new_instance() -> None:
    bench = overtaken(lambda bench: bench.terminate())

    assert (bench.record, bench.shown[-1].state, bench.shown[-1].event_count) == (None, None, 1)


def test_S_10_an_inline_hook_runs_in_the_node_that_was_asked_worker_or_not() -> None:
    bench = Bench(task("on_idle"), worker=False)

    assert bench.send().created
    assert [(call.hook, call.leased) for call in bench.shown] == [("on_event", False), ("on_idle", False)]


# -- S-51: the inbox


def test_S_51_a_send_during_an_attempt_is_stored_and_answered_queued() -> None:
    bench = triggered(task())

    reply = bench.send("later", id="x")

    assert (reply.queued, reply.scheduled_at, reply.created) == (True, None, False)
    assert bench.body.inbox == (QueuedEvent(event="later", id="x"),)
    assert bench.shown[-1].event != "later", "on_event is not called"
    with pytest.raises(DuplicateEventError):
        bench.send("later", id="x")


def test_S_51_a_send_behind_queued_events_queues_too() -> None:
    bench = triggered(task())
    bench.send("one")
    bench.worker = False
    bench.succeed()  # no attempt holds the lease; the inbox is not empty

    assert bench.send("two").queued
    assert [queued.event for queued in bench.body.inbox] == ["one", "two"]


def test_S_51_a_full_inbox_is_overloaded_and_stores_nothing() -> None:
    bench = triggered(task(inbox_limit=2))
    bench.send("one")
    bench.send("two")
    before = bench.record

    with pytest.raises(OverloadedError) as caught:
        bench.send("three", id="x")

    assert (caught.value.limit, caught.value.current) == (2, 2)
    assert bench.record is before
    bench.definition = task(inbox_limit=1)
    with pytest.raises(OverloadedError, match="the inbox of task:job:a is full: 2 of at most 1"):
        bench.send("three")


@pytest.mark.parametrize("way", ["fail", "fail_for_good"])
def test_S_51_between_attempts_and_parked_an_event_is_applied_at_once(way: str) -> None:
    bench = triggered(task())
    getattr(bench, way)()

    reply = bench.send("now")

    assert (reply.queued, bench.state) == (False, "now")


def test_S_51_queued_events_are_applied_one_at_a_time_in_order_each_committed_with_its_removal() -> None:
    bench = triggered(task())
    for event in ("one", "two"):
        bench.send(event)

    bench.succeed()
    first = (bench.call.hook, bench.call.event, bench.call.attempt, bench.call.leased, len(bench.body.inbox))
    bench.succeed(asked("one"))
    second = (bench.call.event, bench.state, bench.body.event_count, len(bench.body.inbox))
    bench.succeed(asked("two"))

    assert first == ("on_event", "one", 1, True, 2)
    assert second == ("two", "one", 2, 1)
    assert (bench.state, bench.body.event_count, bench.phase) == ("two", 3, "idle")


def test_S_51_queued_events_go_before_a_retry() -> None:
    bench = triggered(task(retry=Retry(max_attempts=2, delay="0 seconds", jitter=0)))
    bench.send("queued")

    bench.fail()  # the retry is due now, too
    first = bench.call.hook
    bench.succeed()

    assert (first, bench.call.hook, bench.call.attempt) == ("on_event", "execute", 2)


def test_S_51_queued_events_go_before_a_schedule_and_on_idle() -> None:
    bench = Bench(task("on_idle"), inline={"on_event": returns(asked(after=MINUTE))})
    bench.send()
    bench.trigger()
    bench.send("queued")
    bench.wait(MINUTE)

    bench.succeed()  # a schedule is due, and nothing else is
    hooks = [bench.call.hook]
    bench.succeed()
    hooks.append(bench.call.hook)
    bench.send("late")
    bench.succeed()
    hooks.append(bench.call.hook)
    bench.succeed()
    hooks.append(bench.call.hook)

    assert hooks == ["on_event", "execute", "on_event", "on_idle"]


def test_S_51_a_queued_event_that_fails_is_retried_those_behind_it_waiting() -> None:
    bench = queued(task(), "one", "two")

    bench.fail()
    bench.wake()

    assert (bench.call.event, bench.call.attempt, bench.alarm) == ("one", 2, bench.now + LEASE)
    assert len(bench.body.inbox) == 2


def test_S_51_a_crash_of_a_queued_event_counts() -> None:
    bench = queued(task(max_crashes=2), "one")

    bench.crash()
    again = (bench.call.event, bench.call.attempt, bench.call.crashes)
    bench.crash()

    assert again == ("one", 1, 1)
    assert [dead.event for dead in bench.body.dead] == ["one"]


def test_S_51_a_queued_event_that_fails_goes_to_on_error_if_there_is_one() -> None:
    bench = queued(task("on_error"), "one")

    bench.fail("no")
    call = bench.call
    bench.succeed(asked("handled"))

    assert (call.hook, call.failure, call.event_count) == ("on_error", Failure("Error", "no"), 2)
    assert (bench.state, bench.body.inbox, bench.body.event_count) == ("handled", (), 2)


def test_S_22_S_51_an_event_that_cannot_be_read_is_tried_again_and_then_dead_and_no_matter_for_on_error() -> (
    None
):
    bench = queued(task("on_error", retry=Retry(max_attempts=2, delay="1 second", jitter=0)), "one")

    bench.misread()
    waits = bench.body.inbox
    bench.wake()
    again = (bench.call.hook, bench.call.attempt)
    bench.misread()

    assert (len(waits), again) == (1, ("on_event", 2))
    assert [dead.event for dead in bench.body.dead] == ["one"]


def test_S_22_S_54_on_error_is_not_asked_about_a_run_that_cannot_be_read() -> None:
    bench = triggered(task("on_error", retry=None))

    bench.misread()

    assert (bench.status().status, bench.status().parked_at) == ("parked", "execute")
    bench.trigger()
    assert bench.call.hook == "execute"


def test_S_51_an_event_that_gives_up_is_a_dead_letter_with_its_error() -> None:
    bench = queued(task(retry=None), "one", "two")

    bench.fail("no")

    (dead,) = bench.dead_letters().dead_letters
    assert (dead.event, dead.event_id, str(dead.error), dead.failed_at) == ("one", None, "Error: no", at(T))
    assert bench.call.event == "two"
    assert (bench.status().queued_events, bench.status().dead_letters) == (1, 1)


def test_S_51_a_dead_letter_keeps_its_id_on_the_way_back_to_the_inbox_too() -> None:
    bench = triggered(task(retry=None))
    bench.send("dead", id="x")
    bench.succeed()
    bench.fail()
    (dead,) = bench.dead_letters().dead_letters
    bench.worker = False

    bench.redrive()

    assert dead.event_id == "x"
    assert bench.body.inbox == (QueuedEvent(event="dead", id="x"),)


def test_S_51_with_full_dead_letters_the_instance_parks_at_the_event() -> None:
    bench = stuck()

    status = bench.status()

    assert (status.status, status.parked_at, status.queued_events, status.dead_letters) == (
        "parked",
        "on_event",
        1,
        1,
    )
    assert bench.alarm is None


def test_S_51_dead_letters_are_listed_oldest_first_and_redriven_in_order_to_the_end() -> None:
    bench = queued(task(retry=None), "one", "two", "three")
    bench.fail()
    bench.wait(SECOND)
    bench.fail()

    listed = [dead.event for dead in bench.dead_letters().dead_letters]
    reply = bench.redrive()

    assert (listed, reply.redriven) == (["one", "two"], 2)
    assert [queued.event for queued in bench.body.inbox] == ["three", "one", "two"]
    assert bench.body.dead == ()


def test_S_51_with_no_room_for_all_none_is_redriven() -> None:
    bench = stuck()

    with pytest.raises(OverloadedError, match="with its dead letters is full: 2 of at most 1"):
        bench.redrive()

    assert (len(bench.body.inbox), len(bench.body.dead)) == (1, 1)


def test_S_51_there_is_room_for_no_dead_letters_in_any_inbox() -> None:
    bench = queued(task(inbox_limit=2), "one", "two")
    bench.definition = task(inbox_limit=1)

    assert bench.redrive().redriven == 0


def test_S_51_discard_drops_them_all() -> None:
    bench = queued(task(retry=None), "one")
    bench.fail()

    assert (bench.discard().discarded, bench.status().dead_letters) == (1, 0)
    assert bench.discard().discarded == 0


@pytest.mark.parametrize("name", ["dead_letters", "redrive", "discard"])
def test_S_61_dead_letters_of_no_instance_are_not_found(name: str) -> None:
    with pytest.raises(InstanceNotFoundError):
        getattr(Bench(task()), name)()


# -- S-53: the schedule


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


# -- S-55: what clients see


def test_S_55_the_first_status_that_applies() -> None:
    bench = Bench(task())
    seen = [bench.status().status]
    bench.send()
    seen.append(bench.status().status)
    bench.trigger()
    seen.append(bench.status().status)  # an unfinished run
    bench.send("queued")
    bench.fail_for_good()
    seen.append(bench.status().status)  # parked, and an event is being applied
    bench.inline["on_event"] = returns(asked(after=MINUTE))
    bench.succeed(asked(after=MINUTE))
    seen.append(bench.status().status)  # parked, and a schedule
    bench.trigger()
    bench.succeed()
    seen.append(bench.status().status)  # a schedule

    assert seen == ["not_found", "idle", "active", "parked", "parked", "active"]


def test_S_55_a_parked_run_is_told_of_while_a_queued_event_is_applied() -> None:
    bench = triggered(task(retry=Retry(max_attempts=2, delay="1 second", jitter=0)))
    bench.fail()
    bench.wake()
    bench.send("queued")

    bench.fail("no")

    status = bench.status()
    assert (bench.call.hook, bench.call.attempt) == ("on_event", 1)
    assert (status.status, status.parked_at, status.attempt) == ("parked", "execute", 2)


def test_S_55_queued_events_make_a_task_active() -> None:
    bench = triggered(task())
    bench.send("queued")
    bench.worker = False

    bench.succeed()

    assert (bench.status().status, bench.status().queued_events) == ("active", 1)


def test_S_55_get_state_answers_state_schedule_and_birth() -> None:
    bench = Bench(task(), inline={"on_event": returns(asked("s", after=MINUTE))})
    absent = bench.request(StateRequested())
    bench.send()
    bench.wait(SECOND)

    found = bench.request(StateRequested())

    assert (absent.state, absent.scheduled_at, absent.created_at) == (None, None, None)
    assert (found.state, found.scheduled_at, found.created_at) == (Stored(1, "s"), at(T + MINUTE), at(T))


def test_S_36_S_55_terminate_deletes_and_says_so() -> None:
    bench = Bench(task())
    bench.send()

    reply = bench.terminate("why")

    assert (reply.terminated, reply.reason, reply.was_running) == (True, "why", False)
    assert (bench.record, bench.last(JobTerminated).reason) == (None, "why")
    assert bench.terminate().terminated is False


# -- S-52: counters


def test_S_52_I_6_the_counters_are_those_of_what_was_committed() -> None:
    bench = Bench(task())
    bench.send()
    bench.trigger()
    bench.send("queued")
    bench.fail()
    shown = (bench.call.event_count, bench.call.execute_count)
    bench.fail_for_good()  # a dead letter: not applied
    bench.wake()
    bench.succeed()

    assert shown == (2, 1)
    assert (bench.body.event_count, bench.body.execute_count) == (1, 1)


def test_S_52_every_hook_is_shown_the_counters_and_the_schedule() -> None:
    bench = Bench(task("on_error", "on_idle"), inline={"on_event": returns(asked(after=MINUTE))})
    bench.send()
    bench.trigger()
    bench.fail_for_good()
    bench.succeed(asked(cancel=True))

    shown = [
        (call.hook, call.event_count, call.execute_count, call.scheduled_at, call.failure)
        for call in (*bench.shown, *(effect.call for effect in bench.calls))
    ]

    assert shown == [
        ("on_event", 1, 0, None, None),
        ("execute", 1, 1, T + MINUTE, None),
        ("on_error", 1, 1, T + MINUTE, Failure("Error", "boom")),
        ("on_idle", 1, 1, None, None),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_S_52_created_at_is_the_same_in_every_hook_of_the_first_send_and_afterwards(fails: bool) -> None:
    bench = Bench(task("on_idle", "on_error"))

    def slow(call: HookCall) -> Operations:
        bench.wait(SECOND)
        if fails and call.hook == "on_event":
            raise ValueError("no")
        return asked()

    bench.inline = dict.fromkeys(("on_event", "on_error", "on_idle"), slow)
    bench.send()

    assert {call.created_at for call in bench.shown} == {T}
    assert bench.status().created_at == at(T)


def test_S_52_created_at_is_that_of_the_life_that_takes_the_event() -> None:
    job = task(retry=None, on_exhausted="terminate")
    before = Bench(job, now=T - SECOND)
    request = SendRequested(event="e")
    before.feed(request)
    outcome = InlineOutcome(call=before.shown[-1], operations=asked("e"))
    bench = queued(job, "dead")
    bench.fail()
    bench.trigger()
    bench.fail()  # a life that shows the same as none

    bench.feed(with_outcome(request, outcome))

    assert (bench.state, bench.status().created_at) == ("e", at(T))


# -- S-60


def test_S_60_a_repeated_id_changes_nothing_an_id_is_forgotten_in_time() -> None:
    bench = Bench(task(remember_ids=2, remember_ids_for="1 hour"))
    bench.send("one", id="a")
    before = bench.record
    with pytest.raises(DuplicateEventError):
        bench.send("two", id="a")
    assert bench.record is before

    bench.wait(HOUR)

    assert not bench.send("two", id="a").created


def test_S_60_a_dead_lettered_event_keeps_its_id_registered() -> None:
    bench = triggered(task(retry=None))
    bench.send("dead", id="x")
    bench.succeed()
    bench.fail()

    with pytest.raises(DuplicateEventError):
        bench.send("dead", id="x")


def test_S_60_the_ids_share_the_fate_of_the_record() -> None:
    bench = Bench(task())
    bench.send("e", id="x")
    bench.terminate()

    assert bench.send("e", id="x").created
