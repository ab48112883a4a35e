"""The jobs of the recorded runs (`jobs.json`) as definitions of ours.

Options the original does not have keep their defaults: what a run does when it gives up is ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypedDict

from durable_jobs_core import Backoff, Continuous, Debounce, Retry, StrictCodec, Task, cron, every
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.jobs import create_durable_jobs

Number = int | float


class _Numbered(TypedDict):
    n: Number


class State(_Numbered, total=False):
    """The state and the user event of most jobs."""

    note: str


class Coded(TypedDict):
    """A state whose number is text in JSON."""

    n: int


class Sum(TypedDict):
    """What the summing reducer makes."""

    total: Number
    items: list[Number]


class Collected(TypedDict):
    """What the reducer printed in the original's README makes."""

    events: list[State]
    count: int


class NumberFromText(StrictCodec):
    """`{"n": 5}` in Python, `{"n": "5"}` in JSON."""

    def encode(self, value: Any, type_: Any) -> Any:
        data: Any = super().encode(value, type_)
        return {"n": str(data["n"])}

    def decode(self, data: Any, type_: Any) -> Any:
        n = data["n"]
        if not isinstance(n, str) or not re.fullmatch(r"-?\d+", n):
            raise TypeError(f"expected a number as text, got {n!r}")
        return super().decode({"n": int(n)}, type_)


_TYPES: dict[str, Any] = {
    "State|null": State | None,
    "Codec": Coded,
    "SumState": Sum,
    "{events:[],count}": Collected,
}


def reduced(reducer: str, event: Any, state: Any) -> Any:
    """What a job's reducer makes of an event; `state` is `None` at the first (S-40)."""
    if reducer == "sum":
        state = state or {"total": 0, "items": []}
        return {"total": state["total"] + event["n"], "items": [*state["items"], event["n"]]}
    state = state or {"events": [], "count": 0}
    return {"events": [*state["events"], event], "count": state["count"] + 1}


def define(spec: Mapping[str, Any], hook: Callable[[str], Callable[..., Any]]) -> AnyDefinition:
    """The definition of one job; raises what ours raises where it refuses it."""
    state, event = (_TYPES.get(spec.get(part, ""), State) for part in ("state", "event"))
    options: dict[str, Any] = {"retry": _retry(spec["retry"]) if "retry" in spec else None}
    if "Codec" in (spec.get("state"), spec.get("event")):
        options["codec"] = NumberFromText()
    if spec["kind"] == "continuous":
        return Continuous.make(
            state=state,
            schedule=_schedule(spec),
            execute=hook("execute"),
            start_immediately=spec.get("startImmediately", True),
            **options,
        )
    if spec["kind"] == "task":
        maybe: Any = {name: hook(name) if spec.get(word) else None for name, word in _MAYBE}
        return Task.make(
            state=state, event=event, on_event=hook("on_event"), execute=hook("execute"), **maybe, **options
        )
    if "maxEvents" in spec:
        options["max_events"] = max(
            1, spec["maxEvents"]
        )  # 0, which ours refuses, acts like 1 in the original
    if spec["reducer"] != "default(latest)":
        options.update(state=state, on_event=hook("on_event"))
    return Debounce.make(
        event=event, flush_after=_span(spec, "flushAfter"), execute=hook("execute"), **options
    )


_MAYBE = (("on_idle", "onIdle"), ("on_error", "onError"))


def _span(spec: Mapping[str, Any], name: str) -> Any:
    """A duration; where the original was given a bare number, so is ours."""
    number = spec.get(f"{name}_number")
    return timedelta(milliseconds=spec[f"{name}_ms"]) if number is None else number


def _schedule(spec: Mapping[str, Any]) -> Any:
    if "cron" in spec:
        return cron(spec["cron"], tz=spec.get("tz") or "UTC")
    return every(_span(spec, "every"))


def _retry(spec: Mapping[str, Any]) -> Retry:
    options: dict[str, Any] = {}
    if "maxDuration_ms" in spec:
        options["max_duration"] = timedelta(milliseconds=spec["maxDuration_ms"])
    return Retry(
        max_attempts=max(1, spec["maxAttempts"]),  # as with `maxEvents`
        delay=_delay(spec.get("delay")),
        jitter=0.1 if spec.get("jitter", True) else 0,
        **options,
    )


def _delay(spec: Mapping[str, Any] | None) -> Any:
    def ms(number: float | None) -> Any:
        return None if number is None else timedelta(milliseconds=number)

    if spec is None:
        return Backoff.exponential("1 second", max="30 seconds")  # the original's default
    ((form, given),) = spec.items()
    if form == "fixed_ms":
        return ms(given)
    if form == "fn":
        factor, plus = re.fullmatch(r"(?:attempt\*(-?\d+)\+)?(-?\d+)", given).groups()  # type: ignore[union-attr]
        return lambda attempt: ms(int(factor or 0) * attempt + int(plus))
    cap = ms(given.get("max_ms"))
    if form == "linear":
        return Backoff.linear(ms(given["initial_ms"]), ms(given["increment_ms"]), max=cap)
    return Backoff.exponential(ms(given["base_ms"]), factor=given.get("factor", 2), max=cap)


def register(
    specs: Mapping[str, Mapping[str, Any]], hook: Callable[[str, str], Callable[..., Any]]
) -> tuple[dict[str, AnyDefinition], dict[str, DurableJobsError]]:
    """The definitions that ours takes, and why it refuses the others. `hook` gives one by job and name."""
    taken: dict[str, AnyDefinition] = {}
    refused: dict[str, DurableJobsError] = {}
    for name, spec in specs.items():
        try:
            definition = define(spec, lambda hook_name, job=name: hook(job, hook_name))  # type: ignore[misc]
            create_durable_jobs({name: definition})
        except DurableJobsError as error:
            refused[name] = error
        else:
            taken[name] = definition
    return taken, refused
