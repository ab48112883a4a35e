"""Why ours differs: one rule a sentence of the specification, matching no more than it says.

A rule looks at one difference and the step it is in: what was asked, where the original stood before
(`before`) and after, and what ours did. The first that wants it explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from reference.compare import NOTHING, Difference, Step

from durable_jobs_core.record import ContinuousBody, DebounceBody
from durable_jobs_core.words import JOB_NAME


@frozen
class Rule:
    """`sentence`: of SPEC, which `says` in short what ours does instead; `wants`: for a difference."""

    sentence: str
    says: str
    wants: Callable[[Difference], bool]


def _script(s: Step, *names: str) -> list[Any]:
    """The script's steps of those names, of all handlers."""
    steps = [step for script in s.seen.script.values() for step in script]
    return [step for step in steps if step[0] in names]


def _advanced(s: Step) -> int:
    return sum(step[1] for step in _script(s, "advance"))


def _cause(s: Step) -> Mapping[str, Any]:
    cause: Mapping[str, Any] = s.out.get("error", {}).get("cause") or {}
    return cause


def _we_raised(s: Step) -> str:
    return type(s.seen.error).__name__ if s.seen.error is not None else ""


def _gave_up(s: Step) -> bool:
    """The original's run was over in this step, and not well."""
    return bool(s.sent("job.retryExhausted")) or ("error" in s.out and s.called("execute"))


def _we_gave_up(s: Step) -> bool:
    return any(not event["willRetry"] for event in s.we_sent("job.failed"))


# -- one function a sentence


def _spurious(d: Difference) -> bool:
    s = d.step
    not_due = s.seen.due is None or s.seen.due > s.now
    return s.name == "fire_alarm" and s.delivered and not_due and not s.seen.calls and not s.seen.events


def _one_at_a_time(d: Difference) -> bool:
    s = d.step
    if s.outer is not None:
        return s.key == s.outer.key and s.name in ("trigger", "flush", "fire_alarm", "send")
    if s.overlaps is not None and s.overlaps["op"] in ("trigger", "flush", "fire_alarm", "send", "terminate"):
        return d.facet in ("alarm", "event", "state", "result") or (d.facet == "call" and d.extra)
    return s.before.residue or s.after.residue


def _discarded(d: Difference) -> bool:
    s = d.step
    if d.facet == "call" and d.of.startswith("onError") and d.name in ("state", "scheduledTime"):
        return True
    handled = bool(s.seen.raised) and s.called("onError")
    return handled and (d.facet in ("alarm", "state") or d.name in ("scheduledAt", "state") or d.missing)


def _same_run(d: Difference) -> bool:
    s = d.step
    if d.name == "flushReason" or (d.of == "debounce.flushed" and d.name == "reason"):
        return s.before.attempt is not None and s.name == "fire_alarm"
    waits = s.before.attempt is not None and s.name == "trigger"
    return waits and d.name == "runCount" and d.original == d.ours + 1


def _jitter(d: Difference) -> bool:
    retry = d.step.spec.get("retry", {})
    if d.facet == "alarm" or d.name in ("nextRunAt", "now", "timestamp"):
        if isinstance(d.original, float) and d.ours is not None and 0 <= d.original - d.ours < 1:
            return True
    delay = retry.get("delay") or {}
    if str(delay.get("fn", "")).startswith("-"):
        return d.facet in ("alarm", "state") or d.name == "willRetry" or d.of == "job.retryExhausted"
    if d.facet != "alarm" or not retry.get("jitter", True) or not d.ours or not d.original:
        return False
    cap = delay.get("exponential", {}).get("max_ms")
    waits = d.ours - d.step.now, d.original - d.step.now
    return (cap is None or waits[0] <= cap) and abs(waits[0] - waits[1]) <= 0.2 * max(waits)


def _from_the_end(d: Difference) -> bool:
    s = d.step
    retry = s.spec.get("retry", {})
    if d.facet == "alarm" and s.we_sent("job.failed") and _advanced(s) and d.original and d.ours:
        return bool(d.ours - d.original == _advanced(s))
    if "maxDuration_ms" not in retry:
        return False
    judged = [e for e in s.we_sent("job.retryExhausted") if e["reason"] == "max_duration"]
    skipped = s.sent("job.retryExhausted") and not s.called("execute")
    return bool(judged or skipped) and d.facet != "error"


def _any_exception(d: Difference) -> bool:
    s = d.step
    defect = s.out.get("error", {}).get("kind") == "die"
    misfit = "ValidationError" in (_cause(s).get("tag"), s.out.get("error", {}).get("tag"))
    ours = any(str(event["error"]["message"]).startswith("new state of") for event in s.we_sent("job.failed"))
    failed = bool(s.we_sent("job.failed")) or _we_raised(s) in ("ExecutionError", "ValidationError")
    return (defect or misfit or ours) and failed and d.facet != "result"


