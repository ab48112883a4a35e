"""Cron expressions in IANA zones, with one stated answer for every change of clocks (S-32, S-33).

`cronsim` parses and finds the next matching *wall-clock* time. What that time is as an instant, and
what happens where clocks jump, is decided here, by the hour field:

* fixed hours (`30 2 * * *`) run once a day: a time in the gap at the gap's end, a repeated one in the
  first pass only;
* with `*`, `*/n` or a range (`*/30 * * * *`) the gap adds nothing and both passes run.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import field, frozen
from cronsim import CronSim, CronSimError

from durable_jobs_core.checks import check
from durable_jobs_core.errors import DefinitionError, SchedulerError
from durable_jobs_core.words import INSTANT_MAX, from_datetime, to_datetime

_SECOND = timedelta(seconds=1)
_FIELDS = 6
_HOUR, _DAY, _WEEKDAY = 2, 3, 5
_PROBE = datetime(2024, 1, 1)  # noqa: DTZ001 (wall-clock time has no zone here)


@frozen
class Cron:
    """A parsed cron expression in a zone. Make one with `schedule.cron`.

    `expression`: as the user wrote it, 5 fields or 6 with seconds first; `tz`: the IANA name.
    """

    expression: str
    tz: str
    _zone: tzinfo = field(eq=False, repr=False)
    _fields: str = field(eq=False, repr=False)
    _fixed_hours: bool = field(eq=False, repr=False)

    @classmethod
    def parse(cls, expression: str, tz: str) -> Cron:
        """The schedule of an expression; raises `DefinitionError` if it can never match."""
        check(isinstance(expression, str), "cron(expression)", "text of 5 or 6 fields", expression)
        check(isinstance(tz, str), "cron(tz)", 'the name of a zone, such as "Europe/Paris"', tz)
        parts = expression.split()
        if len(parts) == _FIELDS - 1:
            parts.insert(0, "0")
        if len(parts) != _FIELDS:
            raise DefinitionError(f"cron {expression!r}: expected 5 or 6 fields, got {len(parts)}")
        # Spelled as ranges, because cronsim reads a leading star in a day field as "and", and S-32
        # wants "or" whenever both are restricted, which `*/1` is not.
        parts[_DAY] = re.sub(r"^\*/(?!0*1$)", "1-31/", parts[_DAY])
        parts[_WEEKDAY] = re.sub(r"^\*/(?!0*1$)", "0-6/", parts[_WEEKDAY])
        # `5-5/2` is a range of one; cronsim reads it as `5/2`, which is `5-59/2`.
        fields = re.sub(r"(?i)\b0*(\w+)-0*\1/0*[1-9][0-9]*", r"\1", " ".join(parts))
        try:
            next(CronSim(fields, _PROBE))
        except (CronSimError, ValueError, StopIteration, OverflowError) as error:
            raise DefinitionError(f"cron {expression!r} can never match: {error}") from error
        try:
            zone = UTC if tz == "UTC" else ZoneInfo(tz)  # UTC also where there are no zones
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise DefinitionError(
                f"cron {expression!r}: unknown time zone {tz!r} (is the tzdata package there?)"
            ) from error
        return cls(expression, tz, zone, fields, not re.search(r"[*/-]", parts[_HOUR]))

    def next_after(self, instant: int) -> int:
        """The first tick later than `instant`; raises `SchedulerError` at the calendar's end."""
        try:
            tick = self._next_after(instant)
        except (OverflowError, StopIteration, ValueError):
            tick = INSTANT_MAX + 1
        if tick > INSTANT_MAX:
            raise SchedulerError(f"cron {self.expression!r} has no tick after {instant} ms")
        return tick

    def _next_after(self, instant: int) -> int:
        wall = self._wall(instant)
        before, after = self._offsets(wall)
        if before > after:  # the hour is repeated: which pass is this?
            change = self._change(wall, before, after)
            last_wall = to_datetime(change).replace(tzinfo=None) + before - _SECOND
            if instant < change and not self._fixed_hours:
                match = self._match(wall)
                if match > last_wall:  # nothing more in the first pass: the second from its start
                    match = self._match(last_wall - (before - after))
                    if match <= last_wall:
                        return _instant(match, after)
            elif instant >= change and self._fixed_hours:
                wall = last_wall
        while True:
            match = self._match(wall)
            before, after = self._offsets(match)
            if before >= after:
                first = _instant(match, before)
                return first if first > instant else _instant(match, after)
            change = self._change(match, before, after)
            if self._fixed_hours:
                return change
            wall = to_datetime(change).replace(tzinfo=None) + after - _SECOND

    def _match(self, wall: datetime) -> datetime:
        return next(CronSim(self._fields, wall))

    def _wall(self, instant: int) -> datetime:
        local = to_datetime(instant).astimezone(self._zone)
        return local.replace(tzinfo=None, fold=0, microsecond=0)

    def _offsets(self, wall: datetime) -> tuple[timedelta, timedelta]:
        """The offsets before and after a change that this wall time is caught in, else twice one."""
        local = wall.replace(tzinfo=self._zone)
        return _offset(local), _offset(local.replace(fold=1))

    def _change(self, wall: datetime, before: timedelta, after: timedelta) -> int:
        """The instant at which the clocks jump, found between the two readings of `wall`."""
        low = _instant(wall, max(before, after)) // 1000
        high = _instant(wall, min(before, after)) // 1000
        while high - low > 1:
            middle = (low + high) // 2
            if _offset(to_datetime(middle * 1000).astimezone(self._zone)) == before:
                low = middle
            else:
                high = middle
        return high * 1000


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None, "an aware datetime has an offset"
    return offset


def _instant(wall: datetime, offset: timedelta) -> int:
    return from_datetime((wall - offset).replace(tzinfo=UTC))
