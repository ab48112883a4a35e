"""Durations as text or `timedelta` (S-7, S-62; a bare number is not a time)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from durable_jobs_core.durations import defined_ms, maybe_ms, to_ms
from durable_jobs_core.errors import DefinitionError, ValidationError
from durable_jobs_core.words import INSTANT_MAX

S, M, H, D = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("100ms", 100),
        ("5s", 5 * S),
        ("5 sec", 5 * S),
        ("30 minutes", 30 * M),
        ("1h30m", 90 * M),
        (" 1 hour  30 min ", 90 * M),
        ("1.5 seconds", 1_500),
        ("1.5h", 90 * M),
        ("0.001s", 1),
        ("1w2d3h4m5s6ms", 7 * D + 2 * D + 3 * H + 4 * M + 5 * S + 6),
        ("0 s", 0),
        ("P1W", 7 * D),
        ("P1DT12H", D + 12 * H),
        ("PT30M", 30 * M),
        ("PT1.5S", 1_500),
        ("P0D", 0),
    ],
)
def test_text(text: str, ms: int) -> None:
    assert to_ms(text, "wait") == ms


@pytest.mark.parametrize("ms", [0, 1, 90 * M, INSTANT_MAX])
def test_timedelta(ms: int) -> None:
    assert to_ms(timedelta(milliseconds=ms), "wait") == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "90",
        "1:30",
        "abc",
        "5s garbage",
        "1m1h",
        "1h1h",
        "-5s",
        "1M",
        "5 Minutes",
        "1e3s",
        "5 µs",
        "٣s",
        "1 month",
        "1 hour and 30 minutes",
        ".5s",
        "5.s",
        "0.0001s",
        "1.5ms",
        "1" * 19 + "ms",
        "P",
        "PT",
        "P1M",
        "P1Y",
        "PT1H1D",
        "p1d",
        "PT0.0001S",
        "P" + "1" * 19 + "D",
        "P1DT",
    ],
)
def test_S_62_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as info:
        to_ms(text, "wait")

    assert str(info.value).startswith('wait: expected a duration such as "30 minutes"')
    assert repr(text) in str(info.value)


@pytest.mark.parametrize(
    "value", [5, 5.0, True, None, b"5s", ["5s"], 10**5000], ids=lambda value: type(value).__name__
)
def test_S_62_a_bare_number_is_no_duration(value: object) -> None:
    with pytest.raises(ValidationError, match=f"got {type(value).__name__}( |$)"):
        to_ms(value, "wait")


@pytest.mark.parametrize("value", [timedelta(microseconds=1), timedelta(milliseconds=1, microseconds=500)])
def test_S_7_a_fraction_of_a_millisecond_is_refused(value: timedelta) -> None:
    with pytest.raises(ValidationError, match="expected whole milliseconds"):
        to_ms(value, "wait")


@pytest.mark.parametrize(
    "value", [timedelta(milliseconds=-1), timedelta(milliseconds=INSTANT_MAX + 1), "521777 weeks"]
)
def test_S_7_a_span_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="expected a duration from zero to 8,029 years"):
        to_ms(value, "wait")


def test_in_a_definition_a_duration_that_can_never_work_is_a_definition_error() -> None:
    assert defined_ms("1s", "timeout", least=1) == 1_000
    with pytest.raises(DefinitionError, match=r'^timeout: expected a duration such as "30 .* got int 5$'):
        defined_ms(5, "timeout")
    with pytest.raises(DefinitionError, match=r"^timeout: expected at least 1 ms, got '0 s'$"):
        defined_ms("0 s", "timeout", least=1)
    assert (maybe_ms(None, "timeout", 1), maybe_ms("1s", "timeout", 1)) == (None, 1_000)


@pytest.mark.parametrize("text", ["30 Minutes", "1 month", "5"])
def test_text_of_another_form_is_told_which_units_there_are(text: str) -> None:
    units = r"the units are w, d, h, m, s, ms and their names, in small letters\), got '" + text
    with pytest.raises(ValidationError, match=units):
        to_ms(text, "wait")
