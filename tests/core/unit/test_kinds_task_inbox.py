"""The inbox of a task and its dead letters (S-51)."""

from __future__ import annotations

import pytest
from support.steps import LEASE, MINUTE, SECOND, Bench, T, asked, returns, task
from support.tasks import queued, stuck, triggered

from durable_jobs_core.errors import DuplicateEventError, InstanceNotFoundError, OverloadedError
from durable_jobs_core.record import QueuedEvent
from durable_jobs_core.retry import Retry
from durable_jobs_core.words import Failure
from durable_jobs_core.words import to_datetime as at


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
