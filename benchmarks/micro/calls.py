"""How often a job steps, and turns records and states into text and back: each is a copy."""

from __future__ import annotations

import cProfile
import json
import pstats
from collections.abc import Callable
from typing import Any

from benchmarks.micro.embedded import Embedded, Tally
from durable_jobs_core import codec, schema
from durable_jobs_core.step import step

RUNS = 1_000
COUNTED: dict[str, Any] = {
    "steps": step,
    "records written as text": codec.encode,
    "records read from text": codec.decode,
    "states and events checked and written as JSON": schema.Schema.encode,
    "states and events read from JSON and checked": schema.Schema.decode,
    "texts of JSON written": schema.to_json,
    "texts of JSON read": json.JSONDecoder.raw_decode,
}


def of_store() -> dict[str, float]:
    """Exchanges, writes and the exchanges that a run takes part in, a run, of a thousand at saturation."""
    embedded = Embedded()
    accepted = embedded.accept(RUNS)
    drained = embedded.drain()
    assert drained.runs == RUNS
    return {
        "exchanges to accept a job": accepted.exchanges / RUNS,
        "exchanges to run a job": drained.exchanges / RUNS,
        "exchanges that a run takes part in": drained.shared / RUNS,
        "writes of a run": drained.writes / RUNS,
    }


def of_core() -> dict[str, float]:
    """How often each of `COUNTED` is called to accept a job, and to run one."""
    embedded = Embedded()
    accepting = _calls(lambda: embedded.accept(RUNS))
    running = _calls(embedded.drain)
    return {
        f"{name} to {what} a job": calls[name]
        for what, calls in (("accept", accepting), ("run", running))
        for name in COUNTED
    }


def _calls(work: Callable[[], Tally]) -> dict[str, float]:
    profile = cProfile.Profile()
    profile.runcall(work)
    stats: dict[tuple[str, int, str], tuple[int, ...]] = getattr(pstats.Stats(profile), "stats")
    counts = {place: figures[1] for place, figures in stats.items()}
    return {name: counts.get(_place(function), 0) / RUNS for name, function in COUNTED.items()}


def _place(function: Any) -> tuple[str, int, str]:
    code = function.__code__
    return code.co_filename, code.co_firstlineno, code.co_name
