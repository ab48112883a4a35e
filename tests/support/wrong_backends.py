"""Backends that break one rule each, and the check that has to catch each.

They are the memory backend, or the plain-file one of the examples, with one thing changed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from certify_file_backend import Folder
from durable_jobs_conformance import Capability, Harness, Store
from durable_jobs_memory import MemoryBackend, _Store
from file_backend import FileBackend

from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Outcome,
    Page,
    Query,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.words import Key


def steady() -> Callable[[], int]:
    offset = time.time() - time.monotonic()
    return lambda: int((time.monotonic() + offset) * 1000)


class Rows(Store):
    """A store of `store`, met through handles of `handle`; the right ones unless told otherwise."""

    def __init__(self, store: type[_Store] = _Store, handle: type[MemoryBackend] = MemoryBackend) -> None:
        self.rows, self.handle = store(steady()), handle
        self.damaged: set[Key] = set()

    def open(self) -> MemoryBackend:
        handle = self.handle(store=self.rows)
        vars(handle)["damaged"] = self.damaged
        return handle

    def damage(self, key: Key) -> None:
        self.damaged.add(key)


class Wrong(_Store):
    """A wrong store."""

    def stored(self, key: Key) -> bytes | None:
        row = self.rows.get(key)
        return None if row is None else row.revision


class ComparesNothing(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        expected: Any = self.stored(write.key)
        return super()._write(attrs.evolve(write, expected=expected), not_after)


class ComparesAPrefix(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        stored = self.stored(write.key)
        if stored is not None and write.expected is not None and stored.startswith(write.expected):
            write = attrs.evolve(write, expected=stored)
        return super()._write(write, not_after)


class Forgets(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        before = self.rows.get(write.key)
        outcome = super()._write(write, not_after)
        if isinstance(outcome, Committed) and before is not None and isinstance(write, Write) and write.row:
            self.rows[write.key] = before
        return outcome


class ConflictsWithoutTheRow(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        outcome = super()._write(write, not_after)
        return Conflicted(None) if isinstance(outcome, Conflicted) else outcome


class IgnoresDeadlines(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        return super()._write(write, 2**63 - 1)


class JudgesDeadlinesByTheMachine(Wrong):
    """Whoever sends a write looks at a clock of its own."""

    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        if time.time() * 1000 > not_after:
            return Refused("it came after its deadline", transient=True)
        return super()._write(write, 2**63 - 1)


class RefusesOnlyAfterWriting(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        super()._write(write, 2**63 - 1)
        return super()._write(write, not_after)


class LeavesTheEntryWhenTheAlarmIsTheSame(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        row, entry = self.rows.get(write.key), self._entries.get(write.key)
        outcome = super()._write(write, not_after)
        if (
            row
            and isinstance(write, Write)
            and write.row
            and write.row.wake == row.wake
            and entry is not None
        ):
            self._index(write.key, entry)
        return outcome


class LoadPutsAnOldHoldBack(Wrong):
    def _index(self, key: Key, wake: int | None) -> None:
        holds: dict[Key, int] = vars(self).setdefault("holds", {})
        if wake is not None and key in self.rows and wake != self.rows[key].wake:
            holds[key] = wake
        super()._index(key, wake)

    def _load(self, key: Key) -> Row | None:
        row = super()._load(key)
        hold = vars(self).get("holds", {}).get(key)
        if row is not None and hold is not None:
            self._index(key, hold)
        return row


class ClaimsNothingBefore1970(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        return super()._claim(claim) if claim.now >= 0 else iter(())


class LeavesTheEntryOfARowWithoutAnAlarm(Wrong):
    def _index(self, key: Key, wake: int | None) -> None:
        if wake is not None or key not in self.rows:
            super()._index(key, wake)


class LeavesTheEntryOfADeletedRow(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        entry = self._entries.get(write.key)
        outcome = super()._write(write, not_after)
        if isinstance(write, Write) and write.row is None and entry is not None:
            self._index(write.key, entry)
        return outcome


class DefersByChangingTheAlarm(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        outcome = super()._write(write, not_after)
        if isinstance(write, Defer) and isinstance(outcome, Committed):
            self.rows[write.key] = attrs.evolve(self.rows[write.key], wake=write.wake)
        return outcome


class FailsABatchTogether(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        for write in batch.writes:
            if self.stored(write.key) != write.expected:
                answer = super().exchange(attrs.evolve(batch, writes=()))
                lost = tuple(Conflicted(self.rows.get(write.key)) for write in batch.writes)
                return attrs.evolve(answer, outcomes=lost)
        return super().exchange(batch)


class LoadsBeforeItWrites(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        rows = super().exchange(attrs.evolve(batch, writes=(), claim=None)).rows
        return attrs.evolve(super().exchange(batch), rows=rows)


class ClaimsBeforeItWrites(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        claimed = super().exchange(attrs.evolve(batch, writes=(), loads=()))
        later = super().exchange(attrs.evolve(batch, claim=None))
        return attrs.evolve(later, claimed=claimed.claimed, next_wake=claimed.next_wake)


class LoadEndsAHold(Wrong):
    def _load(self, key: Key) -> Row | None:
        row = super()._load(key)
        if row is not None and row.wake is not None:
            self._index(key, row.wake)
        return row


class LoadPutsNothingBack(Wrong):
    def _load(self, key: Key) -> Row | None:
        return self.rows.get(key)


class TruncatesBlobs(Wrong):
    def _load(self, key: Key) -> Row | None:
        row = super()._load(key)
        return None if row is None else attrs.evolve(row, blob=row.blob[:65_535])


class DueOnlyAfterTheInstant(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        return super()._claim(attrs.evolve(claim, now=claim.now - 1))


class ClaimsLatestFirst(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        return reversed(list(super()._claim(claim)))  # type: ignore[return-value]


class ClaimsInTheOrderOfTheirText(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        due = {key: wake for key, wake in self._entries.items() if wake <= claim.now}
        for job, limit in claim.limits.items():
            for key in sorted((key for key in due if key[:2] == job), key=lambda key: str(due[key]))[:limit]:
                self._index(key, claim.until)
                yield self.rows[key]


class ClaimsAByteTooMany(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        return super()._claim(attrs.evolve(claim, max_bytes=claim.max_bytes + 1))


class ClaimsAnyThatAreDue(Wrong):
    """The earliest first, of those that it happens to find."""

    def _claim(self, claim: Claim) -> Iterator[Row]:
        found: list[Row] = []
        for job, limit in claim.limits.items():
            due = [
                key
                for key in sorted(self.rows)
                if key[:2] == job and self._entries.get(key, 2**62) <= claim.now
            ]
            found += [self.rows[key] for key in due[:limit]]
        found.sort(key=lambda row: self._entries[row.key])
        for row in found:
            self._index(row.key, claim.until)
        return iter(found)


class ClaimsWithoutMoving(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        claimed = list(super()._claim(claim))
        for row in claimed:
            self._index(row.key, row.wake)
        return iter(claimed)


class ClaimsOneLimitForAll(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        claimed = list(super()._claim(claim))
        return iter(claimed[: max(claim.limits.values(), default=0)])


class ClaimsNothingTooLarge(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        return (row for row in super()._claim(claim) if len(row.blob) <= claim.max_bytes)


class TellsTheWakeBeforeTheClaim(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        before = None if batch.claim is None else self._next_wake(batch.claim)
        return attrs.evolve(super().exchange(batch), next_wake=before)


class ForgetsWhatIsDue(Wrong):
    def _next_wake(self, claim: Claim) -> int | None:
        return min((at for at in self._entries.values() if at > claim.now), default=None)


class LoadsOnlyAHundred(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        answer = super().exchange(batch)
        rows = answer.rows[:100] + (None,) * len(answer.rows[100:])
        return attrs.evolve(answer, rows=rows)


class ClockHasFractions(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        clock: Any = float(self.clock())
        return attrs.evolve(super().exchange(batch), clock=clock)


class WakesAreFloats(Wrong):
    def _next_wake(self, claim: Claim) -> int | None:
        wake: Any = super()._next_wake(claim)
        return None if wake is None else float(wake)  # type: ignore[return-value]


class WakesAreExactUpTo16Digits(Wrong):
    def _next_wake(self, claim: Claim) -> int | None:
        wake = super()._next_wake(claim)
        return int(float(wake)) if wake is not None and len(str(wake)) <= 16 else wake


class RowsAreViews(Wrong):
    def _load(self, key: Key) -> Row | None:
        row: Any = super()._load(key)
        return None if row is None else attrs.evolve(row, blob=memoryview(row.blob))


class KeysAreLoose(Wrong):
    def _load(self, key: Key) -> Row | None:
        row: Any = super()._load(key)
        return None if row is None else attrs.evolve(row, key=tuple(row.key))


class RevisionsAreText(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        (write.expected or b"").decode()
        return super()._write(write, not_after)


class RevisionsAreCut(Wrong):
    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        expected: Any = None if write.expected is None else write.expected[:16]
        write = attrs.evolve(write, expected=expected)
        if isinstance(write, Write) and write.row is not None:
            write = attrs.evolve(write, row=attrs.evolve(write.row, revision=write.row.revision[:16]))
        return super()._write(write, not_after)


class ClockStandsStill(Wrong):
    def __init__(self, clock: Callable[[], int]) -> None:
        at = clock()
        super().__init__(lambda: at)


class ClockIsThatOfTheMachine(Wrong):
    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(lambda: int(time.time() * 1000))


class ClaimsOfAHundredJobs(Wrong):
    def _claim(self, claim: Claim) -> Iterator[Row]:
        return super()._claim(attrs.evolve(claim, limits=dict(list(claim.limits.items())[:100])))


class ClockGoesBack(Wrong):
    def exchange(self, batch: Batch) -> Answer:
        answer = super().exchange(batch)
        return attrs.evolve(answer, clock=answer.clock - 50 * len(self.rows))


# -- wrong handles


def renamed(name: Callable[[Key], Key]) -> type[MemoryBackend]:
    """Handles that store keys under other names, and tell the rows by the names asked for."""

    class Renaming(MemoryBackend):
        def exchange(self, lane: int, batch: Batch) -> Answer:
            writes = tuple(attrs.evolve(write, key=name(write.key)) for write in batch.writes)
            loads = tuple(map(name, batch.loads))
            return super().exchange(lane, attrs.evolve(batch, writes=writes, loads=loads))

    return Renaming


class ComparesAndStoresInTwoSteps(MemoryBackend):
    def exchange(self, lane: int, batch: Batch) -> Answer:
        found = super().exchange(lane, attrs.evolve(batch, writes=(), claim=None)).clock
        fits = [self._store.rows.get(write.key) for write in batch.writes]
        time.sleep(0.0002)  # a thread that got here first writes meanwhile
        late = [self._store.rows.get(write.key) for write in batch.writes]
        writes: list[Any] = [
            attrs.evolve(write, expected=None if now is None else now.revision)
            if write.expected == (None if then is None else then.revision)
            else write
            for write, then, now in zip(batch.writes, fits, late, strict=True)
        ]
        return super().exchange(lane, attrs.evolve(batch, writes=tuple(writes), not_after=max(found, 2**62)))


class ClaimsInTwoSteps(MemoryBackend):
    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, attrs.evolve(batch, claim=None))
        if batch.claim is None:
            return answer
        with self._store.lock:
            entries = sorted((at, key) for key, at in self._store._entries.items() if at <= batch.claim.now)
            keys = [key for _, key in entries[: max(batch.claim.limits.values())]]
            rows = tuple(self._store.rows[key] for key in keys)
        both: threading.Barrier = vars(self._store).setdefault("both", threading.Barrier(2))
        with suppress(threading.BrokenBarrierError):
            if keys:
                both.wait(1)  # for another, which claims them meanwhile; once is enough
                both.abort()
        with self._store.lock:
            for key in keys:
                self._store._index(key, batch.claim.until)
        return attrs.evolve(answer, claimed=rows)


class SettlesNothing(MemoryBackend):
    """A write that was in time is still on its way, and whoever settles it reads what is there."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        settled: threading.Event = vars(self._store).setdefault("settled", threading.Event())
        if batch.settle:
            answer = super().exchange(lane, batch)
            settled.set()
            return answer
        if batch.writes and batch.not_after < 2**62 and self._store.clock() <= batch.not_after:
            settled.clear()
            settled.wait(1)
            batch = attrs.evolve(batch, not_after=2**62)
        return super().exchange(lane, batch)


