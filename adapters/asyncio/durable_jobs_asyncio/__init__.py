"""The asyncio driver: `async with open_runtime(jobs, "sqlite:///jobs.db") as runtime: ...`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from durable_jobs_runtime import (
    BaseRuntime,
    FileJournal,
    Options,
    ThreadPool,
    Tracker,
    interrupt_at_once,
    on_signals,
    open_backend,
    result_of,
)
from durable_jobs_runtime.log import say
from durable_jobs_runtime.loop import DEAF

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
AGAIN_SECONDS = 5.0
DEAF_AGAIN = f"{DEAF}; it is cancelled again every %g seconds"
END_SECONDS = 1.0
"""A program that ends cancels all its tasks, hooks too: by so much later its blocks are being left."""


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
    """Run jobs and serve clients while the block is open: `async with open_runtime(jobs, url) as runtime:`.

    `jobs`: what `create_durable_jobs` returned.
    `backend`: a URL such as `sqlite:///jobs.db`, or an open backend, which the runtime closes.
    `worker`: whether this process runs jobs; if not, it is a client only.
    `limits`: `Limits(concurrency=20)`, for example.
    `trackers`: where telemetry goes, besides the logger `durable_jobs`.
    `journal`: a `FileJournal` that notes what happens to instances, for a replay.
    `grace`: how long handlers may go on at the end of the block before they are cancelled (S-67); zero
    cancels them at once.
    `request_timeout`: how long a request may take, at least a millisecond.

    A hook that swallows its cancellation is cancelled again every 5 seconds.

    Raises `ValidationError`, with all that is wrong, before anything is opened, and `StorageError` if the
    backend cannot be opened. Raises `RuntimeError` where asyncio does not run.
    """
    options = Options.checked(
        jobs,
        backend,
        worker=worker,
        limits=limits,
        trackers=trackers,
        journal=journal,
        grace=grace,
        request_timeout=request_timeout,
    )
    with closing(ThreadPool()) as threads:
        loop = _Loop(threads)
        runtime = Runtime(options, await _opened(loop, backend), loop)
        try:
            await runtime.start()
            yield runtime
        finally:
            loop.leaving()
            try:
                await runtime.leave()
            finally:
                runtime.check()


async def _opened(loop: _Loop, backend: str | Backend) -> Backend:
    """An open backend; one that is open only after a cancellation is closed again."""
    if not isinstance(backend, str):
        return backend
    opening = loop.in_thread(open_backend, backend)
    try:
        return await _to_the_end(opening)
    except asyncio.CancelledError:
        if opening.exception() is None:
            await _to_the_end(loop.in_thread(opening.result().close))
        raise


async def _to_the_end(future: asyncio.Future[T]) -> T:
    """Await what a cancellation may not cut short, be it of all tasks; it is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


def _interrupt() -> None:
    raise KeyboardInterrupt


