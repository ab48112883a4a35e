"""The script of an exchange: its arguments, and its answer. `exchange.lua` says what it does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from durable_jobs_core.backend import (
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Outcome,
    Refused,
    Row,
    Unknown,
    Write,
)
from durable_jobs_core.words import Key
from durable_jobs_redis._errors import is_transient
from durable_jobs_redis._names import Place, job_name, job_of

SCRIPT = files("durable_jobs_redis").joinpath("exchange.lua").read_bytes()
SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()
NO_TEXT = Refused("its key, or its status, has characters that are no text", transient=False)
_LATE = Refused("it came after its deadline", transient=True)
_COMMITTED = Committed()
Argument = str | bytes | int


# -- what is sent


def pack_place(place: Place) -> tuple[Argument, ...]:
    """The arguments that stand for a place: a shard by its number among the keys of the call."""
    return place.number, place.job, place.id


def pack_write(write: Write | Defer, place: Place) -> tuple[Argument, ...] | None:
    """The nine arguments of a write; `None` if its status is no text."""
    expected = b"" if write.expected is None else b"=" + write.expected
    if isinstance(write, Defer):
        return "defer", *pack_place(place), expected, b"", _text(write.wake), b"", b""
    row = write.row
    if row is None:
        return "delete", *pack_place(place), expected, b"", b"", b"", b""
    try:
        status = row.status.encode()
    except UnicodeEncodeError:
        return None
    return "put", *pack_place(place), expected, row.revision, _text(row.wake), status, row.blob


def pack_claim(claim: Claim | None, *, takes: bool) -> list[Argument]:
    """The arguments of a claim; one that does not take tells what is due, and leaves it there."""
    if claim is None or not claim.limits:
        return [0]
    packed: list[Argument] = [len(claim.limits), claim.now]
    packed += claim.until if takes else b"", claim.max_bytes
    for job, limit in claim.limits.items():
        packed += job_name(*job), limit
    return packed


def _text(instant: int | None) -> bytes:
    return b"" if instant is None else b"%d" % instant


# -- what is answered


class Reply(NamedTuple):
    """What one call answers. `mark`: the clock that the last write has left; `left`: what this one leaves."""

    clock: bytes
    outcomes: Sequence[Any]
    rows: Sequence[Any]
    claimed: Sequence[Sequence[Any]]
    next_wake: bytes | None
    trouble: bytes
    mark: bytes
    left: bytes

    @property
    def wake(self) -> int | None:
        """The earliest entry of the jobs that were named."""
        if self.next_wake is None:
            return None
        try:
            return int(self.next_wake)
        except ValueError:  # of a damaged row there is the score alone, a double
            return int(float(self.next_wake))


def read_outcome(key: Key, told: Sequence[Any], lack: str | None) -> Outcome:
    """The outcome of a write; `lack`: why it is not confirmed by all that have to."""
    match told:
        case [b"committed"]:
            return _COMMITTED if lack is None else Unknown(lack)
        case [b"conflicted", row]:
            return Conflicted(read_row(key, row))
        case [b"late"]:
            return _LATE
        case [b"refused", why]:
            text = why.decode(errors="replace").strip()
            return Refused(f"{key} cannot be written: {text}", transient=is_transient(text))
        case _:
            raise AssertionError(f"the script answered {told!r}")


def read_row(key: Key, told: Sequence[bytes] | None) -> Row | Damaged | None:
    """The row of a key, as it is stored."""
    match told:
        case None:
            return None
        case [revision, raw]:
            return Damaged(key, revision, raw, "it is no hash with the fields rev, wake, status and blob")
        case [revision, wake, status, blob]:
            try:
                return Row(key, revision, int(wake) if wake else None, status.decode(), blob)
            except ValueError as error:  # not text
                return Damaged(key, revision, blob, f"its status cannot be read: {error}")
        case _:
            raise AssertionError(f"the script answered {told!r}")


def read_claimed(told: Iterable[Sequence[Any]]) -> Iterable[Row | Damaged]:
    """The rows of a claim."""
    for job, id, row in told:
        kind, name = job_of(job)
        try:
            key = Key(kind, name, id.decode())
        except UnicodeDecodeError:
            continue  # no id of ours
        found = read_row(key, row)
        if found is not None:
            yield found
