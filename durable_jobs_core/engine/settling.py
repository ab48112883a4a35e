"""What became of a write whose outcome is unknown, told from the record that is there now (DESIGN D-6).

A record names, for each of the last eight engines that wrote it, the number of that engine's last
write; an engine has one write of a key in flight. So reading back decides nearly every case, and what
it cannot decide is said to be unknown.
"""

from __future__ import annotations

from enum import Enum

from durable_jobs_core.backend import Damaged
from durable_jobs_core.codec import Loaded
from durable_jobs_core.record import WRITERS_MAX, Record
from durable_jobs_core.words import Revision


class Verdict(Enum):
    """What is known of a lost write."""

    COMMITTED = "it landed"
    NOT_LANDED = "it did not land, and the next commit fences it"
    UNKNOWN = "no one can tell"
    TOO_EARLY = "it may still land: look again after its deadline"


def judge(
    *,
    base: Revision | bytes | None,
    written: Revision | None,
    deleted: bool,
    engine: int,
    number: int,
    found: Loaded | None,
    final: bool,
) -> Verdict:
    """The verdict on one lost write.

    `base`: the revision it expected (the raw bytes of a damaged row, `None` for no row); `written`: the
    revision it was to leave, `deleted`: it was to leave nothing; `engine`, `number`: who wrote it, and
    its number; `found`: what is there now; `final`: it can no longer land.
    """
    if isinstance(found, Record):
        if found.wrote(engine) == number:
            return Verdict.COMMITTED  # (a)
        if isinstance(base, Revision) and found.revision.life == base.life:
            return _same_life(base, found)
        return Verdict.UNKNOWN  # (e): that life is gone, or another began in its place
    if found is None:
        if deleted:
            return Verdict.COMMITTED  # (d)
        if base is None and written is not None and not final:
            return Verdict.TOO_EARLY
        return Verdict.UNKNOWN  # (e)
    revision = found.revision if isinstance(found, Damaged) else found.row.revision
    expected = base.to_bytes() if isinstance(base, Revision) else base
    return Verdict.NOT_LANDED if revision == expected else Verdict.UNKNOWN


def _same_life(base: Revision, found: Record) -> Verdict:
    """(b), (c), (f): the life goes on, and its record does not name the write."""
    numbers = [number for _, number in found.writers]
    forgotten = len(numbers) == WRITERS_MAX and min(numbers) > base.number
    return Verdict.UNKNOWN if forgotten else Verdict.NOT_LANDED