class _Loop:
    """The event loop, lent to the machine."""

    def __init__(self, threads: ThreadPool) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("no asyncio runs here; in trio it is durable_jobs_trio") from None
        self._threads = threads
        self._hooks: dict[int, tuple[asyncio.Task[None], Invoke]] = {}
        self._cancelled: dict[int, tuple[asyncio.Task[None], Invoke]] = {}
        self._late: set[int] = set()
        self._cut_off: dict[int, Callable[[], None]] = {}
        self._users = asyncio.current_task()
        self._is_broken = False
        self._is_left = False

    def soon(self, function: Callable[[], None]) -> None:
        self._loop.call_soon(function)

    def from_thread(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *args)

    def after(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        return self._loop.call_later(seconds, function).cancel

    def in_thread(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call what blocks in a thread of our own: the default ones may all be in use by the program."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(value: Any, error: BaseException | None) -> None:
            if future.done():
                return  # nobody waits any more
            if error is None:
                future.set_result(value)
            elif isinstance(error, StopIteration):  # which no future may hold
                future.set_exception(RuntimeError(f"{function!r} raised StopIteration"))
            else:
                future.set_exception(error)

        self._threads.run(copy_context().run, (function, *args), partial(self.from_thread, done))
        return future

    def start_hook(self, invoke: Invoke, finished: Callable[[int, HookOutcome], None]) -> None:
        def never_began(task: asyncio.Task[None]) -> None:
            """The program has cancelled it before its first step."""
            self._ended(invoke, task, HookRaised(asyncio.CancelledError()), finished)

        running = self._run(invoke, finished, never_began)
        names = self._loop.get_debug()  # then asyncio tells which task held up the loop
        name = f"{invoke.hook} of {invoke.key}" if names else None
        task = asyncio.Task(running, loop=self._loop, name=name)  # a task factory may begin at once
        task.add_done_callback(never_began)
        self._hooks[invoke.id] = task, invoke

    async def _run(
        self,
        invoke: Invoke,
        finished: Callable[[int, HookOutcome], None],
        never_began: Callable[[asyncio.Task[None]], None],
    ) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None, "it was made for this"
        task.remove_done_callback(never_began)
        self._ended(invoke, task, await self._outcome(invoke), finished)

    async def _outcome(self, invoke: Invoke) -> HookOutcome:
        """Call a hook. No local of this frame and of those that wait for it, to which an error refers, refers
        to the error: what the hook held would be kept until the garbage collector comes."""
        limit: asyncio.TimerHandle | None = None
        if invoke.timeout_ms is not None:
            limit = self._loop.call_later(invoke.timeout_ms / 1000, self._time_is_up, invoke.id)
        try:
            return HookReturned(await invoke.function.call(*invoke.args))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                if invoke.id in self._late:
                    return HookTimedOut()
                if invoke.id in self._cancelled:
                    return HookCancelled()
            return HookRaised(error)
        finally:
            if limit is not None:
                limit.cancel()

    def _ended(
        self,
        invoke: Invoke,
        task: asyncio.Task[None],
        outcome: HookOutcome,
        finished: Callable[[int, HookOutcome], None],
    ) -> None:
        """Tell how a hook ended."""
        self._hooks.pop(invoke.id, None)
        is_ours = self._cancelled.pop(invoke.id, None) is not None
        self._late.discard(invoke.id)
        error = outcome.error if isinstance(outcome, HookRaised) else None
        is_interrupted = isinstance(error, KeyboardInterrupt)
        if is_interrupted and not task.cancelling():
            self._loop.call_soon(_interrupt)  # asyncio raises it anywhere, and it is for the program
        if is_ours or error is None or not (is_interrupted or task.cancelling()):
            finished(invoke.id, outcome)
            return

        def tell() -> None:
            if self._cut_off.pop(invoke.id, None) is not None:
                finished(invoke.id, HookCancelled() if self._is_left else outcome)

        # others cancelled it: has it failed, or does the program end?
        self._cut_off[invoke.id] = tell
        self._loop.call_later(0 if self._is_left else END_SECONDS, tell)

    def _time_is_up(self, invocation: int) -> None:
        self._late.add(invocation)
        self.cancel_hook(invocation)

    def cancel_hook(self, invocation: int) -> None:
        hook = self._hooks.pop(invocation, None)
        if hook is not None:
            self._cancelled[invocation] = hook
            self._loop.call_soon(self._cancel, invocation)  # after its first step: before, it would never run

    def _cancel(self, invocation: int, times: int = 0) -> None:
        """Cancel, and say it again to a hook that swallows it: its instance waits for its end."""
        if invocation in self._cancelled:
            task, invoke = self._cancelled[invocation]
            if times == 1:
                say(logging.WARNING, DEAF_AGAIN, invoke.hook, invoke.key, AGAIN_SECONDS)
            task.cancel()
            self._loop.call_later(AGAIN_SECONDS, self._cancel, invocation, times + 1)

    def is_here(self) -> bool:
        return asyncio.get_running_loop() is self._loop

    def broken(self) -> None:
        self._is_broken = True
        for invocation in tuple(self._hooks):
            self.cancel_hook(invocation)
        if self._users is not None:
            self._users.cancel()

    def leaving(self) -> None:
        """The block is being left. Take back the cancellation of `broken`, now and later: the error is raised
        instead."""
        self._is_left = True
        for tell in self._cut_off.values():
            self.from_thread(tell)  # once the shutdown has begun
        if self._is_broken and self._users is not None:
            self._users.uncancel()
        self._users = None


class Runtime(BaseRuntime):
    """A runtime on asyncio: its `client` has the typed requests. Made by `open_runtime`."""

    def __init__(self, options: Options, backend: Backend, loop: _Loop) -> None:
        super().__init__(options, backend, loop)
        self._loop = loop

    async def call(self, key: Key, request: Request, *, wait_ms: int | None = None, size: int = 0) -> Any:
        """Send a request. Cancelling it drops the wait, never the commit."""
        return result_of(await self._reply(key, request, wait_ms, size))

    async def _reply(self, key: Key, request: Request, wait_ms: int | None, size: int) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def deliver(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        call = self._machine.call(
            key, request, deliver, timeout_ms=self._timeout_ms, wait_ms=wait_ms, size=size
        )
        try:
            return await future
        except asyncio.CancelledError:
            self._machine.abandon(call)
            raise

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await self._loop.in_thread(function, *args)

    async def run_until_idle(self) -> None:
        """Return when nothing is queued, running, in flight or due: for tests.

        With `worker=False` what is due is for others, and is not waited for. While the backend cannot be
        asked, nobody can tell: it waits.
        """
        event = asyncio.Event()
        self._machine.when_idle(event.set)
        try:
            await event.wait()
        finally:
            self._machine.forget(event.set)
        self.check()

    async def serve(self) -> None:
        """Return at SIGTERM or SIGINT, or when the runtime is stopped; leaving the block then shuts down in
        two phases (S-67), which a second Ctrl-C cuts short.

        Raises `RuntimeError` in another thread than the main one, and `ClosedError` once it has closed.
        """
        self._machine.check_open()
        event = asyncio.Event()
        self._machine.when_closed(event.set)
        try:
            with on_signals(partial(self._loop.from_thread, event.set)):
                await event.wait()
        finally:
            self._machine.forget(event.set)
        self.check()
        interrupt_at_once(self._machine.when_closed)  # asyncio would only cancel the main task, which leaves

    async def stop(self) -> None:
        """Shut down now, as the end of the block does (S-67): later requests raise `ClosedError`."""
        await self._ended()
        await self._released()

    async def leave(self) -> None:
        """`stop`, to the end."""
        if not self._loop.is_here():  # what runs there is out of reach: end as by a crash, which is safe
            self._machine.drop()
            self._machine.close()
            self._machine.check_open()
        while_open = asyncio.Task(asyncio.Event().wait())
        while_open.add_done_callback(self._hurry)
        try:
            await _to_the_end(self._ended())
        finally:
            while_open.cancel()
            await _to_the_end(self._released())

    def _hurry(self, _: object) -> None:
        """All tasks are cancelled, as at a second Ctrl-C: the program has no time left for a grace."""
        self._machine.stop(0, lambda: None)

    def _released(self) -> asyncio.Future[None]:
        """Close the machine."""
        try:
            return self._loop.in_thread(self._machine.close)
        except RuntimeError:  # in an `atexit` of Python 3.12 and later no thread starts any more
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._machine.close()
            future.set_result(None)
            return future

    def _ended(self) -> asyncio.Future[None]:
        """Begin to shut down; done when the engine has closed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not future.done():
                future.set_result(None)

        self._machine.stop(self._grace_ms, done)
        return future
