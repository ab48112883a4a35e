"""`simulate`: one run of a scenario, with faults and then without, and every invariant checked."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, cast

from durable_jobs_core import events
from durable_jobs_core.backend import Row
from durable_jobs_core.client import Client, Instance, InstancePage
from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_core.engine import Limits
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.record import Record
from durable_jobs_core.results import InstanceStatus
from durable_jobs_core.words import Key, Kind, maybe_datetime, to_datetime
from durable_jobs_simulation import answers, telling
from durable_jobs_simulation.arguments import ManyJobs, check_arguments, releases_of
from durable_jobs_simulation.dice import Dice
from durable_jobs_simulation.faults import Faults, draw_limits, swarm
from durable_jobs_simulation.history import Commit, with_dead_letters
from durable_jobs_simulation.invariants import look, violated
from durable_jobs_simulation.mishaps import Mishaps
from durable_jobs_simulation.tasks import Ask, SimulationError, Sleep, Task, Wanted, lay_to_rest
from durable_jobs_simulation.trace import EPOCH, Trace, clock
from durable_jobs_simulation.violation import Violated, Violation
from durable_jobs_simulation.world import World

Scenario: TypeAlias = "Callable[[Simulation], Coroutine[Any, Any, None]]"
Invariant: TypeAlias = "Callable[[Simulation], None]"

PATIENCE_MS = 20 * 60_000
"""How long after the last fault, and the last lease of then, everything due must be done (I-8)."""
PATIENCE_STEPS = 200_000
STEPS_MAX = 2_000_000

_CURRENT: ContextVar[Simulation] = ContextVar("durable_jobs_simulation")


class Simulation:
    """What a scenario is given, and hooks and invariants may ask for (`current()`).

    `client`: requests go to any node that is up, and may fail as in life; `dice`: randomness for the
    scenario and the hooks.
    """

    def __init__(self, world: World, jobs: Jobs) -> None:
        self._world = world
        self._jobs = jobs
        self._tasks: list[Task] = []
        self._mishaps = Mishaps(world)
        self._refusals: list[tuple[BaseException, Ask]] = []
        """What requests of the scenario raised, and which."""
        self.client = self.client_of(None)
        self.dice: Dice = Dice(world.trace.seed).split("scenario")

    def client_of(self, node: str | None, jobs: Jobs | None = None) -> Client:
        """A client whose requests go to that node: `w1`, `w2`, … are workers, `c1`, … clients only; `None`:
        to any that is up. `jobs`: those of an older release, of which it is."""
        names = [one.name for one in self._world.nodes]
        if node is not None and node not in names:
            raise SimulationError(f"client_of({node!r}): expected None, or one of {', '.join(names)}")
        return Client(jobs or self._jobs, _Caller(self._world, node))

    @property
    def now(self) -> datetime:
        """The virtual instant."""
        return to_datetime(self._world.now)

    @property
    def elapsed_ms(self) -> int:
        """Virtual time since the beginning."""
        return self._world.now - EPOCH

    @property
    def calm(self) -> bool:
        """Whether the faults are over."""
        return self._world.calm

    def mishap(self, name: str, rate: float, *, lasts: Duration = "0 seconds") -> bool:
        """Whether something of your own goes wrong now, as in `if current().mishap("the bank is down", 0.1):
        raise ConnectionError`. It is a fault: it is in the trace, and there are none once `calm`. `lasts`:
        for how long it goes wrong from then on; if that is longer than the retries go on, a run gives up."""
        return self._mishaps.befalls(name, rate, lasts)

    async def sleep(self, span: Duration) -> None:
        """Let virtual time pass."""
        await Sleep(to_ms(span, "sleep(span)"))

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str = "client") -> None:
        """Run something beside the scenario, as in `spawn(client.send("7", event))`; it should end once
        `calm`. What it returns is dropped. What a request raises ends it, and is noted, if a fault may be
        why; before any fault has struck, it ends the run with a `SimulationError`. `name`: in the trace."""
        task = Task(name, coroutine, self._want, lambda value, error: self._ended(name, error))
        self._tasks.append(task)
        self._world.after(1, lambda: task.resume(0))  # nodes start at once

    def watch(self, function: Callable[[Commit], None]) -> None:
        """Call `function` after every commit, with the records before and after it; it may assert."""
        self._world.observer.watchers.append(lambda commit: look(function, commit))

    def record(self, key: Key) -> Record | None:
        """What is stored, as it is: to look at in an invariant."""
        history = self._world.observer.histories.get(key)
        return None if history is None or history.rotten else history.record

    def records(self) -> dict[Key, Record]:
        """All that is stored and can be read."""
        found = ((key, self.record(key)) for key in self._world.observer.histories)
        return {key: record for key, record in found if record is not None}

    def status(self, key: Key) -> InstanceStatus:
        """The status that a listing shows, or `not_found`."""
        row = self._world.store.rows.get(key)
        return "not_found" if row is None else cast(InstanceStatus, _instance(key, row).status)

    def damaged(self, key: Key) -> bool:
        """Whether what was stored under a key was ever destroyed by a fault."""
        return self._world.observer.history(key).damaged

    def fail(self, why: str) -> None:
        """End the run with a `Violation`: for a hook that sees something wrong, which it may not raise. It
        returns, and the run ends with this step. `why` may begin with a name, as in `I-1: it is lost`."""
        self._world.failure = self._world.failure or violated("scenario", AssertionError(why))

    def say(self, *details: object, key: Key | None = None) -> None:
        """Add a line to the trace."""
        self._world.say("client", "note", *details, key=key)

    @property
    def active(self) -> bool:
        """Whether the scenario itself still runs; what it spawned does not count."""
        return bool(self._tasks) and not self._tasks[0].over

    def _want(self, task: Task, wanted: Wanted) -> None:
        turn = task.turn
        if isinstance(wanted, Sleep):
            self._world.after(wanted.ms, lambda: task.resume(turn))
        else:
            self._world.ask(wanted, partial(self._answer, task, turn, wanted))

    def _answer(self, task: Task, turn: int, ask: Ask, value: Any, error: BaseException | None) -> None:
        if error is not None:
            self._refusals.append((error, ask))
        task.resume(turn, value, error)

    def _ended(self, name: str, error: BaseException | None) -> None:
        if error is None:
            return
        refused = next((ask for refusal, ask in self._refusals if refusal is error), None)
        if refused is not None and self._world.fate.has_struck:
            self._world.say("client", "gave up", name, type(error).__name__)
        elif refused is not None:
            request = f"{answers.request(refused.request)} of {refused.key}"
            raise SimulationError(
                f"{name}: {request} raised {type(error).__name__}: {error}, and no fault had struck: "
                "expected a request that gets through, or what it raises to be caught"
            ) from error
        elif isinstance(error, AssertionError):
            raise violated(name, error) from error
        elif isinstance(error, SystemExit):
            raise error
        else:
            raise SimulationError(f"{name} raised {type(error).__name__}: {error}") from error

    def _bury(self) -> None:
        world = self._world
        for run in (run for node in world.nodes for run in node.hooks):
            run.bury(world.graveyard.append)
        for coroutine in [task.coroutine for task in self._tasks] + world.graveyard:
            lay_to_rest(coroutine)


class _Caller:
    """What the clients of a simulation call."""

    def __init__(self, world: World, node: str | None) -> None:
        self._world, self._node = world, node

    async def call(
        self, key: Key, request: events.Request, *, wait_ms: int | None = None, size: int = 0
    ) -> Any:
        return await Ask(self._node, key, request, wait_ms, size)

    async def page(
        self, kind: Kind | None, job: str | None, status: str | None, after: str | None, limit: int
    ) -> InstancePage:
        await Sleep(1)
        rows = self._world.store.rows
        keys = sorted(
            key
            for key, row in rows.items()
            if kind in (None, key.kind)
            and job in (None, key.job)
            and status in (None, row.status if isinstance(row, Row) else "quarantined")
            and (after is None or str(key) > after)
        )
        page = [_instance(key, rows[key]) for key in keys[:limit]]
        return InstancePage(tuple(page), str(keys[limit - 1]) if len(keys) > limit else None)


def _instance(key: Key, row: Any) -> Instance:
    if isinstance(row, Row):
        return Instance(key=key, status=row.status, alarm=maybe_datetime(row.wake))
    return Instance(key=key, status="quarantined", alarm=None)


def current() -> Simulation:
    """The simulation that runs this hook. Raises `LookupError` outside of one."""
    found = _CURRENT.get(None)
    if found is None:
        raise LookupError(
            "no simulation runs this: expected a hook or a scenario of one, and no thread of its own"
        )
    return found


def simulate(
    jobs: ManyJobs,
    scenario: Scenario,
    *,
    seed: int,
    faults: Faults | None = None,
    nodes: int = 2,
    clients: int = 1,
    lanes: int | None = 1,
    until: Duration = "10 minutes",
    invariants: Sequence[Invariant] = (),
    at_end: Sequence[Invariant] = (),
    limits: Limits | None = None,
) -> Trace:
    """Run `scenario` once, and return its trace; raises `Violation` if an invariant does not hold.

    `jobs`: what the nodes run; a function makes it for each node that starts, so that what hooks keep in it
    dies with the node; of several releases, a node that starts takes any, and the last one once the faults
    are over. `faults`: by default drawn from the seed; `nodes`: workers; `clients`: nodes that only serve
    callers; `lanes`: parts of the store, each asked by itself, as a cluster has, or drawn from the seed if
    `None`; `until`: when the faults end at the latest, in virtual time, if the scenario has not ended before;
    `invariants`: called after every step; `at_end`: once all that was due is done; `limits`: of the engines,
    by default drawn from the seed. The same arguments give the same trace, byte for byte.
    """
    simulation = begin(
        jobs, seed=seed, faults=faults, nodes=nodes, clients=clients, lanes=lanes, limits=limits
    )
    world = simulation._world
    try:
        with entered(simulation), uncollected():
            simulation.spawn(scenario(simulation), "scenario")
            _trouble(simulation, EPOCH + to_ms(until, "until"), invariants)
            world.still()
            _let_end(simulation, invariants)
            settle(simulation, invariants)
            for invariant in at_end:
                look(invariant, simulation)
    finally:
        simulation._bury()
    return ended(world)


def begin(
    jobs: ManyJobs,
    *,
    seed: int,
    faults: Faults | None,
    nodes: int,
    clients: int,
    lanes: int | None = 1,
    limits: Limits | None,
) -> Simulation:
    """A simulation in which nothing has happened yet; the arguments are those of `simulate`."""
    releases = releases_of(jobs)
    check_arguments(seed, faults, nodes, clients, lanes, limits)
    dice = Dice(seed)
    faults = swarm(dice.split("swarm")) if faults is None else faults
    limits = draw_limits(dice.split("limits")) if limits is None else limits
    lanes = dice.split("lanes").choose((1, 1, 2, 3)) if lanes is None else lanes
    anew = (lambda: releases_of(jobs)[-1]) if callable(jobs) else None
    world = World(
        releases, anew, seed=seed, faults=faults, limits=limits, workers=nodes, clients=clients, lanes=lanes
    )
    world.trace.nodes, world.trace.clients, world.trace.lanes = nodes, clients, lanes
    world.trace.setup = (
        f"{nodes} workers, {clients} clients, concurrency {limits.concurrency}, lease {limits.lease}, "
        f"hold {limits.hold}, poll {limits.poll}, exchange {limits.exchange}, cache {limits.cache_bytes}"
    ) + (f", {lanes} lanes" if lanes > 1 else "")
    return Simulation(world, releases[-1])


@contextmanager
def entered(simulation: Simulation) -> Generator[None, None, None]:
    """Within it, the simulation is `current()`, and what is found violated is raised as a `Violation`."""
    token = _CURRENT.set(simulation)
    world = simulation._world
    try:
        yield
    except Violated as found:
        world.trace.violation = str(found)
        raise Violation(found.invariant, found.why, ended(world)) from found.__cause__
    finally:
        _CURRENT.reset(token)


@contextmanager
def uncollected() -> Generator[None, None, None]:
    """Without garbage collection: what goes on keeps what it makes, so that looking at it again and again
    finds nothing, and is a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def ended(world: World) -> Trace:
    """The trace, with the sums of the run so far."""
    trace = world.trace
    trace.ms = world.now - EPOCH
    trace.hits = {name: count for name, count in world.fate.hits.items() if count}
    trace.cells = world.fate.cells
    trace.counts = dict(sorted(world.observer.counts.items()))
    ends = Counter((key.job, str(_instance(key, row).status)) for key, row in world.store.rows.items())
    trace.ends = ends + with_dead_letters(world.observer.histories.values())
    return trace


