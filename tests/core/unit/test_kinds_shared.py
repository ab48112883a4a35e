"""Handlers that are the same in every kind: leases, alarms, what is not there (SPEC §3)."""

from __future__ import annotations

from support.steps import Bench, task


def test_S_14_the_hook_that_follows_a_crashed_run_sees_every_crash() -> None:
    bench = Bench(task("on_error", max_crashes=2))
    bench.send()
    bench.trigger()
    bench.crash()

    bench.crash()

    assert (bench.call.hook, bench.call.crashes) == ("on_error", 2)
