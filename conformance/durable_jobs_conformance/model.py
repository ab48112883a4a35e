"""Random batches over two handles against a dictionary (R-1 to R-8), shrunk when they fail.

Ties are the one freedom a backend has: rows due at the same instant may be claimed in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from durable_jobs_conformance.check import registered_for_harnesses
from durable_jobs_conformance.harness import Harness
from durable_jobs_conformance.port import FOREVER, Port
from durable_jobs_core.backend import Claim, Committed, Conflicted, Defer, Outcome, Refused, Row, Write
from durable_jobs_core.words import Key

JOBS: list[Any] = [("task", "mail"), ("task", "post"), ("debounce", "mail")]
KEYS = [Key(kind, job, id) for kind, job in JOBS for id in ("a", "b", "a:b", "B", "ä", "c\0")]
INSTANTS = st.integers(0, 6)  # few, so that they meet
RUNS = 25
REVISIONS = [b"", b"1", b"2", b"3"]


_LATE = Refused("", transient=True)


def _without_words(outcome: Outcome) -> Outcome:
    """A refusal counts, and not how it is put."""
    return Refused("", outcome.transient) if isinstance(outcome, Refused) else outcome


PUTS = [(revision, wake, status) for wake in (None, *range(7)) for status in "pq" for revision in REVISIONS]
CHANGES: list[tuple[Any, ...]] = [
    *(("put", *put) for put in PUTS),
    *(("delete", None, None, None) for _ in range(len(PUTS) // 2)),
    *(("defer", None, wake, None) for _, wake, status in PUTS if status == "p"),
]
"""What is done to a key, and how often: half of them put a row."""


def _write(key: Key, expected: bytes | None, change: tuple[Any, ...]) -> Write | Defer:
    kind, revision, wake, status = change
    if kind == "defer":
        return Defer(key, expected or b"", wake)
    if kind == "delete":
        return Write(key, expected or b"", None)
    return Write(key, expected, Row(key, revision, wake, status, b"x" * 9))


WRITES: st.SearchStrategy[list[Write | Defer]] = st.lists(
    # few draws for each: most of the time of a run goes into them
    st.builds(_write, st.sampled_from(KEYS), st.sampled_from([*REVISIONS, None]), st.sampled_from(CHANGES)),
    max_size=8,
    unique_by=lambda write: write.key,
).map(lambda writes: sorted(writes, key=lambda write: write.key))
"""Writes of a batch: sorted by key, a key at most once."""

LIMITS = [
    {job: limit for job, limit in zip(JOBS, limits, strict=True) if limit}
    for limits in product(range(5), repeat=len(JOBS))
]
LISTINGS = [*product(range(1, 6), (None, "task", "debounce"), (None, "mail", "post"), (None, "p", "q"))]
"""Pages of so many rows, of a kind, a job, a status."""


class Model(RuleBasedStateMachine):
    """`rows`: what is stored; `entries`: when each is to be claimed."""

    harness: ClassVar[Harness]

    def __init__(self) -> None:
        super().__init__()
        self.store = self.harness.fresh()
        first = Port(self.store)
        self.handles = [first, first.again()]
        self.rows: dict[Key, Row] = {}
        self.entries: dict[Key, int] = {}
        self.clock = 0

    def teardown(self) -> None:
        self.handles[0].close_all()
        self.store.discard()

    @rule(
        who=st.integers(0, 1),
        writes=WRITES,
        fit=st.booleans(),
        loads=st.lists(st.sampled_from(KEYS), max_size=4, unique=True),
        limits=st.none() | st.sampled_from(LIMITS),
        now=INSTANTS,
        hold=st.integers(1, 10),
        max_bytes=st.sampled_from([1, 20, 1_000]),
        late=st.sampled_from([False] * 9 + [True]),
        reopens=st.sampled_from([False] * 7 + [True]),
        listing=st.none() | st.sampled_from(LISTINGS),
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
        reopens: bool,
        listing: tuple[int, Any, str | None, str | None] | None,
    ) -> None:
        """One batch, on the backend and on the model; a process may end before it, and rows be listed after.

        There is but one rule: of several, Hypothesis leaves some out, and many runs would write nothing.
        """
        if reopens:
            self.reopen(who)
        if fit:
            writes = [self.fitting(write) for write in writes]
        claim = None if limits is None else Claim(limits, now, now + hold, max_bytes)
        self.port = self.handles[who]
        not_after = self.clock - 1 if late else FOREVER
        answer = self.port.ask(*writes, loads=tuple(loads), claim=claim, not_after=not_after)
        outcomes = [_without_words(outcome) for outcome in answer.outcomes]
        self.port.same(outcomes, [self.write(write, late) for write in writes], "outcomes")
        self.port.same(list(answer.rows), [self.load(key) for key in loads], "rows loaded")
        if claim is None:
            self.port.same((answer.claimed, answer.next_wake), ((), None), "no claim")
        else:
            self.port.same(
                len({row.key for row in answer.claimed}), len(answer.claimed), "rows claimed twice"
            )
            for lane in range(self.port.backend.lanes):
                mine = [row for row in answer.claimed if self.port.backend.lane(row.key) == lane]
                self.claim(claim, lane, [row for row in mine if isinstance(row, Row)])
            self.port.same(answer.next_wake, min(self.entries_of(claim.limits), default=None), "next_wake")
        self.port.holds(answer.clock >= self.clock, f"a clock of {self.clock} or later", answer.clock)
        self.clock = answer.clock
        if listing is not None:
            self.scan(who, *listing)
        self.handles[0].knows_jobs(*sorted({key[:2] for key in self.rows}))

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
            return _LATE
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

    def entries_of(self, jobs: Iterable[Any], lane: int | None = None) -> list[int]:
        """Those of some jobs, of a lane or of all."""
        jobs, lane_of = set(jobs), self.port.backend.lane
        return [
            entry for key, entry in self.entries.items() if key[:2] in jobs and lane in (None, lane_of(key))
        ]

    def claim(self, claim: Claim, lane: int, claimed: list[Row]) -> None:
        """What a lane claimed is due, whole, the earliest of its job there, and as much as was allowed."""
        size = sum(len(row.blob) for row in claimed)
        self.port.holds(size <= claim.max_bytes or len(claimed) == 1, f"{claim.max_bytes} bytes", size)
        is_full = size + 9 > claim.max_bytes
        is_due = any(entry <= claim.now for entry in self.entries_of(claim.limits, lane))
        self.port.same(bool(claimed), is_due, "at least one row, if one is due")
        for job, limit in claim.limits.items():
            mine = [row.key for row in claimed if row.key[:2] == job]
            due = sorted(entry for entry in self.entries_of([job], lane) if entry <= claim.now)
            if is_full:
                self.port.holds(len(mine) <= limit, f"at most {limit} of {job}", mine)
            else:
                self.port.same(len(mine), min(limit, len(due)), f"rows claimed of {job}")
            entries = [self.entries.get(key) for key in mine]
            self.port.same(entries, due[: len(mine)], "what is due, earliest first")
        for row in claimed:
            self.port.same(row, self.rows[row.key], "a claimed row")
            self.entries[row.key] = claim.until

    def reopen(self, who: int) -> None:
        """A process ends and another begins."""
        self.handles[who].backend.close()
        self.handles[who] = self.handles[who].again()

    def scan(self, who: int, limit: int, kind: Any, job: str | None, status: str | None) -> None:
        found = self.handles[who].listed(limit, kind=kind, job=job, status=status)
        wanted = [
            row
            for _, row in sorted(self.rows.items())
            if kind in (None, row.key.kind) and job in (None, row.key.job) and status in (None, row.status)
        ]
        self.handles[who].same(found, wanted, "rows listed")
        loads = tuple(sorted(self.rows))  # a listing may have put entries back, and a load has to
        answer = self.handles[who].ask(loads=loads)
        self.handles[who].same(list(answer.rows), [self.load(key) for key in loads], "rows listed, loaded")
        self.clock = answer.clock


@registered_for_harnesses("R-1..R-8")
def random_batches_agree_with_a_dictionary(harness: Harness) -> None:
    """The same batches every time, so that a report can be repeated."""

    class Mine(Model):
        pass

    Mine.harness = harness
    run_state_machine_as_test(
        Mine,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.filter_too_much,
            ],
        ),
    )
