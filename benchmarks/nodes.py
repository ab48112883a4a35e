"""Engines of 1, 2, 4 and 8 processes on one store, in virtual time: what the store is asked, and its wall.

    python -m benchmarks.nodes [--instances 10000] [--fixed 0.9 --row 0.024] [--look 0.15] [--cpu 0.15]

Real engines and the memory backend; the rest is a model. The store serves one exchange at a time, which takes
`fixed` ms and `row` ms for each row written or claimed (the defaults are those measured of Redis with
`appendfsync always`; 0.25 and 0.0135 of `everysec`), or `look` ms if there is none; a run takes `cpu` ms of
its process, alone, and 10 ms of waiting; a message takes 0.2 ms. First all instances are due at once; then a
client makes one due every `gap` ms, of which all are told; then they fall due again, an hour later.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

from attrs import define, field, frozen
from durable_jobs_memory import MemoryBackend

from benchmarks.jobs import JOBS
from durable_jobs_core.backend import Answer, Batch, Write
from durable_jobs_core.engine import (
    Answered,
    Called,
    Engine,
    Exchange,
    Finished,
    HookReturned,
    Invoke,
    Nudged,
    Ticked,
)
from durable_jobs_core.events import StartRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Key

EPOCH = 1_800_000_000_000
MESSAGE_MS, HOOK_MS = 0.2, 10.0
NODES = 1, 2, 4, 8
PHASES = 3
START = StartRequested(Stored(1, {"n": 0, "note": "a note"}))


@frozen
class Costs:
    """In milliseconds: of an exchange that writes, of a row in it, of one that does not; of a run."""

    fixed: float
    row: float
    look: float
    cpu: float


@define
class Figures:
    """`vain`: claims that came to nothing, polls apart; `busy`: ms of the store's; `late`: ms, of runs."""

    runs: int = 0
    exchanges: int = 0
    writes: int = 0
    vain: int = 0
    busy: float = 0.0
    late: list[float] = field(factory=list)


class World:
    """Nodes, one store, and what is to happen, by time."""

    def __init__(self, nodes: int, costs: Costs) -> None:
        self.now = 0.0
        self.costs, self.figures = costs, Figures()
        self.backend = MemoryBackend(lambda: EPOCH + int(self.now))
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._waiting: list[tuple[Batch, Callable[[Answer], None]]] = []
        self.due: dict[Key, float] = {}
        self.nodes = [Node(self, number) for number in range(nodes)]

    def at(self, instant: float, function: Callable[[], None]) -> None:
        """Let something happen."""
        heapq.heappush(self._agenda, (max(instant, self.now), next(self._numbers), function))

    def go_on(self, runs: int) -> None:
        """Until so many runs were made."""
        while self.figures.runs < runs:
            self.now, _, function = heapq.heappop(self._agenda)
            function()

    def wait_until(self, instant: float) -> None:
        """Let so much time pass."""
        while self._agenda[0][0] < instant:
            self.now, _, function = heapq.heappop(self._agenda)
            function()

    def ask(self, batch: Batch, answered: Callable[[Answer], None]) -> None:
        """An exchange has come to the store."""
        self._waiting.append((batch, answered))
        if len(self._waiting) == 1:
            self._serve()

    def _serve(self) -> None:
        batch, answered = self._waiting[0]
        answer = self.backend.exchange(0, batch)
        rows = len(batch.writes) + len(answer.claimed)
        took = self.costs.fixed + self.costs.row * rows if rows else self.costs.look
        figures = self.figures
        figures.exchanges += 1
        figures.writes += sum(isinstance(write, Write) for write in batch.writes)
        figures.vain += batch.claim is not None and not rows
        figures.busy += took
        self.at(self.now + took + MESSAGE_MS, partial(answered, answer))
        self.at(self.now + took, self._served)

    def _served(self) -> None:
        del self._waiting[0]
        if self._waiting:
            self._serve()


