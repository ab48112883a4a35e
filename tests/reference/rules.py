"""Why ours differs: one rule a sentence of the specification, matching no more than it says.

A rule looks at one difference and the step it is in: what was asked, where the original stood before
(`before`) and after, and what ours did. The first that wants it explains it. Every step begins where
the original stood, so that a rule never has to excuse what an earlier difference led to. Where its
sentence tells what ours does instead, a rule wants exactly that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from durable_jobs_core.record import DebounceBody
from durable_jobs_core.words import JOB_NAME
from reference import debounce, failures, tasks
from reference.compare import NOTHING, Difference
from reference.facts import (
    alone,
    asked,
    cause_of,
    clock_changes,
    due,
    error_of,
    failed,
    left,
    met,
    one_more,
    overdue,
    raised,
    runs,
    script_of,
    took,
    waiting_run,
    within,
)


@frozen
class Rule:
    """`sentence`: of SPEC; `says`: in short, what ours does; `wants`: whether a difference is that."""

    sentence: str
    says: str
    wants: Callable[[Difference], bool]


# -- what is refused


def _never_matches(d: Difference) -> bool:
    return d.step.refused is not None and "can never match" in str(d.step.refused)


def _keys_apart(d: Difference) -> bool:
    s = d.step
    if s.refused is not None:
        return not JOB_NAME.fullmatch(s.key.job)
    if not s.collides or not s.before.exists or s.after.exists or not s.seen.untouched:
        return False  # else it was ended with the other one
    if d.facet == "result":
        runs_on = {
            "status": "running",
            "nextRunAt": s.before.alarm,
            "runCount": s.before.view().get("runCount"),
        }
        return d.ours == runs_on.get(d.name, NOTHING)
    return d.facet in ("alarm", "state")


def _strict(d: Difference) -> bool:
    s = d.step
    if s.refused is not None:
        return any(name.endswith("_number") for name in s.spec)
    if s.name not in ("start", "add", "send") or raised(s) != "ValidationError":
        return False
    if d.facet == "error":
        taken = d.original is NOTHING or bool(s.out["calls"])
        died = error_of(s).get("kind") == "die"
        return taken or died or cause_of(s) in ("ParseError", "ValidationError")
    return d.whole and d.missing


_FIRST = {"created": True, "status": "running"}
_ABSENT = {
    "status": "not_found",
    "triggered": False,
    "terminated": False,
    "cleared": False,
    "reason": "not_found",
}


def _rejected(d: Difference) -> bool:
    s = d.step
    if raised(s) and s.seen.untouched:
        return d.facet in ("alarm", "state")
    if met(s, "send") and (d.facet, d.name) == ("state", "eventCount"):  # it was refused
        return bool(d.original == d.ours + 1)
    if not s.before.orphan:  # what a rejected request has left in the original
        return False
    if s.name in ("start", "add"):
        if d.facet == "alarm" or d.name == "attempt":
            run = waiting_run(s)
            if run is not None:
                return d.ours == (run.due if d.facet == "alarm" else run.attempt)
            return d.facet == "alarm" and d.ours is not None and 0 <= d.ours - due(s) <= took(s)
        if d.facet == "result":
            return d.ours == _FIRST.get(d.name, due(s))
        if d.facet == "state":
            made = alone(s) if s.name == "add" else left(s)
            asked_for = [request["op"] for _, request in script_of(s, "call")]
            ended = s.seen.body is None and (s.we_sent("job.terminated") or "terminate" in asked_for)
            whole = {"state": made, "eventCount": 1, "runCount": runs(s)[1], "exists": not ended}
            return d.ours == {**whole, "startedAt": s.now}.get(d.name, NOTHING)
        if d.name in ("debounceStartedAt", "durationMs"):
            return d.ours == (s.now if d.facet == "call" else 0)
        return one_more(d) and d.of != "onEvent"
    if d.facet == "result":
        return d.ours in (NOTHING, _ABSENT.get(d.name, NOTHING))
    if d.facet == "alarm":
        return d.ours is None
    return (d.facet, d.name, d.ours) == ("state", "exists", False) or (d.whole and d.missing)


# -- what an alarm does


def _unregistered(d: Difference) -> bool:
    s = d.step
    left = s.before.unregistered and s.name == "fire_alarm" and s.seen.untouched
    return left and (d.missing or d.facet in ("alarm", "state"))


def _spurious(d: Difference) -> bool:
    s = d.step
    early = s.seen.due is None or s.seen.due > s.now
    if s.name != "fire_alarm" or not s.delivered or not early or s.refused is not None:
        return False
    return s.seen.untouched and (d.facet in ("alarm", "state") or (d.facet != "result" and d.missing))


def _never_stops(d: Difference) -> bool:
    s = d.step
    if not s.after.stuck:
        return False
    if d.facet == "alarm" or d.name in ("nextRunAt", "willFlushAt"):
        return d.original in (None, NOTHING) and d.ours in (s.seen.due, due(s))
    unrun = s.name == "start" and "error" not in s.out and runs(s) == (0, 1)
    return unrun and one_more(d) and d.of in ("execute", "job.executed")


# -- one hook at a time


_FRESH: Mapping[str, Any] = {
    "": None,
    "state": None,
    "preExecutionState": None,
    "scheduledAt": None,
    "scheduledTime": None,
    "isFirstEvent": True,
    "isRetry": False,
    "attempt": 1,
    "attempts": 1,
    "held": 0,
}


def _one_at_a_time(d: Difference) -> bool:
    s = d.step
    if within(s) and s.name == "status":  # it is told of
        return (d.name, d.ours) in (("nextRunAt", NOTHING), ("status", "active"), ("status", "flushing"))
    if within(s):
        later = s.name == "send" and not s.we_called("onEvent")
        if not later and s.name not in ("trigger", "flush"):
            return False
        untold = d.facet == "error" or d.name in ("retryScheduled", "terminated") or d.whole
        return (untold and d.missing) or (later and d.name == "scheduledAt" and d.ours is None)
    if s.before.residue:  # of one whose token was not current
        if (d.facet, d.name) == ("state", "attempt"):
            return d.ours is None or bool(d.original == d.ours + 1)
        if (d.of, d.name) == ("job.retryExhausted", "reason"):
            return True
        return d.name in _FRESH and d.ours == _FRESH[d.name]
    if met(s, "send"):
        events = [request.get("event") for _, request in script_of(s, "call")]
        if d.facet == "alarm" or d.name == "scheduledAt":  # its hook has been called by now
            return s.we_called("onEvent") and asked(s, d.ours)
        if d.of == "task.scheduled":
            return one_more(d) and d.ours["trigger"] == "event"
        return one_more(d) and (d.of == "job.executed" or d.ours.get("event") in events)
    if met(s, "trigger", "fire_alarm"):
        counted = (d.facet, d.name) == ("state", "runCount") and bool(d.original == d.ours + 1)
        return counted or (d.facet, d.name, d.ours) == ("state", "exists", True)
    if not met(s, "terminate") or s.seen.body is not None:
        return False
    stale = d.facet == "event" and d.whole and (d.missing or d.of == "job.stale")
    stale = stale or (d.of in ("onIdle", "onError") and d.whole and d.missing)
    return stale or (d.facet == "alarm" and d.ours is None) or (d.facet == "error" and d.missing)


# -- what the clients are told


def _creation(d: Difference) -> bool:
    s = d.step
    if s.name != "start" or not isinstance(s.seen.result, Mapping) or not s.seen.result["created"]:
        return False
    if d.facet == "error":
        return s.called("execute") and d.missing
    return (d.name, d.original, d.ours) == ("status", "terminated", "running")


def _trigger(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "continuous" or "trigger" not in (s.name, s.outer and s.outer.name):
        return False
    if d.name == "runCount":  # it is the run that waits
        s = s if s.outer is None else s.outer
        same = s.before.attempt is not None and d.ours == s.before.view()["runCount"]
        return same and bool(d.original == d.ours + 1)
    if d.facet == "alarm":
        return failed(s) and d.original == s.before.alarm and d.ours == due(s)
    if runs(s) != (0, 1) or not s.out.get("result", {}).get("terminated"):  # it is a new one
        return False
    more = one_more(d) and d.of in ("execute", "job.executed")
    return more or (d.name == "terminated" and d.missing)


def _waiting(d: Difference) -> bool:
    s, body = d.step, d.step.seen.body
    if d.facet == "alarm":
        kept = isinstance(body, DebounceBody) and body.marked and body.batch is None and body.window is None
        return kept and d.original is None and d.ours == s.out["now"] + 60_000
    if s.name not in ("trigger", "flush"):
        return False
    if d.name == "terminated":
        return d.ours is True and met(s, "terminate") and body is None
    if d.name == "retryScheduled":
        return bool(d.ours == any(event["willRetry"] for event in s.we_sent("job.failed")))
    return d.facet == "error" and d.missing and failed(s)


# -- retries and ticks


def _jitter(d: Difference) -> bool:
    s, retry = d.step, d.step.spec.get("retry", {})
    if isinstance(d.original, float) and d.ours == int(d.original):
        return True
    delay = retry.get("delay") or {}
    if str(delay.get("fn", "")).startswith("-") and failed(s):
        return _no_retry(d)
    retried = any(event["willRetry"] for event in s.we_sent("job.failed"))
    if d.facet != "alarm" or not retry.get("jitter") or not retried or not d.ours or not d.original:
        return False
    cap = delay.get("exponential", {}).get("max_ms")
    ours, theirs = d.ours - s.now, d.original - s.now
    return (cap is None or ours <= cap) and bool(abs(ours - theirs) <= 0.2 * max(ours, theirs))


def _from_the_end(d: Difference) -> bool:
    s = d.step
    if d.facet == "alarm" and failed(s) and s.out["now"] > s.now and d.original and d.ours:
        return bool(d.ours - d.original == math.floor(s.out["now"]) - s.now)
    if "maxDuration_ms" not in s.spec.get("retry", {}):
        return False
    if any(event["reason"] == "max_duration" for event in s.we_sent("job.retryExhausted")):
        unmade = runs(s) == (0, 1) and one_more(d) and d.of == "execute"  # but counted
        return unmade or (d.of, d.name) == ("job.retryExhausted", "reason") or _no_retry(d)
    if not s.sent("job.retryExhausted") or runs(s) != (0, 1) or failed(s):
        return False  # else the original counted an attempt that it did not make
    if d.facet == "alarm":
        return d.ours == due(s)
    told_of = one_more(d) or (d.of == "job.retryExhausted" and d.missing)
    return told_of or (d.name, d.ours) == ("exists", True)


def _no_retry(d: Difference) -> bool:
    """Ours gives up where the original tries again."""
    if d.facet == "alarm":
        return d.ours == due(d.step)
    if d.of == "job.retryExhausted":
        return one_more(d) and not d.step.sent(d.of)
    told = (("willRetry", False), ("attempt", None), ("retryScheduled", NOTHING))
    return (d.name, d.ours) in told


def _tick(d: Difference) -> bool:
    s = d.step
    if "cron" not in s.spec:
        return False
    if d.facet == "alarm":
        both = d.original is not None and d.ours == due(s)
        return both and clock_changes(s.spec["tz"] or "UTC", d.original, d.ours)
    theirs, ours = runs(s)
    if not overdue(s) or ours != theirs + 1:
        return False
    if d.facet == "state":
        return d.name == "runCount" and bool(d.ours == d.original + 1)
    return one_more(d) and d.of in ("execute", "job.executed")


RULES = (
    Rule("S-32", "an expression that can never match is refused at definition", _never_matches),
    Rule("S-63", "two different keys never collide", _keys_apart),
    Rule("S-62", "strict: no coercion, no unknown fields, refused at the edge", _strict),
    Rule("S-8", "an instance of a job that is not registered is left alone", _unregistered),
    Rule("S-40", "the first reducer call sees None", debounce.first_event),
    Rule("I-9", "a rejected request leaves all as it was", _rejected),
    Rule("S-4", "an early, late, duplicate or spurious alarm changes nothing", _spurious),
    Rule("S-30", "the reply follows the creation, not the first run", _creation),
    Rule("S-11", "one leased hook at a time; only the holder of the token commits", _one_at_a_time),
    Rule("S-34", "a trigger is the run that waits, or a new one, whose end sets the next", _trigger),
    Rule("S-38", "a failed hook is not raised; its outcome is told, and kept for 60 s", _waiting),
    Rule("S-42", "an event added during a flush or a retry is of the next window", debounce.next_window),
    Rule("S-43", "the reason of a flush is kept over retries", debounce.reason),
    Rule("S-44", "a flush begins anew; a clear leaves what is in flight", debounce.flush_and_clear),
    Rule("S-45", "status tells batch and window apart; an add that closes answers now", debounce.told),
    Rule("S-20", "jitter before the cap, never negative, whole milliseconds", _jitter),
    Rule("S-21", "the delay counts from the end; max_duration is judged on failing", _from_the_end),
    Rule("S-33", "ticks never go back; missed ones are one run at once", _tick),
    Rule("S-53", "a schedule that fired is consumed, a past one is due, then on_idle", tasks.consumed),
    Rule("S-52", "the members of ctx mean the same in every hook", tasks.same_meaning),
    Rule("S-65", "what happened is told, in order, with the real error", failures.telemetry),
    Rule("S-24", "a run that gives up deletes nothing, and the schedule goes on", failures.kept),
    Rule("S-22", "any exception is a failure, and so is a state that does not fit", failures.any_exception),
    Rule("S-16", "what a hook asks for is seen by it, and applied if it returns", failures.as_data),
    Rule("I-4", "what may start has an alarm: a schedule never silently stops", _never_stops),
)
