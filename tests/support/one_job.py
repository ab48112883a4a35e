"""The plainest of jobs, and a backend that tells when it is closed: for what is not about jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

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
