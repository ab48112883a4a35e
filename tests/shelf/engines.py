"""Wrong engines."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from durable_jobs_simulation import Faults
from shelf.attempts import apart, attempts
from shelf.plants import Attribute, Item, Shelf, case

from durable_jobs_core.backend import Claim
from durable_jobs_core.effects import EmitTelemetry
from durable_jobs_core.engine import Engine, _engine, callers, exchanges, hooks, keeper, protocol, turn
from durable_jobs_core.engine.calls import Calls
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import Lane
from durable_jobs_core.engine.lookout import Lookout
from durable_jobs_core.engine.settling import Settled
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.engine.state import State
from durable_jobs_core.record import Record

HURRY = Faults(impatient=0.5, slow=0.3)
"""Callers whose time is up before the store has answered."""
LOSSES = Faults(lost_answer=0.1, lost_request=0.1, unknown=0.1)
REDEPLOYS = Faults(redeploy=0.02)

put = Shelf("engine", case("tokens"))


@put("I-7", Attribute(Keeper, "_step"))
def acknowledges_before_the_commit(right: Any) -> Any:
    """What a step orders, replies and hooks, is done at once and not when its write is committed."""

    def wrong(self: Keeper, queue: Any, make_env: Any, released: Any) -> bool:
        before = len(self.steps)
        more: bool = right(self, queue, make_env, released)
        for index, stepped in enumerate(self.steps[before:], before):
            if stepped.then and stepped.writes:
                released.append(keeper.Released(stepped.entry, stepped.then, committed=True))
                self.steps[index] = evolve(stepped, then=())
        return more

    return wrong


@put("I-7", Attribute(keeper, "settle"), case=case("webhooks"), faults=LOSSES)
def takes_an_unknown_write_for_committed(right: Any) -> Any:
    """A write of which no one knows is reported as done, without reading back."""
    return lambda lost, found, **_: Settled(lost[-1] if lost else None)


@put("I-9", Attribute(keeper, "settle"), case=case("webhooks"), faults=LOSSES)
def never_finds_a_lost_write(right: Any) -> Any:
    """A write that landed and whose answer was lost is made again."""
    return lambda lost, found, **_: Settled()


@put("I-9", Attribute(Keeper, "forget"), case=case("webhooks"), faults=HURRY)
def says_nothing_happened_while_it_may(right: Any) -> Any:
    """A caller whose time is up is told that nothing happened, although its write is on its way."""
    return lambda self, entry: bool(right(self, entry)) or True


@put("I-4", Attribute(Keeper, "begin_write"))
def forgets_the_alarm_on_conflict(right: Any) -> Any:
    """What is written after a conflict has no alarm."""

    def wrong(self: Keeper, not_after: int) -> Any:
        if any(stepped.entry.conflicts for stepped in self.steps):
            self.wake = None
        return right(self, not_after)

    return wrong


@put("engine", Attribute(Keeper, "conflicted"), case=case("webhooks"))
def forgets_inputs_after_a_conflict(right: Any) -> Any:
    """What conflicted is not stepped again."""

    def wrong(self: Keeper, found: Any, stamp: int, *, row: Any) -> Any:
        lost = () if self.writing is None else self.writing.steps
        released = right(self, found, stamp, row=row)
        self._remove({stepped.entry for stepped in lost})
        return released

    return wrong


@put("I-3", Attribute(Keeper, "conflicted"))
def writes_over_what_another_wrote(right: Any) -> Any:
    """After a conflict the same record is written again, over the other's."""

    def wrong(self: Keeper, found: Any, stamp: int, *, row: Any) -> Any:
        writing = self.writing
        assert writing is not None, "it was handed out"
        if not isinstance(found, Record):
            return right(self, found, stamp, row=row)
        self.writing, self.base, self.row, self.steps = None, found, row, list(writing.steps)
        return []

    return wrong


@put("S-12", Attribute(State, "env"))
def numbers_a_lost_write_again(right: Any) -> Any:
    """A write gets the number after that of its base, though a lost write of this engine has it."""

    def wrong(self: State, keeper: Keeper, entry: Any) -> Any:
        env = right(self, keeper, entry)
        base = keeper.base.revision.number if isinstance(keeper.base, Record) else 0
        return env if keeper.dirty else evolve(env, number=base + 1)

    return wrong


