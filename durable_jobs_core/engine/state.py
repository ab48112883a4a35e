"""All that an engine knows, as plain values, and the few moves the other modules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from durable_jobs_core.codec import load
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.engine.calls import Calls
from durable_jobs_core.engine.clock import Clock
from durable_jobs_core.engine.entries import Entry
from durable_jobs_core.engine.entropy import Entropy
from durable_jobs_core.engine.handlers import Handlers
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import Lane
from durable_jobs_core.engine.protocol import Limits, Need
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.events import AlarmFired, Event
from durable_jobs_core.journal import Journal
from durable_jobs_core.record import Record
from durable_jobs_core.step import Env, Stepping
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Job, Key, job_of


@define(eq=False)
class State:
    """`runnable`: the jobs this engine runs; `stepping`: `step`, or that of the `journal`, if one is kept;
    `stamp`: counts the inputs; `highest`: the largest revision number used; `ready`: the keepers to be
    stepped; `delayed`: those that are to be, but later; `needs`, `emitted`: not drained yet; `lane_turn`:
    which lane is asked first; `stop_at`: when handlers are cancelled, once stopping; `settle_by`: when no
    longer to wait for the backend, once they have ended."""

    jobs: Mapping[Job, AnyDefinition]
    runnable: tuple[Job, ...]
    limits: Limits
    node: int
    lane_of: Callable[[Key], int]
    lanes: list[Lane]
    lane_turn: int
    slots: Slots
    cache: Cache
    entropy: Entropy
    journal: Journal | None
    stepping: Stepping
    clock: Clock = field(factory=Clock)
    calls: Calls = field(factory=Calls)
    handlers: Handlers = field(factory=Handlers)
    keepers: dict[Key, Keeper] = field(factory=dict)
    ready: dict[Key, Keeper] = field(factory=dict)
    delayed: dict[Key, Keeper] = field(factory=dict)
    needs: list[Need] = field(factory=list)
    emitted: list[TelemetryEvent] = field(factory=list)
    stamp: int = 0
    ids: int = 0
    highest: int = 0
    stop_at: int | None = None
    settle_by: int | None = None
    closed: bool = False

    @property
    def t(self) -> int:
        """The driver's clock."""
        return self.clock.t

    @property
    def cut_short(self) -> bool:
        """Whether the grace of a shutdown is over: no hook may run any longer, or begin."""
        return self.stop_at is not None and self.t >= self.stop_at

    def gives_up(self, lane: Lane) -> bool:
        """Whether a shutdown waits no longer for a lane that fails: it is asked nothing more."""
        return lane.fails and self.settle_by is not None and self.t >= self.settle_by

    def new_id(self) -> int:
        """The number of a new exchange or invocation."""
        self.ids += 1
        return self.ids

    def lane(self, key: Key) -> Lane:
        """The lane of a key."""
        return self.lanes[self.lane_of(key)]

    def keeper(self, key: Key) -> Keeper:
        """The keeper of a key, made if there is none, from the cache if that knows it."""
        keeper = self.keepers.get(key)
        if keeper is None:
            keeper = Keeper(key, self.jobs[job_of(key)], self.slots, self.node, self.stepping)
            self.keepers[key] = keeper
            cached = self.cache.take(key)
            if cached is not None:
                row, stamp = cached
                keeper.know(load(keeper.definition, row), row, stamp)
        return keeper

    def push(self, keeper: Keeper, entry: Entry) -> None:
        """Give a keeper an input."""
        keeper.push(entry)
        self.ready[keeper.key] = keeper

    def push_fact(self, keeper: Keeper, event: Event, *, brings_slot: bool = False) -> None:
        """Give a keeper an input of the engine's own, which does not wait for inline hooks."""
        self.push(keeper, Entry(event, self.stamp, urgent=True, brings_slot=brings_slot))

    def delay(self, keeper: Keeper, until: int) -> None:
        """Step a keeper no sooner than then, on the driver's clock."""
        keeper.resume_at = until
        self.delayed[keeper.key] = keeper

    def retire(self, keeper: Keeper) -> None:
        """Let go of a keeper that is idle, if nobody waits for its key."""
        key = keeper.key
        if key in self.handlers.leased or key in self.calls.watching:
            return
        del self.keepers[key]
        self.delayed.pop(key, None)
        if keeper.row is not None:
            self.cache.put(keeper.row, keeper.stamp)

    def env(self, keeper: Keeper, entry: Entry) -> Env:
        """What a step of this keeper may know."""
        base = keeper.base.revision.number if isinstance(keeper.base, Record) else 0
        number = keeper.number if keeper.dirty else max(base, self.highest) + 1
        may_start = self._may_start(keeper, entry)
        return Env(
            keeper.key, self.clock.now, self.entropy(), number, self.node, may_start, self.limits.lease
        )

    def _may_start(self, keeper: Keeper, entry: Entry) -> bool:
        job = keeper.job
        if not self.runnable or self.stop_at is not None or keeper.key in self.handlers.leased:
            return False
        if entry.brings_slot:
            return self.slots.free(job) >= 0
        if not isinstance(entry.event, AlarmFired) and job in self.lane(keeper.key).lookout.hot:
            return False  # others of this job are due already: they come first
        return self.slots.free(job) > 0
