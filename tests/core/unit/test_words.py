"""The words: keys, revisions, instants, failures (SPEC §1)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest

from durable_jobs_core.words import (
    INSTANT_MAX,
    JOB_NAME,
    Failure,
    Key,
    Revision,
    from_datetime,
    job_of,
    maybe_datetime,
    printable,
    to_datetime,
)


def test_S_63_keys_that_are_printed_alike_are_not_equal() -> None:
    one, other = Key("task", "a", "b:c"), Key("task", "a:b", "c")

    assert str(one) == str(other) == "task:a:b:c"
    assert one != other


def test_the_job_of_an_instance() -> None:
    assert job_of(Key("task", "a", "x")) == ("task", "a")


@pytest.mark.parametrize("name", ["a", "_", "tokenRefresher", "a.b-c_9"])
def test_S_63_a_job_name(name: str) -> None:
    assert JOB_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "9a", "-a", ".a", "a b", "a:b", "ä", "a\n"])
def test_S_63_no_job_name(name: str) -> None:
    assert JOB_NAME.fullmatch(name) is None


def test_a_revision_is_24_bytes_and_comes_back() -> None:
    revision = Revision(life=2**64 - 1, number=7, engine=1)

    assert len(revision.to_bytes()) == 24
    assert Revision.from_bytes(revision.to_bytes()) == revision
    with pytest.raises(struct.error):
        Revision.from_bytes(b"short")


def test_S_7_instants_are_whole_milliseconds_rounded_down() -> None:
    moment = datetime(2024, 1, 1, 1, 0, 0, 1_999, tzinfo=timezone(timedelta(hours=1)))

    assert from_datetime(moment) == 1_704_067_200_001
    assert to_datetime(1_704_067_200_001) == datetime(2024, 1, 1, 0, 0, 0, 1_000, tzinfo=UTC)


def test_the_last_instant_is_the_calendars() -> None:
    assert to_datetime(INSTANT_MAX) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert maybe_datetime(None) is None
    assert maybe_datetime(0) == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_failure_is_printed_as_its_type_and_text() -> None:
    assert str(Failure("KeyError", "'a'")) == "KeyError: 'a'"
    assert str(Failure("CancelledError", "")) == "CancelledError"


def test_a_text_of_others_neither_ends_a_line_nor_drives_a_terminal() -> None:
    assert printable("Zoë's order 😀, 100 %") == "Zoë's order 😀, 100 %"
    assert printable("a\nb\r\x1b[2J\x9b\x00") == r"a\nb\r\x1b[2J\x9b\x00"
    assert printable("C:\\it's\n") == r"C:\it's\n"
    assert printable("\u2028\u202e\ud800") == r"\u2028\u202e\ud800"
