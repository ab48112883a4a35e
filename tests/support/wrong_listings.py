"""Backends that list wrongly, or take one name for another."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

import attrs
from durable_jobs_conformance import Capability, Harness
from durable_jobs_memory import MemoryBackend, _Store
from support.wrong_backends import Decays, Rows, Wrong, harness, renamed

from durable_jobs_core.backend import Answer, Batch, Claim, Committed, Page, Query, Row, Write
from durable_jobs_core.words import Job, Key

# -- names


def of_ids(change: Callable[[str], object], name: str) -> type[MemoryBackend]:
    """Ids are stored as `change` makes them."""
    found = renamed(lambda key: Key(key.kind, key.job, str(change(key.id))))
    found.__name__ = name
    return found


def _number(id: str) -> object:
    try:
        return float(id)
    except ValueError:
        return id


NAMES = [
    of_ids(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"), "IdsAreLines"),
    of_ids(_number, "IdsAreNumbers"),
    of_ids(unquote_plus, "IdsAreParsedAsInAUrl"),
    of_ids(posixpath.normpath, "IdsArePaths"),
    of_ids(lambda text: "".join(char if ord(char) < 2**16 else "?" for char in text), "IdsHave16Bits"),
    of_ids(lambda text: text[:255], "IdsAreCut"),
    of_ids(lambda text: text.removeprefix("\ufeff"), "IdsLoseTheirMark"),
]


class ClaimsJobsThatBeginSo(Wrong):
    """The index is read from the name of the job on."""

    def _claim(self, claim: Claim) -> Iterator[Row]:
        for kind, job in claim.limits:
            for other in [other for other in self._due if other[0] == kind and other[1].startswith(job)]:
                yield from super()._claim(attrs.evolve(claim, limits={other: claim.limits[kind, job]}))


class WakesForJobsThatBeginSo(Wrong):
    def _next_wake(self, claim: Claim) -> int | None:
        jobs: set[Job] = {
            other
            for kind, job in claim.limits
            for other in self._due
            if other[0] == kind and other[1].startswith(job)
        }
        return super()._next_wake(attrs.evolve(claim, limits=dict.fromkeys(jobs, 1)))


class TakesARowOfNoBytesForNone(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        size = 0
        for row in super()._claim(attrs.evolve(claim, max_bytes=2**62)):
            if size and size + len(row.blob) > claim.max_bytes:
                self._index(row.key, claim.now)
                return
            size += len(row.blob)
            yield row


class ClaimsAFewAtATime(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        limits = {job: min(limit, 64) for job, limit in claim.limits.items()}
        return super()._claim(attrs.evolve(claim, limits=limits))


# -- pages


class Lists(MemoryBackend):
    """All rows, in an order: what is wrong is in it. The cursor is the place of the last one."""

    def place(self, row: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        rows = super().scan(query, None, 10_000).rows
        places = sorted((list(self.place(row)), row) for row in rows)
        if after is not None:
            places = [each for each in places if each[0] > json.loads(after)]
        page = places[:limit]
        more = len(places) > limit
        return Page(tuple(row for _, row in page), json.dumps(page[-1][0]) if more else None)


class ListsByAlarm(Lists):
    def place(self, row: Any) -> tuple[Any, ...]:
        return (-1 if row.wake is None else row.wake, *row.key)


class ListsByEntry(Lists):
    def place(self, row: Any) -> tuple[Any, ...]:
        return (self._store._entries.get(row.key, -1), *row.key)


class ListsByLastWrite(Lists):
    """Whoever is written is last, as with a row number of `INSERT OR REPLACE`."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        numbers: dict[Key, int] = vars(self._store).setdefault("numbers", {})
        for write, outcome in zip(batch.writes, answer.outcomes, strict=True):
            if outcome == Committed():
                numbers[write.key] = max(numbers.values(), default=0) + 1
        return answer

    def place(self, row: Any) -> tuple[Any, ...]:
        return (vars(self._store)["numbers"][row.key],)


