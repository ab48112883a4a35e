"""What an engine holds, looked at from inside: each thing must wait for something that will come.

An engine that forgets a slot, a caller or a key works well for a long time. Here it shows at once, and what
is told is what was forgotten, not what came of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from itertools import chain

from durable_jobs_core.engine import Engine
from durable_jobs_core.engine.entries import Reading
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.state import State
from durable_jobs_core.words import Job, job_of
from durable_jobs_simulation.violation import Violated

_SETTLING = Reading.SETTLE, Reading.SETTLE_LATE


def stray(engine: Engine, name: str, hooks: Container[int]) -> Violated | None:
    """What an engine whose needs are drained should not hold: slots (S-69), callers (S-3), or anything else,
    for its memory follows what it is asked to do (its contract, 10). `hooks`: whose end it was not told."""
    state = engine._state
    if state.closed:
        return None
    used = _slots_in_use(state)
    for job in state.jobs:
        taken = state.slots._taken[job]
        if taken != used[job]:
            slots = f"{taken} slots of {':'.join(job)} are taken and {used[job]} in use"
            return Violated("S-69", f"{name}: {slots}")
    for call in state.calls.by_id.values():
        if call.deadline <= state.t:
            return Violated("S-3", f"{name}: call {call.id} of {call.key} has no answer, and its time is up")
    held = next(chain(_calls(state), _hooks(state, hooks), _keepers(state)), None)
    return None if held is None else Violated("engine", f"{name} holds {held}")


def _slots_in_use(state: State) -> Mapping[Job, int]:
    """By claims on their way, attempts, threads left behind, and leases taken or handed on."""
    used: defaultdict[Job, int] = defaultdict(int)  # a counter takes twice the time, and this is each turn
    for lane in state.lanes:
        claim = None if lane.flight is None else lane.flight.batch.claim
        for job, count in () if claim is None else claim.limits.items():
            used[job] += count
    left = [attempt.key for attempt in state.handlers.detached.values() if attempt is not None]
    for key in (*state.handlers.leased, *left):
        used[job_of(key)] += 1
    for keeper in state.keepers.values():
        steps = [*keeper.steps, *(() if keeper.writing is None else keeper.writing.steps)]
        steps += keeper.lost[-1].steps if keeper.reads in _SETTLING else ()
        used[keeper.job] += [stepped.leases for stepped in steps].count(True)
        used[keeper.job] += [entry.brings_slot for entry in keeper.urgent].count(True)
    return used


def _calls(state: State) -> Iterator[str]:
    calls = state.calls
    if calls.bytes != sum(call.size for call in calls.by_id.values()):
        yield f"{calls.bytes} bytes of requests, which are others"
    watching = {call.id: call.key for call in calls.by_id.values() if call.watch is not None}
    if {id: key for key, of_key in calls.watching.items() for id in of_key} != watching:
        yield "callers that watch a run, and have left"
    for key in calls.watching.keys() - watching.values():
        yield f"{key} for callers that watch a run, and have left"


def _hooks(state: State, known: Container[int]) -> Iterator[str]:
    handlers = state.handlers
    for id in (*handlers.running, *handlers.detached):
        if id not in known:
            yield f"invocation {id}, which has ended"
    running = [*handlers.leased.values(), *handlers.inline.values()]
    if {invocation.id for invocation in running} != handlers.running.keys():
        yield "hooks that have ended"
    for key in (*handlers.renewing, *handlers.alarmed):
        if key not in handlers.leased:
            yield f"a note of {key}, whose handler has ended"


def _keepers(state: State) -> Iterator[str]:
    for key, keeper in state.keepers.items():
        if keeper.idle and key not in state.handlers.leased and key not in state.calls.watching:
            yield f"{key}, which is idle"
        elif state.clock.known and not keeper.idle and not _awaits(state, keeper):
            yield f"{key}, for which nothing will come"
    writes = (item for lane in state.lanes for item in lane.writes.items())
    for key, keeper in (*writes, *state.delayed.items()):  # a read that nobody wants is made, and is over
        if state.keepers.get(key) is not keeper:
            yield f"{key} to be seen to, which is done"


def _awaits(state: State, keeper: Keeper) -> bool:
    """Whether what a keeper waits for will come."""
    key, lane = keeper.key, state.lane(keeper.key)
    flight = lane.flight
    if keeper.writing is not None:
        return flight is not None and any(keeper is sent for sent in flight.keepers)
    if keeper.reads is not None:
        return key in lane.loads or (flight is not None and key in flight.batch.loads)
    if keeper.steps:
        return key in lane.writes
    if keeper.calling and not keeper.urgent:
        return key in state.handlers.inline
    return keeper.resume_at is not None and key in state.delayed