class OpensInTwoSteps(MemoryBackend):
    """Of two that find no tables, one makes them, and the other fails."""

    def __init__(self, clock: Callable[[], int] | None = None, *, store: _Store | None = None) -> None:
        super().__init__(clock, store=store)
        shelf = vars(self._store)
        is_made = "tables" in shelf
        another: threading.Event = shelf.setdefault("another", threading.Event())
        if shelf.setdefault("first", self) is self:
            another.wait(1)  # finds none either
        another.set()
        if not is_made and shelf.setdefault("tables", self) is not self:
            raise ValueError("there are tables already")


class ForgetsWhenClosed(MemoryBackend):
    """An exchange that is closed in its midst says that it wrote, and did not."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        self._check_usable()
        closing: threading.Event = vars(self).setdefault("closing", threading.Event())
        has_written: bool = vars(self).get("has_written", False)
        self.has_written = has_written or bool(batch.writes)
        if not closing.wait(1 if batch.writes and has_written else 0):  # it is closed after a first one
            return super().exchange(lane, batch)
        return Answer(outcomes=(Committed(),) * len(batch.writes), clock=self._store.clock())

    def close(self) -> None:
        vars(self).setdefault("closing", threading.Event()).set()
        super().close()


class ListsByOffset(MemoryBackend):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        rows = super().scan(query, None, 10_000).rows
        start = int(after or 0)
        more = len(rows) > start + limit
        return Page(rows[start : start + limit], str(start + limit) if more else None)


class LosesAPage(MemoryBackend):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(query, after, limit)
        return page if after is None or page.after is None else super().scan(query, page.after, limit)


class RefusesInOtherWords(MemoryBackend):
    """A right one: the reason of a refusal is for people, and the backend's own."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        outcomes = tuple(
            Refused("too late", outcome.transient) if isinstance(outcome, Refused) else outcome
            for outcome in answer.outcomes
        )
        return attrs.evolve(answer, outcomes=outcomes)


