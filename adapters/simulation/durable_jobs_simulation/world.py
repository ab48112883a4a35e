"""The world of one run: virtual time, the nodes, the store between them, and the faults.

Everything that will happen is an action on one heap, ordered by time, then by chance; doing the first one
is a step. Nothing else decides an order, so a seed is a run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.engine import Limits
from durable_jobs_core.errors import ClosedError
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.record import Record
from durable_jobs_core.words import Key
from durable_jobs_simulation.dice import Dice
from durable_jobs_simulation.faults import Fate, Faults
from durable_jobs_simulation.network import Network
from durable_jobs_simulation.node import Node
from durable_jobs_simulation.observer import Observer
from durable_jobs_simulation.pace import Promptness
from durable_jobs_simulation.rot import Rot
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.tasks import Ask, Ended
from durable_jobs_simulation.trace import EPOCH, Event, Trace
from durable_jobs_simulation.violation import Violated

SOON_MS = 1_000
"""Of what falls due later than that nobody is told: they will look by then, or soon after."""
SELDOM_MS = 10_000
"""Who looks less often than that is told of all that falls due before, as by real backends."""
STEPS_AT_ONCE = 20_000
"""So many steps without time passing are a loop."""


class World:
    """One run. `releases`: what nodes may run, the newest last; `anew`: makes the only one for each life."""

    def __init__(
        self,
        releases: Sequence[Jobs],
        anew: Callable[[], Jobs] | None,
        *,
        seed: int,
        faults: Faults,
        limits: Limits,
        workers: int,
        clients: int,
        lanes: int,
    ) -> None:
        dice = Dice(seed)
        self.releases = tuple(releases)
        self._anew = anew
        self.limits = limits
        self.now = EPOCH
        self.faults = faults
        self.trace = Trace(seed=seed, faults=faults)
        self.fate = Fate(faults, dice.split("faults"))
        self.identities = dice.split("identities")
        self.hook_dice = dice.split("hooks")
        self.travel = dice.split("travel")
        self._order = dice.split("order")
        self.routes = dice.split("routes")
        self._heap: list[tuple[int, int, int, Callable[[], None], Node | None, int]] = []
        self._pushed = 0
        self.poisoned: dict[Key, int] = {}
        """Until when leased hooks of an instance kill their node."""
        self._at_once = 0
        self.calm = False
        self.failure: Violated | None = None
        """What a hook or a scenario found wrong."""
        self.graveyard: list[Any] = []
        """Coroutines of hooks whose node died: kept, so that none of their code runs."""
        self.observer: Observer = Observer(self)  # said, for mypy comes here by way of the node
        self.prompt = Promptness(self)
        self.store: Store = Store(lambda: self.now, self, lanes)
        self.network = Network(self)
        self.rot = Rot(self)
        names = [f"w{n + 1}" for n in range(workers)] + [f"c{n + 1}" for n in range(clients)]
        self.nodes = tuple(Node(self, name, worker=name.startswith("w")) for name in names)
        for node in self.nodes:
            self.after(0, node.start)

    # -- time

    def after(self, ms: int, action: Callable[[], None], node: Node | None = None, life: int = 0) -> None:
        """Do it in so many milliseconds; if it is for a node, only in that life of it."""
        self._pushed += 1
        heapq.heappush(self._heap, (self.now + ms, self._order.bits(), self._pushed, action, node, life))

    def step(self) -> bool:
        """Do the next thing; whether there was one."""
        if not self._heap:
            return False
        at, _, _, action, node, life = heapq.heappop(self._heap)
        self._at_once = self._at_once + 1 if at == self.now else 0
        if self._at_once > STEPS_AT_ONCE:
            raise Violated("I-8", f"{STEPS_AT_ONCE} steps were made and no time has passed")
        self.now = at
        self.trace.steps += 1
        if node is None:
            action()
        else:
            node.act(life, action)
        if self.failure is not None:
            raise self.failure
        return True

    def goes_on(self, until: int) -> bool:
        """Whether something will happen by then."""
        return bool(self._heap) and self._heap[0][0] <= until

    @property
    def moment(self) -> tuple[int, int]:
        """The step, and ms since the beginning."""
        return self.trace.steps, self.now - EPOCH

    def say(
        self,
        lane: str,
        what: str,
        *details: Any,
        key: Key | None = None,
        fault: bool = False,
        change: tuple[Record | None, Record | None] | None = None,
    ) -> None:
        """Add to the trace."""
        trace = self.trace
        trace.events.append(Event(trace.steps, self.now - EPOCH, lane, what, key, details, fault, change))

    # -- nodes

    def release(self) -> tuple[Jobs, tuple[str, ...]]:
        """What a node that starts runs: the newest release, unless it is late."""
        if self._anew is not None:
            return self._anew(), ()
        if len(self.releases) == 1 or not self.fate("old_release"):
            return self.releases[-1], ()
        number = self.fate.dice("old_release").below(len(self.releases) - 1)
        return self.releases[number], (f"release {number + 1}",)

    def node_down(self, node: Node) -> None:
        """A node is down; it comes back in a while."""
        life = node.life

        def restart() -> None:
            if not node.up and node.life == life:
                node.start()

        self.after(100 if self.calm else self.travel.between(1, 20_000), restart)

    def poisons(self, key: Key) -> bool:
        """Whether the leased hooks of an instance kill their node now."""
        if self.fate("poison"):
            self.poisoned[key] = self.now + self.fate.dice("poison").between(1, 60_000)
        return self.now < self.poisoned.get(key, 0)

    def still(self) -> None:
        """No more faults: what is down comes back, what stalls goes on, old releases are replaced."""
        self.calm = True
        self.fate.calm()
        self.poisoned = {}
        self.network.heal()
        self.rot.heal()
        self.prompt.calm()
        self.say("world", "calm")
        for node in self.nodes:
            if not node.up:
                self.node_down(node)
                continue
            node.steady()
            node.wake_up(node.life)
            if node.outdated:
                node.stop(1_000)

    # -- callers

    def ask(self, ask: Ask, answer: Ended) -> None:
        """A request on its way to a node: the one named, or any that is up."""
        up = [node for node in self.nodes if node.up and not node.stopping]
        if ask.node is not None:
            up = [node for node in self.nodes if node.name == ask.node]
        delay = self.travel.between(0, 2)
        if self.fate("impatient"):
            self.fate.struck("impatient", [("command", ask.key.kind)])
            ask.timeout_ms = self.fate.dice("impatient").choose((1, 500, 3_000))

        def back(value: Any, error: BaseException | None) -> None:
            self.after(self.travel.between(0, 2), lambda: answer(value, error))

        if not up:
            back(None, ClosedError("no node is up"))
            return
        node = self.routes.choose(up)
        self.after(delay, lambda: node.call(ask, back))

    # -- what the store tells

    def committed(self, engine: int, write: Write, before: Row | Damaged | None) -> None:
        """A write has taken effect."""
        was = self.observer.stored(write.key)
        self.observer.committed(engine, write, before)
        self.prompt.committed(write.key, engine, was, self.observer.stored(write.key))
        if write.row is not None:
            self.rot.after_commit(write.row)
        self.hint(engine, None if write.row is None else write.row.wake)

    def indexed(self, key: Key) -> None:
        """The index entry of a key was set, or taken out."""
        self.observer.indexed(key)
        self.prompt.indexed(key)

    # -- hints

    def hint(self, engine: int, wake: int | None) -> None:
        """Something was committed that may make work due: the other nodes are told, if all goes well."""
        poll = self.limits.poll
        if wake is None or wake > self.now + (poll if poll > SELDOM_MS else SOON_MS):
            return
        for node in self.nodes:
            if node.engine_id == engine:
                continue
            if self.fate("nudge_lost"):
                self._struck_hint("nudge_lost")
                continue
            late = self.fate("nudge_late")
            if late:
                self._struck_hint("nudge_late")
            dice = self.fate.dice("nudge_late")
            node.nudge(dice.between(100, 10_000) if late else self.travel.between(0, 5))
            if late and dice.chance(0.5):
                node.nudge(self.travel.between(0, 5))

    def _struck_hint(self, fault: str) -> None:
        key = self.observer.latest
        self.fate.struck(fault, () if key is None else [("claim", key.kind)])
