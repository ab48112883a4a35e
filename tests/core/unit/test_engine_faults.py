"""What a driver does wrongly is refused, and changes nothing (rule 12 of the contract)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from support.rig import EPOCH, Rig, greeted, running
from support.samples import CHORE, LATEST, START, TICK, jobs, tick

from durable_jobs_core import create_durable_jobs
from durable_jobs_core.backend import Answer
from durable_jobs_core.engine import (
    Abandoned,
    Answered,
    Called,
    Engine,
    Finished,
    HookDetached,
    HookRaised,
    HookReturned,
    Returned,
    Stopping,
    Ticked,
)
from durable_jobs_core.errors import DefinitionError, DriverError
from durable_jobs_core.events import AddRequested, AlarmFired, StatusRequested


def no_exchange(rig: Rig) -> None:
    rig.feed(Answered(99, Answer(clock=EPOCH)))


def another_exchange(rig: Rig) -> None:
    rig.call(CHORE, StatusRequested())
    no_exchange(rig)


def second_answer(rig: Rig) -> None:
    rig.call(LATEST, AddRequested(event=1))
    exchange = rig.answer()
    rig.settle()
    rig.feed(Answered(exchange.id, Answer(clock=EPOCH)))


def no_invocation(rig: Rig) -> None:
    rig.feed(Finished(99, HookReturned()))


def second_end(rig: Rig) -> None:
    invoke = rig.finish()
    rig.settle()
    rig.feed(Finished(invoke.id, HookReturned()))


def not_detached(rig: Rig) -> None:
    rig.feed(Returned(rig.invokes[0].id))


def second_return(rig: Rig) -> None:
    invoke = rig.finish(HookDetached())
    rig.returned(invoke)
    rig.settle()
    rig.feed(Returned(invoke.id))


def second_call(rig: Rig) -> None:
    rig.call(LATEST, AddRequested(event=1))
    rig.feed(Called(rig.calls, TICK, StatusRequested(), 30_000))


def time_goes_back(rig: Rig) -> None:
    rig.engine.feed(rig.t - 1, Ticked())


def seconds(rig: Rig) -> None:
    rig.engine.feed(rig.t + 0.5, Ticked())  # type: ignore[arg-type]


def not_an_input(input_: Any) -> Callable[[Rig], None]:
    def fault(rig: Rig) -> None:
        rig.engine.feed(rig.t + 1, input_)

    fault.__name__ = repr(input_)[:60]
    return fault


def no_outcome(outcome: Any) -> Callable[[Rig], None]:
    def fault(rig: Rig) -> None:
        rig.engine.feed(rig.t + 1, Finished(rig.invokes[0].id, outcome))

    fault.__name__ = repr(outcome)[:60]
    return fault


def called(**wrong: Any) -> Callable[[Rig], None]:
    given = {"call": 99, "key": TICK, "request": StatusRequested(), "deadline": 30_000, **wrong}
    return not_an_input(Called(**given))


FAULTS = [
    seconds,
    *map(not_an_input, (None, "tick", Ticked, HookReturned(), Stopping(0.5))),  # type: ignore[arg-type]
    *map(no_outcome, (None, 5, HookReturned, HookRaised("text"), HookRaised(ValueError))),  # type: ignore[arg-type]
    called(call=None),
    called(call=[]),
    called(key=tuple(TICK)),
    called(key=None),
    called(request=None),
    called(request=StatusRequested),
    called(request=AlarmFired()),  # an input of the engine's own
    called(deadline=None),
    called(deadline=1.5),
    called(wait_ms="1s"),
    called(size=None),
    no_exchange,
    second_answer,
    no_invocation,
    second_end,
    not_detached,
    second_return,
    second_call,
    time_goes_back,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_rule_12_feed_raises_only_DriverError_and_then_nothing_has_changed(
    fault: Callable[[Rig], None],
) -> None:
    rig = running()
    rig.wait(100)

    with pytest.raises(DriverError):
        fault(rig)

    before = (rig.t, len(rig.drains))
    assert rig.engine.needs() == ()
    while rig.invokes:
        rig.finish()
    rig.settle()
    assert before[0] == rig.t
    assert rig.slots_taken == 0
    assert rig.ask(TICK, StatusRequested()).status == "running"


def test_rule_12_a_driver_error_says_what_was_wrong() -> None:
    engine = Engine(jobs(), node=1)
    engine.feed(10, Ticked())

    with pytest.raises(DriverError, match="t went back from 10 to 9"):
        engine.feed(9, Stopping(0))

    assert engine._state.stop_at is None


@pytest.mark.parametrize("lane", [2, -1, None, True, "0"])
def test_rule_12_a_key_without_a_lane_is_a_driver_error_and_others_go_on(lane: Any) -> None:
    rig = greeted(lanes=2, lane=lambda key: lane if key == TICK else 0)

    with pytest.raises(DriverError, match=r"^lane\(continuous:tick:a\): expected a number from 0 to 1, got "):
        rig.call(TICK, START)

    assert rig.ask(CHORE, StatusRequested()).status == "not_found"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (seconds, r"^t: expected whole milliseconds, got float \d+\.5 "),
        (not_an_input("tick"), "^expected an input of durable_jobs_core.engine, got str 'tick'"),
        (not_an_input(Stopping("5 s")), "^grace_ms: expected whole milliseconds, got str '5 s'"),  # type: ignore[arg-type]
        (no_outcome("done"), r"^expected an outcome such as HookReturned\(value\), got str 'done'"),
        (no_outcome(HookRaised(ValueError)), "^expected HookRaised with an exception, got type <class"),  # type: ignore[arg-type]
        (called(deadline=None), r"whole numbers for call, deadline and size, got \(99, None, 0\)"),
        (called(wait_ms="1s"), "^wait_ms: expected whole milliseconds or None, got str '1s'"),
        (called(request=None), "^expected a Key and a request, got Key Key.* and NoneType None"),
        (not_an_input(Abandoned([])), r"^call: expected a whole number, got list \[\]"),  # type: ignore[arg-type]
        (not_an_input(Finished([], HookReturned())), r"^invocation \[\] is not running"),  # type: ignore[arg-type]
        (not_an_input(Returned([])), r"^invocation \[\] is not detached"),  # type: ignore[arg-type]
        (no_exchange, "^exchange 99 is not in flight"),
        (another_exchange, "^exchange 99 is not in flight"),
        (no_invocation, "^invocation 99 is not running"),
        (not_detached, r"^invocation \d+ is not detached"),
        (second_call, r"^call \d+ was made before"),
    ],
)
def test_rule_12_each_fault_is_named(fault: Callable[[Rig], None], text: str) -> None:
    with pytest.raises(DriverError, match=text):
        fault(running())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"jobs": create_durable_jobs({"tick": tick()})},
            "Engine(jobs): expected definitions by (kind, name), ",
        ),
        (
            {"jobs": {"tick": tick()}},
            "Engine(jobs): expected definitions by (kind, name), as jobs.by_key, got",
        ),
        (
            {"jobs": [("continuous", "tick")]},
            "Engine(jobs): expected definitions by (kind, name), as jobs.by_key, got",
        ),
        ({"node": 1 << 64}, "Engine(node): expected 64 random bits, got 18446744073709551616"),
        ({"node": -1}, "Engine(node): expected 64 random bits, got -1"),
        ({"node": "host-1"}, "Engine(node): expected 64 random bits, got 'host-1'"),
        ({"lanes": 0}, "Engine(lanes): expected a whole number, 1 or more, got 0"),
    ],
)
def test_an_engine_that_could_never_work_is_refused_where_it_is_made(wrong: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(text)):
        Engine(**{"jobs": jobs(), "node": 1, **wrong})

    Engine(jobs(), node=(1 << 64) - 1)
    Engine({}, node=0)
