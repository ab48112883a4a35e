"""The rules of failures, and of what is told: one function a sentence of the specification (see `rules`)."""

from __future__ import annotations

from reference.compare import NOTHING, Difference, as_json, told
from reference.facts import (
    asked,
    cause_of,
    due,
    ends,
    error_of,
    failed,
    fits,
    gave_up,
    instant,
    misfit,
    of_one,
    one_more,
    placeholders,
    raised,
    real,
    script_of,
    states,
    took,
)

_ENDED = ("exists", False), ("terminated", True), ("retryScheduled", NOTHING), ("scheduledAt", None)
_SCHEDULING = {"schedule", "schedule_str", "schedule_at", "schedule_date", "cancel_schedule"}


def telemetry(d: Difference) -> bool:
    """S-65."""
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
        return s.we_called("onIdle") and abs(instant(d.original) - instant(d.ours)) <= took(s)
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
        failures, sent = len(s.seen.raised) + misfit(s) or unread, len(s.we_sent("job.failed"))
        # what is raised after a termination that was caught is none
        all_of_them = sent <= failures if script_of(s, "terminate_caught") else sent == failures
        return all_of_them and real(s, d.ours["error"]) and fits(d)
    if d.missing and s.we_sent("job.failed"):  # what has failed is not told as done
        return d.of == "job.executed" or (d.of == "task.scheduled" and bool(raised(s) or misfit(s)))
    if d.of == "job.executed" and len(s.sent(d.of)) == len(s.we_sent(d.of)):  # in the order of the commits
        return (d.original if d.missing else d.ours) in map(
            told, s.seen.events if d.missing else s.out["events"]
        )
    return one_more(d) and d.of != "job.executed" and s.telemetry == "delivered" and "error" in s.out


def kept(d: Difference) -> bool:
    """S-24."""
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


def any_exception(d: Difference) -> bool:
    """S-22."""
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
        return of_one(d) if not d.whole else one_more(d) and d.ours["trigger"] in ("error", "idle")
    if d.facet == "state" and (d.name, d.ours) in ends(s):
        return handled or misfit(s) > 0
    if misfit(s) and d.of == "job.retryExhausted":
        return one_more(d)
    if misfit(s) and d.name == "state" and d.facet == "state":
        return d.ours in (s.before.storage.get("state"), as_json(s, s.op.get("input")))
    run = getattr(s.seen.body, "run", None)
    if run is None or (d.original not in (None, s.before.alarm) and not misfit(s)):
        return False
    return (d.facet == "alarm" and d.ours == run.due) or (d.name == "attempt" and d.ours == run.attempt)


def as_data(d: Difference) -> bool:
    """S-16."""
    s = d.step
    if script_of(s, "terminate_caught") and s.we_sent("job.terminated"):
        gone = (d.name, d.ours) in _ENDED or (d.facet == "alarm" and d.ours is None)
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
    if not s.called("onIdle") and s.we_called("onIdle"):  # and that schedules, ends the instance, or fails
        if d.facet == "alarm" or d.name == "scheduledAt":
            return d.ours is None or asked(s, d.ours)
        if d.of == "task.scheduled" and d.name == "trigger":
            return d.ours == "idle"
        if d.name in ("exists", "parked"):
            return (d.name, d.ours) in ends(s)
        if d.of == "job.retryExhausted":
            return "onIdle" in s.seen.raised and one_more(d)
    if d.of == "task.scheduled":
        return d.missing
    stands = None if s.before.stale else s.before.storage.get("task:scheduledAt")
    return d.ours in (None, stands) and (d.facet == "alarm" or d.name in ("scheduledAt", "scheduledTime"))
