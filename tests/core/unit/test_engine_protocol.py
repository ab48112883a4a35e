"""The values drivers handle: what they need not say."""

from __future__ import annotations

from typing import Any

import pytest
from support.samples import TICK

from durable_jobs_core.engine import Called, HookReturned, Limits, Reply
from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.events import StatusRequested
from durable_jobs_core.words import YEAR_MS


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


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": 0}, "concurrency): expected a whole number, 1 or more, got 0"),
    ({"concurrency": True}, "concurrency): expected a whole number, 1 or more, got True"),
    ({"queued_requests": 0}, "queued_requests): expected a whole number, 1 or more, got 0"),
    ({"queued_bytes": 1.5}, "queued_bytes): expected a whole number, 1 or more, got 1.5"),
    ({"queued_bytes": 0}, "queued_bytes): expected a whole number, 1 or more, got 0"),
    ({"cache_bytes": -1}, "cache_bytes): expected a whole number, 0 or more, got -1"),
    ({"lease": 9}, "lease): expected whole milliseconds, from 10 to 31,536,000,000, got 9"),
    ({"lease": "30 s"}, "lease): expected whole milliseconds, from 10 to 31,536,000,000, got '30 s'"),
    (
        {"lease": YEAR_MS + 1},
        "lease): expected whole milliseconds, from 10 to 31,536,000,000, got 31536000001",
    ),
    ({"hold": 0}, "hold): expected whole milliseconds, from 1 to 31,536,000,000, got 0"),
    ({"poll": 0}, "poll): expected whole milliseconds, from 1 to 31,536,000,000, got 0"),
    ({"exchange": 0}, "exchange): expected whole milliseconds, from 1 to 31,536,000,000, got 0"),
    ({"settle": -1}, "settle): expected whole milliseconds, from 0 to 31,536,000,000, got -1"),
    ({"per_job": [1]}, "per_job): expected numbers by (kind, job), got [1]"),
    (
        {"per_job": {TICK[:2]: -1}},
        "per_job[('continuous', 'tick')]): expected a whole number, 0 or more, got -1",
    ),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_S_62_limits_that_can_never_work_are_refused_where_they_are_written(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(DefinitionError) as raised:
        Limits(**given)

    assert str(raised.value).startswith(f"Limits({said}")


def test_the_least_and_the_longest_of_all_limits_are_taken() -> None:
    Limits(concurrency=1, queued_requests=1, queued_bytes=1, cache_bytes=0, lease=10, hold=1, poll=1)
    Limits(exchange=1, settle=0, per_job={("task", "chore"): 0})
    Limits(**dict.fromkeys(("lease", "hold", "poll", "exchange", "settle"), YEAR_MS))


def test_S_38_a_caller_who_does_not_say_so_does_not_wait_and_weighs_nothing() -> None:
    assert Called(1, TICK, StatusRequested(), 5) == Called(
        1, TICK, StatusRequested(), 5, wait_ms=None, size=0
    )


def test_a_hook_may_return_nothing_and_a_caller_may_be_told_nothing() -> None:
    assert (HookReturned(), Reply(1)) == (HookReturned(None), Reply(1, None, None, None))
