"""What one try of a transaction does to rows: the writes of a batch, its loads and its claim.

The first try is the fast one: writes by the statement, a claim in one query. If a row is in the way, the
transaction is undone, and the next try takes the care that was found to be needed: each write and each row
by itself, without those that cannot be done. So no row's trouble becomes another's (R-9).

A transaction in which SQLite has met damage can no longer commit. So damaged rows are looked for between
tries, in a *survey*, and not touched within one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

from attrs import define, field

from durable_jobs_core.backend import Batch, Claim, Conflicted, Damaged, Defer, Outcome, Refused, Row, Write
from durable_jobs_core.words import Key
from durable_jobs_sqlite import _rows
from durable_jobs_sqlite._errors import cause_of, concerns_all, is_busy, is_damage, is_transient
from durable_jobs_sqlite._rows import COMMITTED, INTEGER_MAX, Stored, UnreadableError

FEW_WRITES = 4
"""Up to so many writes are performed one by one at once: no slower, and a conflict costs no second try."""

REFUSED_MAX = 8
"""So many writes are found out one by one; then the batch is refused, and the engine halves it (D-3)."""


class UndoneError(Exception):
    """It is certain that nothing happened: the transaction ended before its COMMIT, or had no room for it.

    `transient`: trying again later may help; `reopen`: the connection is not to be used again.
    """

    def __init__(self, reason: str, *, transient: bool, reopen: bool = False) -> None:
        self.reason, self.transient, self.reopen = reason, transient, reopen
        super().__init__(reason)

    @classmethod
    def of(cls, error: sqlite3.Error) -> UndoneError:
        """What the error means that undid it."""
        return cls(cause_of(error), transient=is_transient(error), reopen=not is_busy(error))


class AgainError(Exception):
    """The transaction is to be undone, and tried again with the care it has been found to need."""


@define(eq=False)
class Care:
    """With how much care a batch is performed, as its failures have shown.

    `stuck`: damaged rows that this process has claimed before. `one_by_one`: the writes, `refused`: those
    that cannot be done; `unsure`: a survey is due; `row_by_row`: the claim; `by_number`, `by_key`: rows that
    are not to be touched, damaged most of them; `unclaimable`: the claim cannot be done at all; `found`:
    damaged rows it has claimed; `warnings`: what an operator should know of it.
    """

    stuck: set[int]
    one_by_one: bool = False
    refused: dict[int, Refused] = field(factory=dict)
    unsure: bool = False
    row_by_row: bool = False
    by_number: dict[int, Damaged] = field(factory=dict)
    by_key: dict[Key, Stored] = field(factory=dict)
    unclaimable: bool = False
    found: set[int] = field(factory=set)
    warnings: list[str] = field(factory=list)


# -- between tries


def survey(connection: sqlite3.Connection, batch: Batch, care: Care) -> None:
    """Find the damaged rows that a batch would meet. Not within a transaction."""
    care.unsure, care.row_by_row = False, True
    for key in (*batch.loads, *(write.key for write in batch.writes)):
        found = _rows.find(connection, key)
        if found is not None and isinstance(found.row, Damaged):
            care.by_key[key] = found
    if batch.claim is None:
        return
    for job, limit in batch.claim.limits.items():
        due = _rows.due_with_damage(connection, job, batch.claim.now, limit + len(care.stuck))
        try:
            for n, row in due:
                if isinstance(row, Damaged):
                    care.by_number[n] = row
                else:
                    care.stuck.discard(n)  # it was put right
        except sqlite3.Error as error:
            if not is_damage(error):
                raise  # else the claim will find that the index is damaged


# -- the writes


def put(connection: sqlite3.Connection, writes: Sequence[Write | Defer], care: Care) -> tuple[Outcome, ...]:
    """Perform the writes of a batch; each has an outcome of its own."""
    if care.one_by_one or len(writes) <= FEW_WRITES:
        return _put_one_by_one(connection, writes, care)
    care.one_by_one = True
    try:
        if _rows.put_all(connection, writes):
            return (COMMITTED,) * len(writes)
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        if concerns_all(error):
            raise
    raise AgainError


def _put_one_by_one(
    connection: sqlite3.Connection, writes: Sequence[Write | Defer], care: Care
) -> tuple[Outcome, ...]:
    """One that fails is left out of the next try."""
    outcomes: list[Outcome] = []
    for number, write in enumerate(writes):
        refused = care.refused.get(number)
        if refused is not None:
            outcomes.append(refused)
            continue
        try:
            outcomes.append(_put(connection, write, care))
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            if concerns_all(error):
                raise
            cause = f"{write.key} cannot be written: {cause_of(error)}"
            if is_damage(error):
                care.warnings.append(cause)
            if len(care.refused) == REFUSED_MAX:
                raise UndoneError(cause, transient=False) from error
            care.refused[number] = Refused(cause, transient=False)
            raise AgainError from error
    return tuple(outcomes)


def _put(connection: sqlite3.Connection, write: Write | Defer, care: Care) -> Outcome:
    found = care.by_key.get(write.key)
    if found is None or isinstance(found.row, Row):
        if _rows.put(connection, write):
            return COMMITTED
        found = _load(connection, write.key, care)
    if found is None:
        return Conflicted(None)
    if isinstance(found.row, Damaged) and found.row.revision == write.expected:
        return _rows.put_over_damage(connection, write)
    return Conflicted(found.row)


# -- the loads


def load(connection: sqlite3.Connection, key: Key, care: Care) -> Stored | None:
    """What is stored under a key, and its entry put back where it ought to be (R-6)."""
    found = _load(connection, key, care)
    if found is not None and found.misfiled:
        try:
            _rows.put_back(connection, found.n)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            care.warnings.append(f"{key} cannot be found when it is due: {cause_of(error)}")
            care.by_key[key] = found._replace(misfiled=False)
            raise AgainError from error
    return found


def _load(connection: sqlite3.Connection, key: Key, care: Care) -> Stored | None:
    if key in care.by_key:
        return care.by_key[key]
    try:
        return _rows.load(connection, key)
    except sqlite3.Error as error:
        if care.row_by_row or not is_damage(error):
            raise
        care.unsure = True
        raise AgainError from error


# -- the claim


def claim(
    connection: sqlite3.Connection, claim: Claim, care: Care
) -> tuple[tuple[Row | Damaged, ...], int | None]:
    """The rows that are due, their entries moved, and the `next_wake` after it (R-7, R-8)."""
    if care.unclaimable:
        return (), None
    care.found.clear()
    try:
        claimed = _take(connection, claim, care)
        stuck = care.stuck | care.found
        firsts = [_rows.first_entry(connection, job, stuck) for job in claim.limits]
    except (sqlite3.Error, UnreadableError) as error:
        if concerns_all(error):
            raise
        if care.row_by_row:
            care.unclaimable = True
            care.warnings.append(f"due work cannot be claimed: {cause_of(error)}")
        care.unsure = not care.row_by_row
        raise AgainError from error
    return claimed, min((first for first in firsts if first is not None), default=None)


def _take(connection: sqlite3.Connection, claim: Claim, care: Care) -> tuple[Row | Damaged, ...]:
    claimed: list[Row | Damaged] = []
    numbers: list[int] = []
    size = 0
    for n, row in _due(connection, claim, care):
        size += len(row.blob if isinstance(row, Row) else row.raw)
        if claimed and size > claim.max_bytes:
            break
        claimed.append(row)
        if isinstance(row, Row):
            numbers.append(n)
        else:
            care.found.add(n)
    _rows.move(connection, numbers, min(claim.until, INTEGER_MAX))
    return tuple(claimed)


def _due(connection: sqlite3.Connection, claim: Claim, care: Care) -> Iterator[tuple[int, Row | Damaged]]:
    """The rows that are due; the damaged ones only once in this process."""
    for job, limit in claim.limits.items():
        if not care.row_by_row:
            yield from _rows.due(connection, job, claim.now, limit)
            continue
        numbers = _rows.due_numbers(connection, job, claim.now, limit + len(care.stuck))
        for n in islice((n for n in numbers if n not in care.stuck), limit):
            yield n, care.by_number.get(n) or _rows.due_row(connection, job, n)
