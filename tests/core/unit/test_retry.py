"""When a failed attempt is tried again, and when it is given up (S-20 to S-23)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock, create_autospec

import pytest

from durable_jobs_core.errors import DefinitionError, ValidationError
from durable_jobs_core.retry import Backoff, GiveUp, NonRetryable, Retry, decide
from durable_jobs_core.words import INSTANT_MAX

MIDDLE, LEAST, MOST = 2**63, 0, 2**64 - 1
"""Entropy that jitters nothing, and that jitters the most either way."""

T = 1_700_000_000_000


def waits(delay: Any, attempts: int) -> list[int]:
    return [Retry(delay=delay).wait_ms(n, MIDDLE) for n in range(1, attempts + 1)]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        ("5 seconds", [5_000, 5_000, 5_000]),
        (Backoff.constant("5 seconds"), [5_000, 5_000, 5_000]),
        (Backoff.linear("1 second", "2 seconds", max="4 seconds"), [1_000, 3_000, 4_000, 4_000]),
        (Backoff.linear("1 second", "2 seconds"), [1_000, 3_000, 5_000, 7_000]),
        (Backoff.exponential("1 second", factor=3, max="20 seconds"), [1_000, 3_000, 9_000, 20_000]),
        (Backoff.exponential("1 second", factor=1.5), [1_000, 1_500, 2_250]),
        (Backoff.exponential("1 second"), [1_000, 2_000, 4_000]),
        (lambda attempt: f"{attempt} s", [1_000, 2_000, 3_000]),
        (lambda attempt: timedelta(seconds=1.5**attempt), [1_500, 2_250, 3_375, 5_062, 7_593]),
        (lambda attempt: f"{attempt * 0.1} s", [100, 200, 300, 400]),
        (lambda attempt: f"PT{attempt / 8}S", [125, 250, 375]),
        (lambda attempt: f"PT{attempt / 16}S", [62, 125, 187]),
    ],
)
def test_S_20_the_delay_after_each_attempt(delay: Any, expected: list[int]) -> None:
    assert waits(delay, len(expected)) == expected


def test_S_20_jitter_is_a_tenth_either_way_and_stays_under_the_cap() -> None:
    plain = Retry(delay="10 seconds")
    capped = Retry(delay=Backoff.linear("10 seconds", "0 s", max="10 seconds"))

    assert [plain.wait_ms(1, e) for e in (LEAST, MIDDLE, MOST)] == [9_000, 10_000, 11_000]
    assert [capped.wait_ms(1, e) for e in (LEAST, MIDDLE, MOST)] == [9_000, 10_000, 10_000]
    assert Retry(delay="10 seconds", jitter=0).wait_ms(1, MOST) == 10_000
    assert Retry(delay="10 seconds", jitter=1).wait_ms(1, LEAST) == 0


def test_S_20_a_wait_too_large_for_a_float_is_the_calendars_end() -> None:
    assert Backoff.exponential("1 ms")(5_000) == INSTANT_MAX
    assert Backoff.exponential("1 day", factor=1e300)(2) == INSTANT_MAX
    assert Backoff.exponential("0 s")(5_000) == 0


def test_S_23_the_default_is_seven_attempts_from_two_seconds_to_at_most_five_minutes() -> None:
    assert Retry().max_attempts == 7
    assert [Retry().wait_ms(n, MIDDLE) for n in (1, 2, 7, 8, 9)] == [2_000, 4_000, 128_000, 256_000, 300_000]


def decided(policy: Retry | None, **changes: Any) -> int | GiveUp:
    facts = {"attempt": 1, "first_at": T, "retryable": True, "now": T + 500, "entropy": MIDDLE, **changes}
    return decide(policy, **facts)


def test_S_21_the_delay_counts_from_the_end_of_the_failed_attempt() -> None:
    assert decided(Retry(delay="1 second")) == T + 500 + 1_000


def test_S_20_max_attempts_counts_all_attempts() -> None:
    policy = Retry(max_attempts=3, delay="1 second")

    assert decided(policy, attempt=2) == T + 1_500
    assert decided(policy, attempt=3) == GiveUp("max_attempts")
    assert decided(Retry(max_attempts=1)) == GiveUp("max_attempts")


def test_S_23_without_a_policy_there_is_one_attempt() -> None:
    assert decided(None) == GiveUp("max_attempts")


def test_S_21_max_duration_is_judged_on_the_planned_instant_of_the_next_attempt() -> None:
    policy = Retry(delay="1 second", max_duration="1500 ms")

    assert decided(policy) == T + 1_500
    assert decided(policy, now=T + 501) == GiveUp("max_duration")


def test_S_21_the_calendars_last_instant_may_be_planned_and_none_after_it() -> None:
    policy = Retry(delay="1 second")

    assert decided(policy, now=INSTANT_MAX - 1_000) == INSTANT_MAX
    assert decided(policy, now=INSTANT_MAX - 999) == GiveUp("max_duration")


def test_S_21_what_is_not_retryable_gives_up_at_once() -> None:
    assert decided(Retry(), retryable=False) == GiveUp("non_retryable")
    assert decided(None, retryable=False) == GiveUp("non_retryable")


def test_beyond_the_calendar_there_is_no_next_attempt() -> None:
    assert decided(Retry(delay="9000 weeks"), now=INSTANT_MAX - 1) == GiveUp("max_duration")


def only_at_first(later: Any) -> Any:
    """A delay that is one after the first attempt."""
    return lambda attempt: "1 s" if attempt == 1 else later


@pytest.mark.parametrize("delay", [lambda attempt: 1 / 0, only_at_first(5), lambda attempt: "-1 s"])
def test_what_a_delay_function_raises_or_that_it_gives_no_duration_is_raised(delay: Any) -> None:
    with pytest.raises((ZeroDivisionError, ValidationError)):
        Retry(delay=delay).wait_ms(2, MIDDLE)
    with pytest.raises((ZeroDivisionError, ValidationError)):
        decided(Retry(delay=delay), attempt=2)


def no(error: Exception) -> bool:
    """A predicate."""
    return False


class Promise:
    """Something that can be awaited."""

    def __await__(self) -> Any:
        yield


class Fatal(NonRetryable):
    pass


@pytest.mark.parametrize(
    ("policy", "error", "matches"),
    [
        (Retry(), ValueError(), True),
        (Retry(), NonRetryable(), False),
        (Retry(), Fatal(), False),
        (Retry(), asyncio.CancelledError(), True),
        (Retry(), SystemExit(), True),
        (Retry(retry_on=OSError), SystemExit(), False),
        (Retry(retry_on=OSError), TimeoutError(), True),
        (Retry(retry_on=OSError), ValueError(), False),
        (Retry(retry_on=(OSError, ValueError)), ValueError(), True),
        (Retry(retry_on=(OSError, ValueError)), NonRetryable(), False),
        (Retry(retry_on=()), ValueError(), False),
        (Retry(retry_on=lambda error: "again" in str(error)), ValueError("again"), True),
        (Retry(retry_on=lambda error: "again" in str(error)), ValueError("no"), False),
        (Retry(retry_on=Mock(return_value=True)), ValueError(), True),
        (Retry(retry_on=create_autospec(no)), ValueError(), True),
        (Retry(retry_on=OSError), ExceptionGroup("g", [OSError(), TimeoutError()]), True),
        (Retry(retry_on=OSError), ExceptionGroup("g", [OSError(), ValueError()]), False),
        (Retry(), ExceptionGroup("g", [ExceptionGroup("h", [NonRetryable()])]), False),
    ],
)
def test_S_21_which_errors_are_tried_again(policy: Retry, error: BaseException, matches: bool) -> None:
    assert policy.matches(error) is matches


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda error: 1 / 0, "division by zero"),
        (lambda error: Promise(), "its result: expected a bool, got Promise"),
    ],
)
def test_what_a_predicate_raises_or_that_it_gives_no_answer_is_raised(answer: Any, why: str) -> None:
    with pytest.raises((ZeroDivisionError, ValidationError), match=f"^{why}"):
        Retry(retry_on=answer).matches(ValueError())


async def later(anything: Any) -> Any:
    """What nobody waits for."""


class Later:
    """Likewise."""

    async def __call__(self, anything: Any) -> Any:
        """What nobody waits for."""


def yielding(anything: Any) -> Any:
    """What nobody goes through."""
    yield True


REFUSED: list[tuple[Any, str]] = [
    (
        lambda: Backoff("2 seconds"),
        "Backoff(first_ms): expected whole milliseconds, 0 or more, got '2 seconds'",
    ),  # type: ignore[arg-type]
    (lambda: Backoff(-1), "Backoff(first_ms): expected whole milliseconds, 0 or more, got -1"),
    (lambda: Backoff(INSTANT_MAX + 1), "Backoff(first_ms): expected whole milliseconds"),
    (lambda: Backoff(1.5), "Backoff(first_ms): expected whole milliseconds"),  # type: ignore[arg-type]
    (lambda: Backoff(True), "Backoff(first_ms): expected whole milliseconds, 0 or more, got True"),
    (lambda: Backoff(1, step_ms="1s"), "Backoff(step_ms): expected whole milliseconds"),  # type: ignore[arg-type]
    (lambda: Backoff(1, factor=0), "Backoff(factor): expected a number >= 1, got 0"),
    (lambda: Backoff(1, cap_ms="1s"), "Backoff(cap_ms): expected whole milliseconds"),  # type: ignore[arg-type]
    (lambda: Retry(delay=Backoff), "Retry(delay): expected a duration, a Backoff or a function, got <class"),  # type: ignore[arg-type]
    (lambda: Retry(delay=later), "Retry(delay): expected a duration, a Backoff or a function (no async def"),  # type: ignore[arg-type]
    (
        lambda: Retry(delay=lambda: "1s"),  # type: ignore[arg-type, misc]
        "Retry(delay): expected a duration, a Backoff or a function taking (attempt), got one taking ()",
    ),
    (
        lambda: Retry(retry_on=int),
        "Retry(retry_on): expected exception types or a predicate, got <class 'int'>",
    ),  # type: ignore[arg-type]
    (
        lambda: Retry(retry_on=later),
        "Retry(retry_on): expected exception types or a predicate (no async def, and nothing that yields)",
    ),  # type: ignore[arg-type]
    (lambda: Retry(retry_on=Later()), "Retry(retry_on): expected exception types or a predicate (no async"),  # type: ignore[arg-type]
    (
        lambda: Retry(retry_on=AsyncMock()),
        "Retry(retry_on): expected exception types or a predicate (no async",
    ),
    (lambda: Retry(retry_on=yielding), "Retry(retry_on): expected exception types or a predicate (no async"),
    (
        lambda: Retry(delay=lambda attempt: 2**attempt),
        "Retry(delay) for attempt 1: expected a duration, as text or a timedelta, got 2",
    ),  # type: ignore[arg-type, return-value]
    (
        lambda: Retry(retry_on=lambda: True),  # type: ignore[arg-type, misc]
        "Retry(retry_on): expected exception types or a predicate taking (error), got one taking ()",
    ),
    (lambda: Retry(max_attempts=0), "Retry(max_attempts): expected a whole number, 1 or more, got 0"),
    (lambda: Retry(max_attempts=True), "Retry(max_attempts): expected a whole number, 1 or more, got True"),
    (lambda: Retry(max_attempts=2.0), "Retry(max_attempts): expected a whole number, 1 or more, got 2.0"),  # type: ignore[arg-type]
    (lambda: Retry(jitter=-0.1), "Retry(jitter): expected a share, 0 to 1, got -0.1"),
    (lambda: Retry(jitter=1.1), "Retry(jitter): expected a share, 0 to 1, got 1.1"),
    (lambda: Retry(jitter=float("nan")), "Retry(jitter): expected a share, 0 to 1, got nan"),
    (lambda: Retry(jitter=True), "Retry(jitter): expected a share, 0 to 1, got True"),
    (lambda: Retry(jitter="0.1"), "Retry(jitter): expected a share, 0 to 1, got '0.1'"),  # type: ignore[arg-type]
    (lambda: Retry(delay=5), "Retry(delay): expected a duration"),
    (lambda: Retry(delay=None), "Retry(delay): expected a duration"),
    (lambda: Retry(max_duration=5), "Retry(max_duration): expected a duration"),
    (lambda: Retry(retry_on=[OSError]), "Retry(retry_on): expected exception types or a predicate, got ["),  # type: ignore[arg-type]
    (lambda: Retry(retry_on=(OSError, 5)), "Retry(retry_on): expected exception types or a predicate"),  # type: ignore[arg-type]
    (lambda: Retry(retry_on=None), "Retry(retry_on): expected exception types or a predicate"),  # type: ignore[arg-type]
    (lambda: Backoff.constant(5), "Backoff.constant(delay): expected a duration"),  # type: ignore[arg-type]
    (lambda: Backoff.linear("1s", 5), "Backoff.linear(increment): expected a duration"),  # type: ignore[arg-type]
    (lambda: Backoff.linear("1s", "1s", max=5), "Backoff(max): expected a duration"),  # type: ignore[arg-type]
    (
        lambda: Backoff.exponential("1s", factor=0.5),
        "Backoff(factor): expected a number >= 1, got 0.5",
    ),
    (lambda: Backoff.exponential("1s", factor=float("inf")), "Backoff(factor): expected"),
    (lambda: Backoff.exponential("1s", factor=float("nan")), "Backoff(factor): expected"),
    (lambda: Backoff.exponential("1s", factor="2"), "Backoff(factor): expected"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_S_20_a_policy_that_can_never_work_is_refused_where_it_is_written(make: Any, text: str) -> None:
    with pytest.raises(DefinitionError) as info:
        make()

    assert str(info.value).startswith(text)
