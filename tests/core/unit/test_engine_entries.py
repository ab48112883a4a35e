"""The inputs of a key: their outcomes, and how much they hold while they wait for a write (rule 10)."""

from __future__ import annotations

import pytest
from support.samples import FOLD, number

from durable_jobs_core.engine.entries import Entry, Stepped, is_full, outcome_bytes
from durable_jobs_core.events import AddRequested, Event, SendRequested, StatusRequested
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.words import Failure

MIB = 1024 * 1024
CALL = HookCall(FOLD, "on_event", False, 0, 0, 0)
FAILED = InlineOutcome(call=CALL, failure=Failure("ValueError", "no"))


def left(size: int) -> InlineOutcome:
    """The outcome of a hook that has left a state of so many bytes."""
    return InlineOutcome(call=CALL, operations=Operations(number(1), size=size))


@pytest.mark.parametrize(
    ("event", "size"),
    [
        (AddRequested(event=1), 0),
        (AddRequested(event=1, outcomes=(left(3), FAILED, left(4))), 7),
        (SendRequested(event=1, outcomes=(FAILED, left(5))), 5),
        (StatusRequested(), 0),
    ],
)
def test_rule_10_an_input_holds_the_states_that_its_hooks_have_left(event: Event, size: int) -> None:
    entry = Entry(event, 1)

    assert (outcome_bytes(()), outcome_bytes((), entry)) == (0, size)
    assert outcome_bytes([Stepped(entry, ()), Stepped(entry, (), outcome_bytes=10)], entry) == 10 + size


def test_rule_10_what_was_stepped_without_a_hook_holds_nothing() -> None:
    assert outcome_bytes([Stepped(Entry(StatusRequested(), 1), ())]) == 0


def test_rule_10_more_than_16_MiB_are_written_first() -> None:
    entry = Entry(AddRequested(event=1), 1)

    assert [is_full([Stepped(entry, (), outcome_bytes=16 * MIB + more)]) for more in (0, 1)] == [False, True]
    assert not is_full(())


@pytest.mark.parametrize("request_type", [AddRequested, SendRequested])
def test_the_outcomes_of_its_hooks_are_added_to_a_request_in_order(
    request_type: type[AddRequested | SendRequested],
) -> None:
    entry = Entry(request_type(event=1), 1)

    entry.add_outcome(FAILED)
    entry.add_outcome(left(3))

    assert entry.event == request_type(event=1, outcomes=(FAILED, left(3)))
