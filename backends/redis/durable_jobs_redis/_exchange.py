"""Exchanges: a batch is one call of one script, and so one round trip and one atom; in a Cluster one a shard.

    sent, answered ─▶ each write has its outcome
    refused before the script began (NOSCRIPT, LOADING, READONLY, …, or no way to connect) ─▶ nothing happened
    sent, not answered ─▶ unknown, raised (R-3); never sent again

A script that the server does not have (it was restarted) has done nothing: it is then sent as text, once.
Where some calls of an exchange fail, their writes have outcomes of their own; but what they should have
loaded nobody can tell, and that is raised.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from durable_jobs_core.backend import Answer, Batch, Claim, Damaged, Outcome, Refused, Row, Unknown
from durable_jobs_core.words import Key
from durable_jobs_redis._claims import chosen, shares
from durable_jobs_redis._errors import CallRefusedError, RedisStoreError
from durable_jobs_redis._names import Names, job_name
from durable_jobs_redis._script import (
    NO_TEXT,
    SCRIPT,
    SHA,
    Argument,
    Reply,
    pack_claim,
    pack_place,
    pack_write,
    read_claimed,
    read_outcome,
    read_row,
)
from durable_jobs_redis._warnings import Warnings
from durable_jobs_redis._wire import Command, Line, Told

AGAIN_MS = 1_000
"""A claim that found a call failing is worth another after so long."""


class Confirmation:
    """What has to confirm a write before it counts as committed, beside the server itself: a command to
    send behind it, and how many have to answer."""

    def __init__(self, replicas: int, wait_ms: int, *, aof: bool) -> None:
        self._wanted = [int(aof), replicas] if aof else [replicas]
        self._name = "WAITAOF" if aof else "WAIT"
        command: Command = (self._name, *self._wanted, wait_ms)
        self.commands = (command,) if aof or replicas else ()

    def has_all(self, answers: Sequence[Any]) -> bool:
        """Whether all that was to confirm has done so."""
        return len(answers) == len(self.commands) and self.lacks(answers) is None

    def lacks(self, answers: Sequence[Any]) -> str | None:
        """Why a write is not confirmed by what was answered; `None` if it is."""
        for answer in answers:
            if isinstance(answer, Exception):
                return f"{self._name} failed: {answer}"
            got = answer if isinstance(answer, list) else [answer]
            if any(have < want for have, want in zip(got, self._wanted, strict=True)):
                return f"{self._name}: {got} have confirmed it in time, of {self._wanted}"
        return None


class Part:
    """What one call is asked of a batch: its writes and loads, by their number there."""

    def __init__(self) -> None:
        self.writes: dict[int, Sequence[Argument]] = {}
        self.loads: dict[int, Sequence[Argument]] = {}

    def arguments(self) -> list[Argument]:
        """As the script reads them."""
        packed: list[Argument] = []
        for items in (self.writes, self.loads):
            packed += [len(items), *(argument for item in items.values() for argument in item)]
        return packed


class Exchanger:
    """Performs exchanges over one line, with the store of these `names`, and no other.

    `calls`: the numbers of those calls that a claim is made of; `origin`: of this handle's hints, which it
    does not need itself; `hint`: the jobs that the last claim named, and the `next_wake` it was told.
    `_doubted`: the calls whose last write is not confirmed: what is read there may be that write;
    `unconfirmed`: how many were not, so far.
    """

    def __init__(
        self,
        line: Line,
        names: Names,
        calls: Sequence[int],
        origin: bytes,
        channel: str,
        confirmation: Confirmation,
        warnings: Warnings,
    ) -> None:
        self._line = line
        self._names = names
        self._calls = calls
        self._origin = origin
        self._channel = channel
        self._confirmation = confirmation
        self._warnings = warnings
        self._clock: tuple[int, float] | None = None
        self._marks: dict[int, int] = {}
        self._doubted: set[int] = set()
        self.unconfirmed = 0
        self.hint: tuple[frozenset[bytes], int | None] | None = None

    def exchange(self, batch: Batch) -> Answer:
        """Perform a batch. What it raises leaves the outcome of writes unknown."""
        try:
            answer = self._perform(batch)
        except CallRefusedError as error:
            clock = self._about_now()
            if batch.loads or not batch.writes or clock is None:
                raise
            again = None if batch.claim is None else clock + AGAIN_MS
            return Answer(outcomes=(_failed(error),) * len(batch.writes), next_wake=again, clock=clock)
        self._clock = answer.clock, time.monotonic()
        if batch.claim is not None:
            jobs = frozenset(job_name(*job) for job in batch.claim.limits)
            self.hint = jobs, answer.next_wake
        return answer

    def is_news(self, job: bytes, instant: int) -> bool:
        """Whether a job is due sooner than the last claim was told."""
        if self.hint is None:
            return True
        jobs, known = self.hint
        return job in jobs and (known is None or instant < known)

    def close(self) -> None:
        """Close the connections; the next exchange opens them again."""
        self._line.close()

    def check(self) -> int:
        """The clock of a store that is there, as far as can be told just now. Raises `RedisStoreError`."""
        parts, known = {call: Part() for call in self._calls}, dict(self._marks)
        told = self._run(Batch(not_after=0), parts, {}, takes=True, confirm=False)
        for one in told.values():
            if isinstance(one.answer, RedisStoreError) and not _passes(one.answer):
                raise one.answer
        return max(int(reply.clock) for reply in self._answered(parts, told, known).values())

    def load(self, keys: Sequence[Key]) -> tuple[Row | Damaged | None, ...]:
        """Rows, outside an exchange."""
        return self._perform(Batch(loads=tuple(keys), not_after=0)).rows

    def _perform(self, batch: Batch) -> Answer:
        parts, known = self._split(batch), dict(self._marks)
        takes = len(self._calls) == 1
        claim = dict.fromkeys(self._calls, batch.claim)
        doubted = not self._doubted.isdisjoint(parts)
        confirm = batch.settle or doubted or any(part.writes for part in parts.values())
        if confirm and self._confirmation.commands:
            self._doubted.update(parts)
        told = self._run(batch, parts, claim, takes=takes, confirm=confirm, mark=doubted)
        replies = self._answered(parts, told, known)
        outcomes, rows = self._read(batch, parts, told, replies, sure=batch.settle or doubted)
        claimed = [row for reply in replies.values() for row in reply.claimed]
        if batch.claim is not None and not takes:
            claimed = self._take(batch.claim, replies)
        clock = max(int(reply.clock) for reply in replies.values())
        if self._clock is not None:
            clock = max(clock, self._clock[0])  # that of another node may be behind
        wakes = [reply.wake for reply in replies.values() if reply.wake is not None]
        if batch.claim is not None and len(replies) < len(told):
            wakes.append(clock + AGAIN_MS)
        return Answer(
            outcomes=tuple(outcomes.get(n, NO_TEXT) for n in range(len(batch.writes))),
            rows=tuple(rows.get(n) for n in range(len(batch.loads))),
            claimed=tuple(read_claimed(claimed)),
            next_wake=min(wakes, default=None),
            clock=clock,
        )

    def _read(
        self,
        batch: Batch,
        parts: Mapping[int, Part],
        told: Mapping[int, Told],
        replies: Mapping[int, Reply],
        *,
        sure: bool,
    ) -> tuple[dict[int, Outcome], dict[int, Row | Damaged | None]]:
        """What came of the writes, and the rows that were loaded, by their number in the batch. Raises if it
        has to be `sure`, and what a call has left is not confirmed."""
        outcomes: dict[int, Outcome] = {}
        rows: dict[int, Row | Damaged | None] = {}
        for call, part in parts.items():
            reply = replies.get(call)
            if reply is None:
                outcomes |= dict.fromkeys(part.writes, _failed(told[call].answer))
                continue
            lack = self._lack(call, told[call].behind)
            if lack is not None and sure:
                raise RedisStoreError(self._line.server, lack)
            for n, one in zip(part.writes, reply.outcomes, strict=True):
                outcomes[n] = read_outcome(batch.writes[n].key, one, lack)
            for n, row in zip(part.loads, reply.rows, strict=True):
                rows[n] = read_row(batch.loads[n], row)
        return outcomes, rows

    def _split(self, batch: Batch) -> dict[int, Part]:
        """What each call is asked, by its number; one at least, for the clock."""
        parts: dict[int, Part] = {}
        for n, write in enumerate(batch.writes):
            place = self._names.place(write.key)
            if place is not None and (packed := pack_write(write, place)) is not None:
                parts.setdefault(place.call, Part()).writes[n] = packed
        for n, key in enumerate(batch.loads):
            place = self._names.place(key)
            if place is not None:
                parts.setdefault(place.call, Part()).loads[n] = pack_place(place)
        if batch.claim is not None or not parts:
            for call in self._calls if batch.claim is not None else self._calls[:1]:
                parts.setdefault(call, Part())
        return parts

    def _run(
        self,
        batch: Batch,
        parts: Mapping[int, Part],
        claims: Mapping[int, Claim | None],
        *,
        takes: bool,
        confirm: bool,
        mark: bool = False,
    ) -> dict[int, Told]:
        """What became of each call; `mark`: each is to write, for WAIT waits for nothing else."""
        mode = "settle" if batch.settle else "mark" if mark else ""
        head = self._names.identity, mode, batch.not_after, self._origin, self._channel
        rest: dict[int, Sequence[Argument]] = {}
        for call, part in parts.items():
            keys = self._names.clocks(call)
            claim = pack_claim(claims.get(call), takes=takes)
            rest[call] = len(keys), *keys, *head, *part.arguments(), *claim
        behind = self._confirmation.commands if confirm else ()
        told = self._line.ask([("EVALSHA", SHA, *one) for one in rest.values()], behind)
        found = dict(zip(rest, told, strict=True))
        again = [call for call, one in found.items() if _has_no_script(one.answer)]
        if again:
            told = self._line.ask([("EVAL", SCRIPT, *rest[call]) for call in again], behind)
            found |= zip(again, told, strict=True)
        return found

    def _answered(
        self, parts: Mapping[int, Part], told: Mapping[int, Told], known: Mapping[int, int]
    ) -> dict[int, Reply]:
        """The replies of the calls that were answered; `known`: the marks when they were asked. Raises if
        none was, or if one that was to load."""
        failed = {call: one.answer for call, one in told.items() if isinstance(one.answer, RedisStoreError)}
        if len(failed) == len(told):
            errors = sorted(failed.values(), key=lambda error: isinstance(error, CallRefusedError))
            raise errors[0]  # one that is unknown, if there is any
        for call, error in failed.items():
            if parts[call].loads:
                raise RedisStoreError(self._line.server, f"a part of the exchange failed: {error}") from error
            self._warnings.tell(error.cause)
        replies = {call: Reply(*one.answer) for call, one in told.items() if call not in failed}
        for call, reply in replies.items():
            if reply.trouble:
                self._warnings.tell(reply.trouble.decode(errors="replace").strip())
            if self._confirmation.has_all(told[call].behind):
                self._marks[call] = int(reply.left)
            self._watch(known.get(call, 0) - int(reply.mark))
        return replies

    def _lack(self, call: int, behind: Sequence[Any]) -> str | None:
        """Why what a call has written is not confirmed, if it is not."""
        lack = self._confirmation.lacks(behind)
        if lack is None:
            self._doubted.discard(call)
        else:
            self.unconfirmed += 1
            self._line.close()  # another may be the primary by now: the next exchange asks anew
        return lack

    def _watch(self, missing: int) -> None:
        """The mark that each write leaves in a store only rises, once it is confirmed by all that have to."""
        if missing > 0:
            text = f"the store went back by {missing} ms: what was acknowledged in that time may be lost"
            self._warnings.tell(text, logging.ERROR, math.inf)

    def _take(self, claim: Claim, replies: dict[int, Reply]) -> list[Sequence[Any]]:
        """What is claimed of what the replies tell to be due; they are brought up to date."""
        order = chosen(claim, {call: reply.claimed for call, reply in replies.items()})
        wanted = shares(claim, order)
        if not wanted:
            return []
        told = self._run(
            Batch(not_after=0), {call: Part() for call in wanted}, wanted, takes=True, confirm=False
        )
        for call, one in told.items():
            if isinstance(one.answer, RedisStoreError):
                self._warnings.tell(one.answer.cause)
                replies[call] = replies[call]._replace(claimed=())
            else:
                replies[call] = Reply(*one.answer)
        left = {call: list(replies[call].claimed) for call in wanted}
        taken = [left[due.call].pop(0) for due in order if left[due.call]]
        return taken + [row for rows in left.values() for row in rows]

    def _about_now(self) -> int | None:
        """The server's clock, as far as it is known without asking."""
        if self._clock is None:
            return None
        clock, told_at = self._clock
        return clock + int((time.monotonic() - told_at) * 1000)


def _failed(error: RedisStoreError) -> Outcome:
    """The outcome of a write whose call has failed."""
    text = f"{error.server}: {error.cause}"  # whoever tells of it says whether anything was changed
    if isinstance(error, CallRefusedError):
        return Refused(text, error.transient)
    return Unknown(text)


def _passes(error: RedisStoreError) -> bool:
    return isinstance(error, CallRefusedError) and error.transient


def _has_no_script(answer: Any) -> bool:
    return isinstance(answer, CallRefusedError) and answer.code == "NOSCRIPT"
