"""Reactions that are the same in every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from durable_jobs_core._values import evolve
from durable_jobs_core.errors import InstanceNotFoundError
from durable_jobs_core.events import (
    AlarmFired,
    AlarmMisfiled,
    HandlerReleased,
    LeaseRenewed,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.kinds._draft import Draft
from durable_jobs_core.kinds._ids import Ids, register
from durable_jobs_core.kinds._table import Reaction
from durable_jobs_core.record import Run
from durable_jobs_core.results import TerminateResult, TriggerResult
from durable_jobs_core.retry import GiveUp, GiveUpReason
from durable_jobs_core.telemetry import AlarmRepaired
from durable_jobs_core.words import Failure

GiveUpRule: TypeAlias = Callable[[Draft[Any, Any], Run, GiveUpReason], None]


def wake(d: Draft[Any, Any], event: AlarmFired) -> None:
    """Nothing of its own: `advance` starts what is due, and nothing if the alarm was early."""


def expire(give_up: GiveUpRule) -> Reaction:
    """The alarm of an attempt in flight: its lease may have ended without completion (S-14)."""

    def reaction(d: Draft[Any, Any], event: AlarmFired) -> None:
        run = d.body.in_flight
        assert run is not None, "RUNNING"
        assert run.lease is not None, "in flight"
        if run.lease.until > d.now or not d.env.may_start:
            return
        after = d.crashed(run)
        if isinstance(after, GiveUp):
            run = evolve(run, crashes=run.crashes + 1)
            d.keep(run)
            times = f"{run.crashes} of at most {d.definition.max_crashes} times"
            failure = Failure("Crashed", f"{run.hook} lost its worker {times}")
            d.change(last_error=failure)
            give_up(d, run, after.reason)
        else:
            d.keep(after)

    return reaction


def release(d: Draft[Any, Any], run: Run, event: HandlerReleased) -> None:
    """The attempt was handed back: the same one, due now, nothing counted (S-14)."""
    d.keep(evolve(run, due=d.now, lease=None))


def renew(d: Draft[Any, Any], run: Run, event: LeaseRenewed) -> None:
    """The attempt goes on: its lease ends later (S-13)."""
    assert run.lease is not None, "fenced"
    d.keep(evolve(run, lease=evolve(run.lease, until=d.now + d.env.lease_ms)))


def repair(d: Draft[Any, Any], event: AlarmMisfiled) -> None:
    """The stored alarm is not the one the record wants: write it anew, and say so (S-4)."""
    if d.maybe_body is not None:
        d.touched = True
        d.emit(AlarmRepaired, found=event.found)


def remember(d: Draft[Any, Any], ids: Ids, event_id: str | None) -> Ids:
    """The ids the instance remembers, with that of an event it takes (S-60)."""
    definition = d.definition
    return register(d.key, ids, event_id, now=d.now, limit=definition.ids_max, for_ms=definition.ids_for_ms)


def not_found(d: Draft[Any, Any], event: object) -> None:
    """The request needs an instance."""
    raise InstanceNotFoundError(d.key)


def trigger_nothing(d: Draft[Any, Any], event: TriggerRequested) -> None:
    """There is nothing to trigger: a normal answer (S-34, S-53)."""
    d.reply(TriggerResult(instance_id=str(d.key), triggered=False))


def terminate(
    d: Draft[Any, Any], event: TerminateRequested, *, run_count: int = 0, discarded: int = 0
) -> None:
    """End the life, with the events that it holds, and the attempt that is in flight (S-36)."""
    was_running = d.cancel(d.body.in_flight)
    d.terminated(event.reason, run_count)
    d.end_life()
    d.reply(
        TerminateResult(
            instance_id=str(d.key),
            terminated=True,
            reason=event.reason,
            was_running=was_running,
            discarded_events=discarded,
        )
    )


def terminate_nothing(d: Draft[Any, Any], event: TerminateRequested) -> None:
    """There is nothing to terminate: a normal answer (S-36)."""
    d.reply(TerminateResult(instance_id=str(d.key), terminated=False, reason="not_found"))