def _kept(d: Difference) -> bool:
    s = d.step
    if s.before.stuck or s.after.stuck:
        goes_on = d.ours is not None and d.ours is not NOTHING
        if d.facet == "alarm" or d.name in ("nextRunAt", "willFlushAt"):
            return goes_on and d.original in (None, NOTHING)
    if s.before.failed and d.ours is None and (d.facet == "alarm" or d.name == "willFlushAt"):
        return True  # it is parked, and has no alarm (S-25)
    if not _gave_up(s) or not _we_gave_up(s):
        return False
    if d.facet == "event":
        return d.of == "job.retryExhausted" and d.extra
    return d.facet in ("alarm", "state") or d.name in ("terminated", "retryScheduled")


def _after_creation(d: Difference) -> bool:
    s = d.step
    if s.key.kind == "continuous" and s.before.orphan:
        return True
    if s.name != "start":
        return False
    answered = isinstance(s.seen.result, Mapping) and s.seen.result["created"]
    if answered and s.out.get("result", {}).get("created", True):
        return d.facet == "error" or (d.facet == "result" and d.name == "status")
    refused = _we_raised(s) == "ValidationError" and "error" in s.out
    return refused and (d.name == "exists" or d.of == "job.started")


def _tick(d: Difference) -> bool:
    s = d.step
    if "cron" not in s.spec:
        return False
    if d.facet == "alarm":
        return d.ours is not None and d.ours > s.now and s.spec["tz"] not in (None, "UTC")
    overdue = s.before.alarm is not None and s.before.alarm <= s.now and s.name != "fire_alarm"
    missed = s.before.attempt is not None and s.name == "fire_alarm"
    ran_more = len(s.seen.calls) > len(s.out["calls"])
    return (overdue or missed) and ran_more and (d.extra or d.facet == "state")


def _not_raised(d: Difference) -> bool:
    s = d.step
    if s.name in ("trigger", "flush", "fire_alarm"):
        if d.facet == "error" and d.ours is NOTHING and s.we_sent("job.failed"):
            return True
        if d.facet == "result" and d.name in ("outcome", "terminated"):
            return True
    kept = isinstance(s.seen.body, DebounceBody) and s.seen.body.marked and s.seen.body.batch is None
    return d.facet == "alarm" and kept


