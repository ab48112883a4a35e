"""What is told from two records alone: one case for each thing that may be wrong, and for its neighbour."""

from __future__ import annotations

from typing import Any

import pytest
from durable_jobs_simulation import checks
from durable_jobs_simulation.violation import Violated

from durable_jobs_core.record import (
    AnyBody,
    Batch,
    ContinuousBody,
    DebounceBody,
    Lease,
    Outcome,
    QueuedEvent,
    Record,
    Run,
    Stored,
    TaskBody,
    Window,
)
from durable_jobs_core.words import Failure, Revision, Token

AT = 1_000_000
"""When it was committed."""
LATER = AT + 5_000
STATE, OTHER = Stored(1, 7), Stored(1, 8)
FAILED = Failure("ValueError", "")


def record(body: AnyBody, **changes: Any) -> Record:
    fields: dict[str, Any] = {"revision": Revision(1, 5, 9), "at": AT, "seq": 3, **changes}
    return Record(writers=(), created_at=AT, body=body, **fields)


def run(number: int = 1, **changes: Any) -> Run:
    return Run(number=number, hook="execute", **changes)


def leased(number: int = 1, until: int = LATER) -> Run:
    return run(number, lease=Lease(token=Token(5, 9), since=AT, until=until))


def continuous(**changes: Any) -> ContinuousBody:
    return ContinuousBody(**{"state": STATE, "next_at": LATER, "runs": 1, **changes})


def window(count: int = 2, state: Stored = STATE, started_at: int = AT, due_at: int = LATER) -> Window:
    return Window(state=state, count=count, started_at=started_at, due_at=due_at)


def batch(count: int = 2, state: Stored = STATE, started_at: int = AT) -> Batch:
    return Batch(state=state, count=count, started_at=started_at, reason="timeout")


def violated(check: Any, *given: Any) -> str | None:
    try:
        check(*given)
    except Violated as found:
        return found.invariant
    return None


# -- I-4


EVENT = QueuedEvent(event=1)
FIRST_DUE: list[tuple[AnyBody, int | None]] = [
    (continuous(), LATER),
    (continuous(paused=True), None),
    (continuous(next_at=None, last_error=FAILED), None),
    (continuous(run=leased(until=LATER + 1)), LATER + 1),
    (continuous(run=run(due=LATER + 2)), LATER + 2),
    (continuous(run=run(due=LATER), paused=True), None),
    (continuous(run=run(due=LATER, forced=True), paused=True), LATER),
    (continuous(run=run()), None),
    (DebounceBody(window=window(due_at=LATER + 3)), LATER + 3),
    (DebounceBody(window=window(due_at=LATER + 3), batch=batch(), run=run(due=LATER)), LATER),
    (DebounceBody(window=window(due_at=LATER + 3), batch=batch(), run=run()), LATER + 3),
    (DebounceBody(batch=batch(), run=run()), None),
    (DebounceBody(batch=batch(), run=leased()), LATER),
    (DebounceBody(ids=(("a", LATER), ("b", LATER + 4))), LATER + 4),
    (DebounceBody(ids=(("a", LATER),), marked=True, outcome=Outcome(1, "succeeded", AT)), AT + 60_000),
    (DebounceBody(ids=(("a", LATER),), outcome=Outcome(1, "succeeded", AT)), LATER),
    (DebounceBody(ids=(("a", LATER),), marked=True), LATER),
    (DebounceBody(), AT),
    (TaskBody(inbox=(EVENT,)), AT),
    (TaskBody(inbox=(EVENT,), intake=run(due=LATER + 5), run=run(due=LATER)), LATER + 5),
    (TaskBody(inbox=(EVENT,), intake=run(), run=run(due=LATER), scheduled_at=LATER + 6), LATER + 6),
    (TaskBody(run=run(due=LATER + 7), scheduled_at=LATER), LATER + 7),
    (TaskBody(run=run(), scheduled_at=LATER + 8), LATER + 8),
    (TaskBody(intake=leased(), inbox=(EVENT,)), LATER),
    (TaskBody(), None),
]


@pytest.mark.parametrize(("body", "due"), FIRST_DUE)
def test_I_4_the_alarm_is_not_later_than_what_may_start(body: AnyBody, due: int | None) -> None:
    one = record(body)

    assert violated(checks.check_alarm, one, due) is None
    assert violated(checks.check_alarm, one, None if due is None else due - 1) is None, "earlier does no harm"
    wrong = None if due is None else "I-4"
    assert violated(checks.check_alarm, one, None) == wrong
    assert violated(checks.check_alarm, one, LATER + 90_000) == wrong
    if due is not None:
        assert violated(checks.check_alarm, one, due + 1) == wrong


def test_I_4_a_schedule_that_has_ended_has_ended_by_an_error() -> None:
    assert violated(checks.check_alarm, record(continuous(next_at=None)), None) == "I-4"
    for fine in ({"last_error": FAILED}, {"paused": True}, {"run": run()}):
        assert violated(checks.check_alarm, record(continuous(next_at=None, **fine)), None) is None


