"""The way between the nodes and the store: exchanges travel it, and it is where most faults befall them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from durable_jobs_core.backend import Batch, Committed, Conflicted, Defer, Outcome, Refused, Unknown, Write
from durable_jobs_core.engine import Answered, Exchange
from durable_jobs_simulation import stages
from durable_jobs_simulation.dice import Dice
from durable_jobs_simulation.node import Node
from durable_jobs_simulation.trace import Exchanged

if TYPE_CHECKING:
    from durable_jobs_simulation.world import World

_REFUSALS: Mapping[str, Refused] = {
    "full": Refused("it is full", transient=True),
    "refused_transient": Refused("try later", transient=True),
    "refused_permanent": Refused("no", transient=False),
}


class Network:
    """`_silent`: until when the store does not answer a node, or a lane of it anyone; `""`: none of it
    anyone. `_full_until`: until when it refuses writes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._silent: dict[str, int] = {}
        self._full_until = 0

    def heal(self) -> None:
        """All gets through again."""
        self._silent, self._full_until = {}, 0

    def exchange(self, node: Node, need: Exchange) -> None:
        """An exchange on its way to the store."""
        world, fate, dice = self._world, self._world.fate, self._world.travel
        told = Exchanged(node.name, need.id, _carries(need.batch), world.moment)
        world.trace.exchanges.append(told)
        ms = dice.between(0, 3)
        self._fall_silent(node, need)
        silent = [
            fault
            for fault, who in (("outage", ""), ("outage", _lane(need)), ("partition", node.name))
            if world.now < self._silent.get(who, 0)
        ]
        if silent:
            self._struck(need.batch, *silent)
            told.lost = "the store does not answer"
            node.later(dice.between(1, 5_000), lambda: self._fail(node, need, told))
            return
        if fate("slow"):
            self._struck(need.batch, "slow")
            ms += fate.dice("slow").between(500, 15_000)
        if fate("lost_request"):
            self._struck(need.batch, "lost_request")
            self._lose(node, need, told, fate.dice("lost_request"))
            return
        engine, life = node.engine_id, node.life
        world.after(ms, lambda: self._arrive(node, engine, life, need, told))

    def _fall_silent(self, node: Node, need: Exchange) -> None:
        """Whether from now on the store answers nobody, a lane of it or a node nobody, or takes no writes."""
        world, fate = self._world, self._world.fate
        for fault, who in (("outage", ""), ("partition", node.name)):
            if fate(fault):
                span = fate.dice(fault).between(1_000, 90_000)
                if fault == "outage" and world.store.lanes > 1 and fate.dice(fault).chance(0.5):
                    who = _lane(need)
                self._silent[who] = max(self._silent.get(who, 0), world.now + span)
                world.say(who or "store", fault, f"{span} ms", fault=True)
        if fate("full"):
            span = fate.dice("full").between(1_000, 30_000)
            self._full_until = max(self._full_until, world.now + span)
            world.say("store", "full", f"{span} ms", fault=True)

    def _lose(self, node: Node, need: Exchange, told: Exchanged, dice: Dice) -> None:
        """It does not arrive; or its writes do, after its node gave up on them."""
        world, batch = self._world, need.batch
        world.say(node.name, "lost", f"exchange {need.id}: the request", fault=True)
        told.lost = "the request is lost"
        node.later(dice.between(1, 12_000), lambda: self._fail(node, need, told))
        if dice.chance(0.5):
            engine = node.engine_id
            world.after(
                dice.between(1, 20_000), lambda: self._land(engine, batch.writes, batch.not_after, told)
            )

    def _land(self, engine: int, writes: Iterable[Write | Defer], not_after: int, told: Exchanged) -> None:
        for write in writes:
            self._write(engine, write, not_after, told)

    def _fail(self, node: Node, need: Exchange, told: Exchanged) -> None:
        told.heard = self._world.moment
        node.feed(Answered(need.id, ConnectionError("lost")))

    def _arrive(self, node: Node, engine: int, life: int, need: Exchange, told: Exchanged) -> None:
        world, fate, batch = self._world, self._world.fate, need.batch

        def write(one: Write | Defer) -> Outcome:
            return self._write(engine, one, batch.not_after, told)

        def befallen(one: Write | Defer) -> Outcome:
            return self._befall(engine, one, batch.not_after, told) or write(one)

        def answer() -> None:
            told.heard = world.moment
            node.feed(Answered(need.id, answered))

        if fate("lost_answer"):
            self._struck(batch, "lost_answer")
            dice = fate.dice("lost_answer")
            world.say(node.name, "lost", f"exchange {need.id}: the answer", fault=True)
            told.lost = "the answer is lost"
            if batch.writes and dice.chance(0.5):
                landing = batch.writes[: dice.between(0, len(batch.writes))]
                self._land(engine, landing, batch.not_after, told)
            else:
                world.store.perform(batch, write, need.lane)
            node.later_in(life, dice.between(1, 12_000), lambda: self._fail(node, need, told))
            return
        rotten = world.rot.within(batch)
        answered = world.store.perform(batch, befallen, need.lane)
        world.rot.met(batch, rotten, answered.claimed)
        told.claimed = len(answered.claimed)
        world.prompt.claimed(node, [row.key for row in answered.claimed])
        back = world.travel.between(0, 3)
        if fate("slow"):
            self._struck(batch, "slow")
            back += fate.dice("slow").between(500, 15_000)
        node.later_in(life, back, answer)

    def _write(self, engine: int, write: Write | Defer, not_after: int, told: Exchanged) -> Outcome:
        """One write reaches the store; it is told of even if that violates something."""
        world, place = self._world, len(told.told)
        told.told.append((*world.moment, write.key, "violates"))
        outcome = world.store.write(engine, write, not_after)
        if isinstance(outcome, Conflicted) and isinstance(write, Write):
            world.say("store", "conflict", told.node, key=write.key)
        deferred = isinstance(write, Defer) and isinstance(outcome, Committed)
        came = "deferred" if deferred else type(outcome).__name__.lower()
        told.told[place] = (*world.moment, write.key, came)
        return outcome

    def _befall(self, engine: int, write: Write | Defer, not_after: int, told: Exchanged) -> Outcome | None:
        """The fault that befalls one write, if any."""
        fate = self._world.fate
        refused = self._refused()
        if refused is not None:
            self._struck_one(write, refused)
            return self._said(write, "refused", _REFUSALS[refused], told)
        if not fate("unknown"):
            return None
        self._struck_one(write, "unknown")
        dice = fate.dice("unknown")
        match dice.below(3):
            case 0:
                self._write(engine, write, not_after, told)
            case 1:
                ms = dice.between(1, 15_000)
                self._world.after(ms, lambda: self._land(engine, (write,), not_after, told))
            case _:
                pass
        return self._said(write, "unknown", Unknown("who knows"), told)

    def _refused(self) -> str | None:
        """The fault for which a write is refused, if it is."""
        if self._world.now < self._full_until:
            return "full"
        return next(filter(self._world.fate, ("refused_transient", "refused_permanent")), None)

    def _said(self, write: Write | Defer, what: str, outcome: Outcome, told: Exchanged) -> Outcome:
        self._world.say("store", what, key=write.key, fault=True)
        told.told.append((*self._world.moment, write.key, what))
        return outcome

    # -- where it struck

    def _struck(self, batch: Batch, *faults: str) -> None:
        for fault in faults:
            self._world.fate.struck(fault, stages.of_batch(batch, self._world.observer.stored))

    def _struck_one(self, write: Write | Defer, fault: str) -> None:
        for stage in stages.of_write(write, self._world.observer.stored):
            self._world.fate.struck(fault, [(stage, write.key.kind)])


def _lane(exchange: Exchange) -> str:
    return f"lane {exchange.lane}"


def _carries(batch: Batch) -> dict[str, int]:
    counts = {"writes": len(batch.writes), "loads": len(batch.loads), "claims": int(batch.claim is not None)}
    return {what: count for what, count in counts.items() if count}
