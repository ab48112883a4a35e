"""What one try of a transaction does to rows: the writes of a batch, and its claim.

The first try is the fast one: writes by the statement, a claim in one query. If a row is in the way, the
transaction is undone, and the next try takes the care that was found to be needed: each write and each row
by itself, without those that cannot be done. So no row's trouble becomes another's (R-9).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

from attrs import define, field

from durable_jobs_core.backend import Claim, Damaged, Defer, Outcome, Refused, Row, Write
from durable_jobs_sqlite import _rows
from durable_jobs_sqlite._errors import cause_of, concerns_all, is_busy, is_damage, is_transient
from durable_jobs_sqlite._rows import COMMITTED, INSTANT_MAX, UnreadableError

FEW_WRITES = 4
"""Up to so many writes are performed one by one at once: no slower, and a conflict costs no second try."""

REFUSED_MAX = 8
"""So many writes are found out one by one; then the batch is refused, and the engine halves it (D-3)."""


class UndoneError(Exception):
    """It is certain that nothing happened: the transaction ended before its COMMIT was tried.

    `transient`: trying again later may help; `reopen`: the connection is not to be used again.
    """

    def __init__(self, reason: str, *, transient: bool, reopen: bool = False) -> None:
        self.reason, self.transient, self.reopen = reason, transient, reopen
        super().__init__(reason)

    @classmethod
    def of(cls, error: sqlite3.Error) -> UndoneError:
        """What an error before COMMIT means."""
        return cls(cause_of(error), transient=is_transient(error), reopen=not is_busy(error))


class AgainError(Exception):
    """The transaction is to be undone, and tried again with the care it has been found to need."""


@define(eq=False)
class Care:
    """With how much care a batch is performed, as its failures have shown.

    `stuck`: damaged rows that this process has claimed before. `one_by_one`: the writes, `refused`: those
    that cannot be done; `row_by_row`: the claim, `unclaimable`: it cannot be done at all; `found`: more
    damaged rows; `warnings`: what an operator should know of it.
    """

    stuck: set[int]
    one_by_one: bool = False
    refused: dict[int, Refused] = field(factory=dict)
    row_by_row: bool = False
    unclaimable: bool = False
    found: set[int] = field(factory=set)
    warnings: list[str] = field(factory=list)


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
            outcomes.append(_rows.put(connection, write))
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
        care.row_by_row = True
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
    _rows.move(connection, numbers, min(claim.until, INSTANT_MAX))
    return tuple(claimed)


def _due(connection: sqlite3.Connection, claim: Claim, care: Care) -> Iterator[tuple[int, Row | Damaged]]:
    now = min(claim.now, INSTANT_MAX)
    careful = care.row_by_row or bool(care.stuck)
    for job, limit in claim.limits.items():
        if not careful:
            yield from _rows.due(connection, job, now, limit)
            continue
        found = _rows.due_with_damage(connection, job, now, limit + len(care.stuck))
        yield from islice((pair for pair in found if not _is_stuck(*pair, care)), limit)


def _is_stuck(n: int, row: Row | Damaged, care: Care) -> bool:
    """Whether this process has claimed a damaged row before; one that was put right is free again."""
    if isinstance(row, Row):
        care.stuck.discard(n)
    return n in care.stuck
