"""One engine on a memory store, performed by hand: every exchange, hook and reply is in the test's hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from durable_jobs_memory import MemoryBackend
from durable_jobs_simulation.holds import stray
from support import keepers, samples

from durable_jobs_core.backend import Answer, Batch, Refused, Row, Unknown, Write
from durable_jobs_core.codec import decode
from durable_jobs_core.engine import (
    Abandoned,
    Answered,
    Called,
    Cancel,
    Closed,
    Emit,
    Engine,
    Exchange,
    Finished,
    HookOutcome,
    HookRaised,
    HookReturned,
    Input,
    Invoke,
    Limits,
    Need,
    Nudged,
    Reply,
    Returned,
    Stopping,
    Ticked,
)
from durable_jobs_core.engine.entropy import Entropy
from durable_jobs_core.events import AddRequested, Request
from durable_jobs_core.journal import Journal
from durable_jobs_core.record import Lease, Record
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Key

EPOCH = 1_700_000_000_000
"""The instant at which `t` is 0."""

LEASE = 30_000
"""How long a lease is, in milliseconds, unless the limits say otherwise."""


class Fixed(Entropy):
    """Always its seed."""

    def __call__(self) -> int:
        return self.seed


class Rig:
    """`exchanges`, `invokes`: those not answered or finished yet; `cancels`, `replies`, `events`: all so
    far; `drains`: each drain of needs, whole. Time passes only in `wait`."""

    def __init__(
        self,
        jobs: Any = None,
        *,
        node: int = 1,
        lanes: int = 1,
        lane: Callable[[Key], int] | None = None,
        stores: Sequence[MemoryBackend] | None = None,
        worker: bool = True,
        journal: Journal | None = None,
        t: int = 0,
        **limits: Any,
    ) -> None:
        self.t = t
        self.stores = list(stores or [MemoryBackend(self.now) for _ in range(lanes)])
        self.lane_of = lane or (lambda key: 0)
        self.engine = Engine(
            samples.jobs() if jobs is None else jobs,
            node=node,
            lanes=len(self.stores),
            lane=self.lane_of,
            limits=Limits(**limits),
            worker=worker,
            journal=journal,
        )
        self.exchanges: list[Exchange] = []
        self.invokes: list[Invoke] = []
        self.cancels: list[int] = []
        self.replies: dict[int, Reply] = {}
        self.events: list[TelemetryEvent] = []
        self.drains: list[tuple[Need, ...]] = []
        self.closed = False
        self.calls = 0
        self.drain()

    def now(self) -> int:
        """The store's clock."""
        return EPOCH + self.t

    # -- feeding and draining

    def feed(self, input: Input) -> None:
        """Feed one input and take the needs."""
        self.engine.feed(self.t, input)
        self.drain()

    def drain(self) -> None:
        """Take the needs."""
        needs = self.engine.needs()
        self.drains.append(needs)
        for keeper in self.engine._state.keepers.values():
            keepers.check(keeper)
        for need in needs:
            match need:
                case Exchange():
                    self.exchanges.append(need)
                case Invoke():
                    self.invokes.append(need)
                case Cancel():
                    self.cancels.append(need.invocation)
                case Reply():
                    assert need.call not in self.replies, "one reply each"
                    self.replies[need.call] = need
                case Emit():
                    self.events += need.events
                case Closed():
                    self.closed = True
        found = stray(self.engine, "the engine", range(self.engine._state.ids + 1))
        assert found is None, found

    def tick(self) -> None:
        """Time has passed, perhaps."""
        self.feed(Ticked())

    def nudge(self) -> None:
        """Another process may have made work due."""
        self.feed(Nudged())

    def stop(self, grace: int = 0) -> None:
        """Shut down."""
        self.feed(Stopping(grace))

    # -- exchanges

    def perform(self, exchange: Exchange) -> Answer:
        """What the store says to an exchange."""
        return self.stores[exchange.lane].exchange(0, exchange.batch)

    def answer(self, answer: Answer | BaseException | None = None, *, lane: int = 0) -> Exchange:
        """The lane's exchange is answered: by the store, or as given."""
        exchange = next(exchange for exchange in self.exchanges if exchange.lane == lane)
        self.exchanges.remove(exchange)
        self.feed(Answered(exchange.id, self.perform(exchange) if answer is None else answer))
        return exchange

    def fail(self, *, lane: int = 0, landed: bool = False) -> Exchange:
        """The lane's exchange is lost, or only its answer is."""
        exchange = next(exchange for exchange in self.exchanges if exchange.lane == lane)
        if landed:
            self.perform(exchange)
        return self.answer(ConnectionError("lost"), lane=lane)

    def refuse(self, *, transient: bool) -> Exchange:
        """Every write of the exchange is refused; the rest is done."""
        return self._outcomes(Refused("no", transient))

    def doubt(self) -> Exchange:
        """Of every write of the exchange the outcome is unknown, and it did not land; the rest is done."""
        return self._outcomes(Unknown("who knows"))

    def _outcomes(self, outcome: Any) -> Exchange:
        (exchange,) = self.exchanges
        batch = exchange.batch
        answer = Answer(
            outcomes=tuple(outcome for _ in batch.writes),
            rows=tuple(self.row(key) for key in batch.loads),
            clock=self.now(),
        )
        return self.answer(answer)

    def settle(self) -> None:
        """Answer exchanges until there are none."""
        for _ in range(100):
            if not self.exchanges:
                return
            self.answer(lane=self.exchanges[0].lane)
        raise AssertionError("it asks for ever")

    def wait(self, ms: int, *, settle: bool = True) -> None:
        """Let time pass as a driver would, waking when the engine wants."""
        until = self.t + ms
        for _ in range(10_000):
            if settle:
                self.settle()
            wakeup = self.engine.next_wakeup
            if wakeup is None or wakeup > until:
                self.t = until
                self.tick()
                if settle:
                    self.settle()
                return
            assert wakeup > self.t or not self._spins(), "it wakes without doing anything"
            self.t = max(self.t, wakeup)
            self.tick()
        raise AssertionError("it wakes for ever")

    def _spins(self) -> bool:
        drains = len(self.drains)
        self.tick()
        return not any(self.drains[drains:])

    # -- callers

    def call(self, key: Key, request: Request, *, deadline: int = 30_000, **fields: Any) -> int:
        """A caller's request; what number it has."""
        self.calls += 1
        self.feed(Called(self.calls, key, request, self.t + deadline, **fields))
        return self.calls

    def ask(self, key: Key, request: Request, **fields: Any) -> Any:
        """A caller's request, carried out; its result, or its error."""
        call = self.call(key, request, **fields)
        self.settle()
        return self.result(call)

    def ask_inline(self, key: Key, request: Request, **fields: Any) -> Any:
        """A caller's request, carried out with the inline hooks it needs; its result, or its error."""
        call = self.call(key, request, **fields)
        while self.settle() or any(not invoke.leased and invoke.key == key for invoke in self.invokes):
            self.finish(invoke=next(i for i in self.invokes if not i.leased and i.key == key))
        return self.result(call)

    def result(self, call: int) -> Any:
        """What a caller was answered: a result or an error."""
        reply = self.replies[call]
        return reply.result if reply.error is None else reply.error

    def abandon(self, call: int) -> None:
        """The caller goes."""
        self.feed(Abandoned(call))

    # -- hooks

    def finish(self, outcome: HookOutcome | None = None, *, invoke: Invoke | None = None) -> Invoke:
        """A hook ends, the first if none is given: as given, or it is called now."""
        invoke = invoke or self.invokes[0]
        self.invokes.remove(invoke)
        self.feed(Finished(invoke.id, run(invoke) if outcome is None else outcome))
        return invoke

    def returned(self, invoke: Invoke) -> None:
        """The thread of a detached hook returns."""
        self.feed(Returned(invoke.id))

    def draw(self, number: int) -> None:
        """Every random number is this one from here on."""
        self.engine._state.entropy = Fixed(number)

    # -- what is stored

    def row(self, key: Key) -> Row | None:
        """The stored row."""
        return self.stores[self.lane_of(key)]._store.rows.get(key)

    def record(self, key: Key) -> Record:
        """The stored record."""
        row = self.row(key)
        assert row is not None
        record = decode(row)
        assert isinstance(record, Record)
        return record

    def entry(self, key: Key) -> int | None:
        """The index entry."""
        return self.stores[self.lane_of(key)]._store._entries.get(key)

    @property
    def batches(self) -> list[Batch]:
        """All that the store was asked, so far."""
        return [need.batch for drain in self.drains for need in drain if isinstance(need, Exchange)]

    @property
    def slots_taken(self) -> int:
        """How many slots are taken."""
        return self.engine._state.slots._sum


