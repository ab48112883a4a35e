"""When a continuous instance is due: `every` and `cron`, and what a missed tick means (S-31 to S-33).

A *tick* is an instant on a grid (`cron`, or `every(..., align="start")`); a plain `every` has none,
it is only late.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

from durable_jobs_core.checks import check, check_ms
from durable_jobs_core.cron import Cron
from durable_jobs_core.durations import Duration, defined_ms
from durable_jobs_core.errors import SchedulerError
from durable_jobs_core.words import INSTANT_MAX


@frozen
class Every:
    """A fixed span: after the end of the last run, or with `aligned` on a grid without drift.

    `span_ms`: milliseconds, at least 1. Make one with `every`.
    """

    span_ms: int
    aligned: bool = False

    def __attrs_post_init__(self) -> None:
        check_ms(self.span_ms, "Every(span_ms)", least=1)
        check(isinstance(self.aligned, bool), "Every(aligned)", "a bool", self.aligned)


Schedule: TypeAlias = Every | Cron


@frozen
class Skip:
    """A missed tick still runs if it is at most `grace_ms` old. Make one with `skip`."""

    grace_ms: int

    def __attrs_post_init__(self) -> None:
        check_ms(self.grace_ms, "Skip(grace_ms)")


Misfire: TypeAlias = Literal["coalesce"] | Skip


def every(span: Duration, *, align: Literal["start"] | None = None) -> Every:
    """Run again `span` after the end of the last run, or at a fixed rate with `align="start"`.

    Raises `DefinitionError` for what is no duration, or shorter than a millisecond.
    """
    span_ms = defined_ms(span, "every(span)", least=1)
    check(align in (None, "start"), "every(align)", 'None or "start"', align)
    return Every(span_ms, align == "start")


def cron(expression: str, *, tz: str = "UTC") -> Cron:
    """Run by the clock: 5 fields, or 6 with seconds first, in an IANA zone (default UTC).

    Raises `DefinitionError` for an expression that can never match and for an unknown zone.
    """
    return Cron.parse(expression, tz)


def skip(grace: Duration) -> Skip:
    """The misfire policy that drops a missed tick older than `grace` (S-33); raises `DefinitionError`."""
    return Skip(defined_ms(grace, "skip(grace)"))


def has_grid(schedule: Schedule) -> bool:
    """Whether the schedule has ticks that can be missed."""
    return isinstance(schedule, Cron) or schedule.aligned


def first_due(schedule: Schedule, now: int) -> int:
    """When an instance that is created (or rescheduled) now is first due."""
    return schedule.next_after(now) if isinstance(schedule, Cron) else _plus(schedule, now, 1)


def next_tick(schedule: Schedule, tick: int, after: int) -> int:
    """The first tick of the grid through `tick` that is later than `after`, which is not before it.

    Also the answer to `resume` for a plain `every`: stored due + k·span. Raises `SchedulerError`.
    """
    if isinstance(schedule, Cron):
        return schedule.next_after(after)
    return _plus(schedule, tick, (after - tick) // schedule.span_ms + 1)


def latest_tick(schedule: Schedule, tick: int, now: int) -> int:
    """The latest tick that has passed at `now`, given `tick`, one that has."""
    if isinstance(schedule, Every):
        return tick + (now - tick) // schedule.span_ms * schedule.span_ms
    low, high, middle = tick, now, tick  # most often there is no other
    while low < high:  # low is a tick; no tick lies in (high, now]
        following = schedule.next_after(middle)
        if following <= now:
            low = following
        else:
            high = middle
        middle = (low + high) // 2
    return low


def _plus(schedule: Every, start: int, times: int) -> int:
    due = start + times * schedule.span_ms
    if due > INSTANT_MAX:
        raise SchedulerError(f"every({schedule.span_ms} ms) has no next instant after {start} ms")
    return due
