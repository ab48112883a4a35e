"""Why ours differs: one rule a sentence of the specification, matching no more than it says.

A rule looks at one difference and the step it is in: what was asked, where the original stood before
(`before`) and after, and what ours did. The first that wants it explains it. Every step begins where
the original stood, so that a rule never has to excuse what an earlier difference led to. Where its
sentence tells what ours does instead, a rule wants exactly that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from durable_jobs_core.record import DebounceBody
from durable_jobs_core.words import JOB_NAME
from reference import debounce
from reference.compare import NOTHING, Difference, Step, as_json, told
from reference.facts import (
    alone,
    asked,
    asks_for_the_past,
    cause_of,
    clock_changes,
    due,
    error_of,
    failed,
    fits,
    gave_up,
    instant,
    left,
    met,
    misfit,
    one_more,
    overdue,
    placeholders,
    raised,
    real,
    runs,
    script_of,
    states,
    took,
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
        taken = d.original is NOTHING or bool(s.out["calls"])  # and what was raised is of a hook
        return taken or cause_of(s) in ("ParseError", "ValidationError")
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
    if not s.before.orphan:  # what a rejected request has left in the original
        return False
    if s.name in ("start", "add"):
        if d.facet == "alarm" or d.name == "attempt":
            run = getattr(s.seen.body, "run", None)
            if run is not None and not run.parked:
                return d.ours == (run.due if d.facet == "alarm" else run.attempt)
            return d.facet == "alarm" and d.ours is not None and 0 <= d.ours - due(s) <= took(s)
        if d.facet == "result":
            return d.ours == _FIRST.get(d.name, due(s))
        if d.facet == "state":
            made = alone(s) if s.name == "add" else left(s)
            ended = s.we_sent("job.terminated") and s.seen.body is None
            whole = {"state": made, "eventCount": 1, "runCount": runs(s)[1], "exists": not ended}
            return d.ours == {**whole, "startedAt": s.now}.get(d.name, NOTHING)
        if d.name in ("debounceStartedAt", "durationMs"):
            return d.ours == (s.now if d.facet == "call" else 0)
        return one_more(d) and d.of != "onEvent"
    if d.facet == "result":
        return d.ours in (NOTHING, _ABSENT.get(d.name, NOTHING))
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
}


def _one_at_a_time(d: Difference) -> bool:
    s = d.step
    if within(s):
        later = s.name == "send" and not s.we_called("onEvent")
        if not later and s.name not in ("trigger", "flush"):
            return False
        return (d.whole and d.missing) or (later and d.name == "scheduledAt" and d.ours is None)
    if s.before.residue:  # of one whose token was not current
        if (d.facet, d.name) == ("state", "attempt"):
            return isinstance(d.ours, int) and bool(d.original == d.ours + 1)
        return d.name in _FRESH and d.ours == _FRESH[d.name]
    if met(s, "send"):
        events = [request.get("event") for _, request in script_of(s, "call")]
        return one_more(d) and (d.of == "job.executed" or d.ours.get("event") in events)
    if met(s, "trigger", "fire_alarm"):
        return (d.facet, d.name) == ("state", "runCount") and bool(d.original == d.ours + 1)
    if not met(s, "terminate") or s.seen.body is not None:
        return False
    stale = d.facet == "event" and d.whole and (d.missing or d.of == "job.stale")
    return stale or (d.facet == "alarm" and d.ours is None)


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
    if s.name != "trigger" or s.key.kind != "continuous":
        return False
    if d.name == "runCount":  # it is the run that waits
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
    took = sum(step[1] for step in script_of(s, "advance"))
    if d.facet == "alarm" and failed(s) and took and d.original and d.ours:
        return bool(d.ours - d.original == took)
    if "maxDuration_ms" not in s.spec.get("retry", {}):
        return False
    if any(event["reason"] == "max_duration" for event in s.we_sent("job.retryExhausted")):
        return _no_retry(d)
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


# -- tasks


def _consumed(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    left = s.before.storage.get("task:scheduledAt")
    if d.name == "scheduledTime" or (d.name == "scheduledAt" and d.facet == "result" and d.ours is None):
        return d.ours is None and d.original == left
    if d.name == "status":
        return s.before.stale and (d.original, d.ours) == ("active", "idle")
    theirs, ours = runs(s)
    owes_idle = s.we_called("onIdle") and not s.called("onIdle") and s.after.stale
    again = ours > theirs and (overdue(s) or asks_for_the_past(s))
    if not again and not owes_idle:
        return False
    if d.facet == "alarm" or d.name == "scheduledAt":
        return d.ours is None or asked(s, d.ours)
    if d.facet == "state":
        counted = d.name == "executeCount" and d.ours == d.original + ours - theirs
        return counted or (d.name, d.ours) in _ends(s)
    if again and d.facet == "event" and not d.whole:  # it is of another of the runs
        return _of_one(d)
    if again:  # as often as its script asks for the past
        return d.whole and d.extra and fits(d)
    idle = d.of == "onIdle" or (d.of == "task.scheduled" and d.ours["trigger"] == "idle")
    parks = d.of == "job.retryExhausted" and "onIdle" in s.seen.raised
    return one_more(d) and (idle or parks)


def _of_one(d: Difference) -> bool:
    """What an event tells is of one of the hooks that ours called in the step."""
    s = d.step
    if d.name == "timestamp":
        return s.now <= instant(d.ours) <= s.out["now"] + took(s)
    if d.name == "durationMs":
        return 0 <= d.ours <= took(s)
    if d.of == "task.scheduled":
        called = {"error": "onError", "idle": "onIdle", "execute": "execute", "event": "onEvent"}
        return asked(s, instant(d.ours)) if d.name == "scheduledAt" else s.we_called(called[d.ours])
    return d.name == "preExecutionState" and d.ours in [
        as_json(s, call["ctx"].get("state")) for call in s.seen.calls
    ]


def _ends(s: Step) -> list[tuple[str, Any]]:
    """How a run that ours made in the step may have left a task."""
    ended = [("exists", False)] if s.we_sent("job.terminated") and s.seen.body is None else []
    return ended + ([("parked", True)] if s.we_sent("job.retryExhausted") else [])


def _same_meaning(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    if d.name == "isFirstEvent":
        return d.original is True and d.ours is False and s.before.storage.get("task:eventCount", 0) > 0
    # a duration counts from the end of the hook
    if script_of(s, "schedule", "schedule_str") and (d.facet == "alarm" or d.name == "scheduledAt"):
        instants = [instant(value) for value in (d.original, d.ours)]
        return all(isinstance(each, int) for each in instants) and 0 < instants[1] - instants[0] <= took(s)
    return False


# -- telemetry


def _telemetry(d: Difference) -> bool:
    s = d.step
    if d.facet != "event":
        return False
    if (d.of, d.name) == ("job.failed", "error"):
        return real(s, d.ours) and (real(s, d.original) or d.original in placeholders(s))
    if (d.of, d.name) == ("job.failed", "preExecutionState"):
        return "onIdle" in s.seen.raised  # it is that of the hook that failed
    if (d.of, d.name) == ("task.scheduled", "trigger"):
        return s.called("onError") and d.ours == "error"
    if d.of == "job.executed" and d.name in ("timestamp", "durationMs"):  # `on_idle` comes after it
        return s.we_called("onIdle") and 0 <= instant(d.original) - instant(d.ours) <= took(s)
    if not d.whole:
        return False
    if d.of == "job.terminated":
        by_client = s.name in ("clear", "terminate") and s.key.kind != "continuous"
        return one_more(d) and (by_client or bool(script_of(s, "terminate", "terminate_caught")))
    if d.of == "job.executed" and d.extra and s.we_called("onIdle"):
        ended = s.we_sent("job.terminated") or "onIdle" in s.seen.raised
        if ended and one_more(d):  # of what is done, though the `on_idle` after it ends otherwise
            return True
    if d.of == "job.failed" and d.extra:
        unread = not s.we_called("execute")  # and `on_error` is not asked
        all_of_them = len(s.we_sent("job.failed")) == (len(s.seen.raised) + misfit(s) or unread)
        return all_of_them and real(s, d.ours["error"]) and fits(d)
    if d.missing and s.we_sent("job.failed"):  # what has failed is not told as done
        return d.of == "job.executed" or (d.of == "task.scheduled" and bool(raised(s) or misfit(s)))
    if d.of == "job.executed" and len(s.sent(d.of)) == len(s.we_sent(d.of)):  # in the order of the commits
        return (d.original if d.missing else d.ours) in map(
            told, s.seen.events if d.missing else s.out["events"]
        )
    return one_more(d) and d.of != "job.executed" and s.telemetry == "delivered" and "error" in s.out


# -- failures


def _kept(d: Difference) -> bool:
    s = d.step
    if s.after.failed and d.facet == "alarm":
        return d.ours is None  # it is parked
    if not gave_up(s):
        return False
    if d.facet == "event":
        return d.of == "job.retryExhausted" and one_more(d) and not s.sent(d.of)
    if d.facet == "alarm":
        return s.key.kind == "continuous" and d.original is None and d.ours == due(s)
    return (d.name == "terminated" and d.missing) or (d.name in ("exists", "parked") and d.ours is True)


def _any_exception(d: Difference) -> bool:
    s = d.step
    if d.facet == "error":
        if d.ours == "ExecutionError":
            return bool(s.seen.raised) or misfit(s)
        return d.missing and failed(s) and (s.name == "fire_alarm" or s.we_called("onError"))
    defect = error_of(s).get("kind") == "die"
    misread = "ValidationError" in (cause_of(s), error_of(s).get("tag"))
    if not (defect or misread or misfit(s)) or not s.we_sent("job.failed"):
        return False
    handled = s.we_called("onError") and not s.called("onError")
    if d.facet == "call" and d.missing:
        return d.of == "onIdle" and misfit(s) > 0
    if d.facet == "call":
        return one_more(d) and (
            d.of == "onIdle" or (d.of == "onError" and handled and real(s, d.ours["error"]))
        )
    if handled and (d.facet == "alarm" or d.name == "scheduledAt"):
        gone = s.seen.body is None and bool(s.we_sent("job.terminated"))
        return asked(s, d.ours) or (gone and d.ours is None)
    if handled and d.of == "task.scheduled":
        return _of_one(d) if not d.whole else one_more(d) and d.ours["trigger"] in ("error", "idle")
    if d.facet == "state" and (d.name, d.ours) in _ends(s):
        return handled or misfit(s) > 0
    if misfit(s) and d.of == "job.retryExhausted":
        return one_more(d)
    if misfit(s) and d.name == "state" and d.facet == "state":
        return d.ours in (s.before.storage.get("state"), as_json(s, s.op.get("input")))
    run = getattr(s.seen.body, "run", None)
    if run is None or (d.original not in (None, s.before.alarm) and not misfit(s)):
        return False
    return (d.facet == "alarm" and d.ours == run.due) or (d.name == "attempt" and d.ours == run.attempt)


_ENDED = ("exists", False), ("terminated", True), ("retryScheduled", NOTHING), ("scheduledAt", None)
_SCHEDULING = {"schedule", "schedule_str", "schedule_at", "schedule_date", "cancel_schedule"}


def _as_data(d: Difference) -> bool:
    s = d.step
    if script_of(s, "terminate_caught") and s.we_sent("job.terminated"):
        told = (d.name, d.ours) in _ENDED
        gone = told or (d.facet == "alarm" and d.ours is None)
        if gone or (d.missing and (d.facet in ("event", "error") or d.of in ("onIdle", "onError"))):
            return True
    if d.name == "state" and d.facet in ("call", "state") and s.key.kind != "debounce":
        seen = states(s).get(d.of, [])
        return d.ours in (seen if d.facet == "call" else [as_json(s, state) for state in seen])
    hooks = s.seen.script if misfit(s) else s.seen.raised
    if not any(step[0] in _SCHEDULING for hook in hooks for step in s.seen.script.get(hook, [])):
        return False
    if d.of == "onIdle" and d.whole:  # nothing is scheduled
        return one_more(d)
    if d.of == "task.scheduled":
        return d.missing
    stands = None if s.before.stale else s.before.storage.get("task:scheduledAt")
    return d.ours in (None, stands) and (d.facet == "alarm" or d.name in ("scheduledAt", "scheduledTime"))


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
    Rule("S-53", "a schedule that fired is consumed, a past one is due, then on_idle", _consumed),
    Rule("S-52", "the members of ctx mean the same in every hook", _same_meaning),
    Rule("S-65", "what happened is told, in order, with the real error", _telemetry),
    Rule("S-24", "a run that gives up deletes nothing, and the schedule goes on", _kept),
    Rule("S-22", "any exception is a failure, and so is a state that does not fit", _any_exception),
    Rule("S-16", "what a hook asks for is seen by it, and applied if it returns", _as_data),
    Rule("I-4", "what may start has an alarm: a schedule never silently stops", _never_stops),
)
