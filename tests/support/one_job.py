"""The plainest of jobs, and a backend that tells when it is closed: for what is not about jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from attrs import define
from durable_jobs_memory import MemoryBackend

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Jobs,
    Task,
    TaskContext,
    create_durable_jobs,
    every,
)
from durable_jobs_core.backend import Answer, Batch


@define
class Nothing:
    """The state of a job that has none."""


async def nothing(ctx: ContinuousContext[Nothing]) -> None:
    """Do nothing."""


def one_job(execute: Callable[[ContinuousContext[Nothing]], Any] = nothing, **options: Any) -> Jobs:
    """A continuous job under the name `job`."""
    job = Continuous.make(state=Nothing, schedule=every("1 hour"), execute=execute, **options)
    return create_durable_jobs({"job": job})


def _note(event: str, ctx: TaskContext[list[str]]) -> None:
    ctx.set_state([*(ctx.state or ()), event])


async def _never(ctx: TaskContext[list[str]]) -> None:
    raise AssertionError("it was never scheduled")


BOOK = Task.make(event=str, state=list[str], on_event=_note, execute=_never)
"""Keeps its events."""


class Closing(MemoryBackend):
    """A memory backend that tells when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def close(self) -> None:
        super().close()
        self.closed.set()


async def outcome_of_a_run(runtime: Any) -> Any:
    """What a trigger of the job `job` comes to."""
    client = runtime.client.continuous("job")
    await client.start("a", Nothing())
    return await client.trigger("a", wait="10 seconds")


class Failing(MemoryBackend):
    """Its second to fifth exchanges raise, or give what is no answer."""

    def __init__(self, way: object) -> None:
        super().__init__()
        self.way, self.asked = way, 0

    def exchange(self, lane: int, batch: Batch) -> Answer:
        self.asked += 1
        if not 2 <= self.asked <= 5:
            return super().exchange(lane, batch)
        if isinstance(self.way, BaseException):
            raise self.way
        return cast(Answer, self.way)
