"""Debounce: numbered webhooks are collected and delivered in batches, each number in exactly one.

A batch is known by its idempotency key: the same key always brings the same numbers, and a number comes
under one key only. What was acknowledged is delivered, or still held, or was dropped on request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable_jobs_core import Backoff, Debounce, DebounceContext, DebounceEventContext, Retry
from durable_jobs_core.client import DebounceClient
from durable_jobs_core.errors import DuplicateEventError, DurableJobsError, OutcomeUnknownError
from durable_jobs_core.record import DebounceBody
from durable_jobs_core.words import Key
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.scenarios.releases import releases
from durable_jobs_simulation.simulation import Simulation, current
from durable_jobs_simulation.tasks import sleep

Job = Debounce[int, list[int]]


class Deliveries:
    """What was added, acknowledged, and delivered under which key."""

    def __init__(self) -> None:
        self.numbers = 0
        self.batches: dict[str, list[int]] = {}
        self.under: dict[int, str] = {}
        self.acked: dict[int, Key] = {}
        self.refused: dict[int, str] = {}
        self.again: set[int] = set()
        """Added again to an instance whose ids may have gone with it."""

    def number(self) -> int:
        """A number nobody has had."""
        self.numbers += 1
        return self.numbers

    def deliver(self, key: str | None, numbers: list[int]) -> None:
        """A batch arrives, perhaps not for the first time."""
        assert key is not None, "a leased hook has an idempotency key"
        twice = {number for number in numbers if numbers.count(number) > 1} - self.again
        if twice:
            current().fail(f"S-60: {sorted(twice)} were taken twice")
        if self.batches.setdefault(key, numbers) != numbers:
            current().fail(f"I-2: {key} brought {self.batches[key]} and now {numbers}")
        for number in numbers:
            if self.under.setdefault(number, key) != key and number not in self.again:
                current().fail(f"I-2: {number} came under {self.under[number]} and {key}")
            if number in self.refused:
                current().fail(f"I-9: {number} was refused ({self.refused[number]}) and delivered")


def _definitions(sent: Deliveries) -> dict[str, Job]:
    """The jobs, whose hooks tell the ledger."""

    def collect(ctx: DebounceEventContext[int, list[int]]) -> list[int]:
        if current().dice.chance(0.05):
            raise ValueError("it cannot be folded in")
        return [*(ctx.state or ()), ctx.event]

    async def collect_slowly(ctx: DebounceEventContext[int, list[int]]) -> list[int]:
        await sleep(f"{current().dice.between(0, 300)} ms")
        return [*(ctx.state or ()), ctx.event]

    async def deliver(ctx: DebounceContext[list[int]]) -> None:
        dice = current().dice
        assert len(ctx.state) == ctx.event_count, "every event is in the state once"
        sent.deliver(ctx.idempotency_key, ctx.state)
        await sleep(f"{dice.between(1, 2_000)} ms")
        if dice.chance(0.2):
            raise ValueError("the receiver was down")

    def deliver_in_thread(ctx: DebounceContext[list[int]]) -> None:
        sent.deliver(ctx.idempotency_key, ctx.state)

    retry = Retry(max_attempts=3, delay=Backoff.exponential("500 ms"))
    make: Callable[..., Any] = Debounce.make
    common = {"event": int, "state": list[int], "retry": retry}
    return {
        "fixed": make(**common, flush_after="2 seconds", on_event=collect, execute=deliver),
        "quiet": make(
            **common,
            flush_after="1 second",
            mode="quiet",
            max_wait="4 seconds",
            max_events=4,
            on_event=collect_slowly,
            execute=deliver,
            timeout="3 seconds",
        ),
        "small": make(
            **common,
            flush_after="5 seconds",
            max_events=2,
            max_pending=6,
            on_event=collect,
            execute=deliver_in_thread,
            concurrency=1,
        ),
    }


def webhooks() -> Case:
    """Adds, flushes and clears; `x` is never cleared nor terminated, so that nothing of it may be lost."""
    sent = Deliveries()
    definitions = _definitions(sent)

    async def scenario(sim: Simulation) -> None:
        sim._world.prompt.judges = True
        for name in definitions:
            for id in ("x", "y"):
                for _ in range(2):
                    user = _use(sim, sim.client.debounce(name), name, id, sent)
                    sim.spawn(user, f"user of {name} {id}")
        await sim.sleep("1 minute")

    def nothing_is_lost(sim: Simulation) -> None:
        held: set[int] = set()
        for record in sim.records().values():
            if isinstance(record.body, DebounceBody):
                for part in (record.body.window, record.body.batch):
                    held.update(() if part is None else part.state.value)  # type: ignore[arg-type]
        for number, key in sent.acked.items():
            there = (number in held) + (number in sent.under)
            if key.id == "x" and not sim.damaged(key):
                assert there, f"I-1: {number} was acknowledged by {key} and is nowhere"
        refused = held & sent.refused.keys()
        assert not refused, f"I-9: {sorted(refused)} were refused and are held"

    return Case(
        name="webhooks", jobs=releases(definitions), scenario=scenario, at_end=(nothing_is_lost,), lanes=None
    )


async def _use(
    sim: Simulation, client: DebounceClient[int, list[int]], name: str, id: str, sent: Deliveries
) -> None:
    dice = sim.dice
    while not sim.calm:
        try:
            match dice.below(12):
                case 0:
                    await _flush(sim, client, Key("debounce", name, id), sent)
                case 1:
                    await client.flush(id, wait=None)
                case 2:
                    await client.status(id)
                case 3 if id == "y":
                    await client.clear(id)
                case 4 if id == "y" and dice.chance(0.3):
                    await client.terminate(id)
                case _:
                    await _add(sim, client, Key("debounce", name, id), sent)
        except DurableJobsError:
            pass
        await sim.sleep(f"{dice.between(1, 8_000)} ms")


async def _flush(sim: Simulation, client: DebounceClient[int, list[int]], key: Key, sent: Deliveries) -> None:
    """S-44: `flushed` means that all that was held has been delivered."""
    held = [number for number, owner in sent.acked.items() if owner == key]
    result = await client.flush(key.id, wait=f"{sim.dice.between(1, 20_000)} ms")
    if result.flushed and key.id == "x" and not sim.damaged(key):
        missing = [number for number in held if number not in sent.under]
        assert not missing, f"S-44: {key} was flushed and {missing} were not delivered"


async def _add(sim: Simulation, client: DebounceClient[int, list[int]], key: Key, sent: Deliveries) -> None:
    """Add a number; with an event id, as often as it takes to know that it is in."""
    number = sent.number()
    id = f"e{number}" if sim.dice.chance(0.6) else None
    unknown = False
    for _ in range(5):
        try:
            await client.add(key.id, number, event_id=id)
        except OutcomeUnknownError:
            unknown = True
        except DuplicateEventError:
            assert unknown or key.id != "x", f"I-9: {number} is a duplicate, and was never in"
            sent.acked[number] = key
            return
        except DurableJobsError as error:
            if not unknown:
                sent.refused[number] = type(error).__name__
                return
        else:
            sent.acked[number] = key
            return
        if id is None:
            return
        if key.id != "x":
            sent.again.add(number)
        await sim.sleep("2 seconds")
