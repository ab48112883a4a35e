"""A continuous job that counts, for tests of drivers, and a backend that can be held shut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from attrs import define
from durable_jobs_memory import MemoryBackend

from durable_jobs_core import Continuous, ContinuousContext, every
from durable_jobs_core.backend import Answer, Batch

HOURLY = every("1 hour")


@define
class Counter:
    """How often it has run."""

    n: int = 0


def continuous(execute: Callable[[ContinuousContext[Counter]], Any], **options: Any) -> Continuous[Counter]:
    """An hourly job that counts."""
    return Continuous.make(state=Counter, schedule=HOURLY, execute=execute, **options)


async def count(ctx: ContinuousContext[Counter]) -> None:
    """Count."""
    ctx.set_state(Counter(ctx.state.n + 1))


class Gate(MemoryBackend):
    """A memory backend that can be held shut for requests; claims pass."""

    def __init__(self) -> None:
        super().__init__()
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.entered = threading.Semaphore(0)

    def exchange(self, lane: int, batch: Batch) -> Answer:
        if batch.writes or batch.loads:
            self.entered.release()
            assert self.open_gate.wait(20)
        return super().exchange(lane, batch)
