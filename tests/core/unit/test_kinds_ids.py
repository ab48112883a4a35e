"""The event ids an instance remembers (S-60)."""

from __future__ import annotations

import pytest
from support.steps import T

from durable_jobs_core.errors import DuplicateEventError
from durable_jobs_core.kinds._ids import Ids, register
from durable_jobs_core.words import Key

KEY = Key("task", "job", "a")


def registered(ids: Ids, event_id: str | None, *, now: int = T, for_ms: int = 100) -> Ids:
    """`register`, three ids for a tenth of a second."""
    return register(KEY, ids, event_id, now=now, limit=3, for_ms=for_ms)


def test_an_event_without_an_id_registers_nothing() -> None:
    assert registered((("a", T + 1),), None) == (("a", T + 1),)


def test_S_60_a_remembered_id_is_a_duplicate() -> None:
    ids = registered((), "a")

    with pytest.raises(DuplicateEventError) as caught:
        registered(ids, "a", now=T + 99)

    assert (caught.value.key, caught.value.event_id) == (KEY, "a")


def test_S_60_an_id_is_forgotten_after_its_time() -> None:
    ids = registered((), "a")

    assert registered(ids, "a", now=T + 100) == (("a", T + 200),)


def test_S_60_an_id_is_remembered_while_fewer_than_the_limit_came_after_it() -> None:
    ids = registered(registered(registered((), "a"), "b"), "c")

    with pytest.raises(DuplicateEventError):
        registered(ids, "a")


def test_S_60_an_id_is_forgotten_after_that_many_later_ones() -> None:
    ids = registered(registered(registered(registered((), "a"), "b"), "c"), "d")

    assert [name for name, _ in registered(ids, "a")] == ["c", "d", "a"]


def test_a_redeploy_that_remembers_for_a_shorter_time_does_not_make_new_ids_wait_for_old_ones() -> None:
    ids = registered(registered((), "old", for_ms=1_000), "new", for_ms=10)

    assert registered(ids, "new", now=T + 10) == (("old", T + 1_000), ("new", T + 110))
