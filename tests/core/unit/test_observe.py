"""`observe`: what a caller that waits is told (S-38)."""

from __future__ import annotations

from typing import Any

import pytest
from support.steps import MINUTE, Bench, T, continuous, debounce, task

from durable_jobs_core.events import SendRequested, StartRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Failure, to_datetime


def test_S_38_a_request_is_answered_after_the_commit_that_makes_the_run_due() -> None:
    bench = Bench(debounce())
    bench.add()

    reply = bench.flush()

    assert (reply.outcome, reply.flushed, reply.event_count) == ("accepted", False, 1)


@pytest.mark.parametrize(
    ("happen", "options", "outcome"),
    [
        ("succeed", {}, "succeeded"),
        ("fail", {}, "retrying"),
        ("fail_for_good", {}, "parked"),
        ("fail_for_good", {"on_exhausted": "terminate"}, "terminated"),
        ("terminate", {}, "terminated"),
    ],
)
def test_S_38_a_waiting_flush_is_told_what_came_of_it(
    happen: str, options: dict[str, Any], outcome: str
) -> None:
    bench = Bench(debounce(**options))
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    before = waiting()

    getattr(bench, happen)()

    told = waiting()
    assert (before, told.outcome, told.flushed) == (None, outcome, outcome == "succeeded")
    assert told.error == (Failure("Error", "boom") if happen.startswith("fail") else None)
    assert told.retry_at == (to_datetime(T + 10_000) if outcome == "retrying" else None)


def test_S_38_a_waiting_flush_is_told_that_it_was_cleared() -> None:
    bench = Bench(debounce(), worker=False)
    bench.add()
    bench.flush()
    waiting = bench.waiting()

    bench.clear()

    assert waiting().outcome == "cleared"


def test_S_38_a_waiting_flush_is_told_of_the_first_that_does_not_succeed() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.add()
    bench.flush()
    waiting = bench.waiting()

    bench.fail("no")

    told = waiting()
    assert (told.outcome, told.error, told.flushed) == ("retrying", Failure("Error", "no"), False)
    assert told.retry_at is not None


def test_S_38_a_flush_commits_a_mark_also_on_a_batch_in_flight() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()

    bench.flush()
    marked = bench.transition.commit
    bench.succeed()

    assert marked
    assert (bench.phase, bench.alarm) == ("idle", bench.now + MINUTE)


def test_S_38_the_attempts_that_have_ended_are_counted() -> None:
    bench = Bench(continuous())
    bench.start()
    counts = [bench.body.ended]
    for happen in (bench.fail, bench.wake, bench.crash, bench.release, bench.succeed):
        happen()
        counts.append(bench.body.ended)

    assert counts == [0, 1, 1, 1, 1, 2]


def test_S_38_looking_changes_nothing() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    waiting, before = bench.waiting(), bench.record

    waiting()

    assert bench.record is before


def test_S_38_a_flush_is_not_answered_by_the_clear_of_a_later_window() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.add()  # the next window, none of the flush's business

    bench.clear()

    assert waiting() is None


def test_S_44_a_flush_whose_window_was_cleared_has_not_flushed_whatever_was_added_since() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    bench.add()
    bench.flush()  # the batch in flight, then the window
    waiting = bench.waiting()
    bench.clear()  # the window is gone; nobody has looked
    bench.succeed()
    bench.add()
    bench.flush()

    bench.succeed()

    assert (waiting().flushed, waiting().outcome) == (False, "cleared")


def test_S_44_a_flush_whose_batch_was_dropped_has_not_flushed_though_the_window_behind_it_was() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add()
    bench.flush()
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.fail()

    bench.succeed()

    assert (waiting().flushed, waiting().outcome) == (False, "terminated")


def test_S_38_a_flush_whose_batch_was_dropped_has_not_flushed_though_a_later_one_was_dropped_too() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.fail("first")
    bench.add()
    bench.flush()

    bench.fail("second")  # nobody has looked

    assert (waiting().flushed, waiting().outcome, str(waiting().error)) == (
        False,
        "terminated",
        "Error: first",
    )


