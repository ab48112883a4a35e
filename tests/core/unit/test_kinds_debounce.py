"""The debounce: SPEC §6, and what §2 to §4 and §8 mean for it."""

from __future__ import annotations

from support.steps import HOUR, SECOND, Bench, debounce

from durable_jobs_core.words import INSTANT_MAX, to_datetime


def test_a_window_that_would_end_after_the_calendar_ends_with_it() -> None:
    bench = Bench(debounce(flush_after="418000 weeks"))

    reply = bench.add()

    assert reply.will_flush_at == to_datetime(INSTANT_MAX)


def test_S_4_an_early_alarm_changes_nothing_also_while_one_of_the_ids_has_expired() -> None:
    bench = Bench(debounce(remember_ids_for="1 hour"))
    bench.add(1, "one")
    bench.wait(10 * SECOND)
    bench.add(2, "two")
    bench.flush()
    bench.succeed()
    bench.wait(HOUR - 5 * SECOND)  # "one" is forgotten, "two" is not

    bench.fire()

    assert bench.transition.commit == ()
