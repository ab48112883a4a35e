"""Task: numbered events are noted in the state, each exactly once, whatever runs beside them.

What was acknowledged is in a committed state, or queued, or a dead letter; or `on_error` took it; or a
client dropped it. Hooks schedule, cancel, fail and terminate as they like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable_jobs_core import Backoff, Retry, Task, TaskContext
from durable_jobs_core.client import TaskClient
from durable_jobs_core.errors import (
    DuplicateEventError,
    DurableJobsError,
    ExecutionError,
    OutcomeUnknownError,
)
from durable_jobs_core.record import Record, TaskBody
from durable_jobs_core.words import Failure, Key
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.history import Commit
from durable_jobs_simulation.scenarios.releases import releases
from durable_jobs_simulation.simulation import Simulation, current
from durable_jobs_simulation.tasks import sleep

Job = Task[int, list[int]]


class Orders:
    """What was sent, acknowledged, and seen in committed records. `forgiven`: calls of `on_error`, a key."""

    def __init__(self) -> None:
        self.numbers = 0
        self.acked: dict[int, Key] = {}
        self.refused: dict[int, str] = {}
        self.seen: dict[int, Key] = {}
        self.forgiven: dict[str, int] = {}

    def number(self) -> int:
        """A number nobody has had."""
        self.numbers += 1
        return self.numbers

    def committed(self, commit: Commit) -> None:
        """Note what is in a committed record, and that nothing has left it that nobody took."""
        self._check_left(commit)
        after = commit.after
        if after is None or not isinstance(after.body, TaskBody):
            return
        numbers = _numbers(after)
        if len(set(numbers)) < len(numbers):
            doubled = sorted(number for number in set(numbers) if numbers.count(number) > 1)
            raise AssertionError(f"I-1: {commit.key} has {doubled} twice")
        for number in numbers:
            assert number not in self.refused, f"I-9: {number} was refused and is in {commit.key}"
            self.seen[number] = commit.key

    def _check_left(self, commit: Commit) -> None:
        """I-1: what was queued or dead is applied, or still there, or in the next life; of `x` no client
        drops anything. `on_error` may have taken the event it was called for."""
        before, after = commit.before, commit.after
        if before is None or commit.key.id != "x" or current().damaged(commit.key):
            return
        assert isinstance(before.body, TaskBody)
        inbox, intake = before.body.inbox, before.body.intake
        forgiven = inbox[:1] if intake is not None and intake.hook == "on_error" else inbox[:0]
        there = [*([] if after is None else _numbers(after)), *(event.event for event in forgiven)]
        waited = [*(event.event for event in inbox), *(event.event for event in before.body.dead)]
        gone = [event for event in waited if event not in there]
        assert not gone, f"I-1: {gone} left {commit.key} and are nowhere"


def _numbers(record: Record) -> list[int]:
    body = record.body
    assert isinstance(body, TaskBody)
    noted: Any = [] if body.state is None else body.state.value
    queued: list[Any] = [event.event for event in body.inbox]
    dead: list[Any] = [event.event for event in body.dead]
    return [*noted, *queued, *dead]


def _definitions(log: Orders) -> dict[str, Job]:
    """The jobs, whose hooks tell the ledger."""

    async def note(event: int, ctx: TaskContext[list[int]]) -> None:
        dice = current().dice
        await sleep(f"{dice.between(0, 200)} ms")
        if dice.chance(0.1):
            raise ValueError("it is not an order")
        ctx.set_state([*(ctx.state or ()), event])
        match dice.below(6):
            case 0 | 1:
                ctx.schedule(f"{dice.between(1, 5_000)} ms")
            case 2:
                ctx.cancel_schedule()
            case _:
                pass

    def note_in_thread(event: int, ctx: TaskContext[list[int]]) -> None:
        if current().dice.chance(0.1):
            raise ValueError("it is not an order")
        ctx.set_state([*(ctx.state or ()), event])

    async def work(ctx: TaskContext[list[int]]) -> None:
        dice = current().dice
        await sleep(f"{dice.between(1, 3_000)} ms")
        if dice.chance(0.25):
            raise ValueError("it did not work out")
        if dice.chance(0.05):
            ctx.terminate("done")
        if dice.chance(0.3):
            ctx.schedule(f"{dice.between(0, 3_000)} ms")

    async def rest(ctx: TaskContext[list[int]]) -> None:
        if current().dice.chance(0.2):
            ctx.schedule("2 seconds")
        if current().dice.chance(0.1):
            raise ValueError("no rest")

    def forgive(error: Failure, ctx: TaskContext[list[int]]) -> None:
        log.forgiven[ctx.instance_id] = log.forgiven.get(ctx.instance_id, 0) + 1
        if current().dice.chance(0.1):
            raise ValueError("unforgivable")

    retry = Retry(max_attempts=3, delay=Backoff.exponential("300 ms"))
    make: Callable[..., Any] = Task.make
    common = {"event": int, "state": list[int], "retry": retry}
    return {
        "plain": make(**common, on_event=note, execute=work),
        "idle": make(**common, on_event=note, execute=work, on_idle=rest, inbox_limit=3),
        "kind": make(**common, on_event=note_in_thread, execute=work, on_error=forgive, on_idle=rest),
        "brief": make(
            **common,
            on_event=note,
            execute=work,
            on_exhausted="terminate",
            hook_timeout="1 second",
            timeout="4 seconds",
            concurrency=1,
        ),
    }


def orders() -> Case:
    """Sends and triggers; `x` is never terminated nor discarded by a client."""
    log = Orders()
    definitions = _definitions(log)

    async def scenario(sim: Simulation) -> None:
        sim._world.prompt.judges = True
        sim.watch(log.committed)
        for name in definitions:
            for id in ("x", "y"):
                for _ in range(2):
                    sim.spawn(_use(sim, sim.client.task(name), name, id, log), f"user of {name} {id}")
        await sim.sleep("1 minute")

    def nothing_is_lost(sim: Simulation) -> None:
        missing: dict[Key, list[int]] = {}
        for number, key in log.acked.items():
            if number not in log.seen and key.id == "x" and not sim.damaged(key):
                missing.setdefault(key, []).append(number)
        for key, numbers in missing.items():
            forgiven = log.forgiven.get(str(key), 0)
            assert len(numbers) <= forgiven, f"I-1: {numbers} were acknowledged by {key} and are nowhere"

    return Case(
        name="orders", jobs=releases(definitions), scenario=scenario, at_end=(nothing_is_lost,), lanes=None
    )


async def _use(sim: Simulation, client: TaskClient[int, list[int]], name: str, id: str, log: Orders) -> None:
    dice = sim.dice
    while not sim.calm:
        try:
            match dice.below(16):
                case 0:
                    await client.trigger(id)
                case 1:
                    await client.trigger(id, wait=f"{dice.between(1, 20_000)} ms")
                case 2:
                    await client.status(id)
                case 3:
                    await client.redrive(id)
                case 4 if id == "y":
                    await client.discard(id)
                case 5 if id == "y" and dice.chance(0.3):
                    await client.terminate(id)
                case 6:
                    await client.dead_letters(id)
                case _:
                    await _send(sim, client, Key("task", name, id), log)
        except DurableJobsError:
            pass
        await sim.sleep(f"{dice.between(1, 8_000)} ms")


async def _send(sim: Simulation, client: TaskClient[int, list[int]], key: Key, log: Orders) -> None:
    """Send a number; with an event id, as often as it takes to know that it is in."""
    number = log.number()
    id = f"e{number}" if sim.dice.chance(0.6) else None
    unknown = False
    for _ in range(5):
        try:
            result = await client.send(key.id, number, event_id=id)
        except OutcomeUnknownError:
            unknown = True
        except DuplicateEventError:
            assert unknown or key.id != "x", f"I-9: {number} is a duplicate, and was never in"
            log.acked[number] = key
            return
        except ExecutionError:
            if not unknown:
                log.refused[number] = "ExecutionError"
            return
        except DurableJobsError as error:
            if not unknown:
                log.refused[number] = type(error).__name__
                return
        else:
            if not result.terminated:
                log.acked[number] = key
            return
        if id is None:
            return
        await sim.sleep("2 seconds")
