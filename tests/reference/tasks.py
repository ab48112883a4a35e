"""The rules of tasks: one function a sentence of the specification (see `rules`)."""

from __future__ import annotations

from reference.compare import Difference
from reference.facts import (
    asked,
    asks_for_the_past,
    ends,
    fits,
    instant,
    of_one,
    one_more,
    overdue,
    runs,
    script_of,
    took,
)


def consumed(d: Difference) -> bool:
    """S-53."""
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
    more = len(s.seen.calls) > len(s.out["calls"])
    again = more and (overdue(s) or asks_for_the_past(s))
    if not again and not owes_idle:
        return False
    if d.facet == "alarm" or d.name == "scheduledAt":
        return d.ours is None or asked(s, d.ours)
    if d.facet == "state":
        counted = d.name == "executeCount" and d.ours == d.original + ours - theirs
        return counted or (d.name, d.ours) in ends(s)
    if again and d.facet == "event" and not d.whole:  # it is of another of the runs
        return of_one(d)
    if again:  # as often as its script asks for the past
        return d.whole and d.extra and fits(d)
    idle = d.of == "onIdle" or (d.of == "task.scheduled" and d.ours["trigger"] == "idle")
    parks = d.of == "job.retryExhausted" and "onIdle" in s.seen.raised
    return one_more(d) and (idle or parks)


def same_meaning(d: Difference) -> bool:
    """S-52."""
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
