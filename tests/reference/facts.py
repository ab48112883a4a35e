"""Facts of a step that several rules look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from durable_jobs_core import cron
from durable_jobs_core.durations import to_ms
from durable_jobs_core.record import Run
from durable_jobs_core.schedule import first_due
from durable_jobs_core.words import from_datetime, to_datetime
from reference.compare import Difference, Step, as_json
from reference.jobs import reduced
from reference.player import AGAIN_MAX


def script_of(s: Step, *names: str) -> list[Any]:
    """The script's steps of those names, of all handlers."""
    return [step for script in s.seen.script.values() for step in script if step[0] in names]


def within(s: Step) -> bool:
    """It is a request from within a handler of the same instance."""
    return s.outer is not None and s.key == s.outer.key


def met(s: Step, *names: str) -> bool:
    """One of these arrived while the leased hook of the same instance ran."""
    return s.overlaps is not None and s.overlaps["op"] in names


# -- what came of it


def raised(s: Step) -> str:
    """What ours raised to the caller."""
    return "" if s.seen.error is None else type(s.seen.error).__name__


def error_of(s: Step) -> Mapping[str, Any]:
    error: Mapping[str, Any] = s.out.get("error") or {}
    return error


def cause_of(s: Step) -> str | None:
    cause = error_of(s).get("cause") or {}
    tag: str | None = cause.get("tag")
    return tag


def failed(s: Step) -> bool:
    """A hook has failed with ours, and nobody was told by an error."""
    return not raised(s) and bool(s.we_sent("job.failed"))


def misfit(s: Step) -> int:
    """How often ours has refused the state that a hook left."""
    return sum(event["error"]["message"].startswith("new state of ") for event in s.we_sent("job.failed"))


def waiting_run(s: Step) -> Run | None:
    """The run of ours that goes on by itself: it is not parked."""
    run: Run | None = getattr(s.seen.body, "run", None)
    return None if run is None or run.parked else run


def gave_up(s: Step) -> bool:
    """The run was over in this step, and not well, with both."""
    theirs = s.sent("job.retryExhausted") or "error" in s.out
    return bool(theirs) and failed(s) and any(not event["willRetry"] for event in s.we_sent("job.failed"))


def runs(s: Step) -> tuple[int, int]:
    """How often the original called `execute`, and how often ours."""
    theirs, ours = (
        sum(call["handler"] == "execute" for call in calls) for calls in (s.out["calls"], s.seen.calls)
    )
    return theirs, ours


_FAILS = ("fail", "fail_tagged", "fail_string", "fail_object", "fail_if_attempt_le", "die", "throw")


def real(s: Step, message: Any) -> bool:
    """It is of an error that a hook of the script raises, or of a value that does not fit."""
    scripted = [str(step[-1]) for step in script_of(s, *_FAILS)]
    message = str(message).partition("\n  not tried again, for Retry(delay) failed with ")[0]
    return message in scripted or message.startswith(("new state of ", "state of ", "schedule(when): "))


def placeholders(s: Step) -> list[str]:
    """What the original tells in the place of an error."""
    retried = [f"Retry scheduled for attempt {event['attempt'] + 1}" for event in s.sent("job.failed")]
    return ["[object Object]", *retried]


def fits(d: Difference) -> bool:
    """What a call or an event of ours says of its instance and its run is what there is to say."""
    s = d.step
    if d.facet == "call":
        attempt = s.before.attempt or 1 if s.name == "fire_alarm" else 1
        own = {"instanceId": str(s.key), "jobName": s.key.job, "attempt": attempt, "isRetry": attempt > 1}
        return in_step(s, d.ours.get("now", s.now)) and all(
            d.ours[name] == value for name, value in own.items() if name in d.ours
        )
    shown = [call["ctx"] for call in s.seen.calls]
    for name, of_ctx in (("attempt", "attempt"), ("runCount", "runCount"), ("preExecutionState", "state")):
        values = [ctx.get(of_ctx, {"attempt": 1, "runCount": 0}.get(name)) for ctx in shown]
        values = [as_json(s, value) for value in values] if of_ctx == "state" else values
        if d.ours.get(name) is not None and values and d.ours[name] not in values:
            return False
    inline = s.we_called("onEvent") and not s.we_called("execute")
    retried = waiting_run(s) is not None and not inline
    if d.of == "job.failed" and d.ours["willRetry"] != retried:
        return False
    failures = [event["attempt"] for event in s.we_sent("job.failed")]
    if d.of == "job.retryExhausted" and d.ours["attempts"] not in failures:
        return False
    if not in_step(s, instant(d.ours["timestamp"])):
        return False
    return d.of != "debounce.started" or instant(d.ours["flushAt"]) in (due(s), due(s, s.now))


def of_one(d: Difference) -> bool:
    """What an event tells is of one of the hooks that ours called in the step."""
    s = d.step
    if d.name == "timestamp":
        return in_step(s, instant(d.ours))
    if d.name == "durationMs":
        return 0 <= d.ours <= took(s)
    if d.of == "task.scheduled":
        called = {"error": "onError", "idle": "onIdle", "execute": "execute", "event": "onEvent"}
        return asked(s, d.ours) if d.name == "scheduledAt" else s.we_called(called[d.ours])
    return d.name == "preExecutionState" and d.ours in [
        as_json(s, call["ctx"].get("state")) for call in s.seen.calls
    ]


