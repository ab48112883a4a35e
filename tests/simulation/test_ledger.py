"""The ledger of the exhaustive checker: what may be acknowledged without having been in any record."""

from __future__ import annotations

from typing import Any

import pytest
from durable_jobs_simulation.exhaustive.ledger import Ledger
from durable_jobs_simulation.violation import Violated

from durable_jobs_core import Key
from durable_jobs_core.engine import Reply
from durable_jobs_core.errors import OutcomeUnknownError, StorageError
from durable_jobs_core.events import AddRequested, ClearRequested
from durable_jobs_core.record import DebounceBody, QueuedEvent, Record, Stored, TaskBody, Window
from durable_jobs_core.words import Revision

KEY = Key("debounce", "hooks", "a")
ADD, CLEAR = 1, 2


def called(*calls: int) -> Ledger:
    """A ledger of these calls, none of which is answered."""
    ledger = Ledger()
    for call in calls:
        ledger.called(call, KEY, AddRequested(event=7) if call == ADD else ClearRequested())
    return ledger


@pytest.mark.parametrize("calls", [(ADD, CLEAR), (CLEAR, ADD)])
def test_I_1_an_event_may_be_added_and_cleared_by_one_write(calls: tuple[int, int]) -> None:
    ledger = called(*calls)

    for call in calls:
        ledger.replied(Reply(call, None))

    assert not ledger.passing
    assert not ledger.open


def test_I_1_an_event_that_was_never_there_is_lost_if_it_was_acknowledged_before_a_clear_was_asked_for() -> (
    None
):
    ledger = called(ADD)

    with pytest.raises(Violated, match="I-1: event 7 was acknowledged and is nowhere"):
        ledger.replied(Reply(ADD, None))


def test_I_1_an_event_that_was_never_there_is_lost_if_it_was_added_after_a_clear_was_answered() -> None:
    ledger = called(CLEAR)
    ledger.replied(Reply(CLEAR, None))
    ledger.called(ADD, KEY, AddRequested(event=7))

    with pytest.raises(Violated, match="I-1: event 7 was acknowledged and is nowhere"):
        ledger.replied(Reply(ADD, None))


def test_I_1_another_key_is_cleared_without_taking_an_event() -> None:
    ledger = called(ADD)
    ledger.called(CLEAR, KEY._replace(id="b"), ClearRequested())

    with pytest.raises(Violated, match="I-1: event 7 was acknowledged and is nowhere"):
        ledger.replied(Reply(ADD, None))


# -- what records hold


TASK = Key("task", "orders", "a")


def holding(*numbers: int, key: Key = KEY) -> Record:
    """A record with these events."""
    body: Any = DebounceBody(window=Window(state=Stored(1, [*numbers]), count=1, started_at=0, due_at=0))
    if key == TASK:
        first, *rest = numbers
        body = TaskBody(state=Stored(1, [first]), inbox=tuple(QueuedEvent(event=number) for number in rest))
    return Record(Revision(1, 1, 1), (), 0, 0, 0, body)


def executed(*numbers: int) -> Ledger:
    """A ledger in which these were written, and handled."""
    ledger = Ledger()
    ledger.committed(KEY, None, holding(*numbers))
    ledger.ran(KEY, Stored(1, [*numbers]))
    return ledger


def test_I_1_an_event_that_was_handled_may_be_gone() -> None:
    executed(7).committed(KEY, holding(7), None)


def test_I_1_an_event_is_gone_if_an_end_was_asked_for() -> None:
    ledger = called(CLEAR)
    ledger.committed(KEY, None, holding(7))

    ledger.committed(KEY, holding(7), None)


@pytest.mark.parametrize("key", [KEY, TASK])
def test_I_1_an_event_that_is_gone_and_was_not_handled_is_lost(key: Key) -> None:
    ledger = Ledger()
    ledger.committed(key, None, holding(6, 7, key=key))

    with pytest.raises(Violated, match="I-1: event 7 was lost"):
        ledger.committed(key, holding(6, 7, key=key), holding(6, key=key))


def test_I_1_an_event_of_another_key_was_handled_for_that() -> None:
    ledger = Ledger()
    ledger.ran(KEY._replace(id="b"), Stored(1, [7]))
    ledger.committed(KEY, None, holding(7))

    with pytest.raises(Violated, match="I-1: event 7 was lost"):
        ledger.committed(KEY, holding(7), None)


@pytest.mark.parametrize("key", [KEY, TASK])
def test_I_1_an_event_is_there_once(key: Key) -> None:
    with pytest.raises(Violated, match="I-1: event 7 is there twice"):
        Ledger().committed(key, None, holding(7, 7, key=key))


def test_I_2_an_event_that_was_handled_does_not_come_back() -> None:
    ledger = executed(7)
    ledger.committed(KEY, holding(7), None)
    ledger.committed(KEY._replace(id="b"), None, holding(7))

    with pytest.raises(Violated, match="I-2: event 7 is there again"):
        ledger.committed(KEY, None, holding(7))


def test_I_9_an_event_that_is_there_is_not_refused() -> None:
    ledger = called(ADD)
    ledger.committed(KEY, None, holding(7))

    with pytest.raises(Violated, match="I-9: event 7 was refused and is there"):
        ledger.replied(Reply(ADD, error=StorageError("no")))


@pytest.mark.parametrize(
    ("error", "fine"), [(StorageError("no"), False), (OutcomeUnknownError("who knows"), True)]
)
def test_I_9_an_event_that_was_refused_does_not_come(error: Any, fine: bool) -> None:
    ledger = called(ADD)
    ledger.replied(Reply(ADD, error=error))

    if fine:
        ledger.committed(KEY, None, holding(7))
    else:
        with pytest.raises(Violated, match="I-9: event 7 was refused and is there"):
            ledger.committed(KEY, None, holding(7))
