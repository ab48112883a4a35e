"""How late alarms are: those of a backlog, in the order in which they fell due, and those of a steady stream.

An alarm is a task that was sent the instant at which to run. It is late by the time from that instant to the
beginning of its handler; one that was overdue when its worker came, by the time since then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path

import durable_jobs_asyncio
from attrs import evolve, frozen

from benchmarks.jobs import Counter
from benchmarks.limits import FULL
from benchmarks.product import shares
from benchmarks.table import Figures, Measure, Part, Ratio, Size, apart, quantile
from durable_jobs_core import Jobs, Task, TaskContext, create_durable_jobs
from durable_jobs_core.engine import Limits
from durable_jobs_core.words import to_datetime

ALL, ORDER = "all run, s", "out of order"
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}
P50, P99 = "p50, ms", "p99, ms"
OURS, TIMER = "", "timer "
SAME, OVERDUE = "due at one instant, overdue", "due 1 ms apart, overdue"
STREAM = "due at random, at half of that rate"
BATCH = Limits().concurrency
"""What a claim takes at most."""
HOUR_MS = 3_600_000
LEAD_MS = 200
SEED = 7


@frozen
class Start:
    """A handler began `at` an instant and was `due` at one; milliseconds since the epoch."""

    due: int
    at: float


@frozen
class Watched:
    """`starts`, in their order; when the worker `began`, and how many seconds it `took` until what came of
    the last of them was stored."""

    starts: Sequence[Start]
    began: float
    took: float

    def late(self, whose: str = OURS) -> dict[str, float]:
        """What half of them, all but a hundredth, and all were not later than, by the columns of `whose`."""
        times = [start.at - max(start.due, self.began) for start in self.starts]
        return {f"{whose}{name}, ms": quantile(times, share) for name, share in SHARES.items()}

    def out_of_order(self) -> float:
        """How far the one that is farthest from its place in due order is from it, in batches."""
        in_order = sorted(range(len(self.starts)), key=lambda place: self.starts[place].due)
        return max(abs(place - rank) for rank, place in enumerate(in_order)) / BATCH


class Alarms:
    """What alarms do, and a list of it; `all`: set when so many have rung."""

    def __init__(self, count: int) -> None:
        self.starts: list[Start] = []
        self.all = asyncio.Event()
        self._count = count

    def ring(self, state: Counter) -> Counter:
        """Note an alarm, whose state is when it was due; its next state."""
        self.starts.append(Start(state.n, now_ms()))
        if len(self.starts) == self._count:
            self.all.set()
        return evolve(state, n=state.n + 1)

    async def on_event(self, due: int, ctx: TaskContext[Counter]) -> None:
        """Set the alarm."""
        ctx.set_state(Counter(due))
        ctx.schedule(to_datetime(due))

    async def execute(self, ctx: TaskContext[Counter]) -> None:
        """It rings."""
        assert ctx.state is not None
        ctx.set_state(self.ring(ctx.state))

    def jobs(self) -> Jobs:
        """To be opened by a worker or a client."""
        job = Task.make(state=Counter, event=int, on_event=self.on_event, execute=self.execute)
        return create_durable_jobs({"alarm": job})


def now_ms() -> float:
    """Milliseconds since the epoch."""
    return time.time() * 1000


async def fill(url: str, dues: Sequence[int]) -> None:
    """Set alarms, by many callers in a process that runs none."""
    async with durable_jobs_asyncio.open_runtime(Alarms(0).jobs(), url, worker=False) as runtime:
        client = runtime.client.task("alarm")

        async def send(numbers: range) -> None:
            for number in numbers:
                await client.send(f"user-{number}", dues[number])

        await asyncio.gather(*map(send, shares(len(dues))))


async def watch(url: str, count: int) -> Watched:
    """Run the alarms of a store."""
    alarms, began, clock = Alarms(count), now_ms(), time.perf_counter()
    async with durable_jobs_asyncio.open_runtime(alarms.jobs(), url) as runtime:
        await alarms.all.wait()
        await runtime.run_until_idle()
        return Watched(alarms.starts, began, time.perf_counter() - clock)


async def timer(offsets: Sequence[int]) -> Watched:
    """The least that can be late: sleep until each instant, and do the same."""
    alarms, began, clock = Alarms(len(offsets)), now_ms(), time.perf_counter()
    for offset in offsets:
        due = int(began) + offset
        await asyncio.sleep(max(0, due - now_ms()) / 1000)
        alarms.ring(Counter(due))
    return Watched(alarms.starts, began, time.perf_counter() - clock)


def backlog(folder: Path, count: int, gap_ms: int) -> Watched:
    """Alarms due an hour ago, so far apart, and not set in the order in which they are due."""
    dues = [int(now_ms()) - HOUR_MS + number * gap_ms for number in range(count)]
    random.Random(SEED).shuffle(dues)
    url = f"sqlite:///{folder}/backlog.db"
    asyncio.run(fill(url, dues))
    return asyncio.run(watch(url, count))


def arrivals(count: int, rate: float) -> list[int]:
    """When each comes, in ms from now: a Poisson process of `rate` a second."""
    dice = random.Random(SEED)
    return [int(at * 1000) for at in accumulate(dice.expovariate(rate) for _ in range(count))]


def ahead(folder: Path, offsets: Sequence[int], lead: float) -> str:
    """A store of alarms none of which is due yet; `lead`: how many ms it will take to set them, or so."""
    while True:
        first = int(now_ms() + lead + LEAD_MS)
        url = f"sqlite:///{folder}/from-{first}.db"
        asyncio.run(fill(url, [first + offset for offset in offsets]))
        if now_ms() < first - LEAD_MS / 2:
            return url
        lead *= 2


def overdue(folder: Path, count: int, gap_ms: int) -> dict[str, float]:
    """A backlog is run."""
    watched = backlog(folder, count, gap_ms)
    order = {ORDER: watched.out_of_order()} if gap_ms else {}
    return {ALL: watched.took, **watched.late(), **order}


def stream(folder: Path, count: int) -> dict[str, float]:
    """Half as many a second as are run of a backlog, and a timer beside them."""
    began = now_ms()
    rate = count / backlog(folder, count, 0).took
    offsets = arrivals(count, rate / 2)
    url = ahead(folder, offsets, now_ms() - began)
    return asyncio.run(watch(url, count)).late() | asyncio.run(timer(offsets)).late(TIMER)


def _overdue(gap_ms: int, folder: Path, count: int) -> Figures:
    return Figures(apart(overdue, folder, count, gap_ms), FULL)


def _stream(folder: Path, count: int) -> Figures:
    return Figures(apart(stream, folder, count), FULL)


LATENESS = Part(
    "lateness",
    "alarms on SQLite FULL in one process, and a bare timer",
    [Measure(SAME, partial(_overdue, 0)), Measure(OVERDUE, partial(_overdue, 1)), Measure(STREAM, _stream)],
    [
        Ratio(
            "lateness_overdue_vs_drain",
            lambda one: one[OVERDUE].values[ALL] / one[SAME].values[ALL],
            1.2,
            at_most=True,
        ),
        Ratio(
            "lateness_p50_vs_drain",
            lambda one: one[OVERDUE].values[P50] / 1000 / one[SAME].values[ALL],
            0.6,
            at_most=True,
        ),
        Ratio(
            "lateness_out_of_order_batches",
            lambda one: one[OVERDUE].values[ORDER],
            2.0,
            at_most=True,
        ),
        Ratio(
            "lateness_p99_over_timer_ms",
            lambda one: one[STREAM].values[P99] - one[STREAM].values[TIMER + P99],
            50.0,
            at_most=True,
        ),
    ],
    full=Size(3, 10_000),
    columns=(ALL, *(f"{whose}{name}, ms" for whose in (OURS, TIMER) for name in SHARES), ORDER),
)
