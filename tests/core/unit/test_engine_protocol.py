"""The values drivers handle: what they need not say."""

from __future__ import annotations

from support.samples import TICK

from durable_jobs_core.engine import Called, HookReturned, Limits, Reply
from durable_jobs_core.events import StatusRequested


def test_the_limits_of_an_engine_have_defaults() -> None:
    assert Limits() == Limits(
        concurrency=100,
        per_job={},
        queued_requests=10_000,
        queued_bytes=64 << 20,
        cache_bytes=8 << 20,
        lease=30_000,
        hold=5_000,
        poll=1_000,
        exchange=10_000,
        settle=10_000,
    )


def test_S_38_a_caller_who_does_not_say_so_does_not_wait_and_weighs_nothing() -> None:
    assert Called(1, TICK, StatusRequested(), 5) == Called(
        1, TICK, StatusRequested(), 5, wait_ms=None, size=0
    )


def test_a_hook_may_return_nothing_and_a_caller_may_be_told_nothing() -> None:
    assert (HookReturned(), Reply(1)) == (HookReturned(None), Reply(1, None, None, None))
