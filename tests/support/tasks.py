"""Benches of tasks: an attempt in flight, with events behind it, or parked at one."""

from __future__ import annotations

from typing import Any

from support.steps import Bench, asked, returns, task


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
