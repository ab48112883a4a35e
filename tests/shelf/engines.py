"""Wrong engines."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from durable_jobs_simulation import Faults
from shelf.attempts import apart, attempts
from shelf.plants import Attribute, Item, Shelf, case

from durable_jobs_core.effects import EmitTelemetry
from durable_jobs_core.engine import _engine, callers, exchanges, hooks, keeper, protocol, turn
from durable_jobs_core.engine.keeper import Keeper
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


@put("I-8", Attribute(Slots, "give"))
def never_gives_a_slot_back(right: Any) -> Any:
    """After `concurrency` attempts nothing starts any more."""
    return lambda self, job, count=1: None


@put("S-69", Attribute(Slots, "__init__"))
def runs_more_than_it_may(right: Any) -> Any:
    """One attempt more than `concurrency` runs at a time."""
    return lambda self, total, limits: right(self, total + 1, {job: n + 1 for job, n in limits.items()})


@put("S-3", Attribute(callers, "_expire"), faults=HURRY)
def forgets_deadlines(right: Any) -> Any:
    """A caller whose time is up is left without an answer."""
    return lambda state, call: None


@put("I-8", Attribute(exchanges, "claim_at"), case=apart, faults=Faults(nudge_lost=1.0))
def loses_sight_of_due_work(right: Any) -> Any:
    """Due work of which this engine was not told is never looked for."""
    return lambda state, lane: right(state, lane) if lane.lookout.unasked else None


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
