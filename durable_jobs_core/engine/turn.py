"""The turn: step every key that is ready, and do what may be done."""

from __future__ import annotations

from durable_jobs_core.backend import Defer, Row
from durable_jobs_core.codec import Newer
from durable_jobs_core.effects import CallHandler, EmitTelemetry, Reply, ReplyError, Then
from durable_jobs_core.engine import callers, hooks
from durable_jobs_core.engine.entries import Entry
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.settling import revision
from durable_jobs_core.engine.state import State
from durable_jobs_core.errors import ClosedError
from durable_jobs_core.events import AlarmFired
from durable_jobs_core.record import Record
from durable_jobs_core.step import alarm_of
from durable_jobs_core.words import Key, printable

NEWER_HOLD_FIRST_MS = 1_000
NEWER_HOLD_MAX_MS = 60_000


def turn(state: State) -> None:
    """Step all that can be stepped."""
    while state.ready:
        ready, state.ready = state.ready, {}
        for key, keeper in ready.items():
            if state.keepers.get(key) is not keeper:
                continue
            try:
                for released in keeper.advance(state.env):
                    perform(state, keeper, released.entry, released.then, committed=released.committed)
            except Exception as error:
                note_key(error, key)
                raise
            if keeper.number > state.highest:
                state.highest = keeper.number
            file(state, keeper)


def note_key(error: Exception, key: Key) -> None:
    """The engine breaks, by a bug or a record that was forged: say at which instance."""
    error.add_note(f"at {printable(str(key))}")


def file(state: State, keeper: Keeper) -> None:
    """Put a keeper where it waits: for a write, for a load, or for nothing."""
    lane, key = state.lane(keeper.key), keeper.key
    if keeper.dirty and not keeper.blocked:
        lane.writes[key] = keeper
    else:
        lane.writes.pop(key, None)
    if keeper.reads is not None:
        lane.loads[key] = keeper
    else:
        lane.loads.pop(key, None)
    if keeper.idle:
        state.retire(keeper)


def perform(state: State, keeper: Keeper, entry: Entry, then: tuple[Then, ...], *, committed: bool) -> None:
    """Do what may be done now for one input, `then` resting on a commit or on a fresh record."""
    for effect in then:
        if isinstance(effect, CallHandler):
            _call(state, keeper, entry, effect)
        elif isinstance(effect, EmitTelemetry):
            state.emitted.extend(effect.events)
        elif isinstance(effect, Reply):
            callers.reply_or_watch(state, entry, effect)
        elif isinstance(effect, ReplyError):
            callers.reply_error(state, entry.call, effect)
        # a `CancelHandler` comes with a commit, and `rebased` cancels the handler whose lease that ended
    if not committed and isinstance(entry.event, AlarmFired):
        _defer(state, keeper, entry)


def _call(state: State, keeper: Keeper, entry: Entry, effect: CallHandler) -> None:
    """Call a hook; after the grace of a shutdown no inline one, and its request has not happened."""
    if effect.token is None and state.cut_short:
        keeper.inline, keeper.calling = None, False
        callers.give_up(state, keeper, entry, ClosedError("the runtime is closing"))
    else:
        hooks.call(state, keeper, effect.call, effect.token)


def _defer(state: State, keeper: Keeper, entry: Entry) -> None:
    """A claim that came to nothing: put its index entry back to its alarm (D-4); that of a newer record is
    held for others, that of a damaged one taken out of the index (S-6)."""
    key, base = keeper.key, keeper.base
    if key in state.handlers.leased:
        state.handlers.alarmed.add(key)
        return
    if entry.conflicts or base is None:
        return
    if isinstance(base, Record):
        wake = alarm_of(key.kind, base)
    else:
        wake = _hold_of(base.row, state.clock.now) if isinstance(base, Newer) else None
    state.lane(key).defers[key] = Defer(key, revision(base), wake)


def _hold_of(row: Row, now: int) -> int:
    """Until when a newer record is left to others: longer each time, by how late it is, until one of them has
    run it (S-6). Nothing has to be remembered of it, however many there are."""
    wake = now if row.wake is None else min(row.wake, now)
    return now + min(now - wake + NEWER_HOLD_FIRST_MS, NEWER_HOLD_MAX_MS)


def rebased(state: State, keeper: Keeper) -> None:
    """What is known of a key has changed."""
    key = keeper.key
    if key in state.handlers.leased:
        hooks.follow_lease(state, keeper)
    if key in state.calls.watching:
        callers.tell_watchers(state, keeper)
    if keeper.idle:
        state.retire(keeper)
    else:
        state.ready[key] = keeper
