"""Ours on a Redis server that is two milliseconds away: round trips a job, and jobs a second beside none.

What stands between them holds back all that comes for as long, in both directions, and never waits for one
thing before it takes the next: it delays, and does not slow down. (The proxy of the tests does: it reads each
message, one at a time.) Without delay all goes the same way.
"""

from __future__ import annotations

import asyncio
import math
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import redis

from benchmarks.crew import KIND, drain, fill
from benchmarks.peers.driving import server_program, store_in
from benchmarks.table import ACCEPTED, DRAINED, TO_ACCEPT, TO_RUN, Figures, Measure, Part, Size

DELAYS = {"durable-jobs, no delay": 0.0, "durable-jobs, 2 ms": 0.001}
"""Seconds in each direction."""
TRIP_MS, TRIPS_TO_ACCEPT, TRIPS_TO_RUN = "ms a trip", "trips/accept", "trips/run"
PINGS = 21
MOST_BYTES = 1 << 20


class Wire:
    """The way to a port, from `port`. `delay`: seconds in each direction; `trips`: how often a client asked
    something, for the first time or after it had been answered."""

    def __init__(self, target: int, delay: float) -> None:
        self.target, self.delay, self.trips = target, delay, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    async def carry(self, closed: asyncio.Event) -> None:
        """Let clients through until it is closed."""
        server = await asyncio.start_server(self._connect, sock=self._listener)
        await closed.wait()
        server.close()

    async def _connect(self, asks: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        answers, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        answered = True

        def ask() -> None:
            nonlocal answered
            self.trips += answered
            answered = False

        def answer() -> None:
            nonlocal answered
            answered = True

        try:
            await asyncio.gather(
                self._one_way(asks, to_server, ask), self._one_way(answers, to_client, answer)
            )
        finally:
            to_client.close()
            to_server.close()

    async def _one_way(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, came: Callable[[], None]
    ) -> None:
        """What comes goes on later; in order, since no two things have the same time."""
        loop, at = asyncio.get_running_loop(), 0.0
        while data := await source.read(MOST_BYTES):
            came()
            at = max(loop.time() + self.delay, math.nextafter(at, math.inf))
            loop.call_at(at, target.write, data)
        loop.call_at(math.nextafter(at, math.inf), target.close)


@contextmanager
def wire_to(port: int, delay: float) -> Iterator[Wire]:
    """A way to a port while the block is open."""
    wire, closed, loop = Wire(port, delay), asyncio.Event(), asyncio.new_event_loop()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(wire.carry(closed))

    thread = Thread(target=run)
    thread.start()
    try:
        yield wire
    finally:
        loop.call_soon_threadsafe(closed.set)
        thread.join()


def milliseconds(url: str) -> float:
    """What a round trip takes when nothing else goes on: the median of some."""
    found: list[float] = []
    with closing(redis.Redis.from_url(url)) as client:
        client.ping()
        for _ in range(PINGS):
            began = time.perf_counter()
            client.ping()
            found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)


def _through(delay: float, folder: Path, jobs: int) -> Figures:
    with store_in(folder, KIND) as store, wire_to(_port(store), delay) as wire:
        url = store.replace(f":{wire.target}/", f":{wire.port}/")
        trip = milliseconds(url)
        filled = fill(url, jobs, lambda: wire.trips)
        drained = drain(url, jobs, lambda: wire.trips)
    return Figures(
        {
            TRIP_MS: trip,
            ACCEPTED: jobs / filled.seconds,
            TRIPS_TO_ACCEPT: filled.counted / jobs,
            TO_ACCEPT: filled.processor * 1e6 / jobs,
            DRAINED: jobs / drained.seconds,
            TRIPS_TO_RUN: drained.counted / jobs,
            TO_RUN: drained.processor * 1e6 / jobs,
        },
        f"{server_program()[1]}, {drained.settings}",
    )


def _port(store: str) -> int:
    return int(store.rpartition(":")[2].partition("/")[0])


NETWORK = Part(
    "network",
    "one producer, then one worker process, and a network before Redis, AOF everysec",
    [Measure(name, partial(_through, delay)) for name, delay in DELAYS.items()],
    [],
    full=Size(5, 10_000),
    columns=(TRIP_MS, ACCEPTED, TRIPS_TO_ACCEPT, TO_ACCEPT, DRAINED, TRIPS_TO_RUN, TO_RUN),
)
