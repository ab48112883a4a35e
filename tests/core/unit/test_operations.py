"""What a hook is shown, and what it asked for (S-16, S-18, D-5)."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from durable_jobs_core.operations import HookCall, ScheduleChange
from durable_jobs_core.record import Stored
from durable_jobs_core.words import INSTANT_MAX, Key

CALL = HookCall(
    key=Key("task", "orders", "a"),
    hook="execute",
    leased=True,
    at=5,
    life=0xAB,
    created_at=1,
    run=3,
    attempt=1,
    state=Stored(1, "s"),
)


def test_S_18_the_idempotency_key_is_that_of_the_run() -> None:
    key = CALL.idempotency_key

    assert key is not None
    assert key.isascii()
    assert len(key) <= 60
    assert (
        key == "a712e9c1506e561c-00000000000000ab-3"
    )  # in each release: a run may outlive the one it began in
    assert evolve(CALL, attempt=2, crashes=1, at=9, state=None).idempotency_key == key


def test_S_18_every_other_run_life_and_instance_has_another_key() -> None:
    longest = evolve(CALL, key=Key("continuous", "j" * 200, "ä" * 256), life=2**64 - 1, run=2**31)
    others = [
        CALL,
        evolve(CALL, run=4),
        evolve(CALL, life=0xAC),
        evolve(CALL, key=Key("task", "orders", "b")),
        evolve(CALL, key=Key("task", "orders:a", "")),
        longest,
    ]

    assert len({call.idempotency_key for call in others}) == len(others)
    assert len(str(longest.idempotency_key)) <= 60


def test_S_52_an_inline_hook_has_no_key() -> None:
    assert evolve(CALL, leased=False).idempotency_key is None


def test_S_10_two_calls_are_equal_if_the_hook_could_not_tell_them_apart() -> None:
    unseen: dict[str, Any] = {"at": 6, "life": 1, "created_at": 2}
    seen: dict[str, Any] = {
        "state": Stored(1, "t"),
        "event": 1,
        "attempt": 2,
        "crashes": 1,
        "run_count": 1,
        "event_count": 1,
        "execute_count": 1,
        "scheduled_for": 1,
        "scheduled_at": 1,
        "flush_reason": "manual",
        "started_at": 1,
    }

    assert all(evolve(CALL, **{name: value}) == CALL for name, value in unseen.items())
    assert all(evolve(CALL, **{name: value}) != CALL for name, value in seen.items())


def test_S_52_a_duration_counts_from_the_end_of_the_hook() -> None:
    assert ScheduleChange(after_ms=5).due(10) == 15
    assert ScheduleChange(at=3).due(10) == 3
    assert ScheduleChange().due(10) is None
    assert ScheduleChange(after_ms=INSTANT_MAX).due(10) == INSTANT_MAX
