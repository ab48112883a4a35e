"""Exchanges: a batch is at most one transaction, and one that writes nothing takes no write lock.

    nothing to write ─▶ read ─▶ something is due, or an entry is lost ─▶ as if there were something to write
    something to write ─▶ BEGIN IMMEDIATE ─▶ writes, loads, claim ─▶ COMMIT ─▶ the answer
                              │                    │                    ├─ failed: unknown, raised (R-3)
                              │                    │                    └─ the disk is full: as before it
                              │                    └─ a row is in the way: undone, and again with more care
                              └─ failed before COMMIT: nothing happened, the writes are refused; read only

The connection is closed after whatever is raised, and opened again for the next exchange; so no `fsync`
is ever tried a second time.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from attrs import evolve

from durable_jobs_core.backend import Answer, Batch, Claim, Damaged, Outcome, Refused, Row
from durable_jobs_core.words import Job, printable
from durable_jobs_sqlite import _attempt, _rows, _schema
from durable_jobs_sqlite._attempt import AgainError, Care, UndoneError
from durable_jobs_sqlite._clock import MARK_AHEAD_MS, Plan, Reading, read_clocks, ticks
from durable_jobs_sqlite._errors import (
    SQLITE_ERRORS,
    StoreError,
    StoreLostError,
    cause_of,
    is_busy,
    is_full,
    is_out_of_room,
)
from durable_jobs_sqlite._file import StoreFile, read_plan, write_plan
from durable_jobs_sqlite._rows import COMMITTED, Stored
from durable_jobs_sqlite._turns import BUSY_MAX_SECONDS, Turns, wait_a_little

WAL_MAX_BYTES = 16 * 1024 * 1024
"""A write-ahead log larger than this is emptied, which needs a moment without readers."""

WARNINGS_MAX = 8
PASSING_SECONDS = 60.0
"""What was wrong is told by `health()` for so long after it was met last; after that it is news again."""

_FOLLOW_SECONDS = 60.0
_EMPTY_SECONDS = 1.0
_EMPTYING_MAX_SECONDS = 0.1
_LATE = "it came after its deadline"
_log = logging.getLogger("durable_jobs")


class Exchanger:
    """Performs the exchanges of a store, one at a time.

    `hint`: the jobs that the last claim named, and the `next_wake` it was told. `_stuck`: damaged rows this
    process has claimed. Their entries cannot be relied on to move, for SQLite writes a row whole; so they
    are passed over here instead. `_warned`: what an operator should know, and until when.
    """

    def __init__(self, file: StoreFile, connection: sqlite3.Connection) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = connection
        self._turns = Turns()
        self._stuck: set[int] = set()
        self._plan = file.plan
        self._followed = -math.inf
        self._emptied = -math.inf
        self._lacks_room = False
        self.hint: tuple[Sequence[Job], int | None] | None = None
        self._warned: dict[str, float] = {}

    def exchange(self, batch: Batch) -> Answer:
        """Perform a batch. What it raises is `StoreError`, and leaves the outcome of writes unknown."""
        try:
            return self._perform(batch)
        except StoreError as error:  # nothing was committed
            if batch.loads or not batch.writes:
                raise
            refused = Refused(str(error), error.transient)
            return Answer(outcomes=(refused,) * len(batch.writes), clock=self._plan.clock(ticks()))
        except SQLITE_ERRORS as error:
            self._fail(error)
            raise StoreError.of(self._file.path, error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._file.disconnect(connection)

    def _fail(self, error: BaseException | None) -> None:
        self._lacks_room |= is_full(error)
        self.close()

    def _perform(self, batch: Batch) -> Answer:
        connection = self._connected()
        if not (batch.writes or batch.settle):
            answer = self._read(connection, batch)
            if answer is not None:
                return answer
        try:
            return self._write(connection, batch)
        except UndoneError as undone:
            if undone.reopen:
                self._fail(undone.__cause__)
            only_claims = batch.claim is not None and not (batch.writes or batch.loads)
            if batch.settle or (only_claims and undone.reopen):  # nobody else would know why nothing runs
                raise StoreError(self._file.path, undone.reason, transient=undone.transient) from undone
            refused = Refused(f"{self._file.path}: {undone.reason}", undone.transient)
        answer = self._read(self._connected(), batch, refused)
        assert answer is not None, "it was told to make do with reading"
        return answer

    def _connected(self) -> sqlite3.Connection:
        connection = self._connection
        if connection is None:
            self._connection = connection = self._file.reconnect()
            if self._lacks_room:
                with suppress(sqlite3.Error):  # what is not in the file yet needs room there
                    self._lacks_room = not self._checkpoint(connection)
            return connection
        try:
            self._file.check()
        except StoreError:
            if self._file.is_away:  # who makes another removes the log that has its name
                with suppress(sqlite3.Error):
                    self._checkpoint(connection)
            self.close()
            raise
        try:
            self._file.check_log()
        except StoreLostError:
            self._leave_log(connection)
            raise
        return connection

    # -- reading

    def _read(
        self, connection: sqlite3.Connection, batch: Batch, refused: Refused | None = None
    ) -> Answer | None:
        """Perform a batch without writing; `None` if it has to write after all, unless that was refused."""
        look = partial(self._look, connection, batch, refused)
        return self._file.patiently(look, BUSY_MAX_SECONDS)

    def _look(self, connection: sqlite3.Connection, batch: Batch, refused: Refused | None) -> Answer | None:
        stored = [_rows.find(connection, key) for key in batch.loads]
        next_wake = None
        if batch.claim is not None:
            next_wake = self._next_wake(connection, batch.claim)
            if refused is None and next_wake is not None and next_wake <= batch.claim.now:
                return None
            self.hint = tuple(batch.claim.limits), next_wake
        plan = self._read_plan(connection)
        reading = read_clocks()
        if refused is None and (self._is_astray(plan, reading) or any(map(_is_misfiled, stored))):
            return None
        return Answer(
            outcomes=() if refused is None else (refused,) * len(batch.writes),
            rows=tuple(item and item.row for item in stored),
            next_wake=next_wake,
            clock=plan.clock(reading.ticks),
        )

    def _next_wake(self, connection: sqlite3.Connection, claim: Claim) -> int | None:
        """The earliest entry of the jobs named (R-8); those that cannot be read are reported."""
        found: list[int] = []
        for job in claim.limits:
            try:
                entry = _rows.first_entry(connection, job, self._stuck)
            except sqlite3.Error as error:
                self._warn(f"due work cannot be found: {cause_of(error)}")
            else:
                found += () if entry is None else (entry,)
        return min(found, default=None)

    # -- writing

    def _write(self, connection: sqlite3.Connection, batch: Batch) -> Answer:
        care = Care(self._stuck, unsure=bool(self._stuck and batch.claim))
        try:
            answer = self._transact(connection, batch, care)
        finally:
            for text in care.warnings:
                self._warn(text)
        self._stuck |= care.found
        if batch.claim is not None:
            self.hint = tuple(batch.claim.limits), answer.next_wake
        if self._file.wal_bytes > WAL_MAX_BYTES:
            self._empty_log(connection)
        return answer

    def _transact(self, connection: sqlite3.Connection, batch: Batch, care: Care) -> Answer:
        """One transaction, tried again as care is needed. Where nothing happened it raises `UndoneError`."""
        while True:
            self._begin(connection, batch, care)
            taken = time.monotonic()
            try:
                answer = self._filled(connection, batch, care)
                _commit(connection)
                return evolve(answer, clock=self._plan.clock(ticks()))  # a commit may have taken long
            except AgainError:
                pass
            finally:
                self._turns.release(taken)

    def _begin(self, connection: sqlite3.Connection, batch: Batch, care: Care) -> None:
        """Take the write lock, in turn with others."""
        if care.unsure:
            try:
                _attempt.survey(connection, batch, care)
            except sqlite3.Error as error:
                raise UndoneError.of(error) from error
        self._turns.give_way()
        until = time.monotonic() + BUSY_MAX_SECONDS
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() > until:
                    raise UndoneError.of(error) from error
            else:
                return
            self._turns.meet()

    def _filled(self, connection: sqlite3.Connection, batch: Batch, care: Care) -> Answer:
        """What a transaction does, COMMIT apart; whatever is raised, the transaction is undone."""
        try:
            return self._fill(connection, batch, care)
        except BaseException as raised:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                self.close()  # that rolls back
                raise UndoneError.of(error) from error
            if isinstance(raised, sqlite3.Error):
                raise UndoneError.of(raised) from raised
            raise

    def _fill(self, connection: sqlite3.Connection, batch: Batch, care: Care) -> Answer:
        """Writes, loads, the claim and the clock, in this order (R-4)."""
        self._file.check()  # within the lock, for which who has found a loss waits before leaving
        self._file.check_log()
        plan = self._read_plan(connection)
        outcomes: tuple[Outcome, ...] = ()
        if batch.writes and plan.clock(ticks()) > batch.not_after:
            outcomes = (Refused(_LATE, transient=True),) * len(batch.writes)
        elif batch.writes:
            outcomes = _attempt.put(connection, batch.writes, care)
        stored = [_attempt.load(connection, key, care) for key in batch.loads]
        claimed: tuple[Row | Damaged, ...] = ()
        next_wake = None
        if batch.claim is not None:
            claimed, next_wake = _attempt.claim(connection, batch.claim, care)
        clock = self._tick(connection, plan, settle=batch.settle)
        if clock > batch.not_after and any(outcome is COMMITTED for outcome in outcomes):
            raise UndoneError(_LATE, transient=True)
        return Answer(
            outcomes=outcomes,
            rows=tuple(item and item.row for item in stored),
            claimed=claimed,
            next_wake=next_wake,
            clock=clock,
        )

    # -- the clock

    def _read_plan(self, connection: sqlite3.Connection) -> Plan:
        self._plan = plan = read_plan(connection)
        _schema.check_version(plan.schema, self._file.path)
        if self._file.boot not in ("", plan.boot):
            raise StoreError(self._file.path, "another machine has opened it; only one can have it open")
        return plan

    def _is_astray(self, plan: Plan, reading: Reading) -> bool:
        """Whether the wall clock was stepped, and it is time to say so in the file."""
        if plan.following(reading) is plan:
            return False
        return time.monotonic() - self._followed >= _FOLLOW_SECONDS

    def _tick(self, connection: sqlite3.Connection, plan: Plan, *, settle: bool) -> int:
        """The clock at the end of a transaction, and what the file has to know of it.

        A `settle` has to commit something: a lost COMMIT may have left its frames at the end of the log,
        where a recovery would find them; only another commit overwrites them (ADR 1).
        """
        reading = read_clocks()
        clock = plan.clock(reading.ticks)
        new = plan
        if self._is_astray(plan, reading):
            self._followed = time.monotonic()
            new = plan.following(reading)
        if clock > plan.mark:
            new = new._replace(mark=clock + MARK_AHEAD_MS)
        elif settle:
            new = new._replace(mark=plan.mark + 1)
        if new is not plan:
            write_plan(connection, new)
            self._plan = new
        return clock

    # -- upkeep

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        """Empty the write-ahead log, if others let it. What was committed stays committed."""
        now = time.monotonic()
        if now - self._emptied < _EMPTY_SECONDS:
            return
        self._emptied = now
        try:
            self._checkpoint(connection)
        except sqlite3.Error as error:
            self._warn(f"the write-ahead log cannot be emptied: {cause_of(error)}")
            self.close()

    def _leave_log(self, connection: sqlite3.Connection) -> None:
        """Move what a lost log holds into the file, and leave it.

        While another reads from it, it is kept: a new log would not have what this one has.
        """
        try:
            if not self._checkpoint(connection):
                return
            connection.execute("BEGIN IMMEDIATE")  # all who leave it do so one by one
            self._file.remove_log()
        except sqlite3.Error as error:
            if is_busy(error):
                return
            self._warn(f"a write-ahead log that was lost cannot be read: {cause_of(error)}")
        self.close()

    def _checkpoint(self, connection: sqlite3.Connection) -> bool:
        """Empty the log into the file, which needs a moment without readers; whether others let it."""
        until = time.monotonic() + _EMPTYING_MAX_SECONDS
        while True:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy or time.monotonic() > until:
                return not busy
            wait_a_little()

    @property
    def warnings(self) -> list[str]:
        """What an operator should know that has not passed, the latest last; for any thread."""
        now = time.monotonic()
        return [text for text, until in tuple(self._warned.items()) if now <= until]

    def _warn(self, text: str) -> None:
        """Tell it in `health()`, and in the log if it is news: what does not run says nothing."""
        now = time.monotonic()
        if self._warned.pop(text, -math.inf) < now:
            _log.warning("%s: %s", self._file.path, printable(text))
        self._warned[text] = now + PASSING_SECONDS
        while len(self._warned) > WARNINGS_MAX:
            del self._warned[next(iter(self._warned))]


def _commit(connection: sqlite3.Connection) -> None:
    """COMMIT. Where a disk is full, SQLite could not write the last frame whole: no one will find it."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if is_out_of_room(error):
            raise UndoneError.of(error) from error
        raise


def _is_misfiled(item: Stored | None) -> bool:
    return item is not None and item.misfiled
