"""When a failed attempt is tried again, and when it is given up (S-20 to S-23). Values only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from inspect import isawaitable
from typing import Literal, TypeAlias, TypeGuard

from attrs import field, frozen

from durable_jobs_core.checks import check, check_ms, check_plain, check_whole
from durable_jobs_core.durations import Duration, defined_ms, maybe_ms, to_ms
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.failures import leaves
from durable_jobs_core.words import INSTANT_MAX

GiveUpReason = Literal["max_attempts", "max_duration", "non_retryable", "crashed", "unreadable"]


class NonRetryable(Exception):
    """Raise it (or a subclass) in a hook to give the run up at once (S-21)."""


@frozen
class Backoff:
    """How long to wait after attempt n: `constant`, `linear` or `exponential`, capped.

    `first_ms`: the wait after attempt 1; `step_ms`: added for each further one; `factor`: what it is
    multiplied by for each further one; `cap_ms`: the longest wait, jitter included, or `None`.
    """

    first_ms: int
    step_ms: int = 0
    factor: float = 1
    cap_ms: int | None = None

    def __attrs_post_init__(self) -> None:
        check_ms(self.first_ms, "Backoff(first_ms)")
        check_ms(self.step_ms, "Backoff(step_ms)")
        ok = type(self.factor) in (int, float) and 1 <= self.factor < float("inf")
        check(ok, "Backoff(factor)", "a number >= 1", self.factor)
        if self.cap_ms is not None:
            check_ms(self.cap_ms, "Backoff(cap_ms)")

    @staticmethod
    def constant(delay: Duration) -> Backoff:
        """Always the same wait."""
        return Backoff(defined_ms(delay, "Backoff.constant(delay)"))

    @staticmethod
    def linear(initial: Duration, increment: Duration, *, max: Duration | None = None) -> Backoff:
        """`initial + increment · (n − 1)`, at most `max`."""
        return Backoff(
            defined_ms(initial, "Backoff.linear(initial)"),
            step_ms=defined_ms(increment, "Backoff.linear(increment)"),
            cap_ms=maybe_ms(max, "Backoff(max)"),
        )

    @staticmethod
    def exponential(initial: Duration, *, factor: float = 2, max: Duration | None = None) -> Backoff:
        """`initial · factor^(n − 1)`, at most `max`; `factor` is 1 or more."""
        first = defined_ms(initial, "Backoff.exponential(initial)")
        return Backoff(first, factor=factor, cap_ms=maybe_ms(max, "Backoff(max)"))

    def __call__(self, attempt: int) -> float:
        """The wait after `attempt` in milliseconds, before jitter and cap."""
        base = self.first_ms + self.step_ms * (attempt - 1)
        try:
            return min(base * float(self.factor) ** (attempt - 1), INSTANT_MAX)
        except OverflowError:
            return INSTANT_MAX if base else 0


DelayFunction: TypeAlias = Callable[[int], Duration]
RetryOn: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
DEFAULT_BACKOFF = Backoff.exponential("2 seconds", max="5 minutes")


def _to_backoff(delay: Duration | Backoff | DelayFunction) -> Backoff | DelayFunction:
    if isinstance(delay, Backoff):
        return delay
    if callable(delay):
        _check_plain(delay, "Retry(delay)", "a duration, a Backoff or a function", "attempt")
        _try_once(delay)
        return delay
    return Backoff(defined_ms(delay, "Retry(delay)"))


def _try_once(delay: DelayFunction) -> None:
    """A number, say, would end a run at its first failure, and no one would hear of it."""
    try:
        first = delay(1)
    except Exception:
        return
    check(
        isinstance(first, str | timedelta),
        "Retry(delay) for attempt 1",
        "a duration, as text or a timedelta",
        first,
    )


def _to_span(value: Duration | None) -> int | None:
    return maybe_ms(value, "Retry(max_duration)")


def _check_plain(call: object, name: str, expected: str, argument: str) -> None:
    """A function to be called by a step: a class is none."""
    check(not isinstance(call, type), name, expected, call)
    check_plain(call, name, expected, argument)


def _is_error_type(value: object) -> TypeGuard[type[Exception]]:
    return isinstance(value, type) and issubclass(value, BaseException)


@frozen(kw_only=True)
class Retry:
    """The retry policy of a job.

    `max_attempts`: how many attempts in all, the first included, at least 1.
    `delay`: a duration, a `Backoff`, or a pure function of the attempt number that gives a duration, which is
    rounded down to the millisecond.
    `jitter`: the share by which the wait is moved up or down at random, 0 to 1, applied before the cap.
    `max_duration`: no attempt is planned later than this after the first of the run; kept as milliseconds.
    `retry_on`: exception types, or a predicate; what it does not match gives up at once.
    A function that raises, or gives no duration, gives up at once too, and the failure says so.
    Raises `DefinitionError`, as `Backoff` does, for what can never work.
    """

    max_attempts: int = 7
    delay: Backoff | DelayFunction = field(default=DEFAULT_BACKOFF, converter=_to_backoff)
    jitter: float = 0.1
    max_duration: int | None = field(default=None, converter=_to_span)
    retry_on: RetryOn = Exception

    def __attrs_post_init__(self) -> None:
        check_whole(self.max_attempts, "Retry(max_attempts)", 1)
        share = type(self.jitter) in (int, float) and 0 <= self.jitter <= 1
        check(share, "Retry(jitter)", "a share, 0 to 1", self.jitter)
        kinds = self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)
        if not all(map(_is_error_type, kinds)):
            expected = "exception types or a predicate"
            _check_plain(self.retry_on, "Retry(retry_on)", expected, "error")

    def matches(self, error: BaseException) -> bool:
        """Whether an error may be tried again; of a group, all must.

        A `CancelledError` or `SystemExit` that a hook raises by itself is a failure like others (S-14).
        Raises what a predicate raises, or `ValidationError` if it gives something to be awaited.
        """
        return all(map(self._matches_one, leaves(error)))

    def _matches_one(self, error: BaseException) -> bool:
        if isinstance(error, NonRetryable):
            return False
        if not isinstance(error, Exception):
            return self.retry_on is Exception
        if isinstance(self.retry_on, tuple) or _is_error_type(self.retry_on):
            return isinstance(error, self.retry_on)
        says = self.retry_on(error)
        if isawaitable(says):
            raise ValidationError.of("its result", "a bool", type(says).__name__)
        return bool(says)

    def wait_ms(self, attempt: int, entropy: int) -> int:
        """The wait after `attempt`, jittered by 64 bits of `entropy`, capped, never negative.

        Raises what a `delay` function raises, or `ValidationError` if it does not give a duration.
        """
        if isinstance(self.delay, Backoff):
            base, cap = self.delay(attempt), self.delay.cap_ms
        else:
            base, cap = to_ms(self.delay(attempt), "its result", exact=False), None  # it was computed
        share = entropy / 2**63 - 1  # in [-1, 1)
        wait = base * (1 + self.jitter * share)
        return int(min(wait, INSTANT_MAX if cap is None else cap))


@frozen
class GiveUp:
    """The run is not tried again by itself; `reason` says which rule ended it."""

    reason: GiveUpReason


def decide(
    policy: Retry | None, *, attempt: int, first_at: int, retryable: bool, now: int, entropy: int
) -> int | GiveUp:
    """The instant of the next attempt after one that failed `now`, or `GiveUp` (S-21).

    `attempt`: the one that failed; `first_at`: when the first attempt of the run began, or the first
    since it was revived. Without a policy there is one attempt. Raises what `wait_ms` raises.
    """
    if not retryable:
        return GiveUp("non_retryable")
    if policy is None or attempt >= policy.max_attempts:
        return GiveUp("max_attempts")
    due = now + policy.wait_ms(attempt, entropy)
    if due > INSTANT_MAX:
        return GiveUp("max_duration")
    if policy.max_duration is not None and due - first_at > policy.max_duration:
        return GiveUp("max_duration")
    return due
