"""Runtimes on a Redis server behind a proxy that cuts, tears, delays or holds back a quarter of their
exchanges.

Each book is kept by one task, which sends events, some again with the same id when no one can tell, looks
whether the book is right, and ends its life. What is held back is sent on after its deadline, when a life of
an instance that it writes was ended; or in time, and then comes late, but may land.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any

from attrs import define, field
from durable_jobs_redis import RedisBackend
from support.drivers import Driver, again
from support.one_job import BOOK
from support.redis_proxy import Asked, Fate, Proxy

from durable_jobs_core import Continuous, Jobs, create_durable_jobs, every
from durable_jobs_core.backend import Query
from durable_jobs_core.engine import Limits
from durable_jobs_core.errors import DuplicateEventError, OutcomeUnknownError, StorageError

LIMITS = Limits(lease=2_000, hold=500, poll=200, exchange=150)
BOOKS, CLOCKS = 5, 2
FAULTY, LATE = 1 / 4, 0.18
"""The share of exchanges that are cut or delayed; and of those that write, how many of them are held back
beyond their deadline."""

TIMEOUT = "400 ms"
LONGEST_SECONDS = 3_600.0
Told = Callable[[str], None]


@define
class Book:
    """What is known of one life: names of events, in the order in which they were sent."""

    sent: list[str] = field(factory=list)
    acknowledged: set[str] = field(factory=set)
    refused: set[str] = field(factory=set)

    def faults(self, found: list[str]) -> Iterator[str]:
        """What is wrong with what was found."""
        times = Counter(found)
        order = [name for name in self.sent if name in times]
        if strange := [name for name in found if name not in self.sent]:
            yield f"{strange} are of another life"
        elif found != order:
            yield f"{found} is not {order}"
        if lost := self.acknowledged - times.keys():
            yield f"{lost} were acknowledged and are not there"
        if there := self.refused & times.keys():
            yield f"nothing happened, it was said, and there are {there}"


class Storm:
    """Chooses fates, and says what came of it. `goal`: so many exchanges are to be cut or delayed."""

    def __init__(self, seed: int, goal: int) -> None:
        self.goal = goal
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.ended: dict[str, float] = {}
        self.blows = False
        self._random = Random(seed)
        self._due: dict[Asked, float] = {}
        self._began: dict[Asked, float] = {}

    def __str__(self) -> str:
        return ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))

    def choose(self, asked: Asked) -> Fate:
        """The fate of an exchange."""
        if not self.blows or self._random.random() > FAULTY:
            return "fine"
        self._began[asked] = now = time.monotonic()
        if asked.ids and self._random.random() < LATE:
            return "held"
        fates: tuple[Fate, ...] = ("lost", "unanswered", "torn", "held", "slow")
        fate = self._random.choice(fates)
        if fate in ("held", "slow"):
            self._due[asked] = now + self._random.uniform(0, 0.2)
        return fate

    def may_go(self, asked: Asked) -> bool:
        """Whether what is held or delayed is to be sent on now."""
        due = self._due.get(asked)
        if due is not None:
            return time.monotonic() >= due
        return (self._is_ended(asked) or not self.blows) and time.time() * 1000 > asked.not_after + 5

    def _is_ended(self, asked: Asked) -> bool:
        """Whether a life of something that it writes was ended after it was asked."""
        return any(self.ended.get(id, 0) > self._began[asked] for id in asked.ids)

    def send_on(self, proxy: Proxy, stop: threading.Event) -> None:
        """Send on what may go, until there is nothing more to come."""
        while not stop.wait(0.005):
            for asked in proxy.take(self.may_go):
                asked.released.set()
                if asked not in self._due and asked.answered.wait(20):
                    self._look_at_late(asked)

    def _look_at_late(self, asked: Asked) -> None:
        outcomes = [outcome[0] for outcome in asked.answer[1]]
        self.counts["late" if self._is_ended(asked) else "late, of what was not ended"] += 1
        if set(outcomes) != {b"late"}:
            self.faults.append(f"after its deadline a write of {sorted(asked.ids)} had {outcomes}")

    def is_enough(self, proxy: Proxy) -> bool:
        """Whether there were as many faults as there are to be."""
        return proxy.counts.total() - proxy.counts["fine"] >= self.goal


def make_jobs() -> Jobs:
    """A book keeps the names of its events; a clock counts its runs."""

    async def execute(ctx: Any) -> None:
        ctx.set_state(ctx.state + 1)

    return create_durable_jobs(
        {
            "book": BOOK,
            "clock": Continuous.make(state=int, schedule=every("50 ms"), execute=execute),
        }
    )


class Keeper:
    """Keeps one book through a runtime."""

    def __init__(self, id: str, runtime: Any, storm: Storm, seed: str) -> None:
        self._id, self._storm = id, storm
        self._books = runtime.client.task("book")
        self._random = Random(seed)
        self._number = 0

    async def keep(self, is_enough: Callable[[], bool], told: Callable[[], None]) -> None:
        """Live lives, until it is enough."""
        while not is_enough():
            book = Book()
            for _ in range(self._random.randint(2, 7)):
                await self._send(book)
            state = await again(lambda: self._books.get_state(self._id))
            self._storm.faults += [f"{self._id}: {fault}" for fault in book.faults(state.state or [])]
            await again(lambda: self._books.terminate(self._id))
            self._storm.ended[self._id] = time.monotonic()
            self._storm.counts["lives"] += 1
            told()

    async def _send(self, book: Book) -> None:
        self._number += 1
        name = f"{self._id}.{self._number}"
        book.sent.append(name)
        counts = self._storm.counts
        try:
            await self._books.send(self._id, name, event_id=name)
            book.acknowledged.add(name)
            counts["acknowledged"] += 1
        except OutcomeUnknownError:
            counts["unknown"] += 1
            if self._random.random() < 0.5:
                await self._repeat(name)
                book.acknowledged.add(name)
        except StorageError:
            counts["refused"] += 1
            book.refused.add(name)

    async def _repeat(self, name: str) -> None:
        """Until it is known to have happened."""
        try:
            await again(lambda: self._books.send(self._id, name, event_id=name))
        except DuplicateEventError:
            self._storm.counts["duplicates"] += 1


def storm(
    driver: Driver, port: int, seed: int, goal: int, runtimes: int, told: Told = lambda text: None
) -> tuple[Storm, Proxy]:
    """Let so many exchanges of so many runtimes be cut or delayed; `faults` of what it returns are what is
    wrong afterwards."""
    storm = Storm(seed, goal)
    proxy = Proxy(port, storm.choose)
    where = f"?namespace=storm-{seed}-{driver.name}&timeout=2"
    stop = threading.Event()
    sender = threading.Thread(target=storm.send_on, args=(proxy, stop))
    sender.start()

    def tell() -> None:
        faulty = proxy.counts.total() - proxy.counts["fine"]
        told(f"{faulty} of {goal} cut or delayed, of them {storm.counts['late']} beyond deadline and end")

    async def main() -> None:
        async with AsyncExitStack() as stack:
            keepers = []
            for number in range(runtimes):
                backend = RedisBackend.open(f"{proxy.url}{where}")
                opening = driver.open(make_jobs(), backend, limits=LIMITS, request_timeout=TIMEOUT)
                runtime = await stack.enter_async_context(opening)
                ids = [f"{number}-{one}" for one in range(BOOKS)]
                keepers += [Keeper(id, runtime, storm, f"{seed} {id}") for id in ids]
            storm.blows = True  # who opens a store is not to be disturbed
            clocks = runtime.client.continuous("clock")
            for one in range(CLOCKS):
                await again(partial(clocks.start, f"{one}", 0))
            enough = partial(storm.is_enough, proxy)
            await driver.together(*(partial(keeper.keep, enough, tell) for keeper in keepers))
            storm.blows = False
            storm.faults += [fault for one in range(CLOCKS) for fault in await _on_clock(clocks, f"{one}")]

    try:
        driver.run(main, LONGEST_SECONDS)
        while proxy.waiting:
            stop.wait(0.01)
    finally:
        storm.blows = False
        stop.set()
        sender.join()
        proxy.close()
    storm.faults += _in_the_end(f"redis://127.0.0.1:{port}{where}")
    if copies := [count for count in proxy.copies.values() if count > 1]:
        storm.faults.append(f"{len(copies)} exchanges that write were sent more than once")
    return storm, proxy


async def _on_clock(clocks: Any, id: str) -> list[str]:
    """Each run counts once; the last one may be under way."""
    state = (await again(lambda: clocks.get_state(id))).state
    status = await again(lambda: clocks.status(id))
    if 0 < state <= status.run_count and status.last_error is None:
        return []
    return [f"clock {id} counted {state}, and {status}"]


def _in_the_end(url: str) -> list[str]:
    """No life that was ended has come back."""
    backend = RedisBackend.open(url)
    left = [row.key for row in backend.scan(Query(job="book"), None, 100).rows]
    backend.close()
    return [f"there are {left} after the end"] if left else []
