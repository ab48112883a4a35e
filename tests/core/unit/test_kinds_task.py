"""The task: SPEC §7, and what §2 to §4 and §8 mean for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.laws import with_outcome
from support.steps import HOUR, MINUTE, SECOND, Bench, T, asked, nothing, raises, returns, task
from support.tasks import queued, triggered

from durable_jobs_core.errors import DuplicateEventError, ExecutionError, Issue, ValidationError
from durable_jobs_core.events import AlarmMisfiled, SendRequested, StateRequested
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.record import Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.telemetry import JobExecuted, JobTerminated
from durable_jobs_core.words import INSTANT_MAX, Failure, to_datetime
from durable_jobs_core.words import to_datetime as at


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
