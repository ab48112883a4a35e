"""Answering callers: requests in, replies out, deadlines, and waiting for runs."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from durable_jobs_core.effects import Reply, ReplyError
from durable_jobs_core.engine import hooks, protocol
from durable_jobs_core.engine.calls import Call
from durable_jobs_core.engine.entries import Entry, Reading
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.settling import unknown
from durable_jobs_core.engine.state import State
from durable_jobs_core.engine.unreadable import Unreadable
from durable_jobs_core.errors import (
    ClosedError,
    DurableJobsError,
    JobNotFoundError,
    OverloadedError,
    StorageError,
)
from durable_jobs_core.step import observe
from durable_jobs_core.words import job_of


def called(state: State, called: protocol.Called) -> None:
    """Take a request, or refuse it at once."""
    error = _refusal(state, called)
    if error is not None:
        state.needs.append(protocol.Reply(called.call, error=error))
        return
    keeper = state.keeper(called.key)
    entry = Entry(called.request, state.stamp, call=called.call, wait_ms=called.wait_ms)
    state.calls.add(Call(called.call, called.key, entry, called.deadline, called.size))
    state.push(keeper, entry)


def _refusal(state: State, called: protocol.Called) -> DurableJobsError | None:
    calls, limits = state.calls, state.limits
    if state.stop_at is not None:
        return ClosedError("the runtime is closing, or has closed")
    if job_of(called.key) not in state.jobs:
        names = tuple(name for kind, name in state.jobs if kind == called.key.kind)
        return JobNotFoundError(called.key.kind, called.key.job, names)
    if len(calls.by_id) >= limits.queued_requests:
        queue = "the engine's queue (requests)"
        return OverloadedError(queue, limits.queued_requests, len(calls.by_id))
    if calls.bytes + called.size > limits.queued_bytes:
        return OverloadedError("the engine's queue (bytes)", limits.queued_bytes, calls.bytes)
    return None


def abandoned(state: State, abandoned: protocol.Abandoned) -> None:
    """The caller is gone: its wait ends, its request goes on, counted and with its deadline."""
    call = state.calls.by_id.get(abandoned.call)
    if call is None:  # its reply may not have been taken yet
        state.needs = [need for need in state.needs if getattr(need, "call", None) != abandoned.call]
        return
    call.gone = True
    if call.watch is not None:
        reply(state, call.id, None)
        state.ready[call.key] = state.keepers[call.key]


def reply(state: State, id: int | None, result: Any) -> None:
    """Answer a caller, if it is still there."""
    call = _done(state, id)
    if call is not None:
        state.needs.append(protocol.Reply(call.id, result))


def reply_error(state: State, id: int | None, effect: ReplyError) -> None:
    """Let a caller's request fail, if the caller is still there."""
    call = _done(state, id)
    if call is not None:
        state.needs.append(protocol.Reply(call.id, error=effect.error, cause=effect.cause))


def _done(state: State, id: int | None) -> Call | None:
    """A request is over; who is to be told, if anybody."""
    call = state.calls.remove(id)
    return None if call is None or call.gone else call


def reply_or_watch(state: State, entry: Entry, effect: Reply) -> None:
    """Answer a caller, or let it wait for the run it asked for (S-38)."""
    call = state.calls.by_id.get(entry.call)
    if call is None or call.gone or effect.watch is None or entry.wait_ms is None:
        reply(state, entry.call, effect.result)
        return
    state.calls.watch(call, effect.watch, effect.result, state.t + entry.wait_ms, state.t)


def tell_watchers(state: State, keeper: Keeper) -> None:
    """What is known of a key has changed: answer those whose run is over."""
    if isinstance(keeper.base, Unreadable):
        return  # nobody can tell: they are told so when their time is up
    for call in tuple(state.calls.watching[keeper.key].values()):
        assert call.watch is not None, "it watches"
        result = observe(call.watch, keeper.base, call.result)
        if result is not None:
            reply(state, call.id, result)


def look_at_time(state: State) -> None:
    """Answer the callers whose time is up, and look again for those that wait for a run."""
    expired, polls = state.calls.due(state.t)
    for call in expired:
        _expire(state, call)
    for call in polls:
        keeper = state.keepers[call.key]
        if not (keeper.blocked or keeper.dirty or call.key in state.handlers.leased):
            keeper.reads = Reading.LOAD
            state.ready[call.key] = keeper


def _expire(state: State, call: Call) -> None:
    """A caller's time is up: tell it what is true (S-3)."""
    if call.watch is not None:
        give_up_watching(state, call)
    else:
        why = _why(state, call)
        refuse(state, call, StorageError(f"the request to {call.key} was not done in time{why}"))


def _why(state: State, call: Call) -> str:
    """What the backend said last, if it fails."""
    trouble = state.lane(call.key).trouble
    return "" if trouble is None else f"; the backend fails: {trouble.why.splitlines()[0]}"


def give_up_watching(state: State, call: Call) -> None:
    """The wait for a run is over before the run is; that changes nothing (S-38)."""
    reply(state, call.id, evolve(call.result, outcome="pending"))
    state.ready[call.key] = state.keepers[call.key]


def give_up(state: State, keeper: Keeper, entry: Entry, error: DurableJobsError) -> None:
    """Give up on an input, whether or not somebody waits for it."""
    call = state.calls.by_id.get(entry.call)
    if call is not None:
        refuse(state, call, error)
    else:
        keeper.forget(entry)
        state.ready[keeper.key] = keeper


def refuse(state: State, call: Call, error: DurableJobsError) -> None:
    """Give up on a request: `error` if nothing of it happened, else that no one can tell."""
    keeper = state.keepers[call.key]
    if keeper.inline is call.entry:
        hooks.cancel(state, state.handlers.inline[call.key], "lost")
    stepped = keeper.dirty
    if not keeper.forget(call.entry):
        error = unknown(call.key, _why(state, call))
    reply_error(state, call.id, ReplyError(error))
    if stepped and not (keeper.dirty or keeper.idle):
        keeper.reads = Reading.LOAD  # the others are stepped again when the backend answers: it may hang
    if keeper.idle and not state.clock.known:  # the first answer may be long in coming, and no turn before it
        state.ready.pop(call.key, None)
        state.retire(keeper)
    else:
        state.ready[call.key] = keeper