class CloseLeavesThemWaiting(MemoryBackend):
    def wait(self, timeout: float) -> None:
        time.sleep(timeout)


class IndexesAnewWhenOpened(MemoryBackend):
    def __init__(self, clock: Callable[[], int] | None = None, *, store: _Store | None = None) -> None:
        super().__init__(clock, store=store)
        with self._store.lock:
            for row in self._store.rows.values():
                self._store._index(row.key, row.wake)


class WaitsForMinutes(MemoryBackend):
    def wait(self, timeout: float) -> None:
        super().wait(timeout * 1000 + 1000)


class NeverRests(MemoryBackend):
    def wait(self, timeout: float) -> None:
        super().wait(0)


class WaitsWithTheLock(MemoryBackend):
    def wait(self, timeout: float) -> None:
        self.closing = getattr(self, "closing", threading.Event())
        with self._store.lock:
            self.closing.wait(timeout)

    def close(self) -> None:
        self.closing = getattr(self, "closing", threading.Event())
        self.closing.set()
        super().close()


class ReadsWhatItRead(MemoryBackend):
    """A cache that only its own writes end."""

    def exchange(self, lane: int, batch: Batch) -> Answer:
        cache: dict[Key, Any] = vars(self).setdefault("cache", {})
        for write in batch.writes:
            cache.pop(write.key, None)
        answer = super().exchange(lane, batch)
        rows = tuple(cache.setdefault(key, row) for key, row in zip(batch.loads, answer.rows, strict=True))
        return attrs.evolve(answer, rows=rows)