class Node:
    """A process: an engine, and one core."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._engine = Engine(JOBS.by_key, node=(number + 1) * 0x9E3779B97F4A7C15 % 2**64)
        self._core_free_at = 0.0
        self._wake_at: int | None = None
        world.at(0.0, partial(self.feed, Ticked()))

    def feed(self, input: Any) -> None:
        """One input, and the needs that come of it."""
        self._engine.feed(int(self._world.now), input)
        for need in self._engine.needs():
            match need:
                case Exchange():
                    ask = partial(self._world.ask, need.batch, partial(self._answered, need.id))
                    self._world.at(self._world.now + MESSAGE_MS, ask)
                case Invoke():
                    self._run(need)
                case _:
                    pass
        wake = self._engine.next_wakeup
        if wake is not None and (self._wake_at is None or wake < self._wake_at):
            self._wake_at = wake
            self._world.at(wake, self._tick)

    def _tick(self) -> None:
        if self._wake_at is not None and self._world.now >= self._wake_at:
            self._wake_at = None
            self.feed(Ticked())

    def _answered(self, exchange: int, answer: Answer) -> None:
        self.feed(Answered(exchange, answer))

    def _run(self, invoke: Invoke) -> None:
        world = self._world
        self._core_free_at = max(self._core_free_at, world.now) + world.costs.cpu
        world.figures.late.append(EPOCH + world.now - world.due.get(invoke.key, EPOCH))
        world.at(self._core_free_at + HOOK_MS, partial(self._finished, invoke.id))

    def _finished(self, invocation: int) -> None:
        self._world.figures.runs += 1
        self.feed(Finished(invocation, HookReturned(None)))


class Client:
    """Starts instances, and tells the nodes; its own exchanges cost nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._engine = Engine(JOBS.by_key, node=7, worker=False)
        self._drain()

    def start(self, number: int) -> None:
        """Start an instance, due now."""
        world, key = self._world, Key("continuous", "count", str(number))
        world.due[key] = EPOCH + world.now
        self._engine.feed(int(world.now), Called(number, key, START, deadline=10**9))
        self._drain()
        for node in world.nodes:
            world.at(world.now + MESSAGE_MS, partial(node.feed, Nudged()))

    def _drain(self) -> None:
        for need in self._engine.needs():
            if isinstance(need, Exchange):
                answer = self._world.backend.exchange(0, need.batch)
                self._engine.feed(int(self._world.now), Answered(need.id, answer))
                self._drain()


Measured = tuple[str, Figures, float]


def measure(nodes: int, instances: int, costs: Costs, gap: float) -> Iterator[Measured]:
    """What came of it, and the milliseconds it took."""
    world = World(nodes, costs)
    client = Client(world)
    for number in range(instances):
        client.start(number)
    yield "all due at once", *_figures(world, instances)
    few = instances // 10
    world = World(nodes, costs)
    client = Client(world)
    for number in range(few):
        world.at(number * gap, partial(client.start, number))
    yield f"one made due every {gap:g} ms", *_figures(world, few)
    world.wait_until(world.now + 1_000)  # the last of them are committed
    world.due = {key: float(world.backend._store.rows[key].wake or 0) for key in world.due}
    began = min(world.due.values()) - EPOCH
    world.wait_until(began - 10)
    world.figures = Figures()
    found, ended = _figures(world, few)
    yield f"one falls due every {gap:g} ms", found, ended - began


def _figures(world: World, runs: int) -> tuple[Figures, float]:
    world.go_on(runs)
    return world.figures, world.now


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--fixed", type=float, default=0.9)
    parser.add_argument("--row", type=float, default=0.024)
    parser.add_argument("--look", type=float, default=0.15)
    parser.add_argument("--cpu", type=float, default=0.15)
    parser.add_argument("--gap", type=float, default=10.0)
    arguments = parser.parse_args()
    costs = Costs(arguments.fixed, arguments.row, arguments.look, arguments.cpu)
    print(f"{'':<28}nodes   runs/s  commits/run  rows/exchange  in vain/run  store busy  late p50, ms")
    found = [(n, measure(n, arguments.instances, costs, arguments.gap)) for n in NODES]
    for _ in range(PHASES):
        for nodes, phases in found:
            name, figures, took = next(phases)
            late, commits = statistics.median(figures.late), figures.writes / figures.runs
            print(
                f"{name:<28}{nodes:>5}{figures.runs * 1000 / took:>9,.0f}{commits:>13.2f}"
                f"{figures.writes / figures.exchanges:>15.1f}{figures.vain / figures.runs:>13.2f}"
                f"{figures.busy / took:>12.0%}{late:>14.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
