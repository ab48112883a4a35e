"""At which stage a need, a write or a hook is: where a fault is said to have struck."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from durable_jobs_simulation import answers, stages
from support.watching import BEGAN, BOX, ORDER, TICK, ZERO, body_of

from durable_jobs_core import events, results
from durable_jobs_core.backend import Batch, Claim, Defer, Write
from durable_jobs_core.codec import encode
from durable_jobs_core.engine import Emit, Exchange, Invoke, Nudged, Reply
from durable_jobs_core.record import (
    Batch as Held,
)
from durable_jobs_core.record import (
    DebounceBody,
    Lease,
    Outcome,
    QueuedEvent,
    Record,
    Run,
    TaskBody,
    Window,
)
from durable_jobs_core.words import Key, Revision, Token, to_datetime


def record(body: Any) -> Record:
    return Record(Revision(1, 2, 1), ((1, 2),), BEGAN, BEGAN, 0, body)


def leased(token: int, until: int = BEGAN) -> Record:
    run = Run(number=1, hook="execute", lease=Lease(Token(token, 1), BEGAN, until))
    return record(body_of(TICK, run=run))


FREE = record(body_of(TICK))


def nothing(key: Key) -> None: ...


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, FREE, ["commit"]),
        (FREE, FREE, ["commit"]),
        (FREE, leased(1), ["start"]),
        (leased(1), FREE, ["finish"]),
        (leased(1), leased(2), ["finish", "start"]),
        (leased(1), leased(1), ["commit"]),
        (leased(1), leased(1, BEGAN + 1), ["handler"]),
    ],
)
def test_the_stage_of_a_write_is_what_it_does_with_leases(
    before: Any, after: Any, expected: list[str]
) -> None:
    write = Write(TICK, b"", encode(TICK, after, None))

    assert list(stages.of_change(before, after)) == expected
    assert list(stages.of_write(write, lambda key: before)) == expected


def test_the_stage_of_other_writes() -> None:
    assert list(stages.of_write(Write(TICK, b"", None), nothing)) == ["purge"]
    assert list(stages.of_write(Defer(TICK, b"", None), nothing)) == ["claim"]


def test_an_exchange_is_at_the_stages_of_all_that_it_carries() -> None:
    claim = Claim(limits={("continuous", "tick"): 1, ("task", "orders"): 1}, now=0, until=0, max_bytes=1)
    batch = Batch(writes=(Write(TICK, b"", None),), loads=(ORDER,), claim=claim, not_after=0)
    places = [("purge", "continuous"), ("load", "task"), ("claim", "continuous"), ("claim", "task")]

    assert sorted(stages.of_batch(batch, nothing)) == sorted(places)
    need = Exchange(id=1, lane=0, batch=batch)
    assert sorted(stages.of_need(need, nothing, nothing)) == sorted(places)  # type: ignore[arg-type]


def test_the_stages_of_other_needs() -> None:
    def of(need: Any) -> list[Any]:
        return list(stages.of_need(need, nothing, {7: BOX}.get))

    values: Any = [SimpleNamespace(key=key) for key in (TICK, BOX)]
    assert of(Emit(values)) == [("telemetry", "continuous"), ("telemetry", "debounce")]
    assert of(Reply(7)) == [("ack", "debounce")]
    assert of(Reply(8)) == []
    assert of(Nudged()) == []
    for leased_, stage in ((True, "handler"), (False, "step")):
        invoke = object.__new__(Invoke)
        object.__setattr__(invoke, "leased", leased_)
        object.__setattr__(invoke, "key", ORDER)
        assert of(invoke) == [(stage, "task")]


# -- what requests and answers say


def test_a_request_is_told_with_its_id_if_it_has_one() -> None:
    assert answers.request(events.TriggerRequested()) == "trigger"
    assert answers.request(events.AddRequested(event=1)) == "add"
    assert answers.request(events.AddRequested(event=1, event_id="e1")) == "add e1"


AT = to_datetime(BEGAN)
WROTE: list[tuple[Any, bool]] = [
    (results.StartResult(instance_id="a", created=True, status="running"), True),
    (results.StartResult(instance_id="a", created=False, status="running"), False),
    (results.TriggerResult(instance_id="a", triggered=True), True),
    (results.TriggerResult(instance_id="a", triggered=True, joined=True), False),
    (results.TriggerResult(instance_id="a", triggered=False), False),
    (results.FlushResult(instance_id="a", flushed=False, event_count=1, reason="manual"), True),
    (results.FlushResult(instance_id="a", flushed=False, event_count=0, reason="empty"), False),
    (results.AddResult(instance_id="a", created=True, event_count=1, will_flush_at=AT), True),
    (results.SendResult(instance_id="a", created=True), True),
    (results.SendResult(instance_id="a", created=False, terminated=True), True),
    (results.SendResult(instance_id="a", created=True, terminated=True), False),
    *((SimpleNamespace(), False),),
]


@pytest.mark.parametrize(("result", "wrote"), WROTE)
def test_an_answer_says_whether_something_was_changed(result: Any, wrote: bool) -> None:
    assert answers.wrote(result) is wrote


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (results.ClearResult, "cleared"),
        (results.PauseResult, "paused"),
        (results.ResumeResult, "resumed"),
        (results.RedriveResult, "redriven"),
        (results.DiscardResult, "discarded"),
    ],
)
@pytest.mark.parametrize("said", [0, 1])
def test_an_answer_says_how_much_was_changed(kind: Any, name: str, said: int) -> None:
    result = object.__new__(kind)
    object.__setattr__(result, name, said)

    assert bool(answers.wrote(result)) == bool(said)


QUEUED = QueuedEvent(event=1)
TASK = TaskBody(state=ZERO, event_count=3, execute_count=2, inbox=(QUEUED,))
WINDOW = Window(state=ZERO, count=2, started_at=BEGAN, due_at=BEGAN)
HELD = Held(state=ZERO, count=4, started_at=BEGAN, reason="timeout")


def debounce(**fields: Any) -> Any:
    return results.DebounceStatus(instance_id="a", status=fields.pop("status", "debouncing"), **fields)


def task(**fields: Any) -> Any:
    return results.TaskStatus(instance_id="a", status=fields.pop("status", "active"), **fields)


def of_continuous(**fields: Any) -> Any:
    return results.ContinuousStatus(instance_id="a", status=fields.pop("status", "running"), **fields)


RUN = Run(number=1, hook="execute", attempt=3)
READ: list[tuple[Any, Any, bool]] = [
    (None, of_continuous(status="not_found"), True),
    (None, of_continuous(), False),
    (body_of(TICK), of_continuous(run_count=2), True),
    (body_of(TICK), of_continuous(run_count=2, attempt=1), False),
    (body_of(TICK, run=RUN), of_continuous(run_count=2, attempt=3), True),
    (None, debounce(status="not_found"), True),
    (DebounceBody(window=WINDOW, batch=HELD), debounce(event_count=2, batch_event_count=4), True),
    (DebounceBody(window=WINDOW, batch=HELD), debounce(event_count=4, batch_event_count=2), False),
    (DebounceBody(), debounce(), True),
    (DebounceBody(), debounce(status="not_found"), False),
    (None, task(status="not_found"), True),
    (TASK, task(event_count=3, execute_count=2, queued_events=1), True),
    (TASK, task(event_count=3, execute_count=2, queued_events=0), False),
    (TASK, task(event_count=3, execute_count=2, queued_events=1, dead_letters=1), False),
    (TASK, task(event_count=2, execute_count=3, queued_events=1), False),
    (None, results.StateResult(instance_id="a"), True),
    (TASK, results.StateResult(instance_id="a", state=ZERO), True),
    (DebounceBody(window=WINDOW), results.StateResult(instance_id="a", state=ZERO), True),
    (DebounceBody(batch=HELD), results.StateResult(instance_id="a", state=ZERO), True),
    (DebounceBody(), results.StateResult(instance_id="a"), True),
    (DebounceBody(), results.StateResult(instance_id="a", state=ZERO), False),
]


@pytest.mark.parametrize(("body", "result", "same"), READ)
def test_a_read_shows_what_a_record_holds(body: Any, result: Any, same: bool) -> None:
    stored = answers.stored(None if body is None else record(body), result)

    assert (answers.view(result) == stored) is same


def test_a_record_says_how_an_attempt_has_ended() -> None:
    ended = Outcome(1, "succeeded", BEGAN)

    assert answers.ended_as(record(body_of(TICK, outcome=ended)), "succeeded")
    assert not answers.ended_as(record(body_of(TICK, outcome=ended)), "failed")
    assert not answers.ended_as(record(body_of(TICK)), "succeeded")
    assert answers.ended_as(record(DebounceBody()), "succeeded"), "what was held is gone"
    assert not answers.ended_as(record(DebounceBody()), "failed")
    assert not answers.ended_as(record(DebounceBody(batch=HELD)), "succeeded")
