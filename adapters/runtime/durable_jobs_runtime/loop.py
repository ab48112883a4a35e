"""What a driver lends: its event loop; and the clock that all of them go by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from durable_jobs_core.engine import HookOutcome, Invoke

DEAF = "%s of %s was cancelled and does not end: its instance waits for it, as does the end of this process"
"""What is said of an async hook that has not ended some seconds after it was cancelled."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Seconds that pass also while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(_CLOCK)


def now_ms() -> int:
    """The same in whole milliseconds, as the engine wants it."""
    return time.clock_gettime_ns(_CLOCK) // 1_000_000


class Loop(Protocol):
    """What a driver lends."""

    def soon(self, function: Callable[[], None]) -> None:
        """Call `function` in a coming turn of the loop. Called from the loop."""
        ...

    def from_thread(self, function: Callable[..., None], *args: Any) -> None:
        """The same, from any thread; harmless once the loop has closed."""
        ...

    def after(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Call `function` in so many seconds, unless the function returned is called first."""
        ...

    def start_hook(self, invoke: Invoke, finished: Callable[[int, HookOutcome], None]) -> None:
        """Call an async hook, with its timeout, and `finished` with its id when it has ended."""
        ...

    def cancel_hook(self, invocation: int) -> None:
        """Cancel an async hook."""
        ...

    def is_here(self) -> bool:
        """Whether this is the loop that runs the caller."""
        ...

    def broken(self) -> None:
        """The machine cannot go on, for a bug of the library: cancel those who use it, and all hooks."""
        ...