@put("S-3", Attribute(Keeper, "_answer"))
def reads_from_its_cache(right: Any) -> Any:
    """A read is answered with what this engine knew before it was asked."""

    def wrong(self: Keeper, queue: Any, then: Any, released: Any) -> bool:
        queue[0].arrived = -1
        return bool(right(self, queue, then, released))

    return wrong


@put("S-14", Attribute(hooks, "renew"), Attribute(hooks, "next_renewal"), faults=Faults())
def never_renews_a_lease(right: Any) -> Any:
    """A handler that runs longer than its lease loses it, though nothing has happened to it."""
    return lambda state: None


@put("engine", Attribute(State, "_may_start"), case=attempts, faults=Faults(hook_deaf=0.5))
def starts_while_its_own_handler_runs(right: Any) -> Any:
    """A run is started although the handler of the last one has not ended here."""

    def wrong(self: State, keeper: Any, entry: Any) -> bool:
        leased, self.handlers.leased = self.handlers.leased, {}
        try:
            return bool(right(self, keeper, entry))
        finally:
            self.handlers.leased = leased

    return wrong


@put("S-69", Attribute(Slots, "give"))
def never_gives_a_slot_back(right: Any) -> Any:
    """After `concurrency` attempts nothing starts any more."""
    return lambda self, job, count=1: None


@put("S-69", Attribute(Keeper, "_put_back"))
def keeps_the_slot_of_what_it_steps_again(right: Any) -> Any:
    """A lease that conflicted, or was refused, keeps its slot, and takes another when it is stepped again."""

    def wrong(self: Keeper, steps: Any) -> None:
        for stepped in steps:
            if stepped.leases:
                self.slots.take(self.job)
        right(self, steps)

    return wrong


@put("S-69", Item(_engine._FEEDS, protocol.Answered), faults=LOSSES)
def keeps_the_slots_of_a_lost_claim(right: Any) -> Any:
    """A claim that was not answered keeps the slots that it was offered."""

    def wrong(state: State, answered: protocol.Answered) -> None:
        flights = [lane.flight for lane in state.lanes if lane.flight is not None]
        (claim,) = [flight.batch.claim for flight in flights if flight.id == answered.exchange]
        if claim is not None and isinstance(answered.answer, Exception):
            for job, count in claim.limits.items():
                state.slots.take(job, count)
        right(state, answered)

    return wrong


@put("S-69", Attribute(Slots, "__init__"))
def runs_more_than_it_may(right: Any) -> Any:
    """One attempt more than `concurrency` runs at a time."""
    return lambda self, total, limits: right(self, total + 1, {job: n + 1 for job, n in limits.items()})


@put("S-3", Attribute(callers, "_expire"), faults=HURRY)
def forgets_deadlines(right: Any) -> Any:
    """A caller whose time is up is left without an answer."""
    return lambda state, call: None


@put("S-69", Attribute(Lookout, "look_at"), faults=Faults())
def looks_for_due_work_when_it_polls(right: Any) -> Any:
    """The instant at which something falls due, of which the engine was told, is not woken for."""
    return lambda self, clock: self.poll_at


@put("S-69", Attribute(exchanges, "claim_at"), case=apart, faults=Faults(nudge_lost=1.0))
def loses_sight_of_due_work(right: Any) -> Any:
    """Due work of which this engine was not told is never looked for."""
    return lambda state, lane: right(state, lane) if lane.lookout.unasked else None


@put("D-4", Attribute(exchanges, "_claim"))
def asks_again_and_again(right: Any) -> Any:
    """Due work is asked for every 20 ms, whatever was answered."""

    def wrong(state: State, lane: Lane, now: int) -> Claim:
        claim: Claim = right(state, lane, now)
        lane.lookout.poll_at = min(lane.lookout.poll_at, state.t + 20)
        return claim

    return wrong


