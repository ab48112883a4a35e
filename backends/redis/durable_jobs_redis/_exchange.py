"""Exchanges: a batch is one call of one script, and so one round trip and one atom.

    sent, answered ─▶ each write has its outcome
    refused before the script began (NOSCRIPT, LOADING, READONLY, …, or no way to connect) ─▶ nothing happened
    sent, not answered ─▶ unknown, raised (R-3); never sent again

A script that the server does not have (it was restarted) has done nothing: it is then sent as text, once.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from durable_jobs_core.backend import (
    Answer,
    Batch,
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
from durable_jobs_redis._errors import CallRefusedError, RedisStoreError, is_transient
from durable_jobs_redis._names import Names, Place, job_name, job_of
from durable_jobs_redis._wire import Command, Wire

WARNINGS_MAX = 8
NOBODY = b""

_SCRIPT = files("durable_jobs_redis").joinpath("exchange.lua").read_bytes()
_SHA = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()
_LATE = Refused("it came after its deadline", transient=True)
_NO_TEXT = Refused("its key, or its status, has characters that are no text", transient=False)
_COMMITTED = Committed()
Argument = str | bytes | int
_log = logging.getLogger("durable_jobs")


class Confirmation:
    """What has to confirm a write before it counts as committed, beside the server itself: a command to
    send behind it, and how many have to answer."""

    def __init__(self, replicas: int, wait_ms: int, *, aof: bool) -> None:
        self._wanted = [int(aof), replicas] if aof else [replicas]
        self._name = "WAITAOF" if aof else "WAIT"
        command: Command = (self._name, *self._wanted, wait_ms)
        self.commands = (command,) if aof or replicas else ()

    def lacks(self, answers: Sequence[Any]) -> str | None:
        """Why a write is not confirmed by what was answered; `None` if it is."""
        for answer in answers:
            if isinstance(answer, Exception):
                return f"{self._name} failed: {answer}"
            got = answer if isinstance(answer, list) else [answer]
            if any(have < want for have, want in zip(got, self._wanted, strict=True)):
                return f"{self._name}: {got} have confirmed it in time, of {self._wanted}"
        return None


class Exchanger:
    """Performs exchanges over one connection, with the store that has this `identity`, and no other.

    `origin`: of this handle's hints, which it does not need itself; `hint`: the jobs that the last claim
    named, and the `next_wake` it was told; `warnings`: what an operator should know.
    """

    def __init__(
        self, wire: Wire, names: Names, identity: bytes, channel: str, confirmation: Confirmation
    ) -> None:
        self._wire = wire
        self._names = names
        self._identity = identity
        self._channel = channel
        self._confirmation = confirmation
        self._clock: tuple[int, float] | None = None
        self._mark = 0
        self.origin = secrets.token_hex(8).encode()
        self.hint: tuple[frozenset[bytes], int | None] | None = None
        self.warnings: dict[str, None] = {}

    def exchange(self, batch: Batch) -> Answer:
        """Perform a batch. What it raises leaves the outcome of writes unknown."""
        try:
            answer = self._perform(batch)
        except CallRefusedError as error:
            clock = self._about_now()
            if batch.loads or not batch.writes or clock is None:
                raise
            refused = Refused(str(error), error.transient)
            return Answer(outcomes=(refused,) * len(batch.writes), clock=clock)
        self._clock = answer.clock, time.monotonic()
        if batch.claim is not None:
            jobs = frozenset(job_name(*job) for job in batch.claim.limits)
            self.hint = jobs, answer.next_wake
        return answer

    def load(self, keys: Sequence[Key]) -> tuple[Row | Damaged | None, ...]:
        """Rows, outside an exchange."""
        return self._perform(Batch(loads=tuple(keys), not_after=0)).rows

    def _perform(self, batch: Batch) -> Answer:
        writes = [(write, self._place(write.key)) for write in batch.writes]
        loads = [(key, self._place(key)) for key in batch.loads]
        packed = [_pack_write(write, place) for write, place in writes]
        sent = [item for item in packed if item is not None]
        places = [place for _, place in loads if place is not None]
        arguments: list[Argument] = [self._identity, int(batch.settle), batch.not_after]
        arguments += self.origin, self._channel
        arguments += [len(sent), *(part for item in sent for part in item)]
        arguments += [len(places), *(part for place in places for part in place_of(place))]
        arguments += _pack_claim(batch.claim)
        needs_confirming = bool(sent) or batch.settle
        commands = self._confirmation.commands if needs_confirming else ()
        known = self._mark
        reply, *confirmed = self._run(arguments, commands)
        clock, outcomes, rows, claimed, next_wake, trouble, mark, left = reply
        self._mark = int(left)
        if int(mark) < known:
            self._say_gone_back(known - int(mark))
        lack = self._confirmation.lacks(confirmed)
        if lack is not None and batch.settle:
            raise RedisStoreError(self._wire.server, lack)
        if trouble:
            self._warn(trouble.decode(errors="replace"))
        told = iter(outcomes)
        found = iter(rows)
        return Answer(
            outcomes=tuple(
                _NO_TEXT if item is None else _outcome(write.key, next(told), lack)
                for (write, _), item in zip(writes, packed, strict=True)
            ),
            rows=tuple(None if place is None else _row(key, next(found)) for key, place in loads),
            claimed=tuple(_claimed(claimed)),
            next_wake=None if next_wake is None else _instant(next_wake),
            clock=int(clock),
        )

    def _run(self, arguments: Sequence[Argument], behind: Sequence[Command]) -> list[Any]:
        keys = self._names.clocks()
        rest = (len(keys), *keys, *arguments)
        try:
            return self._wire.call(("EVALSHA", _SHA, *rest), *behind)
        except CallRefusedError as error:
            if error.code != "NOSCRIPT":
                raise
        return self._wire.call(("EVAL", _SCRIPT, *rest), *behind)

    def _place(self, key: Key) -> Place | None:
        try:
            return self._names.place(key)
        except UnicodeEncodeError:
            return None

    def _about_now(self) -> int | None:
        """The server's clock, as far as it is known without asking."""
        if self._clock is None:
            return None
        clock, told_at = self._clock
        return clock + int((time.monotonic() - told_at) * 1000)

    def _say_gone_back(self, milliseconds: int) -> None:
        """The mark that each write leaves in a store only rises."""
        text = f"the store went back by {milliseconds} ms: what was acknowledged in that time may be lost"
        self._warn(text)
        _log.error("%s: %s", self._wire.server, text)

    def _warn(self, text: str) -> None:
        self.warnings.pop(text, None)
        self.warnings[text] = None
        while len(self.warnings) > WARNINGS_MAX:
            del self.warnings[next(iter(self.warnings))]


