"""Laws of retries (S-20, S-21)."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.retry import Backoff, GiveUp, Retry, decide
from durable_jobs_core.words import INSTANT_MAX

spans = st.integers(0, 10_000_000)
attempts = st.integers(1, 5_000)
entropies = st.integers(0, 2**64 - 1)
factors = st.floats(1, 1e308)
backoffs = st.builds(Backoff, spans, step_ms=spans, factor=factors, cap_ms=st.none() | spans)
policies = st.builds(
    Retry,
    max_attempts=attempts,
    delay=backoffs,
    jitter=st.floats(0, 1),
    max_duration=st.none() | spans.map(lambda ms: timedelta(milliseconds=ms)),
)


@given(policy=policies, attempt=attempts, entropy=entropies)
def test_S_20_a_wait_is_whole_never_negative_within_its_jitter_and_under_its_cap(
    policy: Retry, attempt: int, entropy: int
) -> None:
    assert isinstance(policy.delay, Backoff)
    base, cap = policy.delay(attempt), policy.delay.cap_ms

    wait = policy.wait_ms(attempt, entropy)

    assert type(wait) is int
    assert 0 <= wait <= (INSTANT_MAX if cap is None else cap)
    assert wait <= base * (1 + policy.jitter)
    assert wait >= int(min(base * (1 - policy.jitter), cap if cap is not None else INSTANT_MAX))


@given(delay=backoffs, attempt=attempts)
def test_S_20_without_jitter_waits_never_get_shorter(delay: Backoff, attempt: int) -> None:
    policy = Retry(delay=delay, jitter=0)

    assert policy.wait_ms(attempt, 0) <= policy.wait_ms(attempt + 1, 2**64 - 1)


@given(
    policy=policies,
    attempt=attempts,
    first_at=st.integers(0, INSTANT_MAX),
    took=spans,
    retryable=st.booleans(),
    entropy=entropies,
)
def test_S_21_a_next_attempt_keeps_every_bound_of_the_policy(
    policy: Retry, attempt: int, first_at: int, took: int, retryable: bool, entropy: int
) -> None:
    now = min(first_at + took, INSTANT_MAX)

    due = decide(policy, attempt=attempt, first_at=first_at, retryable=retryable, now=now, entropy=entropy)

    if isinstance(due, GiveUp):
        assert due.reason != "non_retryable" or not retryable
        assert due.reason != "max_attempts" or attempt >= policy.max_attempts
    else:
        assert retryable
        assert attempt < policy.max_attempts
        assert now <= due <= INSTANT_MAX
        assert policy.max_duration is None or due <= first_at + policy.max_duration