def _leaves_nothing(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if s.before.orphan or (s.after.orphan and s.name == "add"):
        return True
    first = d.facet == "call" and d.of.startswith("onEvent") and d.name == "state" and d.ours is None
    return first and any(call["ctx"].get("eventCount") == 1 for call in s.out["calls"])


def _next_window(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if s.outer is not None:
        return s.name == "add" and s.key == s.outer.key
    if s.overlaps is not None and s.overlaps["op"] == "add":
        return d.facet in ("alarm", "state")
    if d.name in ("flushReason", "reason") and s.seen.due is not None and s.seen.due <= s.now:
        return d.ours in ("flushAfter", "timeout")
    return s.name == "add" and (s.before.attempt is not None or s.before.failed)


def _all_of_it(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if s.name == "clear":
        return s.outer is not None and s.key == s.outer.key
    if s.name != "flush":
        return False
    if d.facet == "result":
        return d.name in ("flushed", "retryScheduled") and bool(s.we_sent("job.failed"))
    return s.before.attempt is not None


def _told(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "debounce":
        return False
    if d.facet == "error":
        return s.name == "add" and s.called("execute") and d.ours is NOTHING
    if d.facet != "result":
        return False
    if s.name == "add":
        return s.called("execute") and d.name in ("willFlushAt", "retryScheduled")
    return s.name == "status" and isinstance(s.seen.body, DebounceBody) and s.seen.body.batch is not None


def _sender_is_told(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    if d.facet == "result" and d.name == "terminated":
        return bool(s.we_sent("job.terminated"))
    rejected = s.name == "send" and _we_raised(s) != ""
    return rejected and (d.facet == "state" or d.name == "createdAt")


def _ended(d: Difference) -> bool:
    s = d.step
    if d.of == "job.terminated" and d.extra:
        return s.name in ("clear", "terminate") or bool(_script(s, "terminate", "terminate_caught"))
    swallowed = bool(_script(s, "terminate_caught")) and bool(s.we_sent("job.terminated"))
    return swallowed and d.facet in ("alarm", "state", "event", "call")


def _same_meaning(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    if d.name == "isFirstEvent":
        return True
    if d.facet == "call" and " read" in d.of and d.name == "state":
        return True
    from_none = bool(_script(s, "inc")) and d.name == "state" and d.original is None
    return from_none and d.facet in ("state", "call")


def _consumed(d: Difference) -> bool:
    s = d.step
    if s.key.kind != "task":
        return False
    if d.name == "scheduledTime":
        return d.ours is None
    if s.before.stale and d.facet == "result":
        return d.name in ("status", "scheduledAt")
    owes_idle = s.we_called("onIdle") and not s.called("onIdle") and (s.before.stale or s.after.stale)
    past = s.after.alarm is not None and s.after.alarm <= s.now and s.we_called("execute")
    overdue = s.before.alarm is not None and s.before.alarm <= s.now and s.name != "fire_alarm"
    if owes_idle or ((past or overdue) and not s.called("execute")):
        return d.extra or d.facet in ("alarm", "state") or d.name == "scheduledAt"
    return False


def _unknown(d: Difference) -> bool:
    if d.facet == "error" and d.ours == "ExecutionError":
        return d.original == "Error" and d.step.name in ("add", "send")
    undefined = d.step.out.get("result") == {"$undefined": True}
    return undefined or d.original == "UnknownJobTypeError"


def _strict(d: Difference) -> bool:
    s = d.step
    if s.refused is not None:
        return any(name.endswith("_number") for name in s.spec)
    refused = s.name in ("start", "add", "send") and _we_raised(s) == "ValidationError"
    if "error" in s.out:
        return refused and d.facet == "error" and _cause(s).get("tag") == "ParseError"
    return refused


def _json(d: Difference) -> bool:
    s = d.step
    if d.name in ("input", "preExecutionState") and "Codec" in (s.spec.get("state"), s.spec.get("event")):
        return isinstance(d.original, Mapping) and d.ours == {"n": str(d.original["n"])}
    if s.spec.get("state") != "State|null" or not isinstance(s.seen.body, ContinuousBody):
        return False
    was_null = s.before.exists and s.before.storage.get("state") is None
    is_null = s.after.exists and s.after.storage.get("state") is None
    return was_null or is_null or (d.name == "state" and d.ours is None and ["set", None] in _script(s, "set"))


def _complete(d: Difference) -> bool:
    s = d.step
    if d.facet != "event":
        return False
    if d.of == "job.failed" and (d.extra or d.name in ("error", "preExecutionState")):
        return True
    if d.of == "task.scheduled" and d.name == "trigger":
        return bool(d.ours == "error")
    if d.of == "job.executed" and s.called("onIdle") and s.we_called("onIdle"):
        return len(s.sent("job.executed")) == len(s.we_sent("job.executed"))
    if d.of == "job.executed" and d.missing:
        return bool(s.we_sent("job.failed"))
    return d.extra and s.telemetry == "delivered" and "error" in s.out


RULES = (
    Rule("S-32", "an expression that can never match is refused at definition", lambda d: _never(d)),
    Rule("S-63", "two different keys never collide", lambda d: _collides(d)),
    Rule("S-61", "the errors, and `pause`, are these", _unknown),
    Rule("S-4", "an early, late, duplicate or spurious alarm changes nothing", _spurious),
    Rule("S-30", "validated first, and the reply follows the creation, not the first run", _after_creation),
    Rule("S-62", "strict: no coercion, no unknown fields, refused at the edge", _strict),
    Rule("S-11", "one leased hook at a time, and only the holder of the token commits", _one_at_a_time),
    Rule("S-40", "the first reducer call sees None; any failure leaves nothing", _leaves_nothing),
    Rule("S-42", "an event added during a flush or a retry belongs to the next window", _next_window),
    Rule("S-45", "the status tells batch and window apart; an add that closes says now", _told),
    Rule("S-38", "a failed hook is not raised; the outcome is told, and kept for 60 s", _not_raised),
    Rule("S-44", "flushed only if all succeeded, with fresh attempts; in flight goes on", _all_of_it),
    Rule("S-17", "ctx.terminate is not swallowed, and every ending is told (S-46)", _ended),
    Rule("S-50", "the sender is told of an ending; a failing on_event leaves nothing", _sender_is_told),
    Rule("S-18", "a run that waits stays the same run", _same_run),
    Rule("S-20", "jitter before the cap, never negative, whole milliseconds", _jitter),
    Rule("S-21", "the delay counts from the end; max_duration is judged on failing", _from_the_end),
    Rule("S-33", "ticks never go back; missed ones are one run at once", _tick),
    Rule("S-53", "a schedule that fired is consumed; a past one is due; on_idle after it", _consumed),
    Rule("S-52", "the members of ctx mean the same in every hook", _same_meaning),
    Rule("S-64", "state is JSON, and null is a state", _json),
    Rule("S-65", "telemetry is complete and has the real error", _complete),
    Rule("S-22", "any exception is a failure, and so is a state that does not fit", _any_exception),
    Rule("S-24", "a run that gives up deletes nothing, and the schedule goes on", _kept),
    Rule("S-16", "what a hook did before it raised is discarded", _discarded),
)


def _never(d: Difference) -> bool:
    return d.step.refused is not None and "cron" in d.step.spec


def _collides(d: Difference) -> bool:
    refused = d.step.refused is not None and not JOB_NAME.fullmatch(d.step.key.job)
    return refused or d.step.collides