class AnswersAfterClose(MemoryBackend):
    def _check_usable(self) -> None:
        self._check_process()


class AnswersInAFork(MemoryBackend):
    def _check_process(self) -> None:
        pass


class OwnRows(MemoryBackend):
    def __init__(self, clock: Callable[[], int] | None = None, *, store: _Store | None = None) -> None:
        super().__init__()


# -- damaged rows, in memory


class Decays(MemoryBackend):
    """The right one: rows of `damaged` are told as `Damaged`, by their revision."""

    damaged: set[Key]

    def told(self, row: Any) -> Any:
        if isinstance(row, Row) and row.key in self.damaged:
            return Damaged(row.key, row.revision, row.blob, "it was damaged")
        return row

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        self.damaged -= {write.key for write in batch.writes if self._store.rows.get(write.key) is None}
        outcomes: list[Outcome] = [
            Conflicted(self.told(outcome.row)) if isinstance(outcome, Conflicted) else outcome
            for outcome in answer.outcomes
        ]
        rows, claimed = (tuple(map(self.told, found)) for found in (answer.rows, answer.claimed))
        return attrs.evolve(answer, outcomes=tuple(outcomes), rows=rows, claimed=claimed)

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(query, after, limit)
        rows = [self.told(row) for row in page.rows]
        return Page(tuple(row for row in rows if query.status is None or isinstance(row, Row)), page.after)


