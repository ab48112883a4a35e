"""The ledger of the exhaustive checker: what may be acknowledged without having been in any record."""

from __future__ import annotations

import pytest
from durable_jobs_simulation.exhaustive.ledger import Ledger
from durable_jobs_simulation.violation import Violated

from durable_jobs_core import Key
from durable_jobs_core.engine import Reply
from durable_jobs_core.events import AddRequested, ClearRequested

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
