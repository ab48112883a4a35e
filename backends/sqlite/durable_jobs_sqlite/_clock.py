"""The store's clock: one for all processes of one boot, kept in the file (D-8).

It is the machine's boot clock, which nobody can step, plus an offset that the file keeps. The first
process after a boot sets the offset, so that the clock is the wall clock, but never behind the last
commit. A step of the wall clock after that is not seen; the offset follows it by at most one second a
minute. Since the offset is a function of the boot clock and of what the file says, all processes agree.
"""

from __future__ import annotations

import time
from typing import NamedTuple

RATE = 60
"""The clock follows the wall clock by one part in so many."""

MARK_AHEAD_MS = 1_000
"""The mark is written so far ahead that only one commit a second has to move it."""

STEP_MS = 20
"""Differences that a reading of two clocks one after the other cannot explain."""

_RESTART_MS = 60_000
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Reading(NamedTuple):
    """The machine's clocks at one moment, in ms: `ticks` since boot, and the `wall` clock."""

    ticks: int
    wall: int


class Plan(NamedTuple):
    """How the clock runs: the row of the table `clock`. All in ms.

    `schema`: the version of the file; `boot`: the boot it is for; `base`: the offset at `since`, on the
    boot clock; `target`: the offset it moves to; `mark`: no commit is later than this.
    """

    schema: int
    boot: str
    base: int
    since: int
    target: int
    mark: int

    def clock(self, ticks: int) -> int:
        """The store's clock. It never goes back: the offset moves by less than `ticks` does."""
        way = self.target - self.base
        done = min(abs(way), max(0, ticks - self.since) // RATE)
        return ticks + self.base + (done if way > 0 else -done)

    def ahead(self, reading: Reading) -> int:
        """How far the wall clock is ahead of this one."""
        return reading.wall - self.clock(reading.ticks)

    def following(self, reading: Reading) -> Plan:
        """The plan that follows the wall clock: this one, unless the wall clock was stepped."""
        target = reading.wall - reading.ticks
        if abs(target - self.target) <= STEP_MS:
            return self
        base = self.clock(reading.ticks) - reading.ticks
        return self._replace(base=base, since=reading.ticks, target=target)

    def adopted(self, boot: str, reading: Reading) -> Plan:
        """The plan of a process that opens the file in this boot."""
        if boot == self.boot and self._can_be_this_boot(boot, reading):
            return self.following(reading)
        return first_plan(self.schema, boot, reading, self.mark)

    def _can_be_this_boot(self, boot: str, reading: Reading) -> bool:
        """Clocks that restarted show it. Where no boot has a name, lost time has to tell it as well."""
        if self.clock(reading.ticks) < self.mark - MARK_AHEAD_MS:
            return False
        return bool(boot) or self.ahead(reading) < _RESTART_MS


def first_plan(schema: int, boot: str, reading: Reading, mark: int) -> Plan:
    """The plan of a new boot: the wall clock, but never behind the last commit."""
    base = max(reading.wall, mark) - reading.ticks
    return Plan(schema, boot, base, reading.ticks, reading.wall - reading.ticks, mark)


def read_clocks() -> Reading:
    """The machine's clocks now."""
    return Reading(ticks(), time.time_ns() // 1_000_000)


def ticks() -> int:
    """Milliseconds since the machine started, those asleep included where the system counts them."""
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


def boot_id() -> str:
    """The name of this boot; empty where the system gives it none."""
    try:
        with open(_BOOT_ID, encoding="utf-8") as file:  # another codec might have to be read from a file
            return file.read().strip()
    except (OSError, UnicodeError):
        return ""
