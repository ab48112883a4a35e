"""The engine itself: one input in, the needs it makes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from durable_jobs_core.checks import check, check_whole
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.engine import callers, exchanges, faults, hooks, protocol
from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.engine.entropy import Entropy
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import Lane
from durable_jobs_core.engine.protocol import Attempt, Input, Limits, Need, Trouble
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.engine.state import State
from durable_jobs_core.engine.turn import turn
from durable_jobs_core.errors import ClosedError
from durable_jobs_core.journal import Journal
from durable_jobs_core.step import step
from durable_jobs_core.words import Job, Key


class Engine:
    """The per-process coordinator; the contract is that of the package.

    `jobs`: the definitions by (kind, name); `node`: 64 random bits, new for each process; `lanes`,
    `lane`: of the backend; `limits`; `worker`: whether it runs jobs, or only serves callers; `journal`:
    what is told of each step and write, for a replay. Raises `DefinitionError` for what can never work.
    """

    def __init__(
        self,
        jobs: Mapping[Job, AnyDefinition],
        *,
        node: int,
        lanes: int = 1,
        lane: Callable[[Key], int] = lambda key: 0,
        limits: Limits | None = None,
        worker: bool = True,
        journal: Journal | None = None,
    ) -> None:
        by_key = isinstance(jobs, Mapping) and all(isinstance(job, tuple) for job in jobs)
        check(by_key, "Engine(jobs)", "definitions by (kind, name), as jobs.by_key", jobs)
        check(type(node) is int and 0 <= node < 1 << 64, "Engine(node)", "64 random bits", node)
        check_whole(lanes, "Engine(lanes)", 1)
        limits = limits or Limits()
        own = {job: d.concurrency for job, d in jobs.items() if d.concurrency is not None}
        slots = Slots(limits.concurrency, {**own, **limits.per_job})
        self._state = State(
            jobs=dict(jobs),
            runnable=tuple(job for job in jobs if worker and slots.limit(job) > 0),
            limits=limits,
            node=node,
            lane_of=lane,
            lanes=[Lane(number) for number in range(lanes)],
            lane_turn=node % lanes,
            slots=slots,
            cache=Cache(limits.cache_bytes),
            entropy=Entropy(node),
            journal=journal,
            stepping=step if journal is None else journal.step,
        )

    def feed(self, t: int, input: Input) -> None:
        """Take one input; `t` is the driver's monotonic clock in milliseconds.

        Then perform all `needs()`. Raises `DriverError` for an unknown id, a second answer, a clock that
        goes back, or what is no such input; nothing has changed then.
        """
        state = self._state
        faults.check(state, t, input)
        state.clock.t = t
        state.stamp += 1
        _FEEDS[type(input)](state, input)

    def needs(self) -> tuple[Need, ...]:
        """What the driver must do now; each need is given once."""
        state = self._state
        if not state.closed:
            _look_at_time(state)
            if state.clock.known:
                turn(state)
            for lane in state.lanes[state.lane_turn :] + state.lanes[: state.lane_turn]:
                exchanges.send(state, lane)
            if state.emitted:
                state.needs.append(protocol.Emit(tuple(state.emitted)))
                state.emitted = []
            _close_when_done(state)
        needs, state.needs = tuple(state.needs), []
        return needs

    @property
    def next_wakeup(self) -> int | None:
        """When, on the driver's clock, to feed `Ticked` if nothing else comes; `None`: never."""
        state = self._state
        if state.closed:
            return None
        times: list[int | None] = [state.calls.earliest]
        times += [at for at in (state.stop_at, state.settle_by) if at is not None and at > state.t]
        times += [keeper.resume_at for keeper in state.delayed.values()]
        for lane in state.lanes:
            if lane.flight is not None or state.gives_up(lane):
                continue
            times += [lane.work_at, exchanges.claim_at(state, lane)]
            times += [max(lane.asking.at, state.clock.t_of(at + 1)) for at in lane.settle_times()]
        times.append(hooks.next_renewal(state))
        return min((at for at in times if at is not None), default=None)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, running, in flight or due."""
        state = self._state
        if state.needs or state.emitted or state.keepers:  # callers and hooks keep their keepers
            return False
        if any(lane.flight or lane.defers for lane in state.lanes):
            return False
        if not state.runnable:
            return all(lane.greeted for lane in state.lanes)
        return all(lane.lookout.sees_nothing(state.clock) for lane in state.lanes)

    @property
    def troubles(self) -> tuple[Trouble | None, ...]:
        """Of each lane, why the backend could not do what it was asked last; `None` where it could."""
        return tuple(lane.trouble for lane in self._state.lanes)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that hold slots, the longest first."""
        return self._state.handlers.attempts()

    @property
    def dropped_returns(self) -> int:
        """How many detached hooks have returned: in vain, for nobody waits for them any more (S-15)."""
        return self._state.handlers.dropped

    @property
    def now(self) -> int | None:
        """The instant it is at least, once the backend has told its clock."""
        return self._state.clock.now if self._state.clock.known else None