# -- what is sent


def place_of(place: Place) -> tuple[Argument, ...]:
    """The arguments that stand for a place: a shard by its number among the keys of the call."""
    return place.shard + 1, place.job, place.id


def _pack_write(write: Write | Defer, place: Place | None) -> tuple[Argument, ...] | None:
    """The nine arguments of a write; `None` if it cannot be written as text."""
    if place is None:
        return None
    expected = b"" if write.expected is None else b"=" + write.expected
    if isinstance(write, Defer):
        return "defer", *place_of(place), expected, b"", _text(write.wake), b"", b""
    row = write.row
    if row is None:
        return "delete", *place_of(place), expected, b"", b"", b"", b""
    try:
        status = row.status.encode()
    except UnicodeEncodeError:
        return None
    return "put", *place_of(place), expected, row.revision, _text(row.wake), status, row.blob


def _pack_claim(claim: Claim | None) -> list[Argument]:
    if claim is None or not claim.limits:
        return [0]
    packed: list[Argument] = [len(claim.limits), claim.now, claim.until, claim.max_bytes]
    for job, limit in claim.limits.items():
        packed += job_name(*job), limit
    return packed


def _text(instant: int | None) -> bytes:
    return b"" if instant is None else b"%d" % instant


# -- what is answered


def _outcome(key: Key, told: Sequence[Any], lack: str | None) -> Outcome:
    match told:
        case [b"committed"]:
            return _COMMITTED if lack is None else Unknown(lack)
        case [b"conflicted", row]:
            return Conflicted(_row(key, row))
        case [b"late"]:
            return _LATE
        case [b"refused", why]:
            text = why.decode(errors="replace")
            return Refused(f"{key} cannot be written: {text}", transient=is_transient(text))
        case _:
            raise AssertionError(f"the script answered {told!r}")


def _row(key: Key, told: Sequence[bytes] | None) -> Row | Damaged | None:
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


def _claimed(told: Iterable[Sequence[Any]]) -> Iterable[Row | Damaged]:
    for job, id, row in told:
        kind, name = job_of(job)
        try:
            key = Key(kind, name, id.decode())
        except UnicodeDecodeError:
            continue  # no id of ours
        found = _row(key, row)
        if found is not None:
            yield found


def _instant(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:  # of a damaged row there is the score alone, a double
        return int(float(text))
