"""What became of writes whose outcome is unknown, told from the record that is there now (D-6).

A record names, for each of the last eight engines that wrote it, the number of that engine's last
write; an engine has one write of a key in flight. So reading back decides nearly every case, and what
it cannot decide is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from durable_jobs_core._values import value
from durable_jobs_core.codec import Loaded
from durable_jobs_core.engine.entries import Entry, Writing
from durable_jobs_core.errors import OutcomeUnknownError
from durable_jobs_core.events import TerminateRequested
from durable_jobs_core.record import Record
from durable_jobs_core.words import Key, Revision

LOST_WRITES_MAX = 4
"""After so many lost writes on one base a key waits until none of them can land any more."""


class Verdict(Enum):
    """What is known of a lost write."""

    COMMITTED = "it landed"
    NOT_LANDED = "it did not land, and the next commit fences it"
    UNKNOWN = "no one can tell"
    TOO_EARLY = "it may still land: look again after its deadline"


@value
class Settled:
    """What is known of all the lost writes of a key, which have the same base.

    `landed`: the one that did; `unknown`: the inputs of which no one can tell; `open`: none has landed, and
    until the next commit any may; `too_early`: look again when none can land any more.
    """

    landed: Writing | None = None
    unknown: tuple[Entry, ...] = ()
    open: bool = False
    too_early: bool = False


def settle(lost: Sequence[Writing], found: Loaded | None, *, engine: int, final: bool) -> Settled:
    """The verdicts on all of them. `engine`: who wrote them; `final`: none can land any more."""
    verdicts = [(writing, judge(writing, found, engine=engine, final=final)) for writing in lost]
    if any(verdict is Verdict.TOO_EARLY for _, verdict in verdicts):
        return Settled(too_early=True)
    landed = next((writing for writing, verdict in verdicts if verdict is Verdict.COMMITTED), None)
    if landed is not None and found is not None:
        return Settled(landed)  # the record names it: no other write landed on that base
    if lost and not final and same(found, lost[-1].base):
        return Settled(open=True, too_early=len(lost) >= LOST_WRITES_MAX)
    done = set() if landed is None else {stepped.entry for stepped in landed.steps}
    unknown = {
        stepped.entry: None
        for writing, verdict in verdicts
        if verdict is Verdict.UNKNOWN
        for stepped in writing.steps
        if stepped.writes and stepped.entry not in done
    }
    return Settled(landed, tuple(unknown))


def judge(lost: Writing, found: Loaded | None, *, engine: int, final: bool) -> Verdict:
    """The verdict on one lost write of `engine`; `found` is what is there now."""
    if isinstance(found, Record):
        if found.wrote(engine) == lost.number:
            return Verdict.COMMITTED  # (a)
        if isinstance(lost.base, Record) and found.revision.life == lost.base.revision.life:
            return _same_life(lost.base.revision, found)
        return Verdict.UNKNOWN  # (e): that life is gone, or another began in its place
    if found is None:
        if lost.work is None and not _tells_others(lost):
            return Verdict.COMMITTED  # (d)
        if lost.base is None and not final:
            return Verdict.TOO_EARLY
        return Verdict.UNKNOWN  # (e)
    return Verdict.NOT_LANDED if same(found, lost.base) else Verdict.UNKNOWN


def _tells_others(lost: Writing) -> bool:
    """Whether a deletion answers more than who asked for the end: a `clear`, or an `add` before it. Those
    are told what they did to the life, and another may have ended it in another way."""
    return any(
        stepped.writes
        and stepped.entry.call is not None
        and not isinstance(stepped.entry.event, TerminateRequested)
        for stepped in lost.steps
    )


def _same_life(base: Revision, found: Record) -> Verdict:
    """(b), (c), (f): the life goes on, and its record does not name the write."""
    return Verdict.UNKNOWN if found.has_forgotten(base.number) else Verdict.NOT_LANDED


def unknown(key: Key, why: str = "") -> OutcomeUnknownError:
    """What to tell a caller of whose request no one can tell; `why`: what the backend said last."""
    return OutcomeUnknownError(f"whether the request reached {key} is not known{why}")


def revision(found: Loaded) -> bytes:
    """What a write over it must expect."""
    return found.revision.to_bytes() if isinstance(found, Record) else found.revision


def same(one: Loaded | None, other: Loaded | None) -> bool:
    """Whether two loads found the same stored revision."""
    if one is None or other is None:
        return one is other
    return revision(one) == revision(other)
