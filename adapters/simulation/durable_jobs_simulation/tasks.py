"""Coroutines driven by hand: hooks and scenarios await what is defined here, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from traceback import walk_tb
from typing import Any, TypeAlias

from durable_jobs_core.checks import check
from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_core.events import Request
from durable_jobs_core.words import Key


class SimulationError(Exception):
    """The simulation was used in a way that it cannot simulate."""


class Cancelled(BaseException):
    """Raised in a hook that is cancelled, as a driver would. Let it pass."""


class Sleep:
    """`await Sleep(ms)`: virtual time passes."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __await__(self) -> Generator[Sleep, None, None]:
        yield self


class Ask:
    """`await Ask(...)`: a request to a node; gives its result or raises its error."""

    def __init__(self, node: str | None, key: Key, request: Request, wait_ms: int | None, size: int) -> None:
        self.node, self.key, self.request = node, key, request
        self.wait_ms, self.size = wait_ms, size
        self.timeout_ms = 30_000

    def __await__(self) -> Generator[Ask, Any, Any]:
        return (yield self)


Wanted: TypeAlias = Sleep | Ask
Ended: TypeAlias = "Callable[[Any, BaseException | None], None]"

_CLOSES_MAX = 100
_ADVICE = (
    "the simulation does not have: await `durable_jobs_simulation.sleep` or a client of the simulation, and "
    "let your hooks reach the outside through something that a test can replace"
)
_FOREIGN_LOOPS = (
    "no running event loop",  # asyncio
    "must be called from async context",  # trio
    "not in async context",  # sniffio, which HTTP clients ask
    "any asynchronous event loop",  # anyio
)


async def sleep(span: Duration) -> None:
    """Let virtual time pass; in a hook, as `asyncio.sleep` or `trio.sleep` would."""
    await Sleep(to_ms(span, "sleep(span)"))


class Task:
    """One coroutine, with context variables of its own. `want` is told what it waits for, and calls
    `resume`; `ended` how it ended."""

    def __init__(
        self,
        name: str,
        coroutine: Coroutine[Any, Any, Any],
        want: Callable[[Task, Wanted], None],
        ended: Ended,
    ) -> None:
        check(isinstance(coroutine, Coroutine), name, "what an async def gives when it is called", coroutine)
        self.name = name
        self.coroutine = coroutine
        self.turn = 0
        """Counts what it waited for: only the latest may be answered."""
        self.over = False
        self._want = want
        self._ended = ended
        self._context = copy_context()

    def resume(self, turn: int, value: Any = None, error: BaseException | None = None) -> None:
        """Go on with what was waited for; nothing, if it no longer waits for that."""
        if self.over or turn != self.turn:
            return
        self.turn += 1
        try:
            go_on, told = (self.coroutine.send, value) if error is None else (self.coroutine.throw, error)
            wanted = self._context.run(go_on, told)
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as raised:
            refuse_foreign(self.name, raised)
            self._end(None, raised)
        else:
            if not isinstance(wanted, Sleep | Ask):
                what = f"{type(wanted).__module__}.{type(wanted).__name__}"
                raise SimulationError(f"{self.name} awaited {what}, which {_ADVICE}")
            self._want(self, wanted)

    def _end(self, value: Any, error: BaseException | None) -> None:
        self.over = True
        self._ended(value, error)


def lay_to_rest(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close it, and what it awaits as it is closed, in a `finally` say; in the end it is left alone."""
    for _ in range(_CLOSES_MAX):
        with suppress(BaseException):
            coroutine.close()
            return


def refuse_foreign(name: str, raised: BaseException) -> None:
    """A hook that calls a real event loop fails there in a way that says little: say more. And Ctrl-C is for
    who runs the simulation, as is what it was asked for in vain, also if it meets a hook."""
    if isinstance(raised, KeyboardInterrupt | SimulationError):
        raise raised
    if _misses_loop(raised):
        raise SimulationError(f"{name} wants a real event loop ({raised}), which {_ADVICE}") from raised


def _misses_loop(raised: BaseException) -> bool:
    if isinstance(raised, RuntimeError):
        return any(text in str(raised) for text in _FOREIGN_LOOPS)
    if not isinstance(raised, AttributeError):
        return False
    *_, (frame, _) = walk_tb(raised.__traceback__)  # they ask nobody's loop for something
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("asyncio", "trio")
