"""Every record comes back from its bytes, and any other bytes are damage and nothing worse (S-6)."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.backend import Damaged, Row
from durable_jobs_core.codec import decode, encode
from durable_jobs_core.record import (
    Batch,
    ContinuousBody,
    DeadEvent,
    DebounceBody,
    Lease,
    Outcome,
    QueuedEvent,
    Record,
    Run,
    Stored,
    TaskBody,
    Window,
)
from durable_jobs_core.words import INSTANT_MAX, Failure, Key, Revision, Token

u64 = st.integers(0, 2**64 - 1)
instants = st.integers(0, INSTANT_MAX)
counts = st.integers(0, 2**31)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
hooks = st.sampled_from(["execute", "on_event", "on_idle", "on_error"])
reasons = st.sampled_from(["flushAfter", "maxEvents", "manual"])
stored = st.builds(Stored, counts, documents)
failures = st.builds(Failure, texts, texts, st.none() | texts)
leases = st.builds(Lease, st.builds(Token, u64, u64), instants, instants)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


runs = st.builds(
    Run,
    number=counts,
    hook=hooks,
    attempt=counts,
    crashes=counts,
    due=maybe(instants),
    lease=maybe(leases),
    first_at=maybe(instants),
    scheduled_for=maybe(instants),
    failure=maybe(failures),
    forced=st.booleans(),
)
outcomes = st.builds(
    Outcome,
    run=counts,
    result=st.sampled_from(["succeeded", "retrying", "failed", "parked", "terminated", "cleared"]),
    at=instants,
    error=maybe(failures),
    retry_at=maybe(instants),
)
shared: dict[str, st.SearchStrategy[Any]] = {
    "run": maybe(runs),
    "runs": counts,
    "ended": counts,
    "last_error": maybe(failures),
    "outcome": maybe(outcomes),
}
ids = st.lists(st.tuples(texts, instants), max_size=3).map(tuple)
windows = st.builds(
    Window,
    state=stored,
    count=counts,
    started_at=instants,
    due_at=instants,
    cause=maybe(reasons),
    deferred=st.booleans(),
)
batches = st.builds(Batch, state=stored, count=counts, started_at=instants, reason=reasons)
queued = st.builds(QueuedEvent, event=documents, id=maybe(texts))
dead = st.builds(DeadEvent, event=documents, failure=failures, at=instants, id=maybe(texts))
bodies = {
    "continuous": st.builds(
        ContinuousBody,
        state=stored,
        next_at=maybe(instants),
        paused=st.booleans(),
        last_run_at=maybe(instants),
        **shared,
    ),
    "debounce": st.builds(
        DebounceBody,
        window=maybe(windows),
        batch=maybe(batches),
        ids=ids,
        marked=st.booleans(),
        lost=st.lists(outcomes, max_size=4).map(tuple),
        **shared,
    ),
    "task": st.builds(
        TaskBody,
        state=maybe(stored),
        scheduled_at=maybe(instants),
        intake=maybe(runs),
        inbox=st.lists(queued, max_size=3).map(tuple),
        dead=st.lists(dead, max_size=3).map(tuple),
        ids=ids,
        event_count=counts,
        execute_count=counts,
        **shared,
    ).filter(lambda body: not body.inbox or body.intake is not None),
}


@st.composite
def records(draw: st.DrawFn) -> tuple[Key, Record]:
    kind = draw(st.sampled_from(sorted(bodies)))
    revision = draw(st.builds(Revision, u64, u64, u64))
    others = draw(st.lists(st.tuples(u64, u64), max_size=7))
    record = Record(
        revision=revision,
        writers=((revision.engine, revision.number), *others),
        created_at=draw(instants),
        at=draw(instants),
        seq=draw(counts),
        body=draw(bodies[kind]),
    )
    return Key(kind, "job", draw(texts)), record  # type: ignore[arg-type]


@given(records(), maybe(instants))
def test_S_6_every_record_comes_back_from_its_bytes(pair: tuple[Key, Record], wake: int | None) -> None:
    key, record = pair

    row = encode(key, record, wake)

    assert decode(row) == record
    assert encode(key, record, wake) == row
    assert (row.key, row.wake) == (key, wake)


@given(records(), st.data())
def test_S_6_a_changed_byte_is_damage_and_no_newer_schema(
    pair: tuple[Key, Record], data: st.DataObject
) -> None:
    row = encode(*pair, wake=None)
    place = data.draw(st.integers(0, len(row.blob) - 1))
    blob = bytearray(row.blob)
    blob[place] ^= data.draw(st.integers(1, 255))

    assert isinstance(decode(evolve(row, blob=bytes(blob))), Damaged)


@given(st.binary(), st.binary(min_size=24, max_size=24))
def test_S_6_any_other_bytes_are_damage(blob: bytes, revision: bytes) -> None:
    row = Row(Key("task", "job", "a"), revision, None, "idle", blob)

    damaged = decode(row)

    assert isinstance(damaged, Damaged)
    assert (damaged.key, damaged.revision, damaged.raw) == (row.key, revision, blob)