def ends(s: Step) -> list[tuple[str, Any]]:
    """How a run that ours made in the step may have left a task."""
    ended = [("exists", False)] if s.we_sent("job.terminated") and s.seen.body is None else []
    return ended + ([("parked", True)] if s.we_sent("job.retryExhausted") else [])


def one_more(d: Difference) -> bool:
    """A call or an event that only ours has, and that once, and that fits in with the others."""
    s = d.step
    both, by = (s.out["events"], s.seen.events), "type"
    if d.facet == "call":
        both, by = (s.out["calls"], s.seen.calls), "handler"
    theirs, ours = (sum(entry[by] == d.of for entry in entries) for entries in both)
    return d.whole and d.extra and ours == theirs + 1 and fits(d)


# -- time


def overdue(s: Step) -> bool:
    """An alarm had passed before the step, and the recording had not delivered it."""
    return s.before.alarm is not None and s.before.alarm <= s.out["now"] and s.name != "fire_alarm"


def due(s: Step, now: int | None = None) -> int:
    """When a window that opens at the end of the step, or `now`, is due, or the run after one that ends."""
    now = math.floor(s.out["now"]) if now is None else now
    if "cron" in s.spec:
        return first_due(cron(s.spec["cron"], tz=s.spec["tz"] or "UTC"), now)
    length: int = s.spec.get("every_ms", s.spec.get("flushAfter_ms", 0))
    return now + length


def clock_changes(zone: str, *instants: int) -> bool:
    """Whether the zone's clock is put forward or back on one of the days around these instants."""
    days = (min(instants) - 86_400_000, max(instants) + 86_400_000)
    offsets = {to_datetime(day).astimezone(ZoneInfo(zone)).utcoffset() for day in days}
    return len(offsets) > 1


def instant(value: Any) -> Any:
    """An instant, be it written as text."""
    return from_datetime(datetime.fromisoformat(value)) if isinstance(value, str) else value


def took(s: Step) -> int:
    """How long the hooks of the script take, each that ours called with all of it."""
    return sum(step[1] for step in script_of(s, "advance")) * max(1, len(s.seen.calls))


def in_step(s: Step, at: float) -> bool:
    """It is an instant of the step, as long as it takes with ours."""
    return bool(s.now <= at <= s.out["now"] + took(s))


def _fixed(s: Step) -> list[int]:
    return [at for _, at in script_of(s, "schedule_at", "schedule_date")]


def asked(s: Step, at: Any) -> bool:
    """A hook of the script asks for this instant: counted from its end, or as it is."""
    at = instant(at)
    if not isinstance(at, int):
        return False
    spans = [ms for _, ms in script_of(s, "schedule")]
    spans += [to_ms(text, "schedule") for _, text in script_of(s, "schedule_str") if text[:1].isdigit()]
    return at in _fixed(s) or any(in_step(s, at - ms) for ms in spans)


def asks_for_the_past(s: Step) -> bool:
    """A hook of the script asks for an instant that has passed when it ends."""
    end = s.out["now"] + took(s)
    return ["schedule", 0] in script_of(s, "schedule") or any(at <= end for at in _fixed(s))


# -- states


def left(s: Step) -> Any:
    """The state that is stored after the hooks, or after none of them."""
    return as_json(s, states(s)[""][0] if s.seen.calls else s.op.get("input"))


def _is_state(s: Step, state: Any) -> bool:
    """It is what a state of the job has to be, strictly."""
    if state is None:
        return s.spec.get("state") == "State|null"
    n, note = (state.get("n"), state.get("note", "")) if isinstance(state, dict) else (None, "")
    return type(n) in (int, float) and isinstance(note, str) and not set(state) - {"n", "note"}


def shown(s: Step) -> Any:
    """The state that was stored before, as hooks see it."""
    state = s.before.storage.get("state")
    return {"n": float(state["n"])} if s.spec.get("state") == "Codec" and state else state


def alone(s: Step) -> Any:
    """What the reducer makes of the event of an `add` alone."""
    event, reducer = s.op["event"], s.spec["reducer"]
    return event if reducer == "default(latest)" else reduced(reducer, event, None)


def states(s: Step) -> dict[str, list[Any]]:
    """By hook, the states that ours has to see after the first, and by "" the one that is left, if what a
    hook sets is seen by it at once, by others when it has returned, and by nobody if it has raised (S-16).
    """
    seen: dict[str, list[Any]] = {}
    state: Any = None
    names = [call["handler"] for call in s.seen.calls]
    first = names[0] if names else ""
    for at, call in enumerate(s.seen.calls):
        name = call["handler"]
        state = before = state if at else call["ctx"].get("state")
        if name != first:
            seen.setdefault(name, []).append(state)
        again = names[: at + 1].count(name) > AGAIN_MAX
        for step, *args in [] if again else s.seen.script.get(name, []):
            if step == "set":
                state = args[0]
            elif step == "inc":
                held: dict[str, Any] = state if isinstance(state, dict) else {}
                n = held.get("n", 0)
                state = {**held, "n": n + args[0]} if isinstance(n, int | float) else state
            elif step == "read":
                seen.setdefault(f"{name} read", []).append(state)
        if name in s.seen.raised or (state != before and not _is_state(s, state)):
            state = before
    return {**seen, "": [state]}