def _nothing(state: State, input: object) -> None:
    """Time passes; what is due is seen to after every input."""


def _nudged(state: State, input: protocol.Nudged) -> None:
    for lane in state.lanes:
        lane.lookout.hint(state.t)
    state.calls.hurry(state.t)


def _stopping(state: State, stopping: protocol.Stopping) -> None:
    """No more claims, starts or requests; handlers have their grace (S-67), the shortest that is given."""
    stop_at = state.t + stopping.grace_ms
    if state.stop_at is not None:
        state.stop_at = min(state.stop_at, stop_at)
        return
    state.stop_at = stop_at
    for call in tuple(state.calls.by_id.values()):
        keeper = state.keepers[call.key]
        if call.entry in keeper.requests and keeper.inline is not call.entry:
            callers.refuse(state, call, ClosedError("the runtime is closing"))


def _finished(state: State, finished: protocol.Finished) -> None:
    """A hook has ended; one that was cancelled unasked, as the program ends, has not failed (S-14)."""
    invocation = state.handlers.running[finished.invocation]
    if isinstance(finished.outcome, protocol.HookCancelled) and invocation.cancelled is None:
        invocation.cancel("lost" if state.stop_at is None else "stopping")
        if state.stop_at is not None and invocation.token is None:
            _refuse_inline(state, invocation.keeper)
    hooks.finished(state, finished)


_FEEDS: dict[type, Callable[[State, Any], None]] = {
    protocol.Called: callers.called,
    protocol.Abandoned: callers.abandoned,
    protocol.Answered: exchanges.answered,
    protocol.Finished: _finished,
    protocol.Returned: hooks.returned,
    protocol.Ticked: _nothing,
    protocol.Nudged: _nudged,
    protocol.Stopping: _stopping,
}


def _look_at_time(state: State) -> None:
    """See to all that is due by time."""
    callers.look_at_time(state)
    hooks.renew(state)
    for key, keeper in tuple(state.delayed.items()):
        assert keeper.resume_at is not None, "it is delayed"
        if keeper.resume_at <= state.t:
            keeper.resume_at = None
            del state.delayed[key]
            state.ready[key] = keeper
    if state.cut_short:
        _cut_short(state)


def _cut_short(state: State) -> None:
    """The grace is over: cancel what runs. A request whose inline hook is cancelled has not happened."""
    for invocation in tuple(state.handlers.running.values()):
        _refuse_inline(state, invocation.keeper)
        hooks.cancel(state, invocation, "stopping")


def _refuse_inline(state: State, keeper: Keeper) -> None:
    """The request whose hook is cancelled, if there is one, has not happened."""
    call = None if keeper.inline is None else state.calls.by_id.get(keeper.inline.call)
    if call is not None:
        callers.refuse(state, call, ClosedError("the runtime is closing"))


def _close_when_done(state: State) -> None:
    """Stopped, when every hook has ended and every exchange is answered; what is left is told so."""
    if state.stop_at is None:
        return
    if state.handlers.running:
        state.settle_by = None
        return
    if state.settle_by is None:
        state.settle_by = state.t + state.limits.settle
    if any(lane.flight is not None for lane in state.lanes):
        return
    busy = any(not keeper.idle for keeper in state.keepers.values())
    if busy and state.t < state.settle_by:
        return
    for call in tuple(state.calls.by_id.values()):
        if call.watch is not None:
            callers.give_up_watching(state, call)
        else:
            callers.refuse(state, call, ClosedError("the runtime has closed"))
    state.closed = True
    state.needs.append(protocol.Closed())
