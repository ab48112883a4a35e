"""The hooks that run for this engine, leased and inline, and what their ends mean (S-10 to S-17)."""

from __future__ import annotations

from typing import Literal

from attrs import define, field

from durable_jobs_core.context import AnyContext, cancel_context, close_context, is_terminated, open_context
from durable_jobs_core.definitions import AnyDefinition, Debounce
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.protocol import (
    Attempt,
    HookCancelled,
    HookDetached,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Invoke,
)
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.events import HandlerEvent, HandlerFailed, HandlerReleased, HandlerSucceeded
from durable_jobs_core.failures import RAISED, describe, untried
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.words import Key, Token, to_datetime

CancelReason = Literal["lost", "stopping"]


@define(eq=False)
class Invocation:
    """One hook that runs.

    `token`: of its lease, `None` if it is inline; `until`: when that lease ends; `renew_at`: on the
    driver's clock; `cancelled`: why a `Cancel` was given.
    """

    id: int
    keeper: Keeper
    call: HookCall
    ctx: AnyContext
    token: Token | None
    until: int = 0
    renew_at: int = 0
    cancelled: CancelReason | None = None

    def cancel(self, reason: CancelReason) -> None:
        """Note why, and tell the hook."""
        self.cancelled = reason
        cancel_context(self.ctx)

    def attempt(self, *, left_behind: bool = False) -> Attempt:
        """How it is shown."""
        return Attempt(self.call.key, self.call.hook, to_datetime(self.call.at), left_behind)


@define(eq=False)
class Handlers:
    """All hooks that run. `leased`: by key, at most one each, the one to be renewed next first;
    `renewing`: those whose renewal is under way; `inline`: by key; `detached`: threads that go on, with
    the attempts that keep a slot; `dropped`: how many of those have returned, in vain; `alarmed`: keys
    whose alarm came while their old handler had not ended."""

    running: dict[int, Invocation] = field(factory=dict)
    leased: dict[Key, Invocation] = field(factory=dict)
    renewing: dict[Key, Invocation] = field(factory=dict)
    inline: dict[Key, Invocation] = field(factory=dict)
    detached: dict[int, Attempt | None] = field(factory=dict)
    dropped: int = 0
    alarmed: set[Key] = field(factory=set)

    def add(self, invocation: Invocation) -> None:
        """A hook was called."""
        self.running[invocation.id] = invocation
        if invocation.token is None:
            self.inline[invocation.call.key] = invocation
        else:
            self._file(invocation)

    def remove(self, id: int) -> Invocation:
        """A hook has ended."""
        invocation = self.running.pop(id)
        key = invocation.call.key
        if invocation.token is None:
            del self.inline[key]
        else:
            del self.leased[key]
            self.renewing.pop(key, None)
        return invocation

    def renewed(self, invocation: Invocation, until: int, renew_at: int) -> None:
        """The lease was renewed."""
        key = invocation.call.key
        invocation.until, invocation.renew_at = until, renew_at
        del self.leased[key]
        self.renewing.pop(key, None)
        self._file(invocation)

    def attempts(self) -> tuple[Attempt, ...]:
        """Those that hold slots, the longest first."""
        left = filter(None, self.detached.values())
        here = (invocation.attempt() for invocation in self.leased.values())
        return tuple(sorted([*left, *here], key=lambda attempt: attempt.since))

    def _file(self, invocation: Invocation) -> None:
        """Put it behind those that are renewed before it: behind all, unless its commit was told late."""
        last = next(reversed(self.leased.values()), invocation)
        self.leased[invocation.call.key] = invocation
        if last.renew_at > invocation.renew_at:
            self.leased = dict(sorted(self.leased.items(), key=lambda item: item[1].renew_at))


def prepare(id: int, keeper: Keeper, call: HookCall, token: Token | None) -> tuple[Invocation, Invoke]:
    """The invocation of a call; raises `ValidationError` if what it is shown does not decode."""
    definition = keeper.definition
    ctx, args = open_context(definition, call)
    function = definition.hooks[call.hook]
    reduces = isinstance(definition, Debounce) and call.hook == "on_event"
    timeout_ms = definition.timeout_of(call.hook)
    invoke = Invoke(id, call.key, call.hook, function, args, ctx, token is not None, timeout_ms, reduces)
    return Invocation(id, keeper, call, ctx, token), invoke


def unreadable(definition: AnyDefinition, error: ValidationError, token: Token) -> HandlerFailed:
    """A leased hook that was not called, for the stored state or event does not decode (S-22)."""
    return _failed(definition, error, token, unreadable=True)


def leased_event(invocation: Invocation, outcome: HookOutcome) -> HandlerEvent | None:
    """What the end of a leased hook means for its instance; `None`: nothing, the lease will expire."""
    token, definition = invocation.token, invocation.keeper.definition
    assert token is not None, "it is leased"
    result = result_of(invocation, outcome)
    if isinstance(result, Operations):
        return HandlerSucceeded(token, result)
    if invocation.cancelled == "stopping":
        return None if isinstance(outcome, HookDetached) else HandlerReleased(token)
    if invocation.cancelled == "lost":
        return None
    return _failed(definition, result, token)


def inline_outcome(invocation: Invocation, outcome: HookOutcome) -> InlineOutcome:
    """What the end of an inline hook means for its request."""
    result = result_of(invocation, outcome)
    if isinstance(result, Operations):
        return InlineOutcome(call=invocation.call, operations=result)
    return InlineOutcome(call=invocation.call, failure=describe(result), error=result)


def result_of(invocation: Invocation, outcome: HookOutcome) -> Operations | BaseException:
    """What a hook asked for, or what it failed with."""
    definition, ctx = invocation.keeper.definition, invocation.ctx
    detached = isinstance(outcome, HookDetached)
    if isinstance(outcome, HookReturned) or (is_terminated(ctx) and not detached):
        returned = outcome.value if isinstance(outcome, HookReturned) else None
        try:
            return close_context(definition, ctx, returned)
        except ValidationError as error:
            return error
    if isinstance(outcome, HookRaised):
        return outcome.error
    if isinstance(outcome, HookCancelled):
        return RuntimeError(f"{invocation.call.hook} was cancelled")
    assert isinstance(outcome, HookTimedOut | HookDetached), "the other outcomes are dealt with"
    limit = definition.timeout_of(invocation.call.hook)
    return TimeoutError(f"{invocation.call.hook} took longer than {limit} ms")


def _failed(
    definition: AnyDefinition, error: BaseException, token: Token, *, unreadable: bool = False
) -> HandlerFailed:
    failure, policy = describe(error), definition.retry
    try:
        retryable = policy is None or policy.matches(error)
    except RAISED as why:
        failure, retryable = untried(failure, "Retry(retry_on)", why), False
    return HandlerFailed(token, failure, retryable, unreadable)
