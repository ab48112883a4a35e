"""The words everything else is built from: keys, revisions, instants, failures (SPEC §1).

Nothing here decides anything. An *instant* is an `int`, whole milliseconds since the epoch, UTC; a
*span* is an `int` of milliseconds. Users meet both only as `datetime` and `timedelta`.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

from attrs import frozen

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What a stored value is made of. Values of this type are never changed in place."""

GivenJson: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""JSON of a user's function, which may say more of its items than a type checker takes for `Json`; it is
checked before it is stored."""

Kind = Literal["continuous", "debounce", "task"]
Hook = Literal["execute", "on_event", "on_idle", "on_error"]

Job: TypeAlias = tuple[Kind, str]
"""The kind of a job, and the name it is registered under."""

INSTANT_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999: where calendars, and so schedules, end."""

YEAR_MS = 365 * 86_400_000
"""The longest span of a setting: what is to take longer is never waited for, and timers have an end."""

ID_MAX_BYTES = 512
PAYLOAD_MAX_BYTES = 1024 * 1024
JOB_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Key(NamedTuple):
    """The name of one instance; printed `kind:job:id`.

    The printed form is for people and telemetry. Backends keep the three parts apart, so ids that
    contain colons never collide (S-63).
    """

    kind: Kind
    job: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.job}:{self.id}"


def job_of(key: Key) -> Job:
    """The job of an instance."""
    return key.kind, key.job


class Revision(NamedTuple):
    """The compare-and-set value of a record, never equal for two writes, ever.

    `life`: 64 random bits drawn when the instance came into being. `number`: a counter, larger than
    that of the write before and than any this engine used. `engine`: who wrote it, 64 random bits.
    """

    life: int
    number: int
    engine: int

    def to_bytes(self) -> bytes:
        """The 24 bytes a backend stores and compares."""
        return _REVISION.pack(*self)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Revision:
        """The inverse of `to_bytes`; raises `struct.error` for anything but 24 bytes."""
        return cls(*_REVISION.unpack(raw))


_REVISION = struct.Struct(">QQQ")


class Token(NamedTuple):
    """The fence of a lease: number and engine of the revision that took it (S-12)."""

    number: int
    engine: int


@frozen
class Failure:
    """An error as data: what went wrong, in words that survive a restart.

    `type`: the class name; `message`: its text, at most 2,000 characters; `stack`: the formatted
    traceback, at most 8,000 characters, in telemetry; what is stored has `None`.
    """

    type: str
    message: str
    stack: str | None = None

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def printable(text: str) -> str:
    """A text of others, such as an id, for a line of a log or a terminal: what would end the line, or steer
    the terminal, is written as in `repr`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def to_datetime(instant: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(milliseconds=instant)


def maybe_datetime(instant: int | None) -> datetime | None:
    """`to_datetime`, and `None` for none."""
    return None if instant is None else to_datetime(instant)


def from_datetime(moment: datetime) -> int:
    """The instant of an aware datetime, rounded down to the millisecond; exact, without floats."""
    return (moment - _EPOCH) // _MILLISECOND
