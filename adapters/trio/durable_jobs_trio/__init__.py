"""The trio driver: `async with open_runtime(jobs, "sqlite:///jobs.db") as runtime: ...`."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import trio
from durable_jobs_runtime import (
    BaseRuntime,
    FileJournal,
    Options,
    Tracker,
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
DEAF_SECONDS = 5.0


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

    Raises `ValidationError`, with all that is wrong, before anything is opened, and `StorageError` if the
    backend cannot be opened. Raises `RuntimeError` where trio does not run.
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
    loop = _Loop()
    if isinstance(backend, str):
        backend = await loop.in_thread(open_backend, backend)
    runtime = Runtime(options, backend, loop)
    loop.watch()
    try:
        with loop.users:
            await runtime.start()
            yield runtime
    finally:
        await runtime.leave()
    runtime.check()


class _Loop:
    """The event loop, lent to the machine.

    Hooks and timers are system tasks, so that the user's block is not inside a nursery of ours: what it
    raises comes out as it is, and cancelling it leaves the hooks their grace.
    """

    def __init__(self) -> None:
        try:
            self._token = trio.lowlevel.current_trio_token()
        except RuntimeError:
            raise RuntimeError("no trio runs here; in asyncio it is durable_jobs_asyncio") from None
        self._hooks: dict[int, tuple[trio.CancelScope, Invoke]] = {}
        """Those that have not ended."""
        self._cancelled: set[int] = set()
        self._watching = trio.CancelScope()
        self._limiter = trio.CapacityLimiter(math.inf)
        """Of our own threads: the default ones may all be in use by the program."""
        self.users = trio.CancelScope()
        """Around the user's block, to be cancelled if the runtime breaks."""

    async def in_thread(self, function: Callable[..., T], *args: Any, abandon_on_cancel: bool = False) -> T:
        """Call what blocks in a thread."""
        return await trio.to_thread.run_sync(
            function, *args, abandon_on_cancel=abandon_on_cancel, limiter=self._limiter
        )

    def soon(self, function: Callable[[], None]) -> None:
        self._token.run_sync_soon(function)

    def from_thread(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)

    def after(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        scope = trio.CancelScope()
        self._spawn(self._wait, seconds, function, scope)
        return scope.cancel

    def _spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run it in a task, in the context of whoever wants it.

        System tasks are protected from Ctrl-C, which is for the main task: no hook fails for it.
        """
        trio.lowlevel.spawn_system_task(function, *args, context=copy_context())

    async def _wait(self, seconds: float, function: Callable[[], None], scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(seconds)
            function()

    def start_hook(self, invoke: Invoke, finished: Callable[[int, HookOutcome], None]) -> None:
        seconds = math.inf if invoke.timeout_ms is None else invoke.timeout_ms / 1000
        scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self._hooks[invoke.id] = scope, invoke
        self._spawn(self._run, invoke, finished, scope)

    async def _run(
        self, invoke: Invoke, finished: Callable[[int, HookOutcome], None], scope: trio.CancelScope
    ) -> None:
        finished(invoke.id, await self._outcome(invoke, scope))

    async def _outcome(self, invoke: Invoke, scope: trio.CancelScope) -> HookOutcome:
        """Call a hook. No local of this frame and of those that wait for it, to which an error refers, refers
        to the error: what the hook held would be kept until the garbage collector comes."""
        try:
            with scope:  # takes its own cancellations out of a group, too
                return HookReturned(await invoke.function.call(*invoke.args))
        except BaseException as error:
            all_end = trio.current_effective_deadline() == -math.inf  # and nobody may have left the block
            return HookCancelled() if all_end else HookRaised(error)
        finally:
            was_cancelled = invoke.id in self._cancelled
            self._cancelled.discard(invoke.id)
            del self._hooks[invoke.id]
        return HookCancelled() if was_cancelled else HookTimedOut()

    def watch(self) -> None:
        """Tell of hooks that do not end, until `unwatch`."""
        self._spawn(self._watch)

    def unwatch(self) -> None:
        """All hooks have ended, and no other begins."""
        self._watching.cancel()

    async def _watch(self) -> None:
        """Tell of each hook that was cancelled, or whose time is up, and that has not ended when it is looked
        at a second time: it has a shield, perhaps."""
        late, told = set[int](), set[int]()
        with self._watching:
            while True:
                await trio.sleep(DEAF_SECONDS)
                before, late = late, {id for id, (hook, _) in self._hooks.items() if hook.cancel_called}
                for id in before & late - told:
                    invoke = self._hooks[id][1]
                    say(logging.WARNING, DEAF, invoke.hook, invoke.key)
                    told.add(id)

    def cancel_hook(self, invocation: int) -> None:
        if invocation in self._hooks:
            self._cancelled.add(invocation)
            self._hooks[invocation][0].cancel()

    def is_over(self) -> bool:
        """Whether the main task has ended, and nobody left the block: then there are no tasks any more."""
        if not self.is_here():
            return False
        try:
            self._spawn(trio.lowlevel.checkpoint)
        except RecursionError:  # a RuntimeError, too
            raise
        except RuntimeError:
            return True
        return False

    def is_here(self) -> bool:
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RecursionError:  # a RuntimeError, too
            raise
        except RuntimeError:  # no trio at all
            return False

    def broken(self) -> None:
        for invocation in tuple(self._hooks):
            self.cancel_hook(invocation)
        self.users.cancel()


class Runtime(BaseRuntime):
    """A runtime on trio: its `client` has the typed requests. Made by `open_runtime`.

    Whatever feeds the machine is protected from Ctrl-C, which comes as soon as the task waits.
    """

    def __init__(self, options: Options, backend: Backend, loop: _Loop) -> None:
        super().__init__(options, backend, loop)
        self._loop = loop

    @trio.lowlevel.enable_ki_protection
    async def call(self, key: Key, request: Request, *, wait_ms: int | None = None, size: int = 0) -> Any:
        """Send a request. Cancelling it drops the wait, never the commit."""
        return result_of(await self._reply(key, request, wait_ms, size))

    async def _reply(self, key: Key, request: Request, wait_ms: int | None, size: int) -> Reply:
        await trio.lowlevel.checkpoint_if_cancelled()
        task = trio.lowlevel.current_task()
        replies: list[Reply] = []

        def deliver(reply: Reply) -> None:
            replies.append(reply)
            trio.lowlevel.reschedule(task)

        call = self._machine.call(
            key, request, deliver, timeout_ms=self._timeout_ms, wait_ms=wait_ms, size=size
        )

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._machine.abandon(call)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return replies[0]

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await self._loop.in_thread(function, *args, abandon_on_cancel=True)

    @trio.lowlevel.enable_ki_protection
    async def run_until_idle(self) -> None:
        """Return when nothing is queued, running, in flight or due: for tests.

        With `worker=False` what is due is for others, and is not waited for. While the backend cannot be
        asked, nobody can tell: it waits.
        """
        event = trio.Event()
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
        event = trio.Event()
        self._machine.when_closed(event.set)
        try:
            with on_signals(partial(self._loop.from_thread, event.set)):
                await event.wait()
        finally:
            self._machine.forget(event.set)
        self.check()

    @trio.lowlevel.enable_ki_protection
    async def stop(self) -> None:
        """Shut down now, as the end of the block does (S-67): later requests raise `ClosedError`."""
        if self._loop.is_over():
            self._machine.drop()
        event = trio.Event()
        self._machine.stop(self._grace_ms, event.set)
        await event.wait()
        self._loop.unwatch()
        try:
            await self._loop.in_thread(self._machine.close)
        except RuntimeError:  # in an `atexit` of Python 3.12 and later no thread starts any more
            if self._machine.released:
                raise
            self._machine.close()

    @trio.lowlevel.enable_ki_protection
    async def leave(self) -> None:
        """`stop`, to the end, whatever is cancelled; a Ctrl-C cuts the grace short."""
        with trio.CancelScope(shield=True):
            try:
                await self.stop()
            except KeyboardInterrupt:
                self._grace_ms = 0
                await self.stop()
                raise