def _trouble(simulation: Simulation, until: int, invariants: Sequence[Invariant]) -> None:
    """Safety, under faults: to the end of the scenario."""
    world = simulation._world
    while simulation.active and world.goes_on(until):
        _step(simulation, invariants)
        if world.trace.steps > STEPS_MAX:
            so_far = f"{STEPS_MAX} steps were made in {clock(world.now - EPOCH)}"
            raise SimulationError(f"{so_far}: expected a scenario that ends before, with shorter spans")


def _let_end(simulation: Simulation, invariants: Sequence[Invariant]) -> None:
    """What is left of the scenario once the faults are over."""
    world = simulation._world
    began = world.now
    while simulation.active and _step(simulation, invariants):
        if world.now > began + PATIENCE_MS:
            raise SimulationError(
                f"the scenario still runs {clock(world.now - began)} after the faults, which ended at "
                f"{clock(began - EPOCH)}: expected it to end once `sim.calm`, or a later `until`"
            )


def settle(simulation: Simulation, invariants: Sequence[Invariant] = ()) -> None:
    """Liveness, once the faults are over: until all that was due is done."""
    world = simulation._world
    began, steps = world.now, world.trace.steps
    free = began + 2 * world.limits.lease  # what the dead have held is due by then
    while world.now < free or _undone(world, began) is not None:
        late = world.now > free + PATIENCE_MS or world.trace.steps > steps + PATIENCE_STEPS
        if late or not _step(simulation, invariants):
            left = _undone(world, began)
            if left is None:
                break
            after = f" {clock(world.now - began)} after the last fault"
            raise Violated("I-8", left + (after if late else ", and nothing will happen any more"))
    if telling.may_be_lost(world.trace):
        return
    answered = world.now + world.limits.lease + world.limits.exchange
    while world.now <= answered and any(history.untold for history in world.observer.histories.values()):
        if not _step(simulation, invariants):  # else the answer to a commit is on its way
            break
    telling.check_complete(world.observer.histories.values())
    if not world.fate.has_struck:
        world.observer.check_no_crash()


def _step(simulation: Simulation, invariants: Sequence[Invariant]) -> bool:
    """One step, after which all that must hold is looked at; `False` if there is none any more."""
    stepped = simulation._world.step()
    for invariant in invariants:
        look(invariant, simulation)
    return stepped


def _undone(world: World, began: int) -> str | None:
    """What of all that was due when the faults ended is not done, if anything is not."""
    for node in world.nodes:
        if not node.up or node.stopping:
            return f"{node.name} is not up"
        if node.open_calls:
            return f"{node.open_calls} callers of {node.name} have no answer"
    old = [run.invoke.key for node in world.nodes for run in node.hooks if run.began <= began]
    if old:
        return f"a hook of {old[0]} still runs"
    overdue = world.observer.overdue()
    return f"{overdue[0]} and {len(overdue) - 1} others are due and were not run" if overdue else None