class RaisesOnDamage(Decays):
    def told(self, row: Any) -> Any:
        if row is not None and row.key in self.damaged:
            raise ValueError("invalid continuation byte")
        return row


class SkipsDamage(Decays):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = super().scan(query, after, limit)
        return Page(tuple(row for row in page.rows if isinstance(row, Row)), page.after)


class ListsDamageUnderItsStatus(Decays):
    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        page = MemoryBackend.scan(self, query, after, limit)
        return Page(tuple(map(self.told, page.rows)), page.after)


class ConflictsWithoutTheDamage(Decays):
    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        outcomes = tuple(
            Conflicted(None) if isinstance(outcome, Conflicted) else outcome for outcome in answer.outcomes
        )
        return attrs.evolve(answer, outcomes=outcomes)


class LeavesDamageDue(Decays):
    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, batch)
        if batch.claim is None:
            return answer
        with self._store.lock:
            for key in self.damaged & {row.key for row in answer.claimed}:
                self._store._index(key, batch.claim.now)
            wake = self._store._next_wake(batch.claim)
        claimed = tuple(row for row in answer.claimed if isinstance(row, Row))
        return attrs.evolve(answer, claimed=claimed, next_wake=wake)


class OverwritesDamage(Decays):
    def exchange(self, lane: int, batch: Batch) -> Answer:
        writes: list[Any] = [
            attrs.evolve(write, expected=b"r0") if write.key in self.damaged else write
            for write in batch.writes
        ]
        found = {write.key for write in batch.writes}
        answer = super().exchange(lane, attrs.evolve(batch, writes=tuple(writes)))
        self.damaged -= found
        return answer


# -- crashes, in files


