"""Wrong cores: what is the same in all kinds, and continuous jobs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from attrs import evolve
from durable_jobs_simulation import Faults
from shelf.plants import Attribute, Cells, Rule, Shelf, case

from durable_jobs_core.events import HandlerSucceeded, StartRequested, TerminateRequested, TriggerRequested
from durable_jobs_core.kinds import _draft, continuous
from durable_jobs_core.kinds._draft import Draft, Env
from durable_jobs_core.operations import HookCall, Operations
from durable_jobs_core.results import StartResult, TerminateResult
from durable_jobs_core.retry import GiveUp
from durable_jobs_core.words import Token

STEP = import_module("durable_jobs_core.step")
CRASHES = Faults(crash=0.1)
"""Enough for some attempts to lose their worker again and again."""
FAILURES = Faults(hook_failure=0.4)

put = Shelf("core", case("tokens"))


@put("I-4", Attribute(STEP, "alarm_of"))
def forgets_the_alarm_of_a_retry(right: Any) -> Any:
    """A run that waits for its next attempt has no alarm."""

    def wrong(kind: Any, record: Any) -> int | None:
        run = record.body.run
        return None if run is not None and run.attempt > 1 and run.lease is None else right(kind, record)

    return wrong


@put("S-35", Rule("continuous", "advance"))
def starts_what_is_due_of_a_paused_instance(right: Any) -> Any:
    """The next request to a paused instance starts the tick or the retry that was due meanwhile."""

    def wrong(d: Any) -> None:
        if not d.body.paused:
            right(d)
            return
        d.change(paused=False)
        right(d)
        d.change(paused=True)

    return wrong


@put("S-7", Attribute(STEP, "_written"))
def writes_an_earlier_instant(right: Any) -> Any:
    """What is committed says that it was written before what it replaces."""

    def wrong(record: Any, *rest: Any) -> Any:
        written = right(record, *rest)
        return written if record is None else evolve(written, at=record.at - 1)

    return wrong


@put("I-6", Attribute(Draft, "failed"), faults=FAILURES)
def never_counts_a_failed_attempt(right: Any) -> Any:
    """An attempt that failed is made again under the same number."""

    def wrong(self: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        after = right(self, run, *args, **kwargs)
        return after if isinstance(after, GiveUp) else evolve(after, attempt=run.attempt)

    return wrong


@put("I-6", Attribute(_draft, "decide"), faults=FAILURES)
def makes_an_attempt_too_many(right: Any) -> Any:
    """`max_attempts` is taken for the number of retries."""
    return lambda policy, *, attempt, **rest: right(policy, attempt=max(1, attempt - 1), **rest)


@put("I-6", Attribute(Draft, "crashed"), faults=CRASHES)
def never_gives_up_a_run_that_crashes(right: Any) -> Any:
    """`max_crashes` is not looked at: a poisoned instance takes its workers down for ever."""

    def wrong(self: Any, run: Any) -> Any:
        right(self, run)
        return evolve(run, crashes=run.crashes + 1, due=self.now, lease=None)

    return wrong


@put("I-6", Attribute(Draft, "change"))
def forgets_that_a_run_began(right: Any) -> Any:
    """`run_count` stays as it was when a run starts."""

    def wrong(self: Any, **changes: Any) -> None:
        changes.pop("runs", None)
        right(self, **changes)

    return wrong


@put("S-12", Attribute(Env, "token"))
def reuses_a_token(right: Any) -> Any:
    """Every lease of an engine has the same token."""
    return property(lambda self: Token(1, self.engine))


@put("S-18", Attribute(HookCall, "idempotency_key"))
def gives_each_attempt_a_key_of_its_own(right: Any) -> Any:
    """The idempotency key changes with the attempt, so that effects outside are made twice."""
    return property(
        lambda self: f"{right.__get__(self)}-{self.attempt}-{self.crashes}" if self.leased else None
    )


@put("I-7", Attribute(Draft, "emit"))
def numbers_telemetry_only_once(right: Any) -> Any:
    """Two telemetry values of a life have the same `seq`."""

    def wrong(self: Any, *args: Any, **fields: Any) -> None:
        right(self, *args, **fields)
        self.seq = min(self.seq, 2)

    return wrong


@put("I-5", Cells("continuous", TerminateRequested))
def terminates_without_deleting(right: Any) -> Any:
    """`terminate` says that it is done and deletes nothing."""

    def wrong(d: Any, event: Any) -> None:
        d.touched = d.maybe_body is not None
        d.reply(TerminateResult(instance_id=str(d.key), terminated=d.touched))

    return wrong


@put("I-3", Cells("continuous", HandlerSucceeded, ("RUNNING",)))
def commits_for_whoever_holds_the_lease_now(right: Any) -> Any:
    """A completion is taken whatever token it brings."""
    return lambda d, event: right(d, evolve(event, token=d.body.in_flight.lease.token))


@put("I-3", Cells("continuous", TriggerRequested, ("RUNNING",)))
def takes_an_attempt_in_flight_over(right: Any) -> Any:
    """A trigger does not join the attempt that runs: it begins a run beside it."""

    def wrong(d: Any, event: Any) -> None:
        right(d, event)
        d.change(run=evolve(d.body.run, lease=None, due=d.now))

    return wrong


@put("I-3", Cells("continuous", StartRequested, ("WAITING", "PENDING", "RUNNING", "PARKED")))
def starts_over_an_instance_that_exists(right: Any) -> Any:
    """`start` of an instance that exists replaces its state."""

    def wrong(d: Any, event: Any) -> None:
        d.change(state=event.input)
        d.reply(StartResult(instance_id=str(d.key), created=False, status="running"))

    return wrong


@put("S-18", Cells("continuous", HandlerSucceeded, ("RUNNING",)))
def forgets_the_state_that_a_hook_has_set(right: Any) -> Any:
    """A run succeeds, and its state stays as it was."""
    return lambda d, event: right(d, evolve(event, operations=Operations()))


@put("I-4", Attribute(continuous, "_due_after"))
def stops_the_schedule(right: Any) -> Any:
    """After a run there is no next one."""
    return lambda d, run: None


@put("S-13", Rule("continuous", "deadline"), Attribute(continuous, "_due_tick"))
def runs_a_second_early(right: Any) -> Any:
    """A tick is taken for due a second before it is."""
    if right is continuous.deadline:
        return lambda body: None if (at := right(body)) is None else at - (body.run is None) * 1000

    def wrong(d: Any) -> Any:
        tick = d.body.next_at
        return (
            continuous._new_run(d, scheduled_for=tick) if tick is not None and tick - 1000 <= d.now else None
        )

    return wrong
