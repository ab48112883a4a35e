"""What holds for every step, whatever the kind, the record and the event (SPEC §2, §9).

`checked_step` is `step` with these laws asserted around it. The bench uses nothing else, so every unit
test, table row, transcript and state machine checks them all the time.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from durable_jobs_core.codec import decode, encode
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import (
    CallHandler,
    ClearAlarm,
    Delete,
    EmitTelemetry,
    Persist,
    ReplyError,
    SetAlarm,
    Transition,
)
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.events import AlarmFired, Event
from durable_jobs_core.kinds import KINDS
from durable_jobs_core.record import Record, TaskBody
from durable_jobs_core.step import Env, alarm_of, step
from durable_jobs_core.words import Key


def checked_step(definition: AnyDefinition, record: Record | None, event: Event, env: Env) -> Transition:
    """`step`, and every law that one step can be held to."""
    before = _bytes(env.key, record)
    try:
        transition = step(definition, record, event, env)
    except DurableJobsError as error:
        _raises_again(definition, record, event, env, error)
        assert _bytes(env.key, record) == before, "I-9: a refused request leaves the bytes as they were"
        raise
    again = step(definition, record, event, env)
    assert _comparable(again) == _comparable(transition), "S-1: equal arguments give equal results"
    assert _bytes(env.key, record) == before, "S-1: the arguments are as they were"
    _check_commit(record, transition, env)
    _check_phase(definition, record, event, transition)
    _check_telemetry(record, transition)
    if transition.record is not None:
        _check_record(env, transition.record)
        _check_early_alarm(definition, transition.record, env)
        if isinstance(event, AlarmFired) and env.may_start:
            alarm = alarm_of(env.key.kind, transition.record)
            assert alarm is None or alarm > max(env.now, transition.record.at), (
                "what is due was started: an alarm does not go off twice for one thing"
            )
    return transition


def _raises_again(
    definition: AnyDefinition, record: Record | None, event: Event, env: Env, error: DurableJobsError
) -> None:
    with pytest.raises(type(error)) as caught:
        step(definition, record, event, env)
    assert str(caught.value) == str(error), "S-1: equal arguments raise equal errors"


def _bytes(key: Key, record: Record | None) -> bytes | None:
    if record is None:
        return None
    row = encode(key, record, alarm_of(key.kind, record))
    return row.revision + row.blob + row.status.encode()


def _comparable(transition: Transition) -> Any:
    """A transition with its errors as text: exceptions are equal only to themselves."""
    then = tuple(
        (type(effect.error), str(effect.error), effect.cause) if isinstance(effect, ReplyError) else effect
        for effect in transition.then
    )
    return transition.record, transition.commit, then


def _check_commit(record: Record | None, transition: Transition, env: Env) -> None:
    """S-2, S-4, S-12: one write or none, its alarm the derived one, its lease under its own revision."""
    after = transition.record
    if not transition.commit:
        assert after is record, "S-2: without a commit nothing has changed"
        leased = [e for e in transition.then if isinstance(e, CallHandler) and e.token is not None]
        assert not leased, "S-2: a leased hook follows its claim"
        return
    if after is None:
        assert transition.commit == (Delete(), ClearAlarm())
        return
    alarm = alarm_of(env.key.kind, after)
    order = ClearAlarm() if alarm is None else SetAlarm(alarm)
    assert transition.commit == (Persist(after), order), "S-4: the alarm written is the derived one"
    assert (after.revision.number, after.revision.engine) == (env.number, env.engine)
    assert after.writers[0] == (env.engine, env.number)
    if record is not None:
        assert after.at >= record.at, "S-7: time along one history never goes back"
    run = after.body.in_flight
    calls = [e for e in transition.then if isinstance(e, CallHandler)]
    assert len(calls) <= 1, "one hook at a time"
    if calls:
        assert run is not None
        assert run.lease is not None
        assert calls[0].token == run.lease.token == env.token, "S-12: the token is that of this commit"


def _check_phase(
    definition: AnyDefinition, record: Record | None, event: Event, transition: Transition
) -> None:
    rules = KINDS[definition.kind]
    cell = rules.table[type(event)][rules.phase_of(None if record is None else record.body)]
    after = transition.record
    assert rules.phase_of(None if after is None else after.body) in cell.to, "the table names the outcome"


def _check_telemetry(record: Record | None, transition: Transition) -> None:
    """S-65: `seq` counts the values of a life without a gap, and the record keeps the count."""
    values = [v for e in transition.then if isinstance(e, EmitTelemetry) for v in e.events]
    last: dict[int, int] = {}
    if record is not None:
        last[record.revision.life] = record.seq
    for value in values:
        if value.seq is not None:
            assert value.seq == last.get(value.life, 0) + 1, "seq is contiguous"
            last[value.life] = value.seq
    after = transition.record
    if after is not None:
        assert after.seq == last.get(after.revision.life, 0), "the record keeps the count"


def _check_record(env: Env, record: Record) -> None:
    body = record.body
    runs = [body.run, body.intake if isinstance(body, TaskBody) else None]
    assert sum(run is not None and run.lease is not None for run in runs) <= 1, "I-3: one current token"
    assert all(run is None or run.lease is None or run.due is None for run in runs), "in flight, or waiting"
    row = encode(env.key, record, alarm_of(env.key.kind, record))
    assert decode(row) == record, "the codec gives back what it was given"
    assert all(run is None or (run.attempt >= 1 and run.number <= body.runs) for run in runs)


def _check_early_alarm(definition: AnyDefinition, record: Record, env: Env) -> None:
    """S-4: a moment before its instant an alarm changes nothing, not even where a run may start."""
    alarm = alarm_of(env.key.kind, record)
    if alarm is not None and alarm > max(env.now, record.at):
        early = evolve(env, now=alarm - 1, number=env.number + 1, may_start=True)
        transition = step(definition, record, AlarmFired(), early)
        assert (transition.commit, transition.then) == ((), ()), "S-4: an early alarm changes nothing"


def with_outcome(event: Any, outcome: Any) -> Any:
    """A request with the outcome of one more inline hook."""
    return evolve(event, outcomes=(*event.outcomes, outcome))
