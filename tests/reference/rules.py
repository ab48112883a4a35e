"""Why ours differs: one rule a sentence of the specification, matching no more than it says.

A rule looks at one difference and the step it is in: what was asked, where the original stood before
(`before`) and after, and what ours did. The first that wants it explains it. Every step begins where
the original stood, so that a rule never has to excuse what an earlier difference led to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from durable_jobs_core.record import DebounceBody
from durable_jobs_core.words import JOB_NAME
from reference.compare import NOTHING, Difference
from reference.facts import (
    cause_of,
    clock_changes,
    error_of,
    gave_up,
    instant,
    overdue,
    raised,
    script_of,
    unfinished,
)


@frozen
class Rule:
    """`sentence`: of SPEC; `says`: in short, what ours does; `wants`: whether a difference is that."""

    sentence: str
    says: str
    wants: Callable[[Difference], bool]


_WORDS = {"flushAfter": "timeout"}


# -- one function a sentence


def _never_matches(d: Difference) -> bool:
    return d.step.refused is not None and "cron" in d.step.spec


def _keys_apart(d: Difference) -> bool:
    bad_name = d.step.refused is not None and not JOB_NAME.fullmatch(d.step.key.job)
    return bad_name or d.step.collides


def _statuses(d: Difference) -> bool:
    s = d.step
    if s.before.stopped:
        return s.key.kind == "continuous"
    if s.outer is not None and s.key == s.outer.key and s.name == "status":  # of a run in flight
        return d.name == "nextRunAt" or (d.original, d.ours) == ("idle", "active")
    return s.name == "pause" and s.out.get("result") == {"$undefined": True}


def _unregistered(d: Difference) -> bool:
    s = d.step
    left_alone = not s.seen.calls and not s.seen.events and s.seen.alarm == s.seen.due
    return s.before.unregistered and s.name == "fire_alarm" and left_alone


def _spurious(d: Difference) -> bool:
    s = d.step
    if d.facet == "result":
        return False
    not_due = s.seen.due is None or s.seen.due > s.now
    unchanged = not s.seen.calls and not s.seen.events and s.seen.alarm == s.seen.due
    return s.name == "fire_alarm" and s.delivered and not_due and unchanged


def _creation(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "continuous":
        return False
    if s.before.orphan:
        return d.facet in ("result", "alarm", "state") or d.whole
    if s.name != "start":
        return False
    if raised(s) == "ValidationError":
        return "error" in s.out and (d.name == "exists" or d.of == "job.started")
    created = isinstance(s.seen.result, Mapping) and bool(s.seen.result["created"])
    if d.facet == "error":
        return created and s.called("execute") and d.ours is NOTHING
    return created and d.name == "status" and (d.original, d.ours) == ("terminated", "running")


def _strict(d: Difference) -> bool:
    s = d.step
    if s.refused is not None:
        return any(name.endswith("_number") for name in s.spec)
    refused = s.name in ("start", "add", "send") and raised(s) == "ValidationError"
    return refused and (d.facet in ("error", "alarm", "state") or d.missing)


_OTHERS = ("trigger", "flush", "fire_alarm", "send", "terminate", "clear")
_LEFT = (
    "",
    "state",
    "preExecutionState",
    "attempt",
    "isRetry",
    "isFirstEvent",
    "scheduledTime",
    "scheduledAt",
)


def _one_at_a_time(d: Difference) -> bool:
    s = d.step
    if s.outer is not None:
        whole = d.whole or d.facet in ("result", "error")
        return s.key == s.outer.key and s.name in _OTHERS and whole
    if s.before.residue:
        return d.name in _LEFT
    if s.overlaps is not None and s.overlaps["op"] in _OTHERS:
        answer = d.facet == "result" and d.name in ("terminated", "retryScheduled", "outcome", "scheduledAt")
        unheard = d.facet == "error" and d.ours is NOTHING
        return (
            d.facet in ("alarm", "state")
            or answer
            or unheard
            or (d.whole and (d.facet == "event" or d.extra))
        )
    return s.after.residue and (d.facet == "alarm" or (d.facet == "event" and d.whole))


def _leaves_nothing(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if (s.before.orphan and s.name != "flush") or (s.after.orphan and s.name == "add"):
        began = d.name in ("durationMs", "debounceStartedAt")  # with the orphan
        if d.facet in ("result", "alarm", "state") or d.whole or began:
            return True
        if d.facet == "error" and d.ours is NOTHING:  # only as `state === event`
            return error_of(s).get("kind") == "die" and not s.called("onEvent")
    first = d.facet == "call" and d.of in ("onEvent", "onEvent read") and d.name == "state" and d.ours is None
    return first and d.original == s.op.get("event")


def _next_window(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if d.name in ("flushReason", "reason"):
        fell_due = s.seen.due is not None and s.seen.due <= s.now and s.name != "fire_alarm"
        return fell_due and d.ours in ("flushAfter", "timeout")
    if s.outer is None and s.overlaps is not None and s.overlaps["op"] == "add":
        return d.facet in ("alarm", "state") or d.extra
    if s.name == "add" and s.seen.due is not None and s.seen.due <= s.out["now"] and s.we_called("execute"):
        if d.extra or d.facet in ("alarm", "state"):
            return True  # it was due, and closes
    if s.name == "add" and unfinished(s) and s.we_called("execute"):
        return d.facet != "error"  # the window is full: the batch first (S-25)
    during = s.outer is not None and s.key == s.outer.key
    if s.name != "add" or not (during or unfinished(s)):
        return False
    if d.name == "eventCount" and d.facet in ("result", "call"):
        held = s.before.storage.get("deb:count", 0)
        return bool(d.ours < d.original if during else d.ours + held == d.original)
    if d.name == "state" and d.facet == "call":
        return d.ours is None
    if d.facet == "result":
        return d.name in ("willFlushAt", "retryScheduled")
    return d.facet in ("error", "alarm") or d.whole or (d.facet == "state" and d.ours is not False)


def _told(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if s.before.stopped and s.name == "fire_alarm":
        return d.facet in ("alarm", "state") or d.extra
    if s.name == "add" and (s.called("execute") or overdue(s)):
        if d.name == "willFlushAt":
            return d.ours == s.now
        return d.name == "retryScheduled" or (d.facet == "error" and d.ours is NOTHING)
    if s.name != "status" or not isinstance(s.seen.body, DebounceBody) or s.seen.body.batch is None:
        return False
    if d.name == "status":
        return d.original == "debouncing" and d.ours in ("flushing", "parked")
    if d.name == "eventCount":
        return bool(d.original == d.ours + s.seen.body.batch.count)
    return d.facet == "result" and d.name in ("startedAt", "willFlushAt") and d.ours is NOTHING


def _not_raised(d: Difference) -> bool:
    s = d.step
    if s.name in ("trigger", "flush", "fire_alarm"):
        if d.facet == "error":
            failed = error_of(s).get("kind") == "die" or d.original == "ExecutionError"
            return failed and d.ours is NOTHING and bool(s.we_sent("job.failed"))
        if d.facet == "result" and d.name in ("outcome", "flushed", "retryScheduled"):
            return bool(s.we_sent("job.failed"))
    kept = isinstance(s.seen.body, DebounceBody) and s.seen.body.marked and s.seen.body.batch is None
    return d.facet == "alarm" and kept and d.original is None


def _ended(d: Difference) -> bool:
    s = d.step
    if d.of == "job.terminated" and d.extra:
        by_client = s.name in ("clear", "terminate") and s.key.kind != "continuous"
        return by_client or bool(script_of(s, "terminate", "terminate_caught"))
    swallowed = bool(script_of(s, "terminate_caught")) and bool(s.we_sent("job.terminated"))
    if swallowed and d.facet == "result":
        return d.name in ("terminated", "scheduledAt", "retryScheduled")
    return swallowed and (d.facet in ("alarm", "state") or (d.missing and d.of != "job.started"))


def _sender(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    if d.facet == "result" and d.name == "terminated":
        return s.name in ("send", "trigger") and bool(s.we_sent("job.terminated"))
    if s.name != "send" or not raised(s):
        return False
    return d.facet in ("alarm", "state") or (d.of in ("task.scheduled", "job.executed") and d.missing)


def _same_run(d: Difference) -> bool:
    s = d.step
    if not unfinished(s):
        return False
    if d.name == "flushReason" or (d.of == "debounce.flushed" and d.name == "reason"):
        return d.original in ("flushAfter", "timeout", "manual") and d.ours in (
            s.before.reason,
            _WORDS.get(s.before.reason),
        )
    if (s.outer or s).name == "trigger":
        return d.name == "runCount" and bool(d.original == d.ours + 1)
    again = s.name == "flush" and any(call["ctx"].get("attempt") == 1 for call in s.seen.calls)
    kept = d.name == "exists" and d.ours is True
    return again and (kept or d.name in ("attempt", "isRetry") or d.facet == "alarm" or d.whole)


def _jitter(d: Difference) -> bool:
    s, retry = d.step, d.step.spec.get("retry", {})
    if isinstance(d.original, float) and not d.original.is_integer() and isinstance(d.ours, int):
        if 0 <= d.original - d.ours < 1:
            return True
    delay = retry.get("delay") or {}
    if str(delay.get("fn", "")).startswith("-") and s.we_sent("job.failed"):
        return d.facet in ("alarm", "state") or d.name == "willRetry" or d.of == "job.retryExhausted"
    retried = any(event["willRetry"] for event in s.we_sent("job.failed"))
    if d.facet != "alarm" or not retry.get("jitter") or not retried or not d.ours or not d.original:
        return False
    cap = delay.get("exponential", {}).get("max_ms")
    ours, theirs = d.ours - s.now, d.original - s.now
    return (cap is None or ours <= cap) and bool(abs(ours - theirs) <= 0.2 * max(ours, theirs))


def _from_the_end(d: Difference) -> bool:
    s = d.step
    took = sum(step[1] for step in script_of(s, "advance"))
    if d.facet == "alarm" and s.we_sent("job.failed") and took and d.original and d.ours:
        if d.ours - d.original == took:
            return True
    judged = any(e["reason"] == "max_duration" for e in s.we_sent("job.retryExhausted"))
    skipped = bool(s.sent("job.retryExhausted")) and not s.called("execute")
    if "maxDuration_ms" not in s.spec.get("retry", {}) or not (judged or skipped):
        return False
    return d.facet in ("alarm", "state") or d.name == "willRetry" or d.whole


def _tick(d: Difference) -> bool:
    s = d.step
    if "cron" not in s.spec:
        return False
    if d.facet == "alarm" or d.name == "nextRunAt":
        instants = d.original, d.ours
        later = None not in instants and NOTHING not in instants and d.ours > s.now
        return later and clock_changes(s.spec["tz"] or "UTC", *instants)
    missed = s.before.attempt is not None and s.name == "fire_alarm"
    ran_more = len(s.seen.calls) > len(s.out["calls"])
    return (overdue(s) or missed) and ran_more and (d.extra or d.facet == "state")


def _consumed(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    left = s.before.storage.get("task:scheduledAt")
    if d.name == "scheduledTime":
        return d.ours is None and d.original == left
    if (s.before.stale or s.outer is not None) and d.facet == "result" and not s.we_called("onIdle"):
        return (d.original, d.ours) == ("active", "idle") or (d.name == "scheduledAt" and d.original == left)
    ran = [sum(call["handler"] == "execute" for call in calls) for calls in (s.seen.calls, s.out["calls"])]
    past = s.after.alarm is not None and s.after.alarm <= s.out["now"]
    again = ran[0] > ran[1] and (past or overdue(s))
    owes_idle = s.we_called("onIdle") and not s.called("onIdle") and (s.before.stale or s.after.stale)
    idle_ended = "onIdle" in s.seen.raised or (s.we_called("onIdle") and bool(s.we_sent("job.terminated")))
    if again or owes_idle or (idle_ended and s.name != "send"):
        return d.extra or d.facet in ("alarm", "state") or d.name == "scheduledAt"
    return False


def _same_meaning(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    shown = [call["ctx"]["state"] for call in s.out["calls"]]
    if d.name == "createdAt":
        return d.original is NOTHING and "task:createdAt" not in s.before.storage
    if d.name == "isFirstEvent":
        return d.original is True and d.ours is False and None in shown
    if d.facet == "call" and d.of.endswith(" read") and d.name == "state":
        return d.original in shown
    took = sum(step[1] for step in script_of(s, "advance"))  # a duration counts from the end of the hook
    if took and script_of(s, "schedule", "schedule_str") and (d.facet == "alarm" or d.name == "scheduledAt"):
        instants = [instant(value) for value in (d.original, d.ours)]
        return None not in instants and 0 < instants[1] - instants[0] <= took
    return bool(script_of(s, "inc")) and d.name == "state" and d.original is None and None in shown


def _json(d: Difference) -> bool:
    s = d.step
    if d.name in ("input", "preExecutionState") and "Codec" in (s.spec.get("state"), s.spec.get("event")):
        return isinstance(d.original, Mapping) and d.ours == {"n": str(d.original["n"])}
    if s.spec.get("state") != "State|null":
        return False
    null = s.before.exists and s.before.storage.get("state") is None
    null = null or (s.after.exists and s.after.storage.get("state") is None)
    if null:
        return d.extra or d.facet == "state" or d.original == "terminated" or d.name == "terminated"
    return d.name == "state" and d.ours is None and ["set", None] in script_of(s, "set")


def _complete(d: Difference) -> bool:
    s = d.step
    if d.facet != "event":
        return False
    if d.of == "job.failed" and d.name == "error":
        others = [step[-1] for step in script_of(s, "fail", "fail_tagged", "fail_string", "die", "throw")]
        return d.original in ("[object Object]", *others) or str(d.original).startswith(
            "Retry scheduled for attempt"
        )
    if d.of == "job.failed" and d.name == "preExecutionState":
        return s.called("onIdle")  # the state of the hook that failed
    if d.of == "job.failed" and d.extra:
        return bool(s.seen.raised) or not s.we_called("execute")
    if d.of == "task.scheduled" and d.name == "trigger":
        return bool(d.ours == "error")
    if d.of == "job.executed" and s.called("onIdle") and s.we_called("onIdle") and not s.seen.raised:
        return d.whole and len(s.sent("job.executed")) == len(s.we_sent("job.executed"))
    if d.of == "job.executed" and d.missing:
        return bool(s.we_sent("job.failed"))
    return d.extra and s.telemetry == "delivered" and "error" in s.out


def _any_exception(d: Difference) -> bool:
    s = d.step
    defect = error_of(s).get("kind") == "die"
    if d.facet == "error" and d.ours == "ExecutionError" and s.seen.raised:
        return d.original != "ExecutionError"
    misfit = "ValidationError" in (cause_of(s), error_of(s).get("tag"))
    ours = any(str(event["error"]["message"]).startswith("new state of") for event in s.we_sent("job.failed"))
    ours = ours or any(str(call["ctx"].get("error")).startswith("new state of") for call in s.seen.calls)
    unreadable = misfit and raised(s) == "ValidationError" and s.name != "start"
    if not (defect or misfit or ours) or not (s.we_sent("job.failed") or unreadable):
        return False
    if d.facet == "call":
        return d.of.split()[0] in ("onError", "onIdle") and (d.whole or d.name == "state")
    if d.of == "task.scheduled":
        return d.whole or s.we_called("onError")
    if d.facet == "alarm":
        untouched = d.ours in (None, s.seen.due) or (s.we_called("onError") and not s.called("onError"))
        return untouched or d.original in (None, s.before.alarm)
    return d.facet in ("error", "state") or (d.facet == "event" and d.whole and d.of != "job.started")


def _kept(d: Difference) -> bool:
    s = d.step
    if (s.before.stuck or s.after.stuck) and d.name in ("", "nextRunAt", "willFlushAt"):
        if d.facet in ("alarm", "result") and d.original in (None, NOTHING):
            return isinstance(d.ours, int)
    if (s.before.failed or s.after.failed) and (d.facet == "alarm" or d.name == "willFlushAt"):
        return d.ours is None  # it is parked, and has no alarm (S-25)
    if not gave_up(s):
        return False
    if d.facet == "event":
        return d.of == "job.retryExhausted" and d.extra
    if d.facet == "alarm":
        return d.original in (None, s.before.alarm)
    return d.name == "terminated" or (d.name in ("exists", "parked") and d.ours is True)


def _discarded(d: Difference) -> bool:
    s = d.step
    if not s.called("onError"):
        return False
    done = {step[0] for handler in s.seen.raised for step in s.seen.script.get(handler, [])}
    if done & _SCHEDULES and s.we_called("onIdle") and not s.called("onIdle"):
        if d.extra or d.facet in ("alarm", "state") or d.of == "task.scheduled":
            return True  # as nothing is scheduled then
    if d.of == "onIdle" and d.missing:
        return "cancel_schedule" in done
    if d.name == "state":
        return bool(done & {"set", "inc"}) and d.of.split()[:1] in ([], ["onError"], ["onIdle"])
    scheduled = d.facet == "alarm" or d.name in ("scheduledAt", "scheduledTime")
    return bool(done & _SCHEDULES) and (scheduled or (d.of == "task.scheduled" and d.missing))


_SCHEDULES = {"schedule", "schedule_str", "schedule_at", "schedule_date", "cancel_schedule"}


RULES = (
    Rule("S-32", "an expression that can never match is refused at definition", _never_matches),
    Rule("S-63", "two different keys never collide", _keys_apart),
    Rule("S-8", "an instance of a job that is not registered is left alone", _unregistered),
    Rule("S-35", "the status tells of a run in flight, and only `pause` stops an instance", _statuses),
    Rule("S-4", "an early, late, duplicate or spurious alarm changes nothing", _spurious),
    Rule("S-30", "validated first; the reply follows the creation, not the first run", _creation),
    Rule("S-62", "strict: no coercion, no unknown fields, refused at the edge", _strict),
    Rule("S-11", "one leased hook at a time; only the holder of the token commits", _one_at_a_time),
    Rule("S-40", "the first reducer call sees None; any failure leaves nothing", _leaves_nothing),
    Rule("S-42", "an event added during a flush or a retry belongs to the next window", _next_window),
    Rule("S-45", "status tells batch and window apart; an add that closes answers now", _told),
    Rule("S-38", "a failed hook is not raised; its outcome is told, and kept for 60 s", _not_raised),
    Rule("S-17", "ctx.terminate is not swallowed, and every ending is told (S-46)", _ended),
    Rule("S-50", "the sender is told of an ending; a failing on_event leaves nothing", _sender),
    Rule("S-18", "a run that waits stays the same run, and a flush revives it", _same_run),
    Rule("S-20", "jitter before the cap, never negative, whole milliseconds", _jitter),
    Rule("S-21", "the delay counts from the end; max_duration is judged on failing", _from_the_end),
    Rule("S-33", "ticks never go back; missed ones are one run at once", _tick),
    Rule("S-53", "a schedule that fired is consumed, a past one is due, then on_idle", _consumed),
    Rule("S-52", "the members of ctx mean the same in every hook", _same_meaning),
    Rule("S-64", "state is JSON, and null is a state", _json),
    Rule("S-65", "telemetry is complete and has the real error", _complete),
    Rule("S-22", "any exception is a failure, and so is a state that does not fit", _any_exception),
    Rule("S-24", "a run that gives up deletes nothing, and the schedule goes on", _kept),
    Rule("S-16", "what a hook did before it raised is discarded", _discarded),
)
