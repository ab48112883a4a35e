"""`step`, and what a caller that waits is told (SPEC §2, S-38)."""

from __future__ import annotations

from support.steps import Bench, debounce, task


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

    bench.fail()

    assert waiting().outcome == "parked"
