"""Durations as text mean what they say, in whichever form (S-62)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.durations import to_ms
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.words import INSTANT_MAX

UNITS = {
    604_800_000: ["w", " week", " weeks"],
    86_400_000: ["d", " day", " days"],
    3_600_000: ["h", " hours", "hr"],
    60_000: ["m", " min", " minutes"],
    1_000: ["s", " secs", " second"],
    1: ["ms", " millis", " milliseconds"],
}
terms = st.lists(
    st.tuples(st.sampled_from(sorted(UNITS)), st.integers(0, 99_999), st.integers(0, 2)),
    min_size=1,
    unique_by=lambda term: term[0],
)


@given(terms=terms, space=st.sampled_from(["", " ", "  "]))
def test_terms_in_descending_order_add_up_and_in_another_order_are_refused(
    terms: list[tuple[int, int, int]], space: str
) -> None:
    descending = sorted(terms, reverse=True)
    said = [f"{number}{UNITS[scale][name]}" for scale, number, name in descending]

    assert to_ms(space.join(said), "wait") == sum(scale * number for scale, number, _ in terms)
    if len(terms) > 1:
        with pytest.raises(ValidationError):
            to_ms(space.join(reversed(said)), "wait")


@given(ms=st.integers(0, INSTANT_MAX))
def test_every_form_of_a_span_comes_back(ms: int) -> None:
    seconds, rest = divmod(ms, 1_000)

    assert to_ms(timedelta(milliseconds=ms), "wait") == ms
    assert to_ms(f"{ms} ms", "wait") == ms
    assert to_ms(f"{seconds}.{rest:03} s", "wait") == ms
    assert to_ms(f"PT{seconds}.{rest:03}S", "wait") == ms


@given(text=st.text() | st.from_regex(r"\s*[0-9.]+\s*[a-zA-Z]+\s*", fullmatch=True))
def test_any_text_is_a_span_in_range_or_refused(text: str) -> None:
    try:
        ms = to_ms(text, "wait")
    except ValidationError:
        return
    assert 0 <= ms <= INSTANT_MAX
