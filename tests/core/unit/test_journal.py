"""A journal: every step and write as a line, from which the same step can be made again."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from support import samples
from support.rig import Rig, client

from durable_jobs_core import codec, journal
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import Transition
from durable_jobs_core.engine import HookRaised, Invoke
from durable_jobs_core.errors import InstanceNotFoundError, InvalidStateError
from durable_jobs_core.events import (
    AddRequested,
    AlarmFired,
    AlarmMisfiled,
    HandlerFailed,
    HandlerReleased,
    HandlerSucceeded,
    PauseRequested,
    RescheduleRequested,
    SendRequested,
    StartRequested,
    StatusRequested,
    TerminateRequested,
)
from durable_jobs_core.journal import Journal, Line, read
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations, ScheduleChange, Termination
from durable_jobs_core.record import Record, Stored
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Failure, Key, Token

CALL = HookCall(
    key=samples.CHORE, hook="on_event", leased=False, at=5, life=2**63, created_at=4, event=[None, {"n": 1}],
    state=Stored(2, {"a": [1.5]}), failure=Failure("E", "m", "s"), flush_reason="manual", scheduled_at=9,
)  # fmt: skip
OPERATIONS = Operations(
    state=Stored(1, None), schedule=ScheduleChange(after_ms=5), terminate=Termination("why")
)
EVENTS: list[Any] = [
    StartRequested(Stored(1, {"n": "\u2028 ü"})),
    StatusRequested(),
    TerminateRequested("bye"),
    AlarmFired(),
    AlarmMisfiled(None),
    HandlerSucceeded(Token(2**64 - 1, 3), OPERATIONS),
    HandlerFailed(Token(1, 2), Failure("E", "m", "stack"), retryable=False),
    HandlerReleased(Token(1, 2)),
    AddRequested(event=None),
    AddRequested(
        event={"a": None}, event_id="e", outcomes=(InlineOutcome(call=CALL, operations=OPERATIONS),)
    ),
    SendRequested(event=[1], outcomes=(InlineOutcome(call=CALL, failure=Failure("E", ""), unreadable=True),)),
]


def env(key: Key = samples.TICK, **changes: Any) -> Env:
    known = Env(key=key, now=1_000, entropy=2**63, number=7, engine=9, may_start=True, lease_ms=30_000)
    return evolve(known, **changes)


def kept(lines: list[bytes]) -> tuple[list[Line], list[journal.Written]]:
    steps, writes, torn = read(line.decode() for line in lines)
    assert torn == 0
    return steps, writes


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_S_1_an_event_and_what_its_step_may_know_come_back_as_they_were(event: Any) -> None:
    definition: AnyDefinition = samples.chore() if isinstance(event, SendRequested) else samples.tick()
    if isinstance(event, AddRequested):
        definition = samples.latest()
    lines: list[bytes] = []
    known = env(Key(definition.kind, "job", "a:b"))

    with suppress(InstanceNotFoundError, InvalidStateError):  # a step that is refused is told as well
        Journal(lines.append).step(definition, None, event, known)

    ((line,), _) = kept(lines)
    assert lines[0].count(b"\n") == 1
    assert (line.event, line.env, line.before) == (event, known, None)


def test_S_1_what_a_line_says_is_enough_to_make_the_same_step_again() -> None:
    lines: list[bytes] = []
    run = Rig(journal=Journal(lines.append))
    run.call(samples.TICK, StartRequested(samples.number(1)))
    run.call(samples.CHORE, SendRequested(event=3, event_id="e"))
    run.settle()
    while run.invokes:
        run.finish()
        run.settle()
    run.wait(60_000)
    run.ask(samples.TICK, TerminateRequested())  # while its hook runs

    steps, _ = kept(lines)
    assert {line.env.key for line in steps} == {samples.TICK, samples.CHORE}
    assert any("cancel" in str(line.came) for line in steps)
    for line in steps:
        key = line.env.key
        definition = samples.jobs()[key.kind, key.job]
        before: Any = None if line.before is None else codec.from_json(definition, key, line.before)
        assert journal.outcome_of(key, step(definition, before, line.event, line.env)) == line.came


def test_S_2_S_3_each_write_is_told_with_what_became_of_it() -> None:
    lines: list[bytes] = []
    run = Rig(journal=Journal(lines.append))
    run.call(samples.TICK, StartRequested(samples.number(1)))
    run.answer()
    run.refuse(transient=True)
    run.wait(1_000)
    run.call(samples.TICK, TerminateRequested())
    run.fail()
    run.wait(1_000)

    _, writes = kept(lines)
    assert [(write.key, write.became) for write in writes] == [
        (samples.TICK, "Refused(reason='no', transient=True)"),
        (samples.TICK, "committed"),
        (samples.TICK, "ConnectionError('lost')"),
        (samples.TICK, "committed"),
    ]
    assert [write.revision is None for write in writes] == [False, False, True, True]


def test_S_3_a_conflict_is_told() -> None:
    lines: list[bytes] = []
    run = Rig(journal=Journal(lines.append))
    run.call(samples.TICK, StartRequested(samples.number(1)))
    run.settle()
    run.call(samples.TICK, PauseRequested())
    client(run).ask(samples.TICK, TerminateRequested())
    run.settle()

    assert "conflicted" in [write.became for write in kept(lines)[1]]


def test_S_5_a_refusal_is_told_and_raised() -> None:
    lines: list[bytes] = []

    with pytest.raises(InstanceNotFoundError):
        Journal(lines.append).step(samples.tick(), None, RescheduleRequested(), env())

    ((line,), _) = kept(lines)
    assert line.came == {"raised": f"InstanceNotFoundError: {InstanceNotFoundError(samples.TICK)}"}


def test_S_5_a_request_whose_inline_hook_failed_is_told_by_its_error() -> None:
    lines: list[bytes] = []
    run = Rig(journal=Journal(lines.append))
    run.call(samples.CHORE, SendRequested(event=3))
    run.settle()

    run.finish(HookRaised(RuntimeError("no")))

    assert kept(lines)[0][-1].came == {"then": ["emit job.failed", "reply ExecutionError"]}


def test_a_bug_of_the_library_is_told_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> Transition:
        raise AssertionError("a bug")

    monkeypatch.setattr(journal, "step", broken)
    lines: list[bytes] = []

    with pytest.raises(AssertionError, match="a bug"):
        Journal(lines.append).step(samples.tick(), None, AlarmFired(), env())

    assert kept(lines)[0][0].came == {"broke": "AssertionError: a bug"}


def test_only_what_is_wanted_is_told() -> None:
    lines: list[bytes] = []
    run = Rig(journal=Journal(lines.append, lambda key: key.job == "latest"))
    run.call(samples.TICK, StartRequested(samples.number(1)))
    run.call(samples.LATEST, AddRequested(event=3))
    run.settle()

    steps, writes = kept(lines)
    assert {line.env.key for line in steps} == {write.key for write in writes} == {samples.LATEST}


def test_what_cannot_be_written_harms_no_job_and_is_counted() -> None:
    def full(line: bytes) -> None:
        raise OSError("no space left")

    run = Rig(journal=Journal(full))
    call = run.call(samples.TICK, StartRequested(samples.number(1)))
    run.settle()

    assert run.replies[call].result.created
    kept_journal = run.engine._state.journal
    assert kept_journal is not None
    assert kept_journal.dropped > 1


@pytest.mark.parametrize("key", [samples.CHORE, samples.FOLD])
def test_the_engine_does_the_same_with_a_journal_and_without(key: Key) -> None:
    def done(run: Rig) -> list[str]:
        request = SendRequested(event=3) if key.kind == "task" else AddRequested(event=3)
        run.ask_inline(key, request)
        run.wait(5_000)
        return [repr(need) for drain in run.drains for need in drain if not isinstance(need, Invoke)]

    assert done(Rig(journal=Journal([].append))) == done(Rig())


def test_a_torn_line_is_left_out_and_counted() -> None:
    lines: list[bytes] = []
    told = Journal(lines.append)
    for _ in range(2):
        told.step(samples.tick(), None, StartRequested(samples.number(1)), env())

    steps, _, torn = read([lines[0].decode(), lines[1].decode()[:-9]])

    assert ([line.number for line in steps], torn) == ([1], 1)


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1 is not of a journal of version 1"):
        read([json.dumps({"journal": 2})])


def test_S_6_a_record_is_read_as_the_release_that_reads_it_knows_it() -> None:
    old = samples.tick()
    lines: list[bytes] = []
    Journal(lines.append).step(old, None, StartRequested(samples.number(1)), env())
    new = samples.tick(state_version=2, upcasters={1: lambda value: value + 10})

    ((line,), _) = kept(lines)
    record = codec.from_json(new, samples.TICK, line.came["after"])  # type: ignore[arg-type]

    assert isinstance(record, Record)
    assert record.body.state == Stored(2, 11)  # type: ignore[union-attr]
