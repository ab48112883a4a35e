"""The debounce: SPEC §6, and what §2 to §4 and §8 mean for it."""

from __future__ import annotations

from support.steps import Bench, debounce

from durable_jobs_core.words import INSTANT_MAX, to_datetime


def test_a_window_that_would_end_after_the_calendar_ends_with_it() -> None:
    bench = Bench(debounce(flush_after="418000 weeks"))

    reply = bench.add()

    assert reply.will_flush_at == to_datetime(INSTANT_MAX)