def test_S_38_a_flush_is_not_told_of_a_batch_that_was_dropped_before_it() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add(id="kept")
    bench.flush()
    bench.fail()
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    before = waiting()

    bench.succeed()

    assert (before, waiting().outcome) == (None, "succeeded")


def test_S_38_a_flush_is_not_told_of_a_window_that_was_cleared_before_it_behind_the_batch_in_flight() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    bench.add()
    bench.clear()  # the window; the batch goes on
    bench.add()
    bench.flush()  # the batch, then another window
    waiting = bench.waiting()
    before = waiting()
    bench.succeed()

    bench.succeed()

    assert (before, waiting().outcome) == (None, "succeeded")


def test_S_38_a_flush_is_not_told_of_a_window_that_was_cleared_before_it() -> None:
    bench = Bench(debounce())
    bench.add(id="kept")
    bench.clear()
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    before = waiting()

    bench.succeed()

    assert (before, waiting().outcome) == (None, "succeeded")


def test_S_38_a_flush_that_looks_too_late_to_tell_claims_nothing() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    for _ in range(20):
        bench.fail()
        bench.add()
        bench.flush()

    assert waiting() is None


@pytest.mark.parametrize(
    ("before", "since", "told"),
    [(4, 0, "succeeded"), (1, 3, "succeeded"), (0, 4, None)],  # four dropped batches are remembered
)
def test_S_38_a_flush_that_succeeded_is_told_so_while_the_batches_dropped_since_are_remembered(
    before: int, since: int, told: str | None
) -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))

    def flushed() -> None:
        bench.add()
        bench.flush()

    for _ in range(before):
        flushed()
        bench.fail()
    flushed()
    waiting = bench.waiting()
    bench.succeed()
    for _ in range(since):
        flushed()
        bench.fail()

    found = waiting()

    assert (found and found.outcome) == told


def test_S_38_a_flush_has_succeeded_though_a_later_batch_has_failed_since() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.succeed()
    bench.add()
    bench.wake()

    bench.fail()

    assert waiting().flushed


def test_S_38_a_flush_after_a_clear_waits_for_the_batch_that_is_in_flight() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.add()
    bench.clear()  # the window only
    bench.flush()
    waiting = bench.waiting()

    bench.succeed()

    assert waiting().flushed


@pytest.mark.parametrize("make", [continuous, task])
@pytest.mark.parametrize(
    ("happen", "on_exhausted", "outcome", "retried"),
    [
        ("succeed", "park", "succeeded", False),
        ("fail", "park", "retrying", True),
        ("fail_for_good", "park", "parked", False),
        ("fail_for_good", "continue", "failed", False),
        ("fail_for_good", "terminate", "terminated", False),
    ],
)
def test_S_38_a_waiting_trigger_is_told_what_came_of_its_attempt(
    make: Any, happen: str, on_exhausted: str, outcome: str, retried: bool
) -> None:
    bench = Bench(make(on_exhausted=on_exhausted))
    bench.request(StartRequested(Stored(1, 0)) if make is continuous else SendRequested(event="e"))
    bench.trigger()
    waiting = bench.waiting()

    getattr(bench, happen)()

    told = waiting()
    failed = outcome in ("retrying", "parked", "failed")  # `terminated` has left nothing
    assert (told.outcome, told.error) == (outcome, Failure("Error", "boom") if failed else None)
    assert told.retry_at == (to_datetime(T + 10_000) if retried else None)


def test_S_38_a_waiting_trigger_is_not_told_of_an_event_that_is_tried_again() -> None:
    bench = Bench(task())
    bench.send()
    bench.trigger()
    bench.send("queued")
    bench.succeed()
    bench.trigger()  # behind the event
    waiting = bench.waiting()

    bench.fail()

    assert waiting() is None


def test_S_38_a_trigger_behind_events_that_park_the_instance_is_told_so() -> None:
    bench = Bench(task(retry=None, inbox_limit=1))
    bench.send()
    bench.trigger()
    bench.send("dead")
    bench.succeed()
    bench.fail()  # the dead letters are full
    bench.trigger()
    bench.send("stuck")
    bench.succeed()
    bench.trigger()  # a new run, behind the event
    waiting = bench.waiting()

    bench.fail("stuck")

    assert (waiting().outcome, waiting().error) == ("parked", Failure("Error", "stuck"))
