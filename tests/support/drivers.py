"""The two drivers behind one face, so that one body of tests runs on both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import durable_jobs_asyncio
import durable_jobs_trio
import pytest
import trio
from durable_jobs_runtime import machine

from durable_jobs_core.engine import Ticked
from durable_jobs_core.errors import OutcomeUnknownError, StorageError

T = TypeVar("T")
Main = Callable[[], Awaitable[None]]


class Event(Protocol):
    """An event of the loop."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...

    async def wait(self) -> Any: ...


class Driver(Protocol):
    """What a test needs of a driver and its loop."""

    name: str

    def run(self, main: Main, seconds: float = 20) -> None: ...

    def open(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Any]: ...

    def event(self) -> Event: ...

    async def forever(self) -> None: ...

    async def turn(self) -> None: ...

    async def sleep(self, seconds: float) -> None: ...

    async def together(self, *mains: Main) -> None: ...

    async def cancelled_when(self, event: Event, main: Main) -> None: ...

    def later(self, function: Callable[[], object]) -> None: ...

    def tasks(self) -> int: ...

    def one_default_thread(self) -> None: ...

    async def in_default_thread(self, function: Callable[[], object]) -> None: ...


class Asyncio:
    """asyncio, with its native cancellation, on its own loop or on that of another library."""

    name = "asyncio"

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self.loop_factory = loop_factory

    def run(self, main: Main, seconds: float = 20) -> None:
        async def limited() -> None:
            async with asyncio.timeout(seconds):
                await main()

        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(limited())

    def open(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Any]:
        return durable_jobs_asyncio.open_runtime(*args, **kwargs)

    def event(self) -> Event:
        return asyncio.Event()

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def turn(self) -> None:
        """Let the other tasks have a turn."""
        await asyncio.sleep(0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def together(self, *mains: Main) -> None:
        await asyncio.gather(*(main() for main in mains))

    async def cancelled_when(self, event: Event, main: Main) -> None:
        """Run `main` until `event`, then cancel it and wait for its end."""

        async def run() -> None:
            await main()

        task = asyncio.ensure_future(run())
        await event.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def later(self, function: Callable[[], object]) -> None:
        """Call it in a coming turn of the loop."""
        asyncio.get_running_loop().call_soon(function)

    def tasks(self) -> int:
        """How many tasks there are, but for those of the loop itself."""
        return len(asyncio.all_tasks())

    def one_default_thread(self) -> None:
        """Let the loop have one thread for all that is to be run in threads."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

    async def in_default_thread(self, function: Callable[[], object]) -> None:
        """Call it where a program calls what blocks."""
        await asyncio.to_thread(function)


class Trio:
    """trio, with cancel scopes."""

    name = "trio"

    def run(self, main: Main, seconds: float = 20) -> None:
        async def limited() -> None:
            with trio.fail_after(seconds):
                await main()

        trio.run(limited)

    def open(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Any]:
        return durable_jobs_trio.open_runtime(*args, **kwargs)

    def event(self) -> Event:
        return trio.Event()

    async def forever(self) -> None:
        await trio.sleep_forever()

    async def turn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def together(self, *mains: Main) -> None:
        async with trio.open_nursery() as nursery:
            for main in mains:
                nursery.start_soon(main)

    async def cancelled_when(self, event: Event, main: Main) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main)
            await event.wait()
            nursery.cancel_scope.cancel()

    def later(self, function: Callable[[], object]) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(function)

    def tasks(self) -> int:
        root = trio.lowlevel.current_root_task()
        assert root is not None, "the loop runs"
        return sum(len(nursery.child_tasks) for nursery in root.child_nurseries) - 1

    def one_default_thread(self) -> None:
        trio.to_thread.current_default_thread_limiter().total_tokens = 1

    async def in_default_thread(self, function: Callable[[], object]) -> None:
        await trio.to_thread.run_sync(function)


DRIVERS: tuple[Driver, ...] = (Asyncio(), Trio())


async def again(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: a backend that failed is asked again after a pause only."""
    while True:
        try:
            return await ask()
        except (OutcomeUnknownError, StorageError):
            continue


class StoppedClock:
    """The clock of engines, which goes on when a test says so, however late its threads are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ms = machine.now_ms()
        monkeypatch.setattr(machine, "now_ms", lambda: self._ms)
        monkeypatch.setattr(machine, "clock", lambda: self._ms / 1000)

    def let_pass(self, seconds: int, runtime: Any) -> None:
        """So much later, as the runtime sees too."""
        self._ms += seconds * 1000
        runtime._machine._feed(Ticked())
