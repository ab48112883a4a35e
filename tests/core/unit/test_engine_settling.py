"""The verdicts on lost writes, from what is there now: a table of the cases of D-6."""

from __future__ import annotations

import pytest
from attrs import evolve
from support.samples import TICK, number

from durable_jobs_core.backend import Damaged, Row
from durable_jobs_core.codec import Loaded, Newer
from durable_jobs_core.engine.entries import Entry, Stepped, Writing
from durable_jobs_core.engine.settling import LOST_WRITES_MAX, Verdict, judge, revision, same, settle, unknown
from durable_jobs_core.events import (
    AddRequested,
    AlarmFired,
    ClearRequested,
    StatusRequested,
    TerminateRequested,
)
from durable_jobs_core.record import WRITERS_MAX, ContinuousBody, Record
from durable_jobs_core.words import Revision

ME, LIFE = 1, 77
BODY = ContinuousBody(state=number(0), next_at=None)
NEWER = Newer(Row(TICK, b"newer", None, "running", b""), "schema", 2, 1)
DAMAGED = Damaged(TICK, b"damaged", b"", "checksum")


def record(*writers: tuple[int, int], life: int = LIFE) -> Record:
    """A record with these (engine, number) pairs, latest first."""
    revision = Revision(life, writers[0][1], writers[0][0])
    return Record(revision=revision, writers=writers, created_at=0, at=0, seq=0, body=BODY)


def lost(base: Loaded | None, work: Record | None, *entries: Entry, reads: tuple[Entry, ...] = ()) -> Writing:
    """A write with the number 10."""
    steps = [Stepped(entry, (), writes=True) for entry in entries]
    steps += [Stepped(entry, ()) for entry in reads]
    return Writing(base, work, row=None, number=10, steps=tuple(steps), not_after=500)


def entry() -> Entry:
    return Entry(AlarmFired(), 0)


BASE = record((5, 9), (ME, 3))
WORK = record((ME, 10), (5, 9))
OTHERS = tuple((engine, 11 + engine) for engine in range(20, 20 + WRITERS_MAX))

CHANGE = lost(BASE, WORK)
DELETION = lost(BASE, None)
ENDING = Entry(TerminateRequested(), 0, call=1)
TERMINATING = lost(BASE, None, ENDING)
CLEARING = lost(BASE, None, Entry(ClearRequested(), 0, call=1))
ADDING = lost(BASE, None, Entry(AddRequested(event=1), 0, call=2), ENDING)
READING = lost(BASE, None, ENDING, reads=(Entry(StatusRequested(), 0, call=3),))
CREATION = lost(None, record((ME, 10)))


@pytest.mark.parametrize(
    ("write", "found", "final", "verdict"),
    [
        pytest.param(CHANGE, WORK, False, Verdict.COMMITTED, id="a: named last"),
        pytest.param(
            CHANGE, record((6, 12), (ME, 10)), False, Verdict.COMMITTED, id="a: named, written over"
        ),
        pytest.param(
            CHANGE, record((6, 12), (ME, 10), life=3), False, Verdict.COMMITTED, id="a: life renewed"
        ),
        pytest.param(CHANGE, BASE, False, Verdict.NOT_LANDED, id="b: unchanged"),
        pytest.param(CHANGE, record((6, 12), (5, 9)), False, Verdict.NOT_LANDED, id="b: others wrote"),
        pytest.param(
            CHANGE, record(*OTHERS[:-1], (ME, 3)), False, Verdict.NOT_LANDED, id="b: none forgotten"
        ),
        pytest.param(
            CHANGE, record(*OTHERS[:-1], (5, 9)), False, Verdict.NOT_LANDED, id="b: none since it forgotten"
        ),
        pytest.param(
            CHANGE, record((6, 12), (5, 11)), False, Verdict.NOT_LANDED, id="b: all known wrote again"
        ),
        pytest.param(CHANGE, record(*OTHERS), False, Verdict.UNKNOWN, id="c: one forgotten"),
        pytest.param(DELETION, record(*OTHERS), False, Verdict.UNKNOWN, id="c: of a deletion"),
        pytest.param(DELETION, None, False, Verdict.COMMITTED, id="d: deleted"),
        pytest.param(TERMINATING, None, False, Verdict.COMMITTED, id="d: terminated"),
        pytest.param(READING, None, False, Verdict.COMMITTED, id="d: read and terminated"),
        pytest.param(CLEARING, None, False, Verdict.UNKNOWN, id="e: cleared, or delivered by another"),
        pytest.param(ADDING, None, False, Verdict.UNKNOWN, id="e: added and terminated, or never added"),
        pytest.param(DELETION, BASE, False, Verdict.NOT_LANDED, id="b: not deleted"),
        pytest.param(CHANGE, None, False, Verdict.UNKNOWN, id="e: gone"),
        pytest.param(CHANGE, None, True, Verdict.UNKNOWN, id="e: gone, and final"),
        pytest.param(CHANGE, record((6, 12), life=3), False, Verdict.UNKNOWN, id="e: another life"),
        pytest.param(
            DELETION, record((6, 12), life=3), False, Verdict.UNKNOWN, id="e: deleted, another life"
        ),
        pytest.param(CREATION, None, False, Verdict.TOO_EARLY, id="e: absent, but it may land"),
        pytest.param(CREATION, None, True, Verdict.UNKNOWN, id="e: absent for good"),
        pytest.param(CREATION, record((ME, 10)), False, Verdict.COMMITTED, id="a: created"),
        pytest.param(CREATION, record((6, 12)), False, Verdict.UNKNOWN, id="e: created by another"),
        pytest.param(CHANGE, record((ME, 3)), False, Verdict.NOT_LANDED, id="f: an older row"),
        pytest.param(CHANGE, NEWER, False, Verdict.UNKNOWN, id="a newer release wrote"),
        pytest.param(CHANGE, DAMAGED, False, Verdict.UNKNOWN, id="it is damaged"),
        pytest.param(lost(DAMAGED, None), DAMAGED, False, Verdict.NOT_LANDED, id="b: damaged as before"),
        pytest.param(lost(DAMAGED, None), None, False, Verdict.COMMITTED, id="d: damaged, deleted"),
        pytest.param(lost(DAMAGED, None), NEWER, False, Verdict.UNKNOWN, id="damaged, overwritten"),
    ],
)
def test_the_verdict(write: Writing, found: Loaded | None, final: bool, verdict: Verdict) -> None:
    assert judge(write, found, engine=ME, final=final) is verdict


