"""What one step works on, and the life of an attempt, which is the same in every kind.

A `Draft` lives for one call of `step`: reactions of the kinds replace its `body` and add to `then`.
Nothing outside sees it, so purity is kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from durable_jobs_core._values import evolve, value
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import CallHandler, CancelHandler, Reply, Then, Watch
from durable_jobs_core.events import HandlerFailed
from durable_jobs_core.failures import RAISED, untried
from durable_jobs_core.operations import HookCall
from durable_jobs_core.record import Body, Lease, Outcome, Record, Result, Run, Stored
from durable_jobs_core.retry import GiveUp, GiveUpReason, Retry, decide
from durable_jobs_core.telemetry import (
    JobCrashed,
    JobExecuted,
    JobFailed,
    JobTerminated,
    RetryExhausted,
    TelemetryEvent,
)
from durable_jobs_core.words import Failure, Hook, Key, Token, to_datetime

B = TypeVar("B", bound=Body)
D = TypeVar("D", bound=AnyDefinition)


@value
class Env:
    """What a step may know of the world (S-1).

    `key`: of the instance; `now`: the instant; `entropy`: 64 random bits for a new life and for jitter;
    `number`, `engine`: of the revision this commit will have; `may_start`: this engine may start a run
    now; `lease_ms`: how long a lease it gives.
    """

    key: Key
    now: int
    entropy: int
    number: int
    engine: int
    may_start: bool
    lease_ms: int

    @property
    def token(self) -> Token:
        """The fence of a lease taken by this commit."""
        return Token(self.number, self.engine)


class Draft(Generic[B, D]):
    """The working copy of one step.

    `body`: what the instance becomes. While there is none it is `None`, which only the reactions of an
    absent instance have to expect: they ask `maybe_body`. `touched`: write the record even if its body is
    the same.

    `executed`, `exhausted` and `terminated` only say what happened. `failed` and `crashed` say it and give
    the run as it goes on, which the kind has to keep. `ended` tells nobody but those who wait for the run.
    """

    __slots__ = (
        "body", "created_at", "definition", "env", "key", "life", "now", "seq", "telemetry", "then",
        "touched",
    )  # fmt: skip

    def __init__(self, definition: D, record: Record | None, env: Env) -> None:
        self.definition = definition
        self.key = env.key
        self.env = env
        self.now = env.now
        self.touched = False
        self.telemetry: list[TelemetryEvent] = []
        self.then: list[Then] = []
        body: Any = None
        if record is None:
            self.life, self.created_at, self.seq = env.entropy, env.now, 0
        else:
            body = record.body
            self.life, self.created_at, self.seq = record.revision.life, record.created_at, record.seq
        self.body: B = body

    @property
    def maybe_body(self) -> B | None:
        """The body, or `None` while there is no instance."""
        return self.body

    def change(self, **changes: Any) -> None:
        """Replace fields of the body."""
        self.body = evolve(self.body, **changes)

    def keep(self, run: Run) -> None:
        """Replace the run with that number."""
        self.body = self.body.keep(run)

    # -- ending and beginning lives

    def end_life(self) -> None:
        """Delete the instance."""
        self.body = cast(Any, None)

    def begin_life(self, body: B) -> None:
        """Replace the instance by a new one with the same key, in the same commit (S-24)."""
        self.life, self.created_at, self.seq = self.env.entropy, self.now, 0
        self.body = body

    # -- then

    def emit(self, type_: type[TelemetryEvent], *, committed: bool = True, **fields: Any) -> None:
        """Add a telemetry value. One that rests on no commit has no `seq`."""
        seq = None
        if committed:
            self.seq += 1
            seq = self.seq
        self.telemetry.append(type_(self.key, self.now, self.life, seq, **fields))

    def reply(self, result: Any, watch: Watch | None = None) -> None:
        """Answer the request."""
        self.then.append(Reply(result, watch))

    def watch(self, runs: tuple[int, int] | None = None) -> Watch:
        """How to tell that the next attempt has ended, or the runs from one number to another."""
        return Watch(life=self.life, ended=self.body.ended, runs=runs)

    def call_of(self, hook: Hook, run: Run | None, **shown: Any) -> HookCall:
        """The call of a hook, under the lease of `run`, or inline."""
        if run is not None:
            shown |= {"run": run.number, "attempt": run.attempt, "crashes": run.crashes}
        return HookCall(self.key, hook, run is not None, self.now, self.life, self.created_at, **shown)

    # -- the life of an attempt

    def lease(self, run: Run) -> Run:
        """`run` with a lease taken by this commit."""
        now = self.now
        lease = Lease(self.env.token, now, now + self.env.lease_ms)
        return evolve(run, lease=lease, due=None, first_at=now if run.first_at is None else run.first_at)

    def call(self, run: Run, call: HookCall) -> None:
        """Call a hook after the commit, under the lease that `run` takes by it."""
        assert run.lease is not None, "just taken"
        self.then.append(CallHandler(call, run.lease.token))

    def cancel(self, run: Run | None) -> bool:
        """Cancel the handler of a run that loses its lease; whether there may be one."""
        if run is None or run.lease is None:
            return False
        self.then.append(CancelHandler(run.lease.token))
        return True

    def ended(
        self,
        run: int,
        result: Result,
        error: Failure | None = None,
        retry_at: int | None = None,
        /,
        **changes: Any,
    ) -> None:
        """Note how an attempt of that run ended, for those who wait for it, together with `changes`."""
        error = None if error is None else plain(error)
        outcome = Outcome(run, result, self.now, error, retry_at)
        self.body = evolve(self.body, ended=self.body.ended + 1, outcome=outcome, **changes)

    def parked_since(self, status: str) -> datetime | None:
        """When the run of an instance gave up, if by its `status` it is parked (S-25)."""
        outcome = self.body.outcome if status == "parked" else None
        return None if outcome is None else to_datetime(outcome.at)

    def failed(
        self,
        run: Run,
        event: HandlerFailed,
        state: Stored | None,
        *,
        policy: Retry | None,
        run_count: int = 0,
    ) -> Run | GiveUp:
        """The run after an attempt failed: waiting for the next, or given up (S-21). Notes the `last_error`.

        `state`, `run_count`: what telemetry says of the instance.
        """
        assert run.first_at is not None, "it has a lease"
        failure = event.failure
        try:
            due = decide(
                policy,
                attempt=run.attempt,
                first_at=run.first_at,
                retryable=event.retryable,
                now=self.now,
                entropy=self.env.entropy,
            )
        except RAISED as why:
            failure, due = untried(failure, "Retry(delay)", why), GiveUp("non_retryable")
        self.emit(
            JobFailed,
            hook=run.hook,
            run=run.number,
            attempt=run.attempt,
            will_retry=not isinstance(due, GiveUp),
            failure=failure,
            state=state,
            run_count=run_count,
        )
        self.change(last_error=plain(failure))
        if isinstance(due, GiveUp):
            return GiveUp("unreadable") if event.unreadable else due
        return evolve(run, attempt=run.attempt + 1, due=due, lease=None)

    def executed(self, run: Run, state: Stored | None, *, run_count: int = 0) -> None:
        """Say that a leased hook succeeded."""
        assert run.lease is not None, "fenced"
        self.emit(
            JobExecuted,
            hook=run.hook,
            run=run.number,
            run_count=run_count,
            attempt=run.attempt,
            duration_ms=self.now - run.lease.since,
            state=state,
        )

    def crashed(self, run: Run) -> Run | GiveUp:
        """The run after its lease ended without completion: the same attempt, due now (S-14)."""
        crashes = run.crashes + 1
        self.emit(JobCrashed, hook=run.hook, attempt=run.attempt, crashes=crashes)
        if crashes >= self.definition.max_crashes:
            return GiveUp("crashed")
        return evolve(run, crashes=crashes, due=self.now, lease=None)

    def exhausted(self, run: Run, reason: GiveUpReason, *, parks: bool) -> None:
        """Say that a run gave up: always if it parks, else if there was a policy to exhaust."""
        if parks or self.definition.retry is not None or reason == "crashed":
            self.emit(RetryExhausted, attempts=run.attempt, reason=reason)

    def terminated(self, reason: str | None, run_count: int = 0) -> None:
        """Say that the instance, or its data, ended."""
        self.emit(JobTerminated, reason=reason, run_count=run_count)


def is_due(run: Run, now: int) -> bool:
    """Whether a waiting run may start."""
    return run.due is not None and run.due <= now


def revived(run: Run, now: int) -> Run:
    """A run that waits or is parked, due now, with attempts and crashes from the beginning (S-18)."""
    return evolve(run, attempt=1, crashes=0, due=now, first_at=None)


def parked(run: Run) -> Run:
    """The run in flight, given up but kept (S-25)."""
    return evolve(run, lease=None)


def plain(failure: Failure) -> Failure:
    """A failure as it is stored: without its stack, which telemetry has."""
    return Failure(failure.type, failure.message)
