"""The turn: what is stepped, where a key waits, and what becomes of a claim that came to nothing (D-4)."""

from __future__ import annotations

from typing import Any

import pytest
from support.rig import EPOCH, Rig, client, greeted, start, writes
from support.samples import CHORE, LATEST, START, TICK, chore, jobs

from durable_jobs_core.backend import Defer
from durable_jobs_core.engine import Abandoned, Answered, Emit, HookCancelled, Reply
from durable_jobs_core.errors import OutcomeUnknownError
from durable_jobs_core.events import (
    AddRequested,
    PauseRequested,
    SendRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.words import Key


def claiming(rig: Rig) -> None:
    """The next exchange of the lane is a claim."""
    rig.nudge()
    assert rig.exchanges[0].batch.claim is not None


def ended(rig: Rig) -> None:
    """Nothing is known, in flight or due any more."""
    rig.settle()
    assert (rig.engine._state.keepers, rig.engine._state.ready, rig.engine.idle) == ({}, {}, True)


def defers(rig: Rig) -> int:
    """How many index entries were moved so far."""
    return sum(isinstance(write, Defer) for batch in rig.batches for write in batch.writes)


# -- where a key waits


def test_D_5_all_inputs_that_queued_during_a_write_are_written_once() -> None:
    rig = greeted()
    for event in range(100):
        rig.call(LATEST, AddRequested(event=event))
    rig.answer()

    (exchange,) = rig.exchanges
    assert len(writes(exchange)) == 1
    rig.answer()

    assert len(rig.replies) == 100


def test_D_5_a_key_that_reads_and_a_key_that_writes_go_in_one_exchange() -> None:
    rig = greeted()
    claiming(rig)
    rig.call(TICK, StatusRequested())
    rig.call(LATEST, AddRequested(event=1))
    rig.answer()

    (exchange,) = rig.exchanges

    assert ([write.key for write in writes(exchange)], exchange.batch.loads) == ([LATEST], (TICK,))


def test_a_key_is_read_or_written_and_not_both_in_one_exchange() -> None:
    rig = greeted(worker=False)
    rig.call(CHORE, StatusRequested())  # the lane is busy
    rig.call(TICK, START)
    reading = rig.call(TICK, StatusRequested())
    seen = []
    while rig.exchanges:
        (exchange,) = rig.exchanges
        seen.append((len(writes(exchange)), exchange.batch.loads))
        rig.answer()

    assert seen == [(0, (CHORE,)), (0, (TICK,)), (1, ())]
    assert rig.result(reading).status == "running"


def test_D_5_a_row_that_is_to_be_written_no_more_is_not_written() -> None:
    rig = greeted()
    claiming(rig)
    rig.call(TICK, START, deadline=100)
    rig.wait(100, settle=False)

    rig.answer()

    assert all(not writes(exchange) for exchange in rig.exchanges)
    ended(rig)


def test_a_keeper_let_go_by_one_input_is_not_stepped_for_another_of_the_same_drain() -> None:
    rig = greeted()
    other = client(rig)
    rig.ask(TICK, START)
    call = other.call(TICK, TriggerRequested(), wait_ms=30_000)
    other.settle()
    other.t = other.engine.next_wakeup or 0
    other.tick()
    (exchange,) = other.exchanges
    assert exchange.batch.loads == (TICK,)

    other.engine.feed(other.t, Abandoned(call))
    other.engine.feed(other.t, Answered(exchange.id, other.perform(exchange)))
    other.exchanges.clear()
    behind = other.call(LATEST, AddRequested(event=1))

    ended(other)
    assert other.result(behind).created


@pytest.mark.parametrize("lost", [False, True])
def test_a_read_that_nobody_wants_any_more_does_no_harm(lost: bool) -> None:
    rig = greeted()
    rig.call(TICK, StatusRequested(), deadline=100)
    rig.call(TICK, StatusRequested(), deadline=100)
    rig.wait(100, settle=False)
    rig.answer()  # the key is let go, and was to be read once more
    assert [exchange.batch.loads for exchange in rig.exchanges] == [(TICK,)]

    rig.fail() if lost else rig.answer()

    rig.wait(1_000)
    ended(rig)


def test_rule_6_I_7_telemetry_follows_its_commit() -> None:
    rig = greeted()
    rig.call(TICK, START)
    before = list(rig.events)

    rig.answer()

    assert before == []
    assert [type(event).__name__ for event in rig.events] == ["JobStarted"]


def test_rule_6_I_7_telemetry_of_a_key_comes_in_the_order_of_its_commits() -> None:
    rig = greeted(jobs(chore=chore(on_idle=lambda ctx: ctx.schedule("1 second"))))
    rig.ask_inline(CHORE, SendRequested(event=1))
    for _ in range(5):
        rig.wait(1_000)
        while rig.invokes:
            rig.finish()
            rig.settle()

    numbers = [event.seq for event in rig.events if event.key == CHORE]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 5


def test_needs_of_a_drain_come_with_its_telemetry_in_one_value() -> None:
    rig = greeted()
    claiming(rig)
    for name in range(3):
        rig.call(Key("continuous", "tick", str(name)), START)
    rig.answer()
    rig.answer()

    emits = [need for need in rig.drains[-1] if isinstance(need, Emit)]
    assert [len(emit.events) for emit in emits] == [3]
    assert sum(isinstance(need, Reply) for need in rig.drains[-1]) == 3


# -- claims that came to nothing (D-4)


def test_D_4_a_claim_of_what_another_made_not_due_puts_nothing_off() -> None:
    rig = greeted()
    start(rig, "tick", "a")
    claiming(rig)
    rig.answer()
    assert [write.key for write in writes(rig.exchanges[0])] == [TICK]
    client(rig).ask(TICK, PauseRequested())

    rig.settle()

    assert (rig.invokes, rig.entry(TICK), rig.slots_taken) == ([], None, 0)
    assert defers(rig) == 0


def test_D_4_what_is_only_read_is_not_put_off() -> None:
    rig = greeted()
    start(rig, "tick", "a")

    rig.ask(TICK, StatusRequested())
    rig.settle()

    assert defers(rig) == 0


def test_D_4_a_claim_of_what_still_runs_here_is_held_until_that_has_ended() -> None:
    rig = greeted(poll=1_000_000)
    rig.ask(TICK, START)
    other = client(rig)
    other.ask(TICK, TerminateRequested())
    other.ask(TICK, START)
    rig.nudge()
    rig.settle()

    assert (rig.entry(TICK), defers(rig)) == (EPOCH + 5_000, 0)


def test_D_4_an_alarm_of_an_instance_that_is_gone_puts_nothing_off() -> None:
    rig = greeted()
    rig.ask(TICK, START)
    other = client(rig)
    other.ask(TICK, TerminateRequested())
    other.ask(TICK, START)
    rig.nudge()
    rig.settle()
    assert rig.engine._state.handlers.alarmed == {TICK}
    other.ask(TICK, TerminateRequested())
    rig.ask(TICK, StatusRequested())

    rig.finish(HookCancelled())

    assert rig.engine._state.lanes[0].defers == {}
    ended(rig)


def test_D_4_a_claim_without_a_slot_is_put_back_to_its_due_time() -> None:
    rig = greeted(concurrency=1)
    start(rig, "tick", "a")
    claiming(rig)
    answer: Any = rig.perform(rig.exchanges[0])
    rig.call(Key("continuous", "tick", "b"), START)
    rig.stop(5_000)

    rig.answer(answer)
    rig.settle()

    assert rig.entry(TICK) == EPOCH


def test_D_4_index_entries_whose_exchange_was_lost_cost_a_hold_and_no_more() -> None:
    rig = greeted(concurrency=1)
    start(rig, "tick", "a")
    claiming(rig)
    answer = rig.perform(rig.exchanges[0])
    rig.stop(5_000)
    rig.answer(answer)
    (exchange,) = rig.exchanges
    assert exchange.batch.writes
    assert writes(exchange) == []

    rig.fail()
    rig.settle()

    assert (rig.entry(TICK), rig.closed) == (EPOCH + 5_000, True)


# -- reading back


def give_up(rig: Rig) -> int:
    """A request whose write is lost, and whose time is up before anyone can tell what became of it."""
    rig.ask(TICK, START)
    rig.finish()
    rig.settle()
    call = rig.call(TICK, PauseRequested(), deadline=1_000)
    rig.fail()
    while call not in rig.replies:
        if not rig.exchanges:
            rig.t = rig.engine.next_wakeup or rig.t
            rig.tick()
        elif writes(rig.exchanges[0]):
            rig.refuse(transient=True)
        else:
            rig.answer()
    return call


def test_D_6_a_request_that_comes_while_a_lost_write_is_looked_for_does_not_wait_for_it() -> None:
    rig = greeted()
    given_up = give_up(rig)
    assert isinstance(rig.result(given_up), OutcomeUnknownError)
    while not (rig.exchanges and rig.exchanges[0].batch.settle):
        if rig.exchanges:
            rig.answer()
        else:
            rig.t = rig.engine.next_wakeup or rig.t
            rig.tick()

    call = rig.call(TICK, PauseRequested())
    rig.answer()
    rig.settle()

    assert rig.result(call).paused


def test_D_6_a_request_on_a_key_whose_lost_write_is_not_settled_yet_is_written_without_reading() -> None:
    rig = greeted(poll=1_000_000)
    give_up(rig)
    rig.settle()

    call = rig.call(TICK, PauseRequested())
    rig.wait(100, settle=False)

    assert [(len(writes(exchange)), exchange.batch.loads) for exchange in rig.exchanges] == [(1, ())]
    rig.settle()
    assert rig.result(call).paused


def test_the_instance_at_which_the_engine_breaks_is_named() -> None:
    rig = greeted()

    def broken(*_: object) -> Any:
        raise KeyError("a bug")

    rig.engine._state.stepping = broken
    rig.call(Key("task", "chore", "a\nb"), StatusRequested())

    with pytest.raises(KeyError, match="a bug") as raised:
        rig.answer()
    assert raised.value.__notes__ == [r"at task:chore:a\nb"]
