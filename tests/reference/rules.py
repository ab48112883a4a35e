"""Why ours differs: one rule a sentence of the specification, matching no more than it says.

A rule looks at one difference and the step it is in: what was asked, where the original stood before
(`before`) and after, and what ours did. The first that wants it explains it. Every step begins where
the original stood, so that a rule never has to excuse what an earlier difference led to. Where the
sentence says what ours does instead, the rule asks for exactly that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from durable_jobs_core.record import DebounceBody
from durable_jobs_core.words import JOB_NAME
from reference.compare import NOTHING, Difference, told
from reference.facts import (
    cause_of,
    clock_changes,
    error_of,
    failed,
    gave_up,
    instant,
    misfit,
    overdue,
    period,
    raised,
    runs,
    script_of,
    unfinished,
)
from reference.jobs import reduced


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
    if not s.collides or not s.seen.untouched:  # it is as it was before the other was terminated
        return False
    return d.facet in ("result", "state") or (d.facet == "alarm" and d.ours == s.before.alarm)


def _strict(d: Difference) -> bool:
    s = d.step
    if s.refused is not None:
        return any(name.endswith("_number") for name in s.spec)
    if s.name not in ("start", "add", "send") or raised(s) != "ValidationError":
        return False
    if d.facet == "error":
        return d.original is NOTHING or cause_of(s) in ("ParseError", "ValidationError")
    return d.whole and d.missing


_ABSENT = {"status": "not_found", "triggered": False, "terminated": False, "reason": "not_found"}


def _rejected(d: Difference) -> bool:
    s = d.step
    if raised(s) and s.seen.untouched:
        return d.facet in ("alarm", "state")
    if not s.before.orphan:  # what a rejected request has left in the original
        return False
    if s.name in ("start", "add"):
        if d.facet in ("result", "alarm"):
            first = {"created": True, "status": "running"}
            return d.ours == first.get(d.name, s.now + (period(s) or 0))
        return d.extra and d.whole or (d.facet == "state" and d.name in ("state", "runCount", "eventCount"))
    if d.facet == "result":
        return d.ours in (NOTHING, _ABSENT.get(d.name, NOTHING))
    return (d.facet, d.name, d.ours) == ("state", "exists", False) or (d.whole and d.missing)


# -- what an alarm does


def _unregistered(d: Difference) -> bool:
    s = d.step
    return s.before.unregistered and s.name == "fire_alarm" and not s.seen.events and s.seen.untouched


def _spurious(d: Difference) -> bool:
    s = d.step
    early = s.seen.due is None or s.seen.due > s.now
    if s.name != "fire_alarm" or not s.delivered or not early or s.refused is not None:
        return False
    return s.seen.untouched and d.facet != "result" and (d.missing or d.facet in ("alarm", "state"))


def _never_stops(d: Difference) -> bool:
    s = d.step
    if not (s.before.stuck or s.after.stuck):
        return False
    if d.facet == "alarm" or d.name in ("nextRunAt", "willFlushAt"):
        return d.original in (None, NOTHING) and isinstance(d.ours, int) and d.ours == s.seen.alarm
    unrun = s.name == "start" and "error" not in s.out and runs(s) == (0, 1)
    return unrun and ((d.whole and d.extra) or (d.facet, d.name) == ("state", "state"))


# -- one hook at a time


_FRESH = {"attempt": 1, "isRetry": False, "isFirstEvent": True}


def _one_at_a_time(d: Difference) -> bool:
    s, met = d.step, d.step.overlaps
    if s.outer is not None:
        later = s.name == "send" and not s.we_called("onEvent")
        if s.key != s.outer.key or not (later or s.name in ("trigger", "flush")):
            return False
        return (d.whole and d.missing) or (later and d.name == "scheduledAt" and d.ours is None)
    if s.before.residue:  # that of one whose token was no longer current
        if (d.facet, d.name) == ("state", "attempt"):
            return bool(d.original == d.ours + 1)
        known = d.facet == "alarm" or d.name.lower().endswith(("state", "attempt", "retry", "event"))
        return (known or d.name.startswith("scheduled")) and d.ours == _FRESH.get(d.name)
    if met is None:
        return False
    if met["op"] == "send":
        events = [request.get("event") for _, request in script_of(s, "call")]
        return d.whole and d.extra and (d.of == "job.executed" or d.ours.get("event") in events)
    if met["op"] in ("trigger", "fire_alarm"):
        return (d.facet, d.name) == ("state", "runCount") and bool(d.original == d.ours + 1)
    if met["op"] != "terminate" or s.seen.body is not None:
        return False
    stale = d.whole and (d.missing or d.of == "job.stale")
    return stale or (d.facet == "alarm" and d.ours is None)


# -- what the clients are told


def _creation(d: Difference) -> bool:
    s = d.step
    if s.name != "start" or not isinstance(s.seen.result, Mapping) or not s.seen.result["created"]:
        return False
    if d.facet == "error":
        return s.called("execute") and d.ours is NOTHING
    return d.name == "status" and (d.original, d.ours) == ("terminated", "running")


def _trigger(d: Difference) -> bool:
    s = d.step
    if s.name != "trigger" or s.key.kind != "continuous":
        return False
    if d.name == "runCount":  # that run
        return (
            s.before.attempt is not None and d.original == s.before.storage["cont:runCount"] + 1 == d.ours + 1
        )
    if d.facet == "alarm" and failed(s):
        return d.original == s.before.alarm and d.ours == s.out["now"] + s.spec["every_ms"]
    if runs(s) != (0, 1) or not s.out.get("result", {}).get("terminated"):  # a new run
        return False
    return (d.whole and d.extra) or (d.name == "terminated" and d.missing) or d.name == "state"


def _waiting(d: Difference) -> bool:
    s = d.step
    body = s.seen.body
    if isinstance(body, DebounceBody) and body.marked and body.batch is None and d.facet == "alarm":
        return d.original is None and d.ours == s.out["now"] + 60_000
    if s.name not in ("trigger", "flush"):
        return False
    if s.overlaps is not None and s.overlaps["op"] == "terminate" and s.seen.body is None:
        return d.name == "terminated" and d.ours is True
    if d.name == "retryScheduled":
        return bool(d.ours == any(event["willRetry"] for event in s.we_sent("job.failed")))
    return d.facet == "error" and d.ours is NOTHING and failed(s)


# -- debounce


def _first_event(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce" or s.name != "add":
        return False
    if d.facet == "call" and d.name == "state":
        return d.ours is None and d.original == s.op["event"]
    if s.called("onEvent") or error_of(s).get("kind") != "die":
        return False
    if d.facet in ("error", "alarm"):  # it died as it took the event for the state
        return d.ours in (NOTHING, s.now + (period(s) or 0))
    return d.extra and d.of in ("debounce.started", "onEvent") or d.name in ("state", "eventCount")


def _next_window(d: Difference) -> bool:
    s, during = d.step, d.step.outer is not None and d.step.key == d.step.outer.key
    if s.key.kind != "debounce":
        return False
    due = s.out["now"] + (period(s) or 0)
    if s.outer is None and s.overlaps is not None and s.overlaps["op"] == "add":
        return (d.facet == "alarm" and d.ours == due) or (d.facet, d.name, d.ours) == (
            "state",
            "exists",
            True,
        )
    if s.name != "add" or not (during or unfinished(s)):
        return False
    held = s.before.storage.get("deb:count", 0)
    if d.name == "eventCount" and d.facet in ("result", "call"):
        return bool(d.ours < d.original if during else d.ours + held == d.original)
    if d.facet == "call" and d.name == "state":
        return d.ours is None
    if d.facet == "result":
        return d.name == "retryScheduled" and d.missing or (d.name == "willFlushAt" and d.ours == due)
    if d.facet == "alarm":  # the batch, or the window, unless that waits for a parked batch
        return d.ours == (due if s.before.attempt is None else min(due, s.before.alarm or due))
    if d.facet == "state":
        kept = {"exists": True, "held": held, "attempt": s.before.attempt}
        own = d.name == "state" and d.ours == reduced(s.spec["reducer"], s.op["event"], None)
        return own or (d.name in kept and d.ours == kept[d.name])
    if d.facet == "error":
        return s.called("execute") and d.ours is NOTHING
    return d.whole and (d.extra and d.of == "debounce.started" or (d.missing and d.of != "onEvent"))


def _reason(d: Difference) -> bool:
    s = d.step
    if not unfinished(s) or not (
        d.name == "flushReason" or (d.of == "debounce.flushed" and d.name == "reason")
    ):
        return False
    wire = "timeout" if s.before.reason == "flushAfter" else s.before.reason
    return bool(d.ours == (s.before.reason if d.facet == "call" else wire))


def _flush_and_clear(d: Difference) -> bool:
    s, during = d.step, d.step.outer is not None and d.step.key == d.step.outer.key
    if s.name == "clear" and during:
        return (d.name, d.ours) in (("cleared", False), ("discardedEvents", 0))
    if s.name != "flush":
        return False
    if d.name == "flushed":
        return d.ours is False and (during or failed(s))
    if not unfinished(s):
        return False
    if d.name in ("attempt", "isRetry"):  # it starts with fresh attempts
        fresh = (1, False) if d.facet in ("call", "event") else (2,)
        return d.ours in fresh
    if not s.sent("job.retryExhausted") or s.we_sent("job.retryExhausted"):
        return False
    if d.facet == "alarm":
        return d.original is None and d.ours is not None
    return d.of == "job.retryExhausted" or (d.name == "exists" and d.ours is True)


def _told(d: Difference) -> bool:
    s = d.step
    if s.name == "add" and s.called("execute") and s.we_called("execute"):
        if d.name == "willFlushAt":
            return d.ours == s.now
        return d.missing and (d.facet == "error" or d.name == "retryScheduled")
    if s.name != "status" or not isinstance(s.seen.body, DebounceBody) or s.seen.body.batch is None:
        return False
    if d.name == "status":
        parked = s.seen.body.run is not None and s.seen.body.run.parked
        return d.original == "debouncing" and d.ours == ("parked" if parked else "flushing")
    if d.name == "eventCount":
        return bool(d.original == d.ours + s.seen.body.batch.count)
    return d.facet == "result" and d.name in ("startedAt", "willFlushAt") and d.missing


# -- retries


def _jitter(d: Difference) -> bool:
    s, retry = d.step, d.step.spec.get("retry", {})
    if isinstance(d.original, float) and not d.original.is_integer() and isinstance(d.ours, int):
        if 0 <= d.original - d.ours < 1:
            return True
    delay = retry.get("delay") or {}
    if str(delay.get("fn", "")).startswith("-") and failed(s):
        if d.facet == "alarm":
            return d.ours == s.out["now"] + s.spec["every_ms"]
        return (d.name, d.ours) in (("willRetry", False), ("attempt", None), ("exists", True)) or (
            d.of == "job.retryExhausted" and d.extra
        )
    retried = any(event["willRetry"] for event in s.we_sent("job.failed"))
    if d.facet != "alarm" or not retry.get("jitter") or not retried or not d.ours or not d.original:
        return False
    cap = delay.get("exponential", {}).get("max_ms")
    ours, theirs = d.ours - s.now, d.original - s.now
    return (cap is None or ours <= cap) and bool(abs(ours - theirs) <= 0.2 * max(ours, theirs))


def _from_the_end(d: Difference) -> bool:
    s, retry = d.step, d.step.spec.get("retry", {})
    took = sum(step[1] for step in script_of(s, "advance"))
    if d.facet == "alarm" and s.we_sent("job.failed") and took and d.original and d.ours:
        if d.ours - d.original == took:
            return True
    if "maxDuration_ms" not in retry:
        return False
    if any(event["reason"] == "max_duration" for event in s.we_sent("job.retryExhausted")):
        if d.facet == "alarm":
            return d.ours == s.out["now"] + s.spec["every_ms"]
        return (d.name, d.ours) in (("willRetry", False), ("attempt", None)) or (
            d.of == "job.retryExhausted" and d.extra
        )
    if not s.sent("job.retryExhausted") or runs(s) != (0, 1):  # an attempt not made is not counted
        return False
    if d.facet == "alarm":
        return d.ours == s.seen.alarm and d.original is None
    return d.whole and (d.extra or d.of == "job.retryExhausted") or (d.name == "exists" and d.ours is True)


def _tick(d: Difference) -> bool:
    s = d.step
    if "cron" not in s.spec:
        return False
    if d.facet == "alarm" or d.name == "nextRunAt":
        instants = d.original, d.ours
        later = None not in instants and NOTHING not in instants and d.ours > s.now
        return later and clock_changes(s.spec["tz"] or "UTC", *instants)
    missed = s.before.attempt is not None and s.name == "fire_alarm"
    theirs, ours = runs(s)
    if not (overdue(s) or missed) or ours != theirs + 1:
        return False
    return (d.whole and d.extra) or (d.facet == "state" and d.name in ("state", "runCount"))


# -- tasks


def _consumed(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    left = s.before.storage.get("task:scheduledAt")
    if d.name == "scheduledTime" or (d.name == "scheduledAt" and d.facet == "result" and s.before.stale):
        return d.ours is None and d.original == left
    if d.name == "status":
        return s.before.stale and (d.original, d.ours) == ("active", "idle")
    past = s.after.alarm is not None and s.after.alarm <= s.out["now"]
    again = runs(s)[1] > runs(s)[0] and (past or overdue(s))
    owes_idle = s.we_called("onIdle") and not s.called("onIdle") and (s.before.stale or s.after.stale)
    if not again and not owes_idle:
        return False
    if d.facet == "alarm":
        return d.ours == s.seen.alarm
    if d.whole and d.extra:
        return (
            d.of in ("execute", "onIdle") if d.facet == "call" else d.of in ("job.executed", "task.scheduled")
        )
    return d.facet == "state" and d.name in ("state", "scheduledAt", "executeCount" if again else "state")


def _same_meaning(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    if d.name == "isFirstEvent":
        return d.original is True and d.ours is False and s.before.storage.get("task:eventCount", 0) > 0
    took = sum(step[1] for step in script_of(s, "advance"))  # a duration counts from the end of the hook
    if took and script_of(s, "schedule", "schedule_str") and (d.facet == "alarm" or d.name == "scheduledAt"):
        instants = [instant(value) for value in (d.original, d.ours)]
        return None not in instants and 0 < instants[1] - instants[0] <= took
    return False


# -- telemetry


def _telemetry(d: Difference) -> bool:
    s = d.step
    if d.facet != "event":
        return False
    if d.of == "job.terminated" and d.extra:
        by_client = s.name in ("clear", "terminate") and s.key.kind != "continuous"
        return by_client or bool(script_of(s, "terminate", "terminate_caught"))
    if d.of == "job.failed" and d.name == "error":
        real = [str(step[-1]) for step in script_of(s, *_FAILS)]
        unreal = d.original in ("[object Object]", *real) or str(d.original).startswith("Retry scheduled for")
        return unreal and d.ours in real
    if d.of == "job.failed" and d.name == "preExecutionState":
        return "onIdle" in s.seen.raised  # of the hook that failed
    if d.of == "job.failed" and d.extra:
        return bool(s.seen.raised) or misfit(s) or not s.we_called("execute")
    if (d.of, d.name) == ("task.scheduled", "trigger"):
        return s.called("onError") and d.ours == "error"
    if d.whole and d.missing and d.of in ("job.executed", "task.scheduled") and s.we_sent("job.failed"):
        return d.of == "job.executed" or bool(raised(s))
    if d.of == "job.executed" and d.whole:  # in the order of the commits
        return any(told(e) == d.ours for e in s.out["events"]) or any(
            told(e) == d.original for e in s.seen.events
        )
    return d.whole and d.extra and s.telemetry == "delivered" and "error" in s.out


_FAILS = ("fail", "fail_tagged", "fail_string", "fail_object", "die", "throw")


# -- failures


def _any_exception(d: Difference) -> bool:
    s = d.step
    if d.facet == "error":
        if d.ours == "ExecutionError":
            return d.original != d.ours and (bool(s.seen.raised) or misfit(s))
        return d.ours is NOTHING and (s.name == "fire_alarm" or s.we_called("onError")) and failed(s)
    defect = error_of(s).get("kind") == "die"
    misread = "ValidationError" in (cause_of(s), error_of(s).get("tag"))
    if not (defect or misread) or not failed(s):
        return False
    if d.facet == "call":
        return d.extra and d.of in ("onError", "onIdle") and d.whole
    if d.facet == "alarm":
        return d.original is None and isinstance(d.ours, int)
    return d.facet == "state" and (d.name == "attempt" and d.original is None) or d.of == "task.scheduled"


def _kept(d: Difference) -> bool:
    s = d.step
    if (s.before.failed or s.after.failed) and (d.facet == "alarm" or d.name == "willFlushAt"):
        return d.ours is None  # it is parked, and has no alarm (S-25)
    if not gave_up(s):
        return False
    if d.facet == "event":
        return d.of == "job.retryExhausted" and d.extra
    if d.facet == "alarm":
        goes_on = s.key.kind == "continuous" and d.ours == s.seen.alarm
        return d.original is None and goes_on
    return (d.name == "terminated" and d.missing) or (d.name in ("exists", "parked") and d.ours is True)


def _as_data(d: Difference) -> bool:
    s = d.step
    ended = bool(script_of(s, "terminate_caught")) and bool(s.we_sent("job.terminated"))
    if ended:  # asked for, whatever the hook did with the exception
        gone = (d.facet == "alarm" and d.ours is None) or (d.name == "exists" and d.ours is False)
        return gone or (d.of == "job.executed" and d.missing)
    shown = [call["ctx"]["state"] for call in s.out["calls"] if "state" in call["ctx"]]
    if d.name == "state" and ["set", None] in script_of(s, "set") and not s.seen.raised:
        return d.ours is None
    if s.key.kind == "task" and d.name == "state":  # what the hook itself has set
        if d.facet == "call" and d.of.endswith(" read"):
            return d.original in shown
        if script_of(s, "inc") and d.original is None and None in shown:
            return True
    done = {step[0] for handler in s.seen.raised for step in s.seen.script.get(handler, [])}
    if d.name == "state":
        return bool(done & {"set", "inc"}) and d.of.split()[:1] in ([], ["onError"], ["onIdle"])
    scheduled = d.facet == "alarm" or d.name in ("scheduledAt", "scheduledTime")
    unscheduled = d.ours is None or (d.of == "task.scheduled" and d.missing)
    return (
        bool(done & {"schedule", "schedule_str", "schedule_at", "schedule_date"})
        and unscheduled
        and (scheduled or d.of == "task.scheduled")
    )


RULES = (
    Rule("S-32", "an expression that can never match is refused at definition", _never_matches),
    Rule("S-63", "two different keys never collide", _keys_apart),
    Rule("S-62", "strict: no coercion, no unknown fields, refused at the edge", _strict),
    Rule("S-8", "an instance of a job that is not registered is left alone", _unregistered),
    Rule("S-40", "the first reducer call sees None", _first_event),
    Rule("I-9", "a rejected request leaves all as it was", _rejected),
    Rule("S-4", "an early, late, duplicate or spurious alarm changes nothing", _spurious),
    Rule("S-30", "the reply follows the creation, not the first run", _creation),
    Rule("S-11", "one leased hook at a time; only the holder of the token commits", _one_at_a_time),
    Rule("S-34", "a trigger is that run, or a new one, whose end sets the next", _trigger),
    Rule("S-38", "a failed hook is not raised; its outcome is told, and kept for 60 s", _waiting),
    Rule("S-42", "an event added during a flush or a retry belongs to the next window", _next_window),
    Rule("S-43", "the reason of a flush is kept over retries", _reason),
    Rule(
        "S-44", "a flush has fresh attempts and tells success; a clear leaves one in flight", _flush_and_clear
    ),
    Rule("S-45", "status tells batch and window apart; an add that closes answers now", _told),
    Rule("S-20", "jitter before the cap, never negative, whole milliseconds", _jitter),
    Rule("S-21", "the delay counts from the end; max_duration is judged on failing", _from_the_end),
    Rule("S-33", "ticks never go back; missed ones are one run at once", _tick),
    Rule("S-53", "a schedule that fired is consumed, a past one is due, then on_idle", _consumed),
    Rule("S-52", "the members of ctx mean the same in every hook", _same_meaning),
    Rule("S-65", "what happened is told, with the real error, in order", _telemetry),
    Rule("S-24", "a run that gives up deletes nothing, and the schedule goes on", _kept),
    Rule("S-22", "any exception is a failure, and so is a state that does not fit", _any_exception),
    Rule("S-16", "state, schedule and termination are data, applied when the hook returns", _as_data),
    Rule("I-4", "what may start has an alarm: a schedule never silently stops", _never_stops),
)