def test_with_nothing_lost_there_is_nothing_to_tell() -> None:
    settled = settle([], None, engine=ME, final=False)

    assert (settled.landed, settled.unknown, settled.too_early) == (None, (), False)


def test_a_creation_that_may_land_is_to_be_looked_for_again() -> None:
    assert settle([CREATION], None, engine=ME, final=False).too_early


@pytest.mark.parametrize("times", [1, LOST_WRITES_MAX - 1, LOST_WRITES_MAX])
def test_what_did_not_land_may_until_the_next_commit_and_of_many_it_is_waited_for(times: int) -> None:
    settled = settle([CHANGE] * times, BASE, engine=ME, final=False)

    assert (settled.landed, settled.unknown, settled.open) == (None, (), True)
    assert settled.too_early is (times == LOST_WRITES_MAX)


@pytest.mark.parametrize(
    ("found", "final"),
    [
        pytest.param(BASE, True, id="none can land any more"),
        pytest.param(record((6, 12), (5, 9)), False, id="another has written"),
        pytest.param(None, False, id="it is gone"),
    ],
)
def test_what_can_land_no_more_is_not_waited_for(found: Record | None, final: bool) -> None:
    settled = settle([CHANGE] * LOST_WRITES_MAX, found, engine=ME, final=final)

    assert (settled.open, settled.too_early) == (False, False)


def test_the_one_that_is_named_landed_and_of_the_others_nothing_happened() -> None:
    other = evolve(lost(BASE, WORK, entry()), number=11)

    settled = settle([CHANGE, other], record(*OTHERS[:-1], (ME, 10)), engine=ME, final=False)

    assert (settled.landed, settled.unknown) == (CHANGE, ())


def test_inputs_that_write_are_unknown_each_once() -> None:
    one, two, read = entry(), entry(), entry()
    writes = [lost(BASE, WORK, one), lost(BASE, WORK, one, two, reads=(read,))]

    settled = settle(writes, None, engine=ME, final=False)

    assert (settled.landed, settled.unknown) == (None, (one, two))


def test_a_deletion_that_landed_does_not_answer_for_the_other_writes() -> None:
    ending, other = entry(), entry()
    deletion = lost(BASE, None, ending)

    settled = settle([deletion, lost(BASE, WORK, ending, other)], None, engine=ME, final=False)

    assert (settled.landed, settled.unknown) == (deletion, (other,))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (None, None, True),
        (None, BASE, False),
        (BASE, None, False),
        (BASE, evolve(BASE, seq=5), True),
        (BASE, WORK, False),
        (NEWER, NEWER, True),
        (NEWER, DAMAGED, False),
    ],
)
def test_two_loads_are_the_same_by_their_revision(
    one: Loaded | None, other: Loaded | None, expected: bool
) -> None:
    assert same(one, other) is expected


@pytest.mark.parametrize(
    ("found", "expected"), [(BASE, BASE.revision.to_bytes()), (NEWER, b"newer"), (DAMAGED, b"damaged")]
)
def test_a_write_must_expect_the_stored_revision(found: Loaded, expected: bytes) -> None:
    assert revision(found) == expected


def test_a_caller_is_told_of_which_instance_no_one_can_tell_and_why() -> None:
    assert str(unknown(TICK, "; it fails")) == f"whether the request reached {TICK} is not known; it fails"
