"""The two drivers behind one face, so that one body of tests runs on both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import durable_jobs_asyncio
import durable_jobs_trio
import trio

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


class Asyncio:
    """asyncio, with its native cancellation."""

    name = "asyncio"

    def run(self, main: Main, seconds: float = 20) -> None:
        async def limited() -> None:
            async with asyncio.timeout(seconds):
                await main()

        asyncio.run(limited())

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


DRIVERS: tuple[Driver, ...] = (Asyncio(), Trio())