# -- I-3


def test_I_3_there_is_one_lease_at_a_time() -> None:
    both = TaskBody(run=leased(), intake=leased(2), inbox=(EVENT,))

    assert violated(checks.leased, record(both)) == "I-3"
    assert checks.leased(record(TaskBody(run=leased(), intake=run(2)))) == leased()
    assert checks.leased(record(TaskBody(run=run(), intake=leased(2)))) == leased(2)
    assert checks.leased(record(TaskBody(run=run(), intake=run(2)))) is None
    assert checks.leased(None) is None


# -- I-6, S-7


BEFORE = record(TaskBody(runs=2, ended=2, event_count=2, execute_count=2))


@pytest.mark.parametrize(
    ("changes", "by"),
    [
        ({"at": AT, "seq": 3}, None),
        ({"revision": Revision(1, 5, 9)}, "I-3"),
        ({"revision": Revision(1, 4, 9)}, "I-3"),
        ({"at": AT - 1}, "S-7"),
        ({"seq": 2}, "I-7"),
        ({"runs": 1}, "I-6"),
        ({"ended": 1}, "I-6"),
        ({"event_count": 1}, "I-6"),
        ({"execute_count": 1}, "I-6"),
        ({"run": run(2)}, None),
        ({"run": run(3)}, "I-6"),
        ({"intake": run(3)}, "I-6"),
    ],
)
def test_I_6_counts_and_time_only_grow(changes: dict[str, Any], by: str | None) -> None:
    head = {name: value for name, value in changes.items() if name in ("revision", "at", "seq")}
    body = {name: value for name, value in changes.items() if name not in head}
    counts: dict[str, Any] = {"runs": 2, "ended": 2, "event_count": 2, "execute_count": 2, **body}
    after = record(TaskBody(**counts), **{"revision": Revision(1, 6, 9), **head})

    assert violated(checks.check_counts, BEFORE, after) == by


# -- I-2


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        ({"window": window()}, {"batch": batch()}, None),
        ({"window": window()}, {"batch": batch(count=1)}, "I-2"),
        ({"window": window()}, {"batch": batch(count=3, state=OTHER)}, None),  # one came with the same write
        ({"window": window()}, {"batch": batch(state=OTHER)}, "I-2"),
        ({"window": window()}, {"batch": batch(count=1, started_at=AT + 1)}, None),  # it is of a later window
        ({"window": window()}, {"window": window(count=1)}, None),
        ({}, {"batch": batch(count=1)}, None),
        (
            {"window": window(), "batch": batch(), "run": run(1)},
            {"window": window(), "batch": batch(count=1), "run": run(1)},
            None,  # it is the batch that was there
        ),
        (
            {"window": window(), "batch": batch(), "run": run(1)},
            {"batch": batch(count=1), "run": run(2)},
            "I-2",
        ),
    ],
)
def test_I_2_a_window_that_closes_is_the_batch_whole(before: Any, after: Any, by: str | None) -> None:
    assert violated(checks.check_window, DebounceBody(**before), DebounceBody(**after)) == by


# -- S-51


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        ("", "", None),
        ("", "ab", None),
        ("ab", "ab", None),
        ("ab", "abc", None),
        ("ab", "b", None),
        ("ab", "bc", None),
        ("ab", "", "S-51"),
        ("ab", "a", "S-51"),
        ("ab", "ba", None),  # the first was handled, and one like it came
        ("abc", "ac", "S-51"),
        ("ab", "cab", "S-51"),
        ("abc", "acb", "S-51"),
    ],
)
def test_S_51_only_the_first_event_leaves_the_inbox(before: str, after: str, by: str | None) -> None:
    bodies = [
        TaskBody(inbox=tuple(QueuedEvent(event=event) for event in events)) for events in (before, after)
    ]

    assert violated(checks.check_inbox, *bodies) == by


# -- in words


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (continuous(), "next +00:00:05.000"),
        (continuous(next_at=AT - 1, paused=True), "next -00:00:00.001, paused"),
        (continuous(next_at=None), "next never"),
        (continuous(run=leased()), "run 1 execute attempt 1 leased until +00:00:05.000, next +00:00:05.000"),
        (continuous(run=run(crashes=2)), "run 1 execute attempt 1 crashes 2 parked, next +00:00:05.000"),
        (DebounceBody(window=window()), "window of 2 due +00:00:05.000"),
        (DebounceBody(batch=batch(), ids=(("a", AT),)), "batch of 2, 1 ids"),
        (TaskBody(inbox=(EVENT,), event_count=3), "scheduled never, events 3 inbox 1 dead 0"),
    ],
)
def test_a_record_is_told_in_a_few_words(body: AnyBody, said: str) -> None:
    assert str(checks.Told(record(body), AT)) == f"#5 {said}"
    assert str(checks.Told(None, AT)) == "deleted"
