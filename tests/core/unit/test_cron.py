"""Cron expressions in zones: what matches, what is refused, and each change of clocks (S-32, S-33)."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from durable_jobs_core.cron import Cron
from durable_jobs_core.errors import DefinitionError, SchedulerError
from durable_jobs_core.words import INSTANT_MAX, from_datetime, to_datetime

NEW_YORK = "America/New_York"


def ticks(expression: str, after: str, count: int, tz: str = "UTC") -> list[str]:
    """The next ticks in UTC; `after` is a wall-clock time in the zone, or has its offset."""
    moment = datetime.fromisoformat(after)
    if moment.utcoffset() is None:
        moment = moment.replace(tzinfo=ZoneInfo(tz))
    cron, instant, found = Cron.parse(expression, tz), from_datetime(moment), []
    for _ in range(count):
        instant = cron.next_after(instant)
        found.append(to_datetime(instant).strftime("%Y-%m-%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["2024-01-01 00:01:00", "2024-01-01 00:02:00"]),
        ("* * * * * *", ["2024-01-01 00:00:01", "2024-01-01 00:00:02"]),
        ("30 0 12 * * *", ["2024-01-01 12:00:30", "2024-01-02 12:00:30"]),
        ("0 12 * * *", ["2024-01-01 12:00:00", "2024-01-02 12:00:00"]),
        ("0 0 12 * * *", ["2024-01-01 12:00:00", "2024-01-02 12:00:00"]),
        ("*/20 6-7 * * *", ["2024-01-01 06:00:00", "2024-01-01 06:20:00", "2024-01-01 06:40:00"]),
        ("50/5 0 * * *", ["2024-01-01 00:50:00", "2024-01-01 00:55:00", "2024-01-02 00:50:00"]),
        ("5-5/20 0 * * *", ["2024-01-01 00:05:00", "2024-01-02 00:05:00"]),
        ("05-5/20 0 * * *", ["2024-01-01 00:05:00", "2024-01-02 00:05:00"]),
        ("00-0/20 0 * * *", ["2024-01-02 00:00:00", "2024-01-03 00:00:00"]),
        ("0 0 * * Tue-TUE/2", ["2024-01-02 00:00:00", "2024-01-09 00:00:00"]),
        ("0 0 1 feb,mar *", ["2024-02-01 00:00:00", "2024-03-01 00:00:00"]),
        ("0 0 29 2 *", ["2024-02-29 00:00:00", "2028-02-29 00:00:00"]),
        ("0 0 L * *", ["2024-01-31 00:00:00", "2024-02-29 00:00:00"]),
        ("0 0 * * 5#5", ["2024-03-29 00:00:00", "2024-05-31 00:00:00"]),
    ],
)
def test_S_32_five_fields_or_six_with_seconds_first(expression: str, expected: list[str]) -> None:
    assert ticks(expression, "2024-01-01", len(expected)) == expected


@pytest.mark.parametrize("weekday", ["0", "7", "sun"])
def test_S_32_seven_is_sunday(weekday: str) -> None:
    assert ticks(f"0 0 * * {weekday}", "2024-01-01", 1) == ["2024-01-07 00:00:00"]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("13 * 5", ["2024-01-05", "2024-01-12", "2024-01-13"]),
        ("*/15 * 5", ["2024-01-05", "2024-01-12", "2024-01-16"]),
        ("13 * */6", ["2024-01-06", "2024-01-07", "2024-01-13"]),
        ("13 * *", ["2024-01-13", "2024-02-13", "2024-03-13"]),
        ("* * 5", ["2024-01-05", "2024-01-12", "2024-01-19"]),
        ("13 * */1", ["2024-01-13", "2024-02-13", "2024-03-13"]),
        ("*/1 * 5", ["2024-01-05", "2024-01-12", "2024-01-19"]),
    ],
)
def test_S_32_day_of_month_and_of_week_both_restricted_either_matches(days: str, expected: list[str]) -> None:
    assert [tick[:10] for tick in ticks(f"0 0 {days}", "2024-01-01 12:00", 3)] == expected


@pytest.mark.parametrize(
    "expression", ["0 0 30 2 *", "0 0 31 4,6 *", "60 * * * *", "* 24 * * *", "x * * * *", "*/0 * * * *"]
)
def test_S_32_an_expression_that_can_never_match_is_refused(expression: str) -> None:
    with pytest.raises(DefinitionError, match="can never match"):
        Cron.parse(expression, "UTC")


@pytest.mark.parametrize("expression", ["", "* * * *", "* * * * * * *", "@daily"])
def test_S_32_another_number_of_fields_is_refused(expression: str) -> None:
    with pytest.raises(DefinitionError, match="expected 5 or 6 fields, got "):
        Cron.parse(expression, "UTC")


@pytest.mark.parametrize("tz", ["Mars/Base", "", "../x", "Europe"])
def test_S_32_an_unknown_zone_is_refused(tz: str) -> None:
    with pytest.raises(DefinitionError, match="unknown time zone"):
        Cron.parse("* * * * *", tz)


@pytest.mark.parametrize("tz", [None, 5, UTC, ZoneInfo("Europe/Paris")])
def test_S_32_a_zone_is_given_by_its_name(tz: Any) -> None:
    with pytest.raises(
        DefinitionError, match=r'cron\(tz\): expected the name of a zone, such as "Europe/Paris"'
    ):
        Cron.parse("* * * * *", tz)


def test_S_32_utc_needs_no_data_of_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(key: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(key)

    monkeypatch.setattr(sys.modules[Cron.__module__], "ZoneInfo", find_none)

    assert Cron.parse("0 4 * * *", "UTC").next_after(0) == 4 * 3_600_000
    with pytest.raises(DefinitionError, match="is the tzdata package there"):
        Cron.parse("0 4 * * *", "Europe/Paris")


def test_S_32_the_same_moment_means_the_same_in_both_forms() -> None:
    for after in ("2024-03-09 12:00", "2024-11-02 12:00"):
        for five in ("30 2 * * *", "30 1 * * *", "*/30 * * * *"):
            assert ticks(five, after, 60, NEW_YORK) == ticks(f"0 {five}", after, 60, NEW_YORK)


def test_equal_expressions_are_equal_schedules() -> None:
    assert Cron.parse("0 0 * * *", "UTC") == Cron.parse("0 0 * * *", "UTC")
    assert Cron.parse("0 0 * * *", "UTC") != Cron.parse("0 0 * * *", NEW_YORK)


CHANGES = {  # New York: 2024-03-10 has no 02:00 to 02:59, 2024-11-03 has 01:00 to 01:59 twice
    "fixed hours: a time in the gap at the gap's end": (
        "30 2 * * *",
        "2024-03-09 12:00",
        ["2024-03-10 07:00:00", "2024-03-11 06:30:00"],
    ),
    "fixed hours, to the second: at the gap's end too": (
        "1 0 2 * * *",
        "2024-03-09 12:00",
        ["2024-03-10 07:00:00", "2024-03-11 06:00:01"],
    ),
    "several times in the gap, and one at its end: all one": (
        "*/20 2,3 * * *",
        "2024-03-10 00:00",
        ["2024-03-10 07:00:00", "2024-03-10 07:20:00", "2024-03-10 07:40:00", "2024-03-11 06:00:00"],
    ),
    "a star: the gap adds nothing": (
        "30 * * * *",
        "2024-03-10 01:00",
        ["2024-03-10 06:30:00", "2024-03-10 07:30:00"],
    ),
    "a star: what the gap ends with is not in it": (
        "0 * * * *",
        "2024-03-10 01:00",
        ["2024-03-10 07:00:00"],
    ),
    "a range all in the gap: not that day": (
        "30 2-2 * * *",
        "2024-03-09 12:00",
        ["2024-03-11 06:30:00"],
    ),
    "fixed hours: once in the repeated hour, in the first pass": (
        "30 1 * * *",
        "2024-11-03 00:00",
        ["2024-11-03 05:30:00", "2024-11-04 06:30:00"],
    ),
    "fixed hours, asked in the second pass": (
        "30 1 * * *",
        "2024-11-03 01:10-05:00",
        ["2024-11-04 06:30:00"],
    ),
    "fixed hours, asked when the second pass begins": (
        "30 1 * * *",
        "2024-11-03 01:00-05:00",
        ["2024-11-04 06:30:00"],
    ),
    "fixed hours, asked in the first pass": (
        "10,50 1 * * *",
        "2024-11-03 01:10-04:00",
        ["2024-11-03 05:50:00", "2024-11-04 06:10:00"],
    ),
    "fixed hours, asked in the second pass, for the end of the hour": (
        "0 1,2 * * *",
        "2024-11-03 01:10-05:00",
        ["2024-11-03 07:00:00", "2024-11-04 06:00:00"],
    ),
    "a star: both passes run": (
        "30 * * * *",
        "2024-11-03 00:45",
        ["2024-11-03 05:30:00", "2024-11-03 06:30:00", "2024-11-03 07:30:00"],
    ),
    "a star, asked early in the first pass": (
        "*/20 * * * *",
        "2024-11-03 01:10-04:00",
        ["2024-11-03 05:20:00", "2024-11-03 05:40:00", "2024-11-03 06:00:00"],
    ),
    "a star, asked in the second pass": (
        "*/20 * * * *",
        "2024-11-03 01:10-05:00",
        ["2024-11-03 06:20:00", "2024-11-03 06:40:00", "2024-11-03 07:00:00"],
    ),
    "a range, asked when the second pass begins": (
        "0 1-1 * * *",
        "2024-11-03 01:00-05:00",
        ["2024-11-04 06:00:00"],
    ),
    "a range: the last second of the hour is in both passes": (
        "59 59 1-1 * * *",
        "2024-11-03 01:30-04:00",
        ["2024-11-03 05:59:59", "2024-11-03 06:59:59", "2024-11-04 06:59:59"],
    ),
    "a range, asked late in the first pass": (
        "10 1-1 * * *",
        "2024-11-03 01:45-04:00",
        ["2024-11-03 06:10:00", "2024-11-04 06:10:00"],
    ),
    "a star with nothing in the second pass": (
        "30 */2 * * *",
        "2024-11-03 01:45-04:00",
        ["2024-11-03 07:30:00"],
    ),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES.keys())
def test_S_33_a_change_of_clocks_goes_by_the_hour_field(case: tuple[str, str, list[str]]) -> None:
    expression, after, expected = case

    assert ticks(expression, after, len(expected), NEW_YORK) == expected


def test_S_33_half_an_hour_and_a_whole_day_may_be_missing_too() -> None:
    assert ticks("15 2 * * *", "2024-10-06 00:00", 1, "Australia/Lord_Howe") == ["2024-10-05 15:30:00"]
    assert ticks("0 12 30 12 *", "2011-12-01", 1, "Pacific/Apia") == ["2011-12-30 10:00:00"]


def test_S_61_beyond_the_calendar_there_is_no_tick() -> None:
    cron = Cron.parse("0 0 1 1 *", "UTC")

    for instant in (INSTANT_MAX - 1_000, INSTANT_MAX):
        with pytest.raises(SchedulerError, match="has no tick after"):
            cron.next_after(instant)
    with pytest.raises(SchedulerError):
        Cron.parse("0 20 31 12 *", NEW_YORK).next_after(INSTANT_MAX - 3_600_000)


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *"])
def test_S_32_an_expression_is_text(expression: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^cron\(expression\): expected text of 5 or 6 fields, got "):
        Cron.parse(expression, "UTC")
