"""What a listing shows of a row: also of one that cannot be read (S-6, S-66)."""

from __future__ import annotations

from attrs import evolve
from durable_jobs_runtime.runtime import _instance
from support.frames import framed
from support.samples import CHORE

from durable_jobs_core.backend import Damaged
from durable_jobs_core.codec import encode
from durable_jobs_core.record import Record, TaskBody
from durable_jobs_core.words import INSTANT_MAX, Revision, to_datetime

RECORD = Record(
    revision=Revision(1, 2, 3), writers=((3, 2),), created_at=0, at=0, seq=0, body=TaskBody(scheduled_at=5)
)
ROW = encode(CHORE, RECORD, wake=5)


def test_S_66_a_row_is_shown_by_its_status_and_alarm() -> None:
    shown = _instance(ROW)

    assert (shown.key, shown.status, shown.alarm) == (CHORE, "active", to_datetime(5))
    assert _instance(framed(ROW, schema=2)).status == "active"  # a newer release's
    assert _instance(evolve(ROW, wake=None)).alarm is None


def test_S_66_a_row_whose_alarm_is_in_no_calendar_does_not_end_the_listing() -> None:
    far, long_ago = _instance(evolve(ROW, wake=10**30)), _instance(evolve(ROW, wake=-(10**30)))

    assert (far.alarm, long_ago.alarm) == (to_datetime(INSTANT_MAX), to_datetime(0))


def test_S_6_a_row_whose_checksum_is_wrong_is_shown_as_quarantined() -> None:
    torn = evolve(ROW, blob=ROW.blob[:-1])

    for row in (torn, Damaged(CHORE, ROW.revision, b"", "a torn page")):
        assert (_instance(row).status, _instance(row).alarm) == ("quarantined", None)
