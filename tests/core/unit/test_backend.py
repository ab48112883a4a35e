"""The port: what may be the answer to a batch, and what an engine would trip over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from durable_jobs_core._values import evolve
from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Refused,
    Row,
    Unknown,
    Write,
    cursor_of,
    flaw,
    key_after,
)
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.words import INSTANT_MAX, Key

A, B = Key("task", "mail", "a"), Key("task", "mail", "b")
ROW, OTHER = (Row(key, b"r", 5, "idle", b"{}") for key in (A, B))
TORN = Damaged(A, b"r", b"{", "torn")
BATCH = Batch(
    writes=(Write(A, b"q", ROW),), loads=(A,), claim=Claim({("task", "mail"): 1}, 5, 9), not_after=9
)
RIGHT = Answer(outcomes=(Committed(),), rows=(ROW,), claimed=(ROW,), next_wake=9, clock=7)


@pytest.mark.parametrize("outcome", [Conflicted(ROW), Conflicted(TORN), Conflicted(None), Unknown("")])
@pytest.mark.parametrize("row", [ROW, TORN, None])
@pytest.mark.parametrize("claimed", [(), (ROW,), (TORN, OTHER), [ROW]])
@pytest.mark.parametrize("wake", [None, 3])
def test_what_may_be_the_answer(outcome: Any, row: Any, claimed: Any, wake: int | None) -> None:
    answer = Answer(outcomes=(outcome,), rows=(row,), claimed=claimed, next_wake=wake, clock=7)

    assert flaw(answer, BATCH) is None
    assert flaw(RIGHT, BATCH) is None
    assert flaw(evolve(RIGHT, outcomes=(Refused("full", transient=False),)), BATCH) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "expected an Answer, got NoneType"),
        (evolve(RIGHT, claimed=None), "its answer has outcomes, rows or claimed rows that are no tuple"),
        (evolve(RIGHT, rows={}), "its answer has outcomes, rows or claimed rows that are no tuple"),
        (evolve(RIGHT, outcomes=()), "its answer has 0 outcomes for 1 writes, 1 rows for 1 loads"),
        (evolve(RIGHT, rows=()), "its answer has 1 outcomes for 1 writes, 0 rows for 1 loads"),
        *(
            (evolve(RIGHT, clock=clock), f"its answer has for a clock {clock!r}, expected an int")
            for clock in (7.0, True, None, -1, INSTANT_MAX)
        ),
        (evolve(RIGHT, next_wake=7.5), "its answer has for next_wake 7.5, expected an int or None"),
        (evolve(RIGHT, outcomes=("OK",)), "its answer has for the outcome of task:mail:a a str"),
        (
            evolve(RIGHT, outcomes=(Conflicted(OTHER),)),
            "its answer has for the conflict of task:mail:a a Row ",
        ),
        (
            evolve(RIGHT, rows=(OTHER,)),
            "its answer has for the load of task:mail:a a Row task:mail:b "
            "(key: Key, revision: bytes, blob: bytes), expected its Row with bytes",
        ),
        (evolve(RIGHT, rows=("row",)), "its answer has for the load of task:mail:a a str (), expected"),
        (
            evolve(RIGHT, rows=(evolve(ROW, revision=memoryview(b"r")),)),
            "its answer has for the load of task:mail:a a Row task:mail:a (key: Key, revision: memoryview,",
        ),
        (
            evolve(RIGHT, rows=(evolve(TORN, raw="{"),)),
            "its answer has for the load of task:mail:a a Damaged",
        ),
        (evolve(RIGHT, claimed=(evolve(ROW, blob="{}"),)), "its answer has for a claim a Row task:mail:a"),
        (evolve(RIGHT, claimed=(evolve(ROW, key=tuple(A)),)), "its answer has for a claim a Row ('task', "),
        (evolve(RIGHT, claimed=(None,)), "its answer has for a claim a NoneType (), expected"),
    ],
)
def test_what_cannot_be_is_told(answer: Any, why: str) -> None:
    assert str(flaw(answer, BATCH)).startswith(why)


def test_S_66_a_cursor_that_is_the_json_of_a_key_is_read_back() -> None:
    key = Key("task", "mail", "a")

    assert key_after(json.dumps(key)) == key
    assert key_after(cursor_of(key)) == key
    assert key_after(None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "page 2",
        "7",
        "null",
        '["task", "mail"]',
        '["task", "mail", 1]',
        '["task", "mail", "\\ud800"]',
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_S_62_S_66_any_other_cursor_is_refused_and_shown(cursor: str) -> None:
    with pytest.raises(
        ValidationError, match="list: after: expected what the page before gave, got str "
    ) as raised:
        key_after(cursor)

    assert len(str(raised.value)) < 300