class TakesAJobOutWithOneRow(MemoryBackend):
    """Of a list of jobs that it keeps, whichever row is deleted."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        for write in batch.writes:
            jobs: set[Job] = vars(self._store).setdefault("jobs", set())
            (jobs.discard if isinstance(write, Write) and write.row is None else jobs.add)(write.key[:2])
        return answer

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(query, after, limit)
        jobs = vars(self._store).get("jobs", set())
        return Page(tuple(row for row in page.rows if row.key[:2] in jobs), page.after)


class EndsAtAHundred(MemoryBackend):
    """It gives no more at a time, and takes a page that is not full for the last."""

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(query, after, min(limit, 100))
        return page if len(page.rows) == limit else Page(page.rows, None)


class ListsJobsThatBeginSo(MemoryBackend):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(attrs.evolve(query, job=None), after, limit)
        rows = [row for row in page.rows if row.key.job.startswith(query.job or "")]
        return Page(tuple(rows), page.after)


class ListsStatusesInAnyCase(MemoryBackend):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(attrs.evolve(query, status=None), after, limit)
        wanted = None if query.status is None else query.status.lower()
        rows = [row for row in page.rows if isinstance(row, Row) and wanted in (None, row.status.lower())]
        return Page(tuple(rows), page.after)


class CursorsOfAHandle(MemoryBackend):
    """Another handle does not know them."""

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        cursors = self.cursors()
        page = super().scan(query, None if after is None else self.take(cursors, after), limit)
        if page.after is None:
            return page
        name = f"{len(cursors)}"
        cursors[name] = page.after
        return Page(page.rows, name)

    def cursors(self) -> dict[str, str]:
        return vars(self).setdefault("made", {})

    def take(self, cursors: dict[str, str], name: str) -> str:
        return cursors[name]


class CursorsOnce(CursorsOfAHandle):
    """As of a query that is left open: one that was used is gone."""

    def cursors(self) -> dict[str, str]:
        return vars(self._store).setdefault("made", {})

    def take(self, cursors: dict[str, str], name: str) -> str:
        cursor, cursors[name] = cursors[name], ""
        return cursor


class StumblesOverCursors(MemoryBackend):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        if after is not None:
            json.loads(after)[2].encode()
        return super().scan(query, after, limit)


# -- damage


class LeavesTheEntryOfDamage(Decays):
    """What is there no more, its index says still."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        damaged = {row.key for row in map(self.told, self._store.rows.values()) if not isinstance(row, Row)}
        answer = super().exchange(lane, batch)
        with self._store.lock:
            for key in damaged - self._store.rows.keys():
                self._store._index(key, 1_400)
        return answer


def _case(right: tuple[Any, ...], wrong: tuple[Any, ...], check: str, *can: Capability) -> Any:
    return wrong[-1].__name__, harness(Rows, *wrong, can=can), harness(Rows, *right, can=can), check


SHELF: list[tuple[str, Harness, Harness, str]] = [
    *(_case((), (_Store, wrong), "R-2-keys_never_collide") for wrong in NAMES),
    *(
        _case((), (wrong,), check)
        for wrong, check in [
            (ClaimsJobsThatBeginSo, "R-7-limits_are_per_job"),
            (WakesForJobsThatBeginSo, "R-8-next_wake_is_the_earliest_of_the_jobs_named_after_the_claim"),
            (TakesARowOfNoBytesForNone, "R-7-a_row_of_no_bytes_is_a_row"),
            (ClaimsAFewAtATime, "R-7-a_claim_takes_as_many_as_its_limit"),
        ]
    ),
    *(
        _case((), (_Store, wrong), f"S-66-{check}")
        for wrong, check in [
            (ListsByAlarm, "scan_lists_once_what_is_changed_meanwhile"),
            (ListsByEntry, "scan_lists_once_what_is_changed_meanwhile"),
            (ListsByLastWrite, "scan_lists_once_what_is_changed_meanwhile"),
            (TakesAJobOutWithOneRow, "scan_lists_what_is_left_of_a_job"),
            (EndsAtAHundred, "scan_lists_as_many_as_there_are"),
            (ListsJobsThatBeginSo, "scan_lists_what_is_asked_for"),
            (ListsStatusesInAnyCase, "scan_lists_what_is_asked_for"),
            (CursorsOfAHandle, "a_cursor_is_good_for_every_handle_and_again"),
            (CursorsOnce, "a_cursor_is_good_for_every_handle_and_again"),
            (StumblesOverCursors, "a_cursor_that_somebody_changed_lists_or_is_a_validation_error"),
        ]
    ),
    _case(
        (_Store, Decays),
        (_Store, LeavesTheEntryOfDamage),
        "R-9-a_damaged_row_can_be_deferred_and_deleted_by_its_revision",
        "damage",
    ),
]
"""As in `wrong_backends`."""