@put("D-4", Attribute(turn, "_defer"), faults=REDEPLOYS)
def holds_what_it_cannot_run(right: Any) -> Any:
    """What was claimed and cannot be started is not put back: nobody runs it before the hold is over."""
    return lambda state, keeper, entry: None


@put("engine", Attribute(Engine, "next_wakeup"))
def wakes_without_a_reason(right: Any) -> Any:
    """It wants to be woken every 5 ms."""

    def wrong(self: Engine) -> int | None:
        at: int | None = right.__get__(self)
        return None if at is None else min(at, self._state.t + 5)

    return property(wrong)


@put("S-13", Attribute(hooks, "_renew_at"))
def renews_late(right: Any) -> Any:
    """A lease is renewed when two thirds of it are over."""
    return lambda state, lease: right(state, lease) + state.limits.lease // 3


@put("S-13", Attribute(hooks, "_renew_at"))
def renews_without_need(right: Any) -> Any:
    """A lease is renewed when a twelfth of it is over."""
    return lambda state, lease: right(state, lease) - state.limits.lease // 4


# -- what it keeps, and tells


@put("engine", Attribute(State, "retire"))
def keeps_a_key_that_is_gone(right: Any) -> Any:
    """What the engine knows of a key is not forgotten with the life of that key."""
    return lambda self, keeper: None if keeper.stamp >= 0 and keeper.base is None else right(self, keeper)


@put("engine", Attribute(Calls, "remove"), faults=Faults(abandoned=0.3))
def counts_a_caller_that_went(right: Any) -> Any:
    """The bytes of a request stay in the sum if its caller went."""

    def wrong(self: Calls, id: int | None) -> Any:
        call = right(self, id)
        if call is not None and call.gone:
            self.bytes += 1 + call.size
        return call

    return wrong


@put("engine", Attribute(Calls, "remove"))
def keeps_a_key_for_who_has_left(right: Any) -> Any:
    """A key whose run somebody waited for is kept when the last of them has an answer."""

    def wrong(self: Calls, id: int | None) -> Any:
        call = right(self, id)
        if call is not None and call.watch is not None:
            self.watching.setdefault(call.key, {})
        return call

    return wrong


@put("I-7", Attribute(Engine, "needs"), faults=REDEPLOYS)
def tells_the_last_after_the_end(right: Any) -> Any:
    """What the last commit tells comes behind `Closed`."""

    def wrong(self: Engine) -> tuple[Any, ...]:
        return tuple(sorted(right(self), key=lambda need: not isinstance(need, protocol.Closed)))

    return wrong


@put("I-8", Item(_engine._FEEDS, protocol.Stopping), case=case("webhooks"), faults=REDEPLOYS)
def never_closes(right: Any) -> Any:
    """A node that is told to stop goes on, and refuses nobody."""
    return lambda state, stopping: None


@put("I-7", Attribute(turn, "perform"), Attribute(exchanges, "perform"))
def tells_telemetry_twice(right: Any) -> Any:
    """Each telemetry value is given to the trackers twice."""

    def wrong(state: State, keeper: Any, entry: Any, then: tuple[Any, ...], *, committed: bool) -> None:
        right(state, keeper, entry, then, committed=committed)
        right(state, keeper, entry, _telemetry(then), committed=True)

    return wrong


@put("I-7", Attribute(turn, "perform"), Attribute(exchanges, "perform"), faults=Faults())
def loses_telemetry_after_a_conflict(right: Any) -> Any:
    """What is stepped again after a conflict tells nothing."""

    def wrong(state: State, keeper: Any, entry: Any, then: tuple[Any, ...], *, committed: bool) -> None:
        kept = [effect for effect in then if not (entry.conflicts and effect in _telemetry(then))]
        right(state, keeper, entry, tuple(kept), committed=committed)

    return wrong


def _telemetry(then: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(effect for effect in then if isinstance(effect, EmitTelemetry))


@put("S-38", Attribute(callers, "observe"))
def answers_waiters_too_early(right: Any) -> Any:
    """Who waits for a run is told that it succeeded as soon as anything has changed."""
    return lambda watch, record, result: evolve(result, outcome="succeeded")
