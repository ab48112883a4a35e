"""The rules of debounce: one function a sentence of the specification (see `rules`)."""

from __future__ import annotations

from durable_jobs_core.record import DebounceBody
from reference.compare import NOTHING, Difference
from reference.facts import (
    alone,
    due,
    error_of,
    failed,
    fits,
    met,
    one_more,
    overdue,
    shown,
    waiting_run,
    within,
)

_OF_A_BATCH = "job.executed", "job.failed", "job.retryExhausted", "debounce.flushed"
_EXISTS = ("state", "exists", True)


def first_event(d: Difference) -> bool:
    """S-40."""
    s = d.step
    if s.key.kind != "debounce" or s.name != "add":
        return False
    if d.facet == "call" and d.name == "state":
        return d.ours is None and d.original == s.op["event"]
    if s.out["calls"] or error_of(s).get("kind") != "die":
        return False
    if d.facet in ("error", "alarm"):  # it died as it took the event for the state
        return d.ours in (NOTHING, due(s))
    if d.facet == "state":
        return d.ours == {"state": alone(s), "eventCount": 1}.get(d.name, NOTHING)
    shown = {"state": None, "event": s.op["event"], "eventCount": 1, "instanceId": str(s.key)}
    return one_more(d) and (d.of == "debounce.started" or (d.of, d.ours) == ("onEvent", shown))


def next_window(d: Difference) -> bool:
    """S-42."""
    s, body = d.step, d.step.seen.body
    if s.key.kind != "debounce":
        return False
    one_closes = s.spec.get("maxEvents", 2) <= 1
    if s.outer is None and s.overlaps is not None and s.overlaps["op"] == "add":
        if d.name == "held":
            return bool(d.original == d.ours + 1)
        closed = one_closes and d.whole and d.extra and fits(d)
        if closed or (d.facet == "alarm" and d.ours == due(s)) or (d.facet, d.name, d.ours) == _EXISTS:
            return True
    if s.name != "add" or not (within(s) or s.before.unfinished):
        return _due_at_last(d)
    held = s.before.storage.get("deb:count", 0)
    if d.of.startswith("execute") or d.of in _OF_A_BATCH:
        if d.name in ("state", "preExecutionState"):
            return bool(d.ours == (shown(s) if d.facet == "call" else s.before.storage["state"]))
        if d.name == "eventCount":
            return bool(d.ours == held)
        if d.extra:  # of this event, in a batch of its own, or of the one that was held
            return d.facet != "event" or d.ours.get("eventCount", 1) in (1, held)
    if d.facet == "call" and d.name == "state":
        return d.ours is None
    if d.facet in ("call", "result") and d.name == "eventCount":
        last = within(s) and s.outer is not None and s.outer.name == "add"  # the one that closed the window
        return bool(d.original == d.ours + held + last)
    opens = [due(s), due(s, s.now)] + ([s.now] if one_closes else [])
    if d.facet == "result":
        return (d.name == "willFlushAt" and d.ours in opens) or (d.name == "retryScheduled" and d.missing)
    if d.facet == "alarm":  # of the window or the retry; that of a parked batch is none
        retry = s.before.alarm if s.before.attempt is not None else None
        run = body.run if isinstance(body, DebounceBody) else None
        if overdue(s):  # it has been tried now
            retry = None if run is None else run.due
        return d.ours in (opens if retry is None else [min(opened, retry) for opened in opens])
    if d.facet == "state":
        kept = {"exists": True, "held": held, "attempt": s.before.attempt, "state": alone(s)}
        if overdue(s) and isinstance(body, DebounceBody) and body.batch is None:  # and with success
            kept.update(held=0, attempt=None, eventCount=1, startedAt=s.now)
        elif overdue(s) and isinstance(body, DebounceBody) and body.run is not None:
            kept.update(attempt=body.run.attempt)
        return d.ours == kept.get(d.name, NOTHING)
    if d.facet == "error":
        return s.called("execute") and d.missing
    opened = one_more(d) and d.of == "debounce.started"
    return opened or (d.whole and d.missing and d.of != "onEvent")


def _due_at_last(d: Difference) -> bool:
    """A window that was due, without its alarm in the recording, is closed by what comes next."""
    s, body = d.step, d.step.seen.body
    if not overdue(s) or not s.we_called("execute") or s.called("execute"):
        return False
    if d.name == "willFlushAt":
        return d.ours == s.now
    run, waits = body.run if isinstance(body, DebounceBody) else None, waiting_run(s)
    if d.facet == "alarm":
        return d.ours == (waits and waits.due)
    if d.facet == "state":
        held = ("held", s.out["storage"]["deb:count"]), ("attempt", run and run.attempt)
        return (d.name, d.ours) in (("exists", False), *held)
    return one_more(d)


def reason(d: Difference) -> bool:
    """S-43."""
    s = d.step
    if overdue(s) and (d.name, d.ours) in (("reason", "timeout"), ("flushReason", "flushAfter")):
        return True  # it was due for that
    if not s.before.unfinished:
        return False
    if d.of == "debounce.flushed" and d.name == "reason":
        return bool(d.ours == {"flushAfter": "timeout"}.get(s.before.reason, s.before.reason))
    return d.name == "flushReason" and bool(d.ours == s.before.reason)


def flush_and_clear(d: Difference) -> bool:
    """S-44."""
    s, body = d.step, d.step.seen.body
    if met(s, "flush", "clear"):  # it leaves what is in flight
        if d.name == "debounceStartedAt":
            return bool(d.original == 0 and d.ours == s.before.storage.get("deb:startedAt", s.now))
        if (d.facet, d.name, d.ours) == _EXISTS:
            return True
    if s.name == "clear" and within(s):
        return (d.name, d.ours) == ("cleared", False) or (d.name == "discardedEvents" and d.ours < d.original)
    if s.name != "flush":
        return False
    if d.name == "flushed":
        return d.ours is False and (within(s) or failed(s))
    if not s.before.unfinished or not isinstance(body, DebounceBody):
        return False
    if d.name in ("attempt", "isRetry"):
        fresh = {"attempt": 2 if d.facet == "state" else 1, "isRetry": False}
        return bool(d.ours == fresh[d.name])
    if body.run is None or body.run.parked:
        return False
    if d.facet == "alarm":
        return d.ours == body.run.due
    if not s.sent("job.retryExhausted"):  # so that it is not exhausted
        return False
    return (d.of == "job.retryExhausted" and d.missing) or (d.facet, d.name, d.ours) == _EXISTS


def told(d: Difference) -> bool:
    """S-45."""
    s, body = d.step, d.step.seen.body
    if s.name == "add" and s.called("execute") and s.we_called("execute"):  # it closed the window
        if d.name == "willFlushAt":
            return d.ours == s.now
        return d.missing and (d.facet == "error" or d.name == "retryScheduled")
    if s.name != "status" or not isinstance(body, DebounceBody) or body.batch is None:
        return False
    if d.name == "status":
        parked = body.run is not None and body.run.parked
        return d.original == "debouncing" and d.ours == ("parked" if parked else "flushing")
    if d.name == "eventCount":
        return bool(d.original == d.ours + body.batch.count)
    return d.name in ("startedAt", "willFlushAt") and d.missing
