"""What a record can tell of itself: which run is in flight, parked, and who wrote it (S-11, S-25, D-6)."""

from __future__ import annotations

from attrs import evolve

from durable_jobs_core.record import DebounceBody, Lease, Record, Run, TaskBody
from durable_jobs_core.words import Revision, Token

LEASE = Lease(Token(1, 2), since=0, until=30_000)
WAITING = Run(number=1, hook="execute", due=5)
FLYING = Run(number=1, hook="execute", lease=LEASE)
PARKED = Run(number=1, hook="execute")
APPLYING = Run(number=2, hook="on_event", lease=LEASE)


def test_S_25_a_run_is_in_flight_waits_or_is_parked() -> None:
    assert [run.parked for run in (WAITING, FLYING, PARKED)] == [False, False, True]
    assert [DebounceBody(run=run).in_flight for run in (None, WAITING, FLYING)] == [None, None, FLYING]


def test_S_11_in_a_task_a_queued_event_may_be_what_is_in_flight() -> None:
    waiting = evolve(APPLYING, lease=None, due=5)

    assert TaskBody(run=WAITING, intake=APPLYING).in_flight == APPLYING
    assert TaskBody(run=FLYING, intake=waiting).in_flight == FLYING
    assert TaskBody().in_flight is None


def test_a_run_is_kept_in_the_place_of_the_one_with_its_number() -> None:
    body = TaskBody(run=WAITING, intake=APPLYING)
    again = evolve(APPLYING, attempt=2)
    later = evolve(WAITING, attempt=2)

    assert body.keep(again) == TaskBody(run=WAITING, intake=again)
    assert body.keep(later) == TaskBody(run=later, intake=APPLYING)
    assert DebounceBody().keep(WAITING) == DebounceBody(run=WAITING)


def test_a_record_remembers_the_last_write_of_each_of_the_last_engines() -> None:
    record = Record(
        revision=Revision(9, 7, 1), writers=((1, 7), (2, 5)), created_at=0, at=0, seq=0, body=TaskBody()
    )

    assert [record.wrote(engine) for engine in (1, 2, 3)] == [7, 5, None]


def test_D_6_a_record_tells_what_it_cannot_have_been_made_from() -> None:
    writers = ((1, 20), (2, 15))
    record = Record(revision=Revision(9, 20, 1), writers=writers, created_at=0, at=0, seq=0, body=TaskBody())
    crowded = evolve(record, writers=(*writers, *((engine, 10) for engine in range(3, 9))))
    latest = [(2, 15), (2, 16), (99, 9), (99, 10)]
    earlier = [
        evolve(record, revision=Revision(9, number, engine), writers=((engine, number),))
        for engine, number in latest
    ]

    assert [record.may_follow(one) for one in earlier] == [True, False, False, False]
    assert [crowded.may_follow(one) for one in earlier] == [True, False, True, False]


def test_D_6_a_lost_write_is_not_hidden_by_a_later_one_of_who_wrote_after_it() -> None:
    """The last writer wrote again, beyond its number, on what was there before the lost write of another."""
    known = Record(
        revision=Revision(9, 17, 1), writers=((1, 17), (2, 16)), created_at=0, at=0, seq=0, body=TaskBody()
    )
    without = evolve(known, revision=Revision(9, 20, 1), writers=((1, 20), (2, 12)))

    assert not without.may_follow(known)
    assert evolve(without, writers=((1, 20), (2, 16))).may_follow(known)
