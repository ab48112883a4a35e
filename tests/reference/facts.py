"""Facts of a step that several rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from durable_jobs_core.words import from_datetime, to_datetime
from reference.compare import Step


def script_of(s: Step, *names: str) -> list[Any]:
    """The script's steps of those names, of all handlers."""
    return [step for script in s.seen.script.values() for step in script if step[0] in names]


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
    """A leased hook has failed with ours."""
    return not raised(s) and bool(s.we_sent("job.failed"))


def misfit(s: Step) -> bool:
    """Ours has refused the state that a hook left."""
    return any(event["error"]["message"].startswith("new state of ") for event in s.we_sent("job.failed"))


def gave_up(s: Step) -> bool:
    """The run was over in this step, and not well, with both."""
    theirs = s.sent("job.retryExhausted") or "error" in s.out
    return bool(theirs) and failed(s) and any(not event["willRetry"] for event in s.we_sent("job.failed"))


def overdue(s: Step) -> bool:
    """An alarm had passed before the step, and the recording had not delivered it."""
    return s.before.alarm is not None and s.before.alarm <= s.out["now"] and s.name != "fire_alarm"


def unfinished(s: Step) -> bool:
    """The original held a batch that had failed."""
    return s.before.attempt is not None or s.before.failed


def period(s: Step) -> int | None:
    """How long after now a run or a window that begins now is due; `None`: that is for a grid to say."""
    length: int | None = s.spec.get("every_ms", s.spec.get("flushAfter_ms"))
    return length


def runs(s: Step) -> tuple[int, int]:
    """How often the original called `execute`, and how often ours."""
    theirs, mine = (
        sum(call["handler"] == "execute" for call in calls) for calls in (s.out["calls"], s.seen.calls)
    )
    return theirs, mine


def clock_changes(zone: str, *instants: int) -> bool:
    """Whether the zone's clock is put forward or back on one of the days around these instants."""
    days = (min(instants) - 86_400_000, max(instants) + 86_400_000)
    offsets = {to_datetime(day).astimezone(ZoneInfo(zone)).utcoffset() for day in days}
    return len(offsets) > 1


def instant(value: Any) -> Any:
    """An instant, be it written as text."""
    return from_datetime(datetime.fromisoformat(value)) if isinstance(value, str) else value
