"""Every backend against a dictionary: random batches, two handles, one model (R-1 to R-8).

Ties are the one freedom a backend has: rows due at the same instant may be claimed in any order.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from durable_jobs_memory import MemoryBackend
from durable_jobs_sqlite import SQLiteBackend
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from durable_jobs_core.backend import (
    Backend,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Defer,
    Outcome,
    Query,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.words import Key

FOREVER = 2**63 - 1
JOBS: list[Any] = [("task", "mail"), ("task", "post"), ("debounce", "mail")]
KEYS = [Key(*job, id) for job in JOBS for id in ("a", "b", "a:b", "B", "ä", "c\0")]
INSTANTS = st.integers(0, 20)
REVISIONS = [b"", b"1", b"2", b"3"]

_stores = itertools.count()


@st.composite
def writes(draw: st.DrawFn) -> list[Write | Defer]:
    """Writes of a batch: sorted by key, a key at most once; more likely than not they fit."""
    found: list[Write | Defer] = []
    for key in sorted(draw(st.sets(st.sampled_from(KEYS), max_size=8))):
        expected = draw(st.sampled_from([*REVISIONS, None]))
        wake = draw(st.none() | INSTANTS)
        kind = draw(st.sampled_from(["put", "put", "delete", "defer"]))
        if kind == "defer":
            found.append(Defer(key, expected or b"", wake))
        elif kind == "delete":
            found.append(Write(key, expected or b"", None))
        else:
            row = Row(key, draw(st.sampled_from(REVISIONS)), wake, draw(st.sampled_from("pq")), b"x" * 9)
            found.append(Write(key, expected, row))
    return found


class Model(RuleBasedStateMachine):
    """`rows`: what is stored; `entries`: when each is to be claimed."""

    def open(self) -> Backend:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.handles = [self.open(), self.open()]
        self.rows: dict[Key, Row] = {}
        self.entries: dict[Key, int] = {}
        self.clock = 0

    def teardown(self) -> None:
        for handle in self.handles:
            handle.close()

    @rule(
        who=st.integers(0, 1),
        writes=writes(),
        fit=st.booleans(),
        loads=st.lists(st.sampled_from(KEYS), max_size=4, unique=True),
        limits=st.none() | st.dictionaries(st.sampled_from(JOBS), st.integers(1, 4)),
        now=INSTANTS,
        hold=st.integers(1, 10),
        max_bytes=st.sampled_from([1, 20, 1_000]),
        late=st.integers(0, 9).map(lambda n: n == 0),
    )
    def exchange(
        self,
        who: int,
        writes: list[Write | Defer],
        fit: bool,
        loads: list[Key],
        limits: dict[Any, int] | None,
        now: int,
        hold: int,
        max_bytes: int,
        late: bool,
    ) -> None:
        """One batch, on the backend and on the model."""
        if fit:
            writes = [self.fitting(write) for write in writes]
        claim = None if limits is None else Claim(limits, now, now + hold, max_bytes)
        answer = self.handles[who].exchange(
            0,
            Batch(
                writes=tuple(writes),
                loads=tuple(loads),
                claim=claim,
                not_after=self.clock - 1 if late else FOREVER,
            ),
        )
        assert list(answer.outcomes) == [self.write(write, late) for write in writes]
        assert list(answer.rows) == [self.load(key) for key in loads]
        if claim is None:
            assert (answer.claimed, answer.next_wake) == ((), None)
        else:
            self.claim(claim, [row for row in answer.claimed if isinstance(row, Row)])
            assert len({row.key for row in answer.claimed}) == len(answer.claimed)
            assert answer.next_wake == min(self.entries_of(claim.limits), default=None)
        assert answer.clock >= self.clock
        self.clock = answer.clock

    def fitting(self, write: Write | Defer) -> Write | Defer:
        """The same write, expecting what is there."""
        stored = self.rows.get(write.key)
        expected = None if stored is None else stored.revision
        if isinstance(write, Defer):
            return write if expected is None else Defer(write.key, expected, write.wake)
        if expected is None and write.row is None:
            return write
        return Write(write.key, expected, write.row)

    def write(self, write: Write | Defer, late: bool) -> Outcome:
        stored = self.rows.get(write.key)
        if late:
            return Refused("it came after its deadline", transient=True)
        if write.expected != (None if stored is None else stored.revision):
            return Conflicted(stored)
        wake = write.wake if isinstance(write, Defer) else None
        if isinstance(write, Write):
            self.rows.pop(write.key, None)
            wake = None
            if write.row is not None:
                self.rows[write.key], wake = write.row, write.row.wake
        self.set_entry(write.key, wake)
        return Committed()

    def set_entry(self, key: Key, wake: int | None) -> None:
        self.entries.pop(key, None)
        if wake is not None:
            self.entries[key] = wake

    def load(self, key: Key) -> Row | None:
        row = self.rows.get(key)
        if row is not None and row.wake is not None:
            self.entries.setdefault(key, row.wake)
        return row

    def entries_of(self, jobs: Iterable[Any]) -> list[int]:
        jobs = set(jobs)
        return [entry for key, entry in self.entries.items() if key[:2] in jobs]

    def claim(self, claim: Claim, claimed: list[Row]) -> None:
        """What was claimed is due, whole, the earliest of its job, and as much as was allowed."""
        size = sum(len(row.blob) for row in claimed)
        assert size <= claim.max_bytes or len(claimed) == 1
        is_full = size + 9 > claim.max_bytes
        for job, limit in claim.limits.items():
            mine = [row.key for row in claimed if row.key[:2] == job]
            due = sorted(entry for entry in self.entries_of([job]) if entry <= claim.now)
            if is_full:
                assert len(mine) <= limit
            else:
                assert len(mine) == min(limit, len(due))
            assert [self.entries[key] for key in mine] == due[: len(mine)]
        for row in claimed:
            assert row == self.rows[row.key]
            self.entries[row.key] = claim.until

    @precondition(lambda self: self.clock)
    @rule(who=st.integers(0, 1))
    def reopen(self, who: int) -> None:
        """A process ends and another begins."""
        self.handles[who].close()
        self.handles[who] = self.open()

    @rule(
        who=st.integers(0, 1),
        limit=st.integers(1, 5),
        kind=st.sampled_from([None, "task", "debounce"]),
        job=st.sampled_from([None, "mail", "post"]),
        status=st.sampled_from([None, "p", "q"]),
    )
    def scan(self, who: int, limit: int, kind: Any, job: str | None, status: str | None) -> None:
        found: list[Any] = []
        after = None
        while True:
            page = self.handles[who].scan(Query(kind=kind, job=job, status=status), after, limit)
            assert len(page.rows) <= limit
            found += page.rows
            after = page.after
            if after is None:
                break
        wanted = [
            row
            for _, row in sorted(self.rows.items())
            if kind in (None, row.key.kind) and job in (None, row.key.job) and status in (None, row.status)
        ]
        assert found == wanted

    @invariant()
    def health_lists_the_jobs(self) -> None:
        jobs = sorted({key[:2] for key in self.rows})
        assert list(self.handles[0].health().jobs) == jobs


class OnMemory(Model):
    def open(self) -> Backend:
        if not hasattr(self, "name"):
            self.name = f"model-{next(_stores)}"
        return MemoryBackend.open(f"memory://{self.name}")


class OnSQLite(Model):
    def open(self) -> Backend:
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
        return SQLiteBackend.open(f"sqlite:///{Path(self.folder.name)}/jobs.db?synchronous=normal")

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestOnMemory = OnMemory.TestCase
TestOnSQLite = OnSQLite.TestCase
TestOnMemory.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestOnSQLite.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
