"""Continuous: SPEC §5, and what §2 to §4 mean for it."""

from __future__ import annotations

from support.steps import MINUTE, Bench, T, continuous

from durable_jobs_core.schedule import every

GRID = every("1 minute", align="start")


def test_S_35_resume_goes_on_after_now_also_if_a_retry_waits() -> None:
    bench = Bench(continuous(GRID))
    bench.start()  # the tick of T
    bench.fail()
    bench.pause()
    bench.wait(10 * MINUTE)
    bench.resume()  # the retry is due now

    bench.succeed()

    assert (bench.phase, bench.alarm) == ("waiting", T + 11 * MINUTE)
