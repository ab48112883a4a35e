"""The task: SPEC §7, and what §2 to §4 and §8 mean for it."""

from __future__ import annotations

from support.steps import Bench, asked, returns, task

from durable_jobs_core.words import INSTANT_MAX, to_datetime


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
