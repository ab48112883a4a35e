"""Calling hooks, cancelling them, hearing of their ends, and renewing their leases."""

from __future__ import annotations

from durable_jobs_core.context import cancel_context, end_context
from durable_jobs_core.engine.handlers import (
    CancelReason,
    Invocation,
    inline_outcome,
    leased_event,
    prepare,
    unreadable,
)
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.protocol import Cancel, Finished, HookDetached, Returned
from durable_jobs_core.engine.state import State
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.events import AlarmFired, HandlerReleased, LeaseRenewed
from durable_jobs_core.failures import describe
from durable_jobs_core.operations import HookCall, InlineOutcome
from durable_jobs_core.record import Lease, Record
from durable_jobs_core.words import Token, job_of


def call(state: State, keeper: Keeper, call: HookCall, token: Token | None) -> None:
    """Call a hook, unless its lease is gone already; what it is shown must decode."""
    lease = current_lease(keeper, token)
    if token is not None and lease is None:
        state.slots.give(keeper.job)
        return
    if lease is not None and _is_too_late(state, keeper, lease):
        state.push_fact(keeper, HandlerReleased(lease.token), brings_slot=True)
        return
    try:
        invocation, invoke = prepare(state.new_id(), keeper, call, token)
    except ValidationError as error:
        if token is not None:
            failed = unreadable(keeper.definition, error, token)
            state.push_fact(keeper, failed, brings_slot=True)
        else:
            failure = describe(error)
            outcome = InlineOutcome(call=call, failure=failure, error=error, unreadable=True)
            keeper.inline_finished(outcome)
            state.ready[keeper.key] = keeper
        return
    if lease is not None:
        invocation.until = lease.until
        invocation.renew_at = _renew_at(state, lease)
    state.handlers.add(invocation)
    state.needs.append(invoke)


def _is_too_late(state: State, keeper: Keeper, lease: Lease) -> bool:
    """Whether a run is to be handed back uncalled, to begin anew unless another has taken over.

    This process slept, or the answer was long on its way; or the write landed after all, when another
    attempt had been given its slot; or the grace of a shutdown is over.
    """
    return _is_over(state, lease.until) or state.slots.free(keeper.job) < 0 or state.cut_short


def current_lease(keeper: Keeper, token: Token | None) -> Lease | None:
    """The lease with that token, by what is known of the key."""
    run = keeper.base.body.in_flight if isinstance(keeper.base, Record) else None
    lease = None if run is None else run.lease
    return lease if lease is not None and lease.token == token else None


def cancel(state: State, invocation: Invocation, reason: CancelReason) -> None:
    """Cancel a hook, once."""
    if invocation.cancelled is None:
        invocation.cancel(reason)
        state.needs.append(Cancel(invocation.id))


def finished(state: State, finished: Finished) -> None:
    """A hook has ended, or goes on in a thread that nobody waits for."""
    invocation = state.handlers.remove(finished.invocation)
    keeper, key = invocation.keeper, invocation.call.key
    detached = isinstance(finished.outcome, HookDetached)
    if detached:
        cancel_context(invocation.ctx)
        leased = invocation.token is not None
        state.handlers.detached[invocation.id] = invocation.attempt(left_behind=True) if leased else None
    else:
        end_context(invocation.ctx)
    state.ready[key] = keeper
    if invocation.token is None:
        keeper.inline_finished(inline_outcome(invocation, finished.outcome))
        return
    event = leased_event(invocation, finished.outcome)
    if event is not None:
        state.push_fact(keeper, event, brings_slot=not detached)
    elif not detached:
        state.slots.give(keeper.job)
    if key in state.handlers.alarmed:
        state.handlers.alarmed.remove(key)
        state.push_fact(keeper, AlarmFired())


def returned(state: State, returned: Returned) -> None:
    """The thread of a detached hook has returned: its slot is free, and what it returned is dropped."""
    attempt = state.handlers.detached.pop(returned.invocation)
    state.handlers.dropped += 1
    if attempt is not None:
        state.slots.give(job_of(attempt.key))


def follow_lease(state: State, keeper: Keeper) -> None:
    """What is known of a key has changed: its handler has a longer lease, or none any more."""
    invocation = state.handlers.leased[keeper.key]
    assert invocation.token is not None, "it is leased"
    lease = current_lease(keeper, invocation.token)
    if lease is None:
        cancel(state, invocation, "lost")
    elif lease.until > invocation.until:
        state.handlers.renewed(invocation, lease.until, _renew_at(state, lease))


def _renew_at(state: State, lease: Lease) -> int:
    """When, on the driver's clock, a third of a lease is over, counted from when it was taken."""
    span = state.limits.lease
    return state.clock.t_of(lease.until - span + span // 3)


def renew(state: State) -> None:
    """Renew the leases a third of whose time is over; cancel those that could not be (S-13).

    After the machine slept some are over at once: renewed, they would hold their runs for another lease.
    """
    handlers = state.handlers
    for key, invocation in handlers.leased.items():
        if invocation.renew_at > state.t:
            break
        if key not in handlers.renewing:
            assert invocation.token is not None, "it is leased"
            handlers.renewing[key] = invocation
            if not _is_over(state, invocation.until):
                state.push_fact(invocation.keeper, LeaseRenewed(invocation.token))
    for invocation in tuple(handlers.renewing.values()):
        if _is_over(state, invocation.until):
            cancel(state, invocation, "lost")


def _is_over(state: State, until: int) -> bool:
    """Whether a lease has too little left to begin with, or to be renewed in."""
    return state.clock.now >= _over_at(state, until)


def _over_at(state: State, until: int) -> int:
    """When a tenth of a lease is left: from then on it counts as over (S-13)."""
    return until - state.limits.lease // 10


def next_renewal(state: State) -> int | None:
    """When, on the driver's clock, a lease must be looked at."""
    handlers = state.handlers
    times = [
        state.clock.t_of(_over_at(state, invocation.until))
        for invocation in handlers.renewing.values()
        if invocation.cancelled is None
    ]
    first = next((i for key, i in handlers.leased.items() if key not in handlers.renewing), None)
    if first is not None:
        times.append(first.renew_at)
    return min(times, default=None)
