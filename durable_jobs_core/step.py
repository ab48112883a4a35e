"""The one function that changes state: `step` (S-1 to S-5); and `observe`, which tells those who wait (S-38).

Both are pure: no clock, no randomness, no I/O, no globals; equal arguments give equal results. What `step`
returns is data: one atomic write at most, and what may happen once that write is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from durable_jobs_core._values import evolve
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import EmitTelemetry, Then, Transition, Watch
from durable_jobs_core.errors import InvalidStateError
from durable_jobs_core.events import AlarmFired, Event
from durable_jobs_core.kinds import KINDS
from durable_jobs_core.kinds._draft import Draft, Env
from durable_jobs_core.record import LOST_MAX, WRITERS_MAX, AnyBody, DebounceBody, Outcome, Record
from durable_jobs_core.results import FlushResult
from durable_jobs_core.words import INSTANT_MAX, Kind, Revision, maybe_datetime

__all__ = ["Env", "Stepping", "alarm_of", "observe", "step"]

Stepping: TypeAlias = Callable[[AnyDefinition, Record | None, Event, Env], Transition]
"""What `step` is, and what stands in for it where a journal is kept."""


def step(definition: AnyDefinition, record: Record | None, event: Event, env: Env) -> Transition:
    """What `event` does to the instance `env.key` that is stored as `record` (`None`: not at all).

    The caller writes `commit` under the revision of `record`, and performs `then` when that write is
    known to be committed; on a conflict it drops the transition and steps the same event again (S-3).
    Raises a `DurableJobsError` for a request that is refused; then nothing changes (S-5).
    """
    rules = KINDS[definition.kind]
    if record is not None and record.at > env.now:
        env = evolve(env, now=record.at)  # time along one history never goes back (S-7)
    before = None if record is None else record.body
    draft: Draft[Any, Any] = Draft(definition, record, env)
    phase = rules.phase_of(before)
    cell = rules.table.get(type(event), {}).get(phase)
    if cell is None:
        raise InvalidStateError(env.key, f"a {definition.kind}", type(event).__name__)
    cell.reaction(draft, event)
    if draft.body is not None and (draft.body is not before or isinstance(event, AlarmFired)):
        rules.advance(draft)
    after = draft.body
    assert rules.phase_of(after) in cell.to, "the table names every outcome"
    then: tuple[Then, ...] = tuple(draft.then)
    if draft.telemetry:
        then = (EmitTelemetry(tuple(draft.telemetry)), *then)
    if after is before and not draft.touched:
        return Transition(record, then)
    if after is None:
        return Transition(None, then, writes=True)
    written = _written(record, draft, after, env)
    return Transition(written, then, writes=True, alarm=alarm_of(definition.kind, written))


def alarm_of(kind: Kind, record: Record) -> int | None:
    """The alarm a record wants, derived from it and from nothing else (S-4)."""
    alarm = KINDS[kind].deadline(record.body)
    if alarm is None or 0 <= alarm <= INSTANT_MAX:
        return alarm
    return 0 if alarm < 0 else INSTANT_MAX


def _written(record: Record | None, draft: Draft[Any, Any], body: AnyBody, env: Env) -> Record:
    """The record this commit writes: the new body under a revision of its own."""
    writers = () if record is None else record.writers
    others = [entry for entry in writers if entry[0] != env.engine]
    revision = Revision(draft.life, env.number, env.engine)
    writers = ((env.engine, env.number), *others)[:WRITERS_MAX]
    return Record(revision, writers, draft.created_at, env.now, draft.seq, body)


def observe(watch: Watch, record: Record | None, result: Any) -> Any | None:
    """`result` completed by what came of the run a caller waits for, or `None`: not over yet (S-38).

    `record` is the instance as it is now. A life that has ended answers `terminated`.
    """
    if record is None or record.revision.life != watch.life:
        return evolve(result, outcome="terminated")
    body = record.body
    outcome = body.outcome if body.ended > watch.ended else None
    if watch.runs is not None:
        assert isinstance(body, DebounceBody), "only a flush waits for more than the next attempt"
        outcome = _of_runs(body, *watch.runs, outcome)
    if outcome is None:
        return None
    changes: dict[str, Any] = {
        "outcome": outcome.result,
        "error": outcome.error,
        "retry_at": maybe_datetime(outcome.retry_at),
    }
    if isinstance(result, FlushResult):
        changes["flushed"] = outcome.result == "succeeded"
    return evolve(result, **changes)


def _of_runs(body: DebounceBody, first: int, last: int, latest: Outcome | None) -> Outcome | None:
    """What came of the runs of a flush: the first that did not succeed, or the last once it has.

    Whoever waits may look seldom: by then later runs may have begun, failed or been dropped.
    """
    for lost in body.lost:
        if lost.run in (first, last):  # a window between them was cleared before the flush
            return lost
    if len(body.lost) == LOST_MAX and body.lost[0].run > last:
        return None  # too late to tell
    if body.run is None or body.run.number > last:
        return Outcome(run=last, result="succeeded", at=0)
    if latest is None or latest.run > last or latest.result == "succeeded":
        return None
    return latest
