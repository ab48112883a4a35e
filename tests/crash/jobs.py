"""The jobs of the crash test. Every event, run and batch can be accounted for, from the file and the log.

Events carry an id of their own and are folded into states as such; states count what succeeded; a leased
hook writes to the log when it begins, with what it was shown, and when it ends.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, evolve, frozen
from crash.log import Log

from durable_jobs_core import Continuous, Debounce, Jobs, Retry, Task, create_durable_jobs, every
from durable_jobs_core.context import TerminateSignal
from durable_jobs_core.engine import Limits

LIMITS = Limits(lease=1_000, hold=300, poll=200)


@frozen(kw_only=True)
class Rule:
    """What the checker knows of a job.

    `attempts`, `crashes`: a run has at most so many; `drops`: a run that gives up is dropped; `ends`: its
    hooks end lives, with the event ids in them.
    """

    kind: str
    attempts: int
    crashes: int = 1_000
    drops: bool = False
    ends: bool = False


RULES = {
    "ticker": Rule(kind="continuous", attempts=3, drops=True),
    "slow": Rule(kind="continuous", attempts=2, crashes=2),
    "collect": Rule(kind="debounce", attempts=3),
    "digest": Rule(kind="debounce", attempts=2, drops=True),
    "full": Rule(kind="debounce", attempts=1),
    "ledger": Rule(kind="task", attempts=2),
    "mender": Rule(kind="task", attempts=2, ends=True),
    "still": Rule(kind="task", attempts=1),
}


@define
class Ticks:
    """How many runs succeeded, and the key of the last."""

    n: int = 0
    last: str = ""


@define
class Note:
    """An event of a task: `do` is `note`, `plan` (schedules), `fail` (may), or `end` (terminates)."""

    id: str
    do: str = "note"


@define
class Book:
    """A task's state: `mark` tells lives apart; the events applied and handled; executions that ended."""

    mark: str
    seen: list[str]
    handled: list[str]
    executed: int = 0
    mended: int = 0


class Mishap(Exception):
    """What hooks fail with."""


class Work:
    """What the hooks share. `calm`: nothing fails and nothing takes long."""

    def __init__(self, log: Log, seed: str, sleep: Callable[[float], Awaitable[None]], calm: bool) -> None:
        self.log = log
        self._chance = random.Random(seed)
        self._sleep = sleep
        self._calm = calm

    def happens(self, share: float) -> bool:
        return not self._calm and self._chance.random() < share

    def seconds(self, longest: float) -> float:
        return self._chance.uniform(0, 0.001 if self._calm else longest)

    async def rest(self, longest: float) -> None:
        await self._sleep(self.seconds(longest))

    def mishap(self, share: float, text: str) -> None:
        if self.happens(share):
            raise Mishap(text)

    @contextmanager
    def told(self, ctx: Any, hook: str, **shown: Any) -> Iterator[None]:
        """Log the beginning of a hook, with what it was shown and when it was leased, and how it ended."""
        name = self.log.name()
        if ctx.idempotency_key is not None:
            shown.update(idem=ctx.idempotency_key, attempt=ctx.attempt, crashes=ctx.crashes)
            shown.update(since=ctx._call.at)
        self.log.write("began", call=name, key=ctx.instance_id, hook=hook, **shown)
        how = "cancelled"
        try:
            yield
            how = "returned"
        except Exception:
            how = "raised"
            raise
        except TerminateSignal:
            how = "terminated"
            raise
        finally:
            self.log.write("ended", call=name, how=how)


def retry(attempts: int) -> Retry:
    return Retry(max_attempts=attempts, delay="15 ms")


def make_jobs(work: Work) -> Jobs:
    """The jobs of a round."""
    return create_durable_jobs({**_continuous(work), **_debounces(work), **_tasks(work)})


def _continuous(work: Work) -> dict[str, Any]:
    async def tick(ctx: Any) -> None:
        with work.told(ctx, "execute", n=ctx.state.n, run_count=ctx.run_count):
            await work.rest(0.015)
            work.mishap(0.3, "tick")
            ctx.set_state(Ticks(ctx.state.n + 1, ctx.idempotency_key))

    def slow(ctx: Any) -> None:
        with work.told(ctx, "execute", n=ctx.state.n, run_count=ctx.run_count):
            time.sleep(work.seconds(0.5))
            work.mishap(0.3, "slow")
            ctx.set_state(Ticks(ctx.state.n + 1, ctx.idempotency_key))

    return {
        "ticker": Continuous.make(state=Ticks, schedule=every("40 ms"), execute=tick, retry=retry(3)),
        "slow": Continuous.make(
            state=Ticks,
            schedule=every("60 ms", align="start"),
            execute=slow,
            retry=retry(2),
            max_crashes=RULES["slow"].crashes,
            on_exhausted="park",
        ),
    }


