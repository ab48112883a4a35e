"""Hooks that run: what they are given, and what their ends mean (S-10 to S-17, S-22)."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from typing import Any

import pytest
from attrs import evolve
from support.rig import Rig, greeted, running
from support.samples import CHORE, FOLD, LATEST, START, TICK, jobs, latest, number, tick

from durable_jobs_core import Retry
from durable_jobs_core.codec import encode
from durable_jobs_core.context import TerminateSignal
from durable_jobs_core.engine import (
    HookCancelled,
    HookDetached,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
)
from durable_jobs_core.errors import ExecutionError, ValidationError
from durable_jobs_core.events import AddRequested, FlushRequested, SendRequested, TriggerRequested
from durable_jobs_core.record import ContinuousBody, Run, Stored
from durable_jobs_core.words import Failure

NO_RETRY = {"retry": None, "on_exhausted": "park"}


def body(rig: Rig) -> ContinuousBody:
    found = rig.record(TICK).body
    assert isinstance(found, ContinuousBody)
    return found


def run_of(rig: Rig) -> Run:
    run = body(rig).run
    assert run is not None
    return run


def last_error(rig: Rig) -> Failure:
    error = body(rig).last_error
    assert error is not None
    return error


# -- what a hook is given


def test_S_15_each_hook_has_its_timeout_and_execute_has_none_unless_it_is_given_one() -> None:
    seen = {}
    for name, options in {"default": {}, "given": {"timeout": "5 seconds"}}.items():
        rig = running(**options)
        seen[name] = rig.invokes[0].timeout_ms
    rig = greeted()
    rig.call(CHORE, SendRequested(event=1))
    rig.settle()
    seen["on_event"] = rig.invokes[0].timeout_ms

    assert seen == {"default": None, "given": 5_000, "on_event": 30_000}


@pytest.mark.parametrize(
    ("key", "requests", "expected"),
    [
        (FOLD, [AddRequested(event=1)], ("on_event", False, True)),
        (CHORE, [SendRequested(event=1)], ("on_event", False, False)),
        (TICK, [START], ("execute", True, False)),
        (LATEST, [AddRequested(event=1), FlushRequested()], ("execute", True, False)),
    ],
    ids=["a reducer", "a task's on_event", "execute", "a debounce's execute"],
)
def test_S_10_S_15_execute_is_leased_and_only_a_reducer_runs_where_it_is(
    key: Any, requests: list[Any], expected: tuple[str, bool, bool]
) -> None:
    rig = greeted()
    for request in requests:
        rig.call(key, request)
        rig.settle()

    (invoke,) = rig.invokes

    assert (invoke.hook, invoke.leased, invoke.inline_def) == expected
    assert invoke.key == key


# -- how it ends


def test_S_16_what_a_hook_asks_for_is_applied_when_it_has_returned_and_not_before() -> None:
    rig = running()
    (invoke,) = rig.invokes
    invoke.ctx.set_state(7)
    rig.tick()
    rig.settle()
    before = body(rig).state

    rig.finish(HookReturned())
    rig.settle()

    assert (before, body(rig).state) == (number(0), number(7))


@pytest.mark.parametrize("outcome", [HookRaised(ValueError("no")), HookTimedOut(), HookDetached()], ids=repr)
def test_S_16_if_a_hook_does_not_return_all_it_asked_for_is_discarded(outcome: HookOutcome) -> None:
    rig = running()
    rig.invokes[0].ctx.set_state(7)

    rig.finish(outcome)
    rig.settle()

    assert body(rig).state == number(0)


def test_S_17_terminate_is_honoured_though_user_code_swallows_it() -> None:
    def execute(ctx: Any) -> None:
        try:
            ctx.terminate("enough")
        except BaseException:
            ctx.set_state(9)

    rig = running(execute)

    rig.finish()
    rig.settle()

    assert rig.row(TICK) is None


@pytest.mark.parametrize(
    "outcome", [HookRaised(ValueError("after it")), HookTimedOut(), HookCancelled()], ids=repr
)
def test_S_17_terminate_is_honoured_whatever_the_hook_does_after_it(outcome: HookOutcome) -> None:
    rig = running()
    with pytest.raises(TerminateSignal):
        rig.invokes[0].ctx.terminate("enough")

    rig.finish(outcome)
    rig.settle()

    assert rig.row(TICK) is None


def test_S_15_what_a_detached_thread_asked_for_is_dropped_its_termination_too() -> None:
    rig = running()
    with pytest.raises(TerminateSignal):
        rig.invokes[0].ctx.terminate("too late")

    rig.finish(HookDetached())
    rig.settle()

    assert last_error(rig).type == "TimeoutError"


def recursive() -> list[Any]:
    state: list[Any] = []
    state.append(state)
    return state


class Unspeakable(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (HookRaised(ValueError("no")), "ValueError"),
        (HookRaised(NameError("a programming error")), "NameError"),
        (HookRaised(SystemExit(3)), "SystemExit"),
        (HookRaised(CancelledError()), "CancelledError"),
        (HookRaised(Unspeakable()), "Unspeakable"),
        (HookRaised(BaseExceptionGroup("many", [KeyError("a"), SystemExit()])), "BaseExceptionGroup"),
        (HookTimedOut(), "TimeoutError"),
        (HookDetached(), "TimeoutError"),
    ],
    ids=repr,
)
def test_S_14_S_22_whatever_a_hook_raises_by_itself_is_a_failure(outcome: HookOutcome, error: str) -> None:
    rig = running()

    rig.finish(outcome)
    rig.settle()

    assert last_error(rig).type == error
    assert (run_of(rig).attempt, run_of(rig).crashes) == (2, 0)


@pytest.mark.parametrize("state", ["text", True, 1.5, object(), recursive()], ids=lambda state: type(state))
def test_S_22_a_new_state_that_does_not_fit_is_a_failure(state: Any) -> None:
    rig = running()
    rig.invokes[0].ctx.set_state(state)

    rig.finish(HookReturned())
    rig.settle()

    assert (last_error(rig).type, body(rig).state) == ("ValidationError", number(0))


def test_S_20_S_22_an_error_that_the_policy_does_not_match_gives_up_at_once() -> None:
    rig = running(retry=Retry(retry_on=KeyError), on_exhausted="park")

    rig.finish(HookRaised(ValueError("no")))
    rig.settle()

    assert run_of(rig).parked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda error: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda error: sys.exit("no"), "SystemExit: no"),
    ],
)
def test_a_predicate_that_fails_gives_up_and_the_failure_says_so(answer: Any, why: str) -> None:
    rig = running(retry=Retry(retry_on=answer), on_exhausted="park")

    rig.finish(HookRaised(ValueError("refused")))
    rig.settle()

    assert run_of(rig).parked
    told = f"refused\n  not tried again, for Retry(retry_on) failed with {why}"
    assert (last_error(rig).type, last_error(rig).message) == ("ValueError", told)


def test_S_23_without_a_policy_there_is_one_attempt() -> None:
    rig = running(**NO_RETRY)

    rig.finish(HookRaised(ValueError("no")))
    rig.settle()

    assert run_of(rig).parked
    assert last_error(rig).message == "no"


# -- a hook that was cancelled


def test_S_14_a_handler_cancelled_because_its_lease_was_lost_is_a_crash_and_not_a_failure() -> None:
    rig = running()
    rig.wait(27_000, settle=False)
    assert rig.cancels == [rig.invokes[0].id]

    rig.finish(HookRaised(CancelledError()))
    rig.fail()  # the renewal, which did not reach the store; now it answers again
    rig.wait(60_000)

    assert [(invoke.ctx.attempt, invoke.ctx.crashes) for invoke in rig.invokes] == [(1, 1)]
    assert body(rig).last_error is None


@pytest.mark.parametrize(
    "outcome",
    [HookCancelled(), HookTimedOut(), HookRaised(ValueError("on the way out")), HookRaised(CancelledError())],
    ids=repr,
)
def test_S_14_S_67_after_the_shutdowns_cancel_any_outcome_but_success_is_a_hand_back(
    outcome: HookOutcome,
) -> None:
    rig = running()
    rig.stop()
    assert rig.cancels == [rig.invokes[0].id]

    rig.finish(outcome)
    rig.settle()

    run = run_of(rig)
    assert (run.attempt, run.crashes, run.lease, run.due) == (1, 0, None, rig.now())
    assert (body(rig).last_error, rig.entry(TICK)) == (None, rig.now())
    assert rig.closed


def test_S_67_a_success_after_the_shutdowns_cancel_is_a_success() -> None:
    rig = running()
    rig.stop()
    rig.invokes[0].ctx.set_state(7)

    rig.finish(HookReturned())
    rig.settle()

    assert (body(rig).state, body(rig).run, rig.closed) == (number(7), None, True)


def test_S_67_a_new_state_that_does_not_fit_after_the_shutdowns_cancel_is_handed_back() -> None:
    rig = running()
    rig.stop()
    rig.invokes[0].ctx.set_state("text")

    rig.finish(HookReturned())
    rig.settle()

    assert (run_of(rig).attempt, body(rig).last_error) == (1, None)


def test_S_67_a_thread_that_does_not_end_keeps_its_lease_until_it_expires() -> None:
    rig = running()
    lease = run_of(rig).lease
    rig.stop()

    rig.finish(HookDetached())
    rig.settle()

    assert lease is not None
    assert run_of(rig).lease == lease
    assert rig.entry(TICK) == lease.until
    assert rig.closed


# -- stored state that does not decode


def spoil(rig: Rig, state: Any) -> None:
    """An older release stored another state."""
    changed = evolve(rig.record(TICK), body=evolve(body(rig), state=Stored(1, state)))
    rig.stores[0]._store.rows[TICK] = encode(TICK, changed, rig.entry(TICK))
    rig.engine._state.cache.entries.clear()


@pytest.mark.parametrize("policy", ["park", "terminate"])
def test_S_22_stored_state_that_cannot_be_decoded_is_a_failure_of_the_run_and_nothing_is_dropped(
    policy: str,
) -> None:
    rig = running(retry=Retry(max_attempts=2, delay="1 second", jitter=0), on_exhausted=policy)
    rig.finish()
    rig.settle()
    spoil(rig, "text")

    rig.ask(TICK, TriggerRequested())
    first = run_of(rig)
    rig.wait(1_000)

    assert rig.invokes == []
    assert (first.attempt, run_of(rig).parked, last_error(rig).type) == (2, True, "ValidationError")
    assert (body(rig).state, rig.slots_taken) == (Stored(1, "text"), 0)


def test_rule_12_S_22_an_upcaster_that_would_end_the_process_fails_the_run() -> None:
    rig = running()
    rig.finish()
    rig.settle()
    changed = greeted(
        jobs(tick=tick(state_version=2, upcasters={1: sys.exit}, on_exhausted="park", retry=None)),
        node=2,
        stores=rig.stores,
        t=rig.t,
    )

    changed.ask(TICK, TriggerRequested())

    assert (changed.invokes, run_of(changed).parked) == ([], True)
    assert "SystemExit" in last_error(changed).message


def test_S_22_a_policy_that_does_not_match_it_gives_up_at_once() -> None:
    rig = running(retry=Retry(retry_on=KeyError), on_exhausted="park")
    rig.finish()
    rig.settle()
    spoil(rig, "text")

    rig.ask(TICK, TriggerRequested())

    assert (rig.invokes, run_of(rig).parked) == ([], True)


def test_S_6_a_request_that_needs_state_that_does_not_decode_raises_and_changes_nothing() -> None:
    rig = greeted()
    call = rig.call(FOLD, AddRequested(event=1))
    rig.settle()
    rig.finish()
    rig.settle()
    assert rig.result(call).event_count == 1
    row = rig.row(FOLD)

    changed = greeted(jobs(fold=latest(on_event=lambda ctx: 0, state=int)), node=2, stores=rig.stores)
    error = changed.ask(FOLD, AddRequested(event=2))

    assert isinstance(error, ValidationError)
    assert (changed.row(FOLD), changed.invokes) == (row, [])


# -- inline hooks


@pytest.mark.parametrize(
    ("outcome", "cause"),
    [
        (HookRaised(KeyError("no")), "KeyError"),
        (HookTimedOut(), "TimeoutError"),
        (HookDetached(), "TimeoutError"),
        (HookCancelled(), "RuntimeError"),
        (HookReturned("not a list"), "ValidationError"),
    ],
    ids=repr,
)
def test_S_10_I_9_if_an_inline_hook_fails_the_caller_is_told_and_nothing_changed(
    outcome: HookOutcome, cause: str
) -> None:
    rig = greeted()
    call = rig.call(FOLD, AddRequested(event=1))
    rig.settle()

    rig.finish(outcome)
    rig.settle()

    error = rig.result(call)
    assert isinstance(error, ExecutionError)
    assert (error.failure.type, type(rig.replies[call].cause).__name__) == (cause, cause)
    assert rig.row(FOLD) is None
    assert rig.engine.idle


def test_S_15_a_detached_inline_hook_keeps_no_slot_and_what_it_returns_is_dropped() -> None:
    rig = greeted()
    call = rig.call(CHORE, SendRequested(event=1))
    rig.settle()
    invoke = rig.finish(HookDetached())
    rig.settle()
    row = rig.row(CHORE)

    invoke.ctx.set_state([1])
    rig.returned(invoke)
    rig.settle()

    assert isinstance(rig.result(call), ExecutionError)
    assert (row, rig.row(CHORE), rig.slots_taken) == (None, None, 0)


def test_S_43_S_44_a_flush_is_executed_on_the_batch() -> None:
    rig = greeted()
    rig.ask(LATEST, AddRequested(event=5))
    rig.ask(LATEST, FlushRequested())

    (invoke,) = rig.invokes

    assert (invoke.leased, invoke.hook, invoke.ctx.state) == (True, "execute", 5)