class WritesLater(FileBackend):
    """What it acknowledges is written by the next exchange, or when it is closed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._later: dict[str, str] = {}

    def _replace(self, name: str, text: str) -> None:
        if name == "clock":
            return super()._replace(name, text)
        before, self._later = self._later, {name: text}
        for item in before.items():
            super()._replace(*item)
        return None


class ClosesForItsParent(FileBackend):
    """What a child closes is closed for all who have it."""

    def close(self) -> None:
        super().close()
        if os.getpid() != self._pid:
            (self._folder / f"closed-{self._pid}").touch()

    def _check_usable(self) -> None:
        super()._check_usable()
        if (self._folder / f"closed-{self._pid}").exists():
            raise ConnectionError("the connection was closed")


# -- crashes, of a server


class Served(Rows):
    """Rows of a server: what is open at a crash is gone."""

    served = 0

    def open(self) -> MemoryBackend:
        handle = super().open()
        vars(handle)["server"] = self
        return handle

    def crash(self) -> None:
        self.served += 1


class Reconnects(MemoryBackend):
    """The right one: what fails is closed, and opened again for the next exchange."""

    server: Served
    connected: int | None = None

    def exchange(self, lane: int, batch: Batch) -> Answer:
        if self.connected is None:
            self.connected = self.server.served
        if self.connected != self.server.served:
            self.fail()
        return super().exchange(lane, batch)

    def fail(self) -> None:
        self.connected = None
        raise ConnectionError("the server has gone away")


class KeepsWhatBroke(Reconnects):
    def fail(self) -> None:
        raise ConnectionError("the server has gone away")


class Folders(Folder):
    """A store of `handle`."""

    def __init__(self, handle: type[FileBackend] = FileBackend) -> None:
        super().__init__()
        self.handle = handle

    def open(self) -> FileBackend:
        return self.handle(Path(self._folder.name))


def harness(make: Callable[..., Store], *wrong: Any, can: tuple[Capability, ...] = ()) -> Harness:
    """A harness of wrong stores or handles."""
    return Harness("wrong", lambda: make(*wrong), frozenset(can))


def folded(key: Key) -> Key:
    return Key(key.kind, key.job, key.id.lower())


def joined(key: Key) -> Key:
    job, _, rest = key.job.partition(":")
    return Key(key.kind, job, f"{rest}:{key.id}" if rest else key.id)


STORES: list[tuple[type[_Store], str]] = [
    (ComparesNothing, "R-2-another_revision_conflicts_with_the_row_there_is[(None, False)]"),
    (ComparesAPrefix, "R-2-another_revision_conflicts_with_the_row_there_is[(b'r', False)]"),
    (Forgets, "R-2-create_update_delete"),
    (ConflictsWithoutTheRow, "R-2-another_revision_conflicts_with_the_row_there_is[(b'r', True)]"),
    (IgnoresDeadlines, "R-5-a_write_after_its_deadline_is_refused_and_nothing_happened"),
    (
        JudgesDeadlinesByTheMachine,
        "R-5-a_late_write_stays_late_when_the_clock_of_the_machine_is_set_back",
    ),
    (RefusesOnlyAfterWriting, "R-5-a_write_after_its_deadline_is_refused_and_nothing_happened"),
    (LeavesTheEntryWhenTheAlarmIsTheSame, "R-6-a_commit_sets_the_entry_also_when_the_alarm_is_the_same"),
    (LoadPutsAnOldHoldBack, "R-6-a_load_leaves_the_entry_where_a_commit_has_set_it"),
    (ClaimsNothingBefore1970, "R-3-instants_of_every_size_come_back[-1]"),
    (LeavesTheEntryOfARowWithoutAnAlarm, "R-6-a_commit_without_an_alarm_takes_the_entry_away"),
    (LeavesTheEntryOfADeletedRow, "R-1-a_row_and_its_entry_go_together"),
    (DefersByChangingTheAlarm, "R-6-claim_and_defer_leave_row_and_revision"),
    (FailsABatchTogether, "R-3-each_write_of_a_batch_has_its_own_outcome[5]"),
    (LoadsBeforeItWrites, "R-4-loads_see_the_writes"),
    (ClaimsBeforeItWrites, "R-4-the_claim_sees_the_writes"),
    (LoadEndsAHold, "R-6-a_load_does_not_end_a_hold"),
    (LoadPutsNothingBack, "R-6-a_load_puts_back_an_entry_that_is_missing"),
    (TruncatesBlobs, "R-3-blobs_of_every_size_come_back[70000]"),
    (DueOnlyAfterTheInstant, "R-7-an_entry_is_due_at_its_instant_and_not_before"),
    (ClaimsLatestFirst, "R-7-what_is_due_comes_earliest_first"),
    (ClaimsInTheOrderOfTheirText, "R-7-what_is_due_comes_earliest_first"),
    (ClaimsAByteTooMany, "R-7-at_least_one_row_and_no_more_bytes_than_asked_for"),
    (ClaimsAnyThatAreDue, "R-7-what_is_due_comes_earliest_first"),
    (ClaimsWithoutMoving, "R-7-two_claims_never_return_the_same_entry"),
    (ClaimsOneLimitForAll, "R-7-limits_are_per_job"),
    (ClaimsNothingTooLarge, "R-7-at_least_one_row_and_no_more_bytes_than_asked_for"),
    (TellsTheWakeBeforeTheClaim, "R-8-next_wake_is_the_earliest_of_the_jobs_named_after_the_claim"),
    (ForgetsWhatIsDue, "R-8-next_wake_is_of_what_is_due_and_was_not_taken_too"),
    (LoadsOnlyAHundred, "R-4-loads_have_no_limit"),
    (ClockHasFractions, "R-8-the_clock_is_the_wall_clock_and_never_goes_back"),
    (WakesAreFloats, "R-8-next_wake_is_the_earliest_of_the_jobs_named_after_the_claim"),
    (WakesAreExactUpTo16Digits, f"R-3-instants_of_every_size_come_back[{2**53 + 1}]"),
    (RowsAreViews, "R-2-create_update_delete"),
    (KeysAreLoose, "R-2-create_update_delete"),
    (RevisionsAreText, "R-2-revisions_are_bytes_of_any_value[24]"),
    (RevisionsAreCut, "R-2-revisions_are_bytes_of_any_value[24]"),
    (ClockStandsStill, "R-8-the_clock_goes_on"),
    (ClockIsThatOfTheMachine, "R-8-the_clock_does_not_go_back_with_that_of_the_machine"),
    (ClaimsOfAHundredJobs, "R-7-a_claim_names_any_number_of_jobs"),
    (ClockGoesBack, "R-8-the_clock_is_the_wall_clock_and_never_goes_back"),
]
HANDLES: list[tuple[type[MemoryBackend], str]] = [
    (renamed(folded), "R-2-keys_never_collide"),
    (renamed(joined), "R-2-keys_never_collide"),
    (ComparesAndStoresInTwoSteps, "R-2-commits_at_once_form_one_chain_a_key"),
    (ClaimsInTwoSteps, "R-7-every_entry_is_claimed_once_while_commits_go_on"),
    (SettlesNothing, "R-5-a_load_under_settle_waits_out_the_writes_in_progress"),
    (OpensInTwoSteps, "R-10-handles_are_opened_at_once_on_an_empty_store"),
    (ForgetsWhenClosed, "R-10-close_comes_in_the_midst_of_exchanges"),
    (ListsByOffset, "S-66-scan_misses_nothing_while_rows_come_and_go"),
    (LosesAPage, "S-66-scan_lists_every_row_once[2]"),
    (CloseLeavesThemWaiting, "R-10-close_ends_every_wait_and_may_be_called_again"),
    (IndexesAnewWhenOpened, "R-6-a_handle_that_is_opened_does_not_end_a_hold"),
    (WaitsForMinutes, "R-10-wait_lasts_no_longer_than_asked"),
    (NeverRests, "R-10-wait_lasts_while_nothing_happens"),
    (WaitsWithTheLock, "R-10-a_wait_holds_up_nothing"),
    (ReadsWhatItRead, "R-4-a_handle_sees_what_another_wrote"),
    (AnswersAfterClose, "R-10-after_close_it_says_so"),
    (AnswersInAFork, "R-10-a_forked_child_is_refused_and_harms_nothing"),
    (OwnRows, "R-3-commits_survive_the_handle"),
]
DAMAGE: list[tuple[type[MemoryBackend], str]] = [
    (RaisesOnDamage, "R-9-a_damaged_row_is_told_and_disturbs_no_other"),
    (SkipsDamage, "R-9-a_damaged_row_is_told_and_disturbs_no_other"),
    (ListsDamageUnderItsStatus, "R-9-a_damaged_row_is_told_and_disturbs_no_other"),
    (ConflictsWithoutTheDamage, "R-9-a_damaged_row_is_not_overwritten_unasked"),
    (LeavesDamageDue, "R-9-a_damaged_row_that_is_due_is_claimed_as_such"),
    (OverwritesDamage, "R-9-a_damaged_row_is_not_overwritten_unasked"),
]
FILES: list[tuple[type[FileBackend], str]] = [
    (WritesLater, "R-3-commits_survive_a_crash"),
    (WritesLater, "R-3-what_a_killed_process_was_told_is_there"),
    (ClosesForItsParent, "R-10-a_forked_child_is_refused_and_harms_nothing"),
]

SERVED: list[tuple[type[Reconnects], str]] = [
    (KeepsWhatBroke, "R-3-a_handle_goes_on_after_a_crash"),
]

SHELF: list[tuple[str, Harness, Harness, str]] = [
    *((w.__name__, harness(Rows, w), harness(Rows), check) for w, check in STORES),
    *((w.__name__, harness(Rows, _Store, w), harness(Rows), check) for w, check in HANDLES),
    *(
        (
            w.__name__,
            harness(Rows, _Store, w, can=("damage",)),
            harness(Rows, _Store, Decays, can=("damage",)),
            check,
        )
        for w, check in DAMAGE
    ),
    *(
        (w.__name__, harness(Folders, w, can=("durable",)), harness(Folders, can=("durable",)), check)
        for w, check in FILES
    ),
    *(
        (
            w.__name__,
            harness(Served, _Store, w, can=("durable",)),
            harness(Served, _Store, Reconnects, can=("durable",)),
            check,
        )
        for w, check in SERVED
    ),
]
"""Name, the wrong one, the right one in its place, the check that tells them apart."""