def run(invoke: Invoke) -> HookOutcome:
    """Call a plain hook."""
    try:
        return HookReturned(invoke.function.call(*invoke.args))
    except BaseException as error:
        return HookRaised(error)


def greeted(*args: Any, **fields: Any) -> Rig:
    """A rig whose engine knows the time and has looked for due work."""
    rig = Rig(*args, **fields)
    rig.settle()
    return rig


def running(
    execute: Callable[..., Any] = samples.nothing, *, limits: dict[str, Any] | None = None, **options: Any
) -> Rig:
    """A rig in which `execute` of one continuous instance runs."""
    rig = greeted(samples.jobs(tick=samples.tick(execute, **options)), **(limits or {}))
    rig.ask(samples.TICK, samples.START)
    assert [invoke.hook for invoke in rig.invokes] == ["execute"]
    return rig


def lease_of(rig: Rig, key: Key = samples.TICK) -> Lease:
    """The lease of the attempt in flight, as it is stored."""
    run = rig.record(key).body.in_flight
    assert run is not None
    assert run.lease is not None
    return run.lease


def writes(exchange: Exchange) -> list[Write]:
    """The writes of an exchange, `Defer`s apart."""
    return [write for write in exchange.batch.writes if isinstance(write, Write)]


def client(rig: Rig, *, node: int = 99, **fields: Any) -> Rig:
    """Another process on the same store and at the same time, which runs no jobs."""
    return greeted(
        rig.engine._state.jobs,
        node=node,
        stores=rig.stores,
        lane=rig.lane_of,
        t=rig.t,
        worker=False,
        **fields,
    )


def start(rig: Rig, job: str, *ids: object) -> None:
    """Instances of a continuous job, due now, made by another process."""
    other = client(rig)
    for name in ids:
        other.ask(Key("continuous", job, str(name)), samples.START)


def run_of(rig: Rig, key: Key = samples.TICK) -> Any:
    """The run of an instance."""
    return rig.record(key).body.run


def second(rig: Rig, **limits: Any) -> Rig:
    """Another worker on the same store, at the same time."""
    return greeted(rig.engine._state.jobs, node=2, stores=rig.stores, lane=rig.lane_of, t=rig.t, **limits)


def ticking(**options: Any) -> Rig:
    """An engine with a continuous instance that waits for its next tick."""
    rig = greeted(samples.jobs(tick=samples.tick(**options)))
    rig.ask(samples.TICK, samples.START)
    rig.finish()
    rig.settle()
    return rig


def added(*events: int, **options: Any) -> Rig:
    """An engine with a debounce that collects."""
    rig = greeted(samples.jobs(latest=samples.latest(**options)))
    for event in events:
        rig.ask(samples.LATEST, AddRequested(event=event))
    return rig
