"""When a continuous instance is due (S-31 to S-33)."""

from __future__ import annotations

from typing import Any

import pytest

from durable_jobs_core.cron import Cron
from durable_jobs_core.errors import DefinitionError, SchedulerError
from durable_jobs_core.schedule import (
    Every,
    Skip,
    cron,
    every,
    first_due,
    has_grid,
    latest_tick,
    next_tick,
    skip,
)
from durable_jobs_core.words import INSTANT_MAX

T = 1_700_000_000_000  # 22:13:20 UTC
MINUTE = 60_000


def test_S_32_every_is_a_span_and_aligned_a_grid() -> None:
    assert every("1 minute") == Every(MINUTE)
    assert every("1 minute", align="start") == Every(MINUTE, aligned=True)
    assert [has_grid(s) for s in (every("1s"), every("1s", align="start"), cron("* * * * *"))] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (60_000, 'every(span): expected a duration such as "30 minutes"'),
        ("0 s", "every(span): expected at least 1 ms, got '0 s'"),
        ("-1s", "every(span): expected a duration"),
    ],
)
def test_S_32_a_span_that_can_never_work_is_refused(span: Any, text: str) -> None:
    with pytest.raises(DefinitionError) as info:
        every(span)

    assert str(info.value).startswith(text)


def test_S_32_an_unknown_alignment_is_refused() -> None:
    align: Any = "end"
    with pytest.raises(DefinitionError, match="every\\(align\\): expected None or \"start\", got 'end'"):
        every("1s", align=align)


def test_S_33_skip_has_a_grace() -> None:
    assert skip("1 minute") == Skip(MINUTE)
    with pytest.raises(DefinitionError, match=r"skip\(grace\): expected a duration"):
        skip(None)  # type: ignore[arg-type]


def test_S_31_first_due_is_a_span_away_or_the_next_tick() -> None:
    assert first_due(every("1 minute"), T) == T + MINUTE
    assert first_due(cron("* * * * *"), T) == T + 40_000


@pytest.mark.parametrize(("after", "expected"), [(0, 1), (1, 1), (MINUTE - 1, 1), (MINUTE, 2), (150_000, 3)])
def test_S_33_the_next_tick_of_a_grid_is_later(after: int, expected: int) -> None:
    assert next_tick(every("1 minute", align="start"), T, T + after) == T + expected * MINUTE


def test_S_33_the_next_tick_by_the_clock() -> None:
    assert next_tick(cron("* * * * *"), T - 20_000, T) == T + 40_000


@pytest.mark.parametrize(("now", "expected"), [(0, 0), (MINUTE - 1, 0), (MINUTE, 1), (150_000, 2)])
def test_S_33_the_latest_tick_of_a_grid_that_has_passed(now: int, expected: int) -> None:
    assert latest_tick(every("1 minute", align="start"), T, T + now) == T + expected * MINUTE
    assert latest_tick(cron("* * * * *"), T - 20_000, T - 20_000 + now) == T - 20_000 + expected * MINUTE


@pytest.mark.parametrize(("late", "most"), [(5, 1), (MINUTE - 1, 1), (3_650 * 86_400_000, 40)])
def test_S_33_a_tick_is_found_by_few_looks_at_the_calendar(
    late: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    look = Cron.next_after
    monkeypatch.setattr(Cron, "next_after", lambda self, at: looks.append(at) or look(self, at))

    latest_tick(cron("* * * * *"), T - 20_000, T - 20_000 + late)

    assert len(looks) <= most


def test_S_61_beyond_the_calendar_there_is_no_next_instant() -> None:
    with pytest.raises(
        SchedulerError, match=f"every\\(60000 ms\\) has no next instant after {INSTANT_MAX} ms"
    ):
        first_due(every("1 minute"), INSTANT_MAX)
    with pytest.raises(SchedulerError):
        next_tick(every("1 minute"), T, INSTANT_MAX - 1)
    assert first_due(every("1 minute"), INSTANT_MAX - 60_000) == INSTANT_MAX


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Every("1s"), "Every(span_ms): expected whole milliseconds, 1 or more, got '1s'"),
        (lambda: Every(0), "Every(span_ms): expected whole milliseconds, 1 or more, got 0"),
        (lambda: Every(1, "start"), "Every(aligned): expected a bool, got 'start'"),
        (lambda: Skip("1s"), "Skip(grace_ms): expected whole milliseconds, 0 or more, got '1s'"),
    ],
)
def test_S_32_a_schedule_that_is_made_by_hand_is_checked_too(make: Any, text: str) -> None:
    with pytest.raises(DefinitionError) as info:
        make()

    assert str(info.value) == text
