"""The asyncio driver: `async with open_runtime(jobs, "sqlite:///jobs.db") as runtime: ...`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from durable_jobs_runtime import BaseRuntime, FileJournal, Tracker, open_backend

from durable_jobs_core import Jobs, Key
from durable_jobs_core.backend import Backend
from durable_jobs_core.durations import Duration
from durable_jobs_core.engine import (
    HookCancelled,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Invoke,
    Limits,
    Reply,
)
from durable_jobs_core.events import Request

__all__ = ["Runtime", "open_runtime"]

T = TypeVar("T")
CLOSE_SECONDS = 5.0
AGAIN_SECONDS = 5.0


@asynccontextmanager
async def open_runtime(
    jobs: Jobs,
    backend: str | Backend,
    *,
    worker: bool = True,
    limits: Limits | None = None,
    trackers: Sequence[Tracker] = (),
    journal: FileJournal | None = None,
    grace: Duration = "10 seconds",
    request_timeout: Duration = "30 seconds",
) -> AsyncGenerator[Runtime]:
    """Run jobs and serve clients while the block is open.

    `backend`: a URL or an open backend, which the runtime closes; `worker`: whether this process runs
    jobs, or is a client only; `trackers`: where telemetry goes; `journal`: where to note what happens to
    instances, for a replay; `grace`: how long handlers may go on at the end of the block before they are
    cancelled (S-67), and again every 5 seconds if they swallow that; `request_timeout`: of each request.
    Raises `StorageError` if the backend cannot be opened.
    """
    if isinstance(backend, str):
        backend = await asyncio.to_thread(open_backend, backend)
    loop = _Loop()
    runtime = Runtime(
        jobs,
        backend,
        loop,
        worker=worker,
        limits=limits,
        trackers=trackers,
        journal=journal,
        grace=grace,
        request_timeout=request_timeout,
    )
    try:
        await runtime.start()
        yield runtime
    finally:
        loop.mended()
        await _to_the_end(runtime.stop())
        runtime.check()


async def _to_the_end(ending: Coroutine[Any, Any, None]) -> None:
    """Await what a cancellation may not cut short; it is raised afterwards."""
    task = asyncio.create_task(ending)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


class _Loop:
    """The event loop, lent to the machine."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._hooks: dict[int, asyncio.Task[None]] = {}
        self._users = asyncio.current_task()
        self.is_broken = False

    def soon(self, function: Callable[[], None]) -> None:
        self._loop.call_soon(function)

    def from_thread(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *args)

    def after(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        return self._loop.call_later(seconds, function).cancel

    def start_hook(self, invoke: Invoke, finished: Callable[[int, HookOutcome], None]) -> None:
        task = asyncio.Task(self._run(invoke, finished), loop=self._loop)  # a task factory may begin at once
        self._hooks[invoke.id] = task

    async def _run(self, invoke: Invoke, finished: Callable[[int, HookOutcome], None]) -> None:
        outcome: HookOutcome
        limit: asyncio.Timeout | None = None
        try:
            if invoke.timeout_ms is None:
                outcome = HookReturned(await invoke.function.call(*invoke.args))
            else:
                async with asyncio.timeout(invoke.timeout_ms / 1000) as limit:
                    outcome = HookReturned(await invoke.function.call(*invoke.args))
        except BaseException as error:
            if limit is not None and isinstance(error, TimeoutError) and limit.expired():
                outcome = HookTimedOut()
            elif isinstance(error, asyncio.CancelledError) and invoke.id not in self._hooks:
                outcome = HookCancelled()
            else:
                outcome = HookRaised(error)
        self._hooks.pop(invoke.id, None)
        finished(invoke.id, outcome)

    def cancel_hook(self, invocation: int) -> None:
        task = self._hooks.pop(invocation, None)
        if task is not None:
            self._loop.call_soon(self._cancel, task)  # after its first step: before that it would never run

    def _cancel(self, task: asyncio.Task[None]) -> None:
        """Cancel, and say it again to a hook that swallows it: a shutdown waits for its end."""
        if not task.done():
            task.cancel()
            self._loop.call_later(AGAIN_SECONDS, self._cancel, task)

    def is_here(self) -> bool:
        return asyncio.get_running_loop() is self._loop

    def broken(self) -> None:
        self.is_broken = True
        if self._users is not None:
            self._users.cancel()

    def mended(self) -> None:
        """Take back the cancellation of `broken`: the error is raised instead."""
        if self.is_broken and self._users is not None:
            self._users.uncancel()


class Runtime(BaseRuntime):
    """A runtime on asyncio. Made by `open_runtime`."""

    async def start(self) -> None:
        self._machine.start()
        await self.health()

    async def call(self, key: Key, request: Request, *, wait_ms: int | None = None, size: int = 0) -> Any:
        """Send a request. Cancelling it drops the wait, never the commit."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def deliver(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        call = self._machine.call(
            key, request, deliver, timeout_ms=self._timeout_ms, wait_ms=wait_ms, size=size
        )
        try:
            reply = await future
        except asyncio.CancelledError:
            self._machine.abandon(call)
            raise
        if reply.error is not None:
            raise reply.error from reply.cause
        return reply.result

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.to_thread(function, *args)

    async def run_until_idle(self) -> None:
        """Return when nothing is queued, running, in flight or due: for tests."""
        event = asyncio.Event()
        self._machine.when_idle(event.set)
        await event.wait()
        self.check()

    async def serve(self) -> None:
        """Return at SIGTERM or SIGINT; leaving the block then shuts down in two phases (S-67)."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            loop.add_signal_handler(number, event.set)
        try:
            await event.wait()
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)  # which leaves Python's own
                if handler is not None:
                    signal.signal(number, handler)

    async def stop(self) -> None:
        event = asyncio.Event()
        self._machine.stop(self._grace_ms, event.set)
        await event.wait()
        await asyncio.to_thread(self._machine.close, CLOSE_SECONDS)
