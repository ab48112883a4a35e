"""What every script of a peer speaks, on lines of JSON. It is imported where nothing else may be installed.

    > {"do": "accept", "store": …, "count": 1000}     < {"ready": true}     > go     < {"took": [0.4, 0.3]}
    > {"do": "drain", "store": …, "count": 1000}      < {"ready": true}               < {"took": [0.8, 0.8]}

First of all a script says its settings, and what is durable when. `accept` takes in so many jobs, and ends
when all of them are as durable as that. `drain` works until so many jobs were run, waiting in the store or
still to come. Told are the seconds that it took, and those of the processor; then how many jobs were run, as
`ran`. A job has a number and a note, and is done when its handler has counted it: that its completion is
stored is not waited for, to the advantage of the peer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

NOTE = "a note that makes this state about as long as a small real one"

_out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a library prints is not an answer


class Runs:
    """Counts the runs of the handler in this process: `missing`, until all have run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.missing = 0
        self._over = threading.Event()
        self.at_end: Callable[[], object] = self._over.set
        """Called by the last run."""

    def expect(self, count: int) -> None:
        """How many there will be."""
        self.missing = count
        self._over.clear()

    def one(self) -> None:
        """The handler ran."""
        with self._lock:
            self.missing -= 1
            over = self.missing == 0
        if over:
            self.at_end()

    def wait(self) -> None:
        """Until all have run."""
        self._over.wait()


runs = Runs()


def _say(**answer: object) -> None:
    print(json.dumps(answer), file=_out, flush=True)


def started() -> None:
    """The worker works."""
    _say(ready=True)


def may_begin() -> None:
    """All is open; wait for the sign to take in jobs."""
    _say(ready=True)
    sys.stdin.readline()


def shares(count: int, callers: int) -> list[range]:
    """What each of several callers takes."""
    return [range(first, count, callers) for first in range(min(callers, count))]


Took: TypeAlias = "tuple[float, float]"
"""Seconds, and those of the processor."""


class Watch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def took(self) -> Took:
        """Since then."""
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


async def take_in(send: Callable[[range], Awaitable[None]], count: int, callers: int) -> Took:
    """At the sign, jobs by several callers at once, each of which does `send`."""
    may_begin()
    watch = Watch()
    await asyncio.gather(*map(send, shares(count, callers)))
    return watch.took()


async def work(worker: Callable[[], Coroutine[Any, Any, object]]) -> Took:
    """Let a worker work until all jobs were run."""
    over = asyncio.Event()
    runs.at_end = over.set
    watch = Watch()
    working = asyncio.create_task(worker())
    started()
    await over.wait()
    took = watch.took()
    working.cancel()
    return took


def serve(settings: str, **work: Callable[[str, int], Took]) -> None:
    """Obey until there are no more orders. All of `work` tells what it took."""
    _say(settings=settings)
    while line := sys.stdin.readline():
        order = json.loads(line)
        runs.expect(order["count"])
        _say(took=work[order["do"]](order["store"], order["count"]))
        _say(ran=order["count"] - runs.missing)
    os._exit(0)  # whatever threads a worker has left