def _debounces(work: Work) -> dict[str, Any]:
    async def reduce(ctx: Any) -> list[str]:
        await work.rest(0.002)
        return [*(ctx.state or ()), ctx.event]

    def reduce_plainly(ctx: Any) -> list[str]:
        return [*(ctx.state or ()), ctx.event]

    async def hand_over(ctx: Any) -> None:
        with work.told(ctx, "execute", events=ctx.state, count=ctx.event_count):
            await work.rest(0.02)
            work.mishap(0.4, "batch")

    def hand_over_plainly(ctx: Any) -> None:
        with work.told(ctx, "execute", events=ctx.state, count=ctx.event_count):
            time.sleep(work.seconds(0.02))
            work.mishap(0.4, "batch")

    shared: dict[str, Any] = {"event": str, "state": list[str], "remember_ids": 10_000, "max_crashes": 1_000}
    return {
        "collect": Debounce.make(
            flush_after="50 ms", on_event=reduce, execute=hand_over, retry=retry(3), **shared
        ),
        "digest": Debounce.make(
            flush_after="20 ms",
            mode="quiet",
            max_wait="100 ms",
            max_events=6,
            on_event=reduce_plainly,
            execute=hand_over_plainly,
            retry=retry(2),
            on_exhausted="terminate",
            **shared,
        ),
        "full": Debounce.make(
            flush_after="1 hour",
            max_pending=3,
            on_event=reduce_plainly,
            execute=hand_over,
            retry=None,
            **shared,
        ),
    }


def _tasks(work: Work) -> dict[str, Any]:
    def book(ctx: Any) -> Book:
        return ctx.state or Book(work.log.name(), [], [])

    def shown(ctx: Any) -> dict[str, Any]:
        now: Book | None = ctx.state
        return {} if now is None else {"mark": now.mark, "seen": now.seen, "handled": now.handled}

    def apply(event: Note, ctx: Any) -> None:
        if event.do == "fail":
            work.mishap(0.6, f"event {event.id}")
        if event.do == "end":
            ctx.terminate("the end")
        now = book(ctx)
        ctx.set_state(evolve(now, seen=[*now.seen, event.id]))
        if event.do == "plan":
            ctx.schedule(f"{work.seconds(0.04) * 1000:.0f} ms")

    async def on_event(event: Note, ctx: Any) -> None:
        with work.told(ctx, "on_event", event=event.id, do=event.do, **shown(ctx)):
            await work.rest(0.003)
            apply(event, ctx)

    def on_event_plainly(event: Note, ctx: Any) -> None:
        with work.told(ctx, "on_event", event=event.id, do=event.do, **shown(ctx)):
            apply(event, ctx)

    async def execute(ctx: Any) -> None:
        with work.told(ctx, "execute", **shown(ctx)):
            await work.rest(0.03)
            work.mishap(0.4, "execute")
            now = book(ctx)
            ctx.set_state(evolve(now, executed=now.executed + 1))
            if work.happens(0.2):
                ctx.schedule("10 ms")

    async def on_idle(ctx: Any) -> None:
        with work.told(ctx, "on_idle", **shown(ctx)):
            work.mishap(0.2, "idle")

    def on_error(failure: Any, ctx: Any) -> None:
        with work.told(ctx, "on_error", failure=str(failure), **shown(ctx)):
            now = book(ctx)
            first, _, event = failure.message.partition(" ")
            if first == "event":
                ctx.set_state(evolve(now, handled=[*now.handled, event]))
            else:
                ctx.set_state(evolve(now, mended=now.mended + 1))

    shared: dict[str, Any] = {"event": Note, "state": Book, "remember_ids": 10_000, "max_crashes": 1_000}
    return {
        "ledger": Task.make(
            on_event=on_event, execute=execute, on_idle=on_idle, retry=retry(2), inbox_limit=12, **shared
        ),
        "mender": Task.make(
            on_event=on_event_plainly, execute=execute, on_error=on_error, retry=retry(2), **shared
        ),
        "still": Task.make(on_event=on_event, execute=execute, retry=None, **shared),
    }
