"""A runtime of one's own in under 60 lines: a queue and plain threads, neither asyncio nor trio.

    python examples/custom_runtime.py

`step` says what one event does to one instance: `one_step` shows it. `Engine` decides all that a process
has to decide. `Runtime` only performs it: backends, hooks and callers are in plain threads, and what comes
of them goes through one queue. Hooks are plain functions. Take it as a start for a loop of your own; the
contract is in the docstring of `durable_jobs_core.engine`.
"""

from __future__ import annotations

import itertools
import math
import secrets
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from attrs import frozen
from durable_jobs_memory import MemoryBackend

from durable_jobs_core import (
    ClosedError,
    Continuous,
    ContinuousContext,
    Jobs,
    Key,
    create_durable_jobs,
    every,
)
from durable_jobs_core import engine as e
from durable_jobs_core.backend import Answer, Backend
from durable_jobs_core.events import Request, StartRequested, StatusRequested, TerminateRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.step import Env, step

# -- the driver: feeds the engine with what comes out of the queue, and performs what it needs


def clock() -> int:
    """Milliseconds of a clock that never goes back."""
    return time.monotonic_ns() // 1_000_000


def whichever_ends(answer: Future[Any], worker: Future[None]) -> Any:
    """The answer; of a driver that has ended, by a bug or by `close`, there is none to wait for."""
    wait([answer, worker], return_when=FIRST_COMPLETED)
    if not answer.done():
        raise ClosedError("the driver has ended") from worker.exception()
    return answer.result()


class Runtime:
    def __init__(self, jobs: Jobs, backend: Backend) -> None:
        self.engine = e.Engine(jobs.by_key, node=secrets.randbits(64), lanes=backend.lanes, lane=backend.lane)
        self.backend, self.numbers = backend, itertools.count()
        self.lanes = [ThreadPoolExecutor(max_workers=1) for _ in range(backend.lanes)]
        self.inputs: SimpleQueue[e.Input] = SimpleQueue()
        self.callers: dict[int, Future[Any]] = {}
        self.hooks: dict[int, float] = {}  # those that run, and when their time is up
        self.worker = ThreadPoolExecutor(max_workers=1).submit(self.work)

    def work(self) -> None:
        while True:
            for need in self.engine.needs():
                match need:  # an Emit is for trackers; here are none
                    case e.Exchange():
                        done = self.lanes[need.lane].submit(self.backend.exchange, need.lane, need.batch)
                        done.add_done_callback(partial(self.answered, need.id))
                    case e.Invoke():
                        self.hooks[need.id] = clock() + (need.timeout_ms or math.inf)
                        threading.Thread(target=self.hook, args=[need], daemon=True).start()
                    case e.Cancel():
                        self.hooks[need.invocation] = 0
                    case e.Reply(call, result, error):
                        caller = self.callers.pop(call)
                        caller.set_exception(error) if error else caller.set_result(result)
                    case e.Closed():
                        return self.backend.close()
            self.engine.feed(clock(), self.next_input())

    def next_input(self) -> e.Input:
        for invocation in [hook for hook, end in self.hooks.items() if end <= clock()]:
            del self.hooks[invocation]  # a thread cannot be stopped: go on without it
            return e.Finished(invocation, e.HookDetached())
        wakeup = min([self.engine.next_wakeup or math.inf, *self.hooks.values()])
        try:
            given = self.inputs.get(timeout=min(max(0, wakeup - clock()) / 1000, threading.TIMEOUT_MAX))
        except Empty:
            return e.Ticked()
        if isinstance(given, e.Finished) and self.hooks.pop(given.invocation, None) is None:
            return e.Returned(given.invocation)
        return given

    def answered(self, exchange: int, done: Future[Answer]) -> None:
        self.inputs.put(e.Answered(exchange, done.exception() or done.result()))

    def hook(self, need: e.Invoke) -> None:
        try:
            self.inputs.put(e.Finished(need.id, e.HookReturned(need.function.call(*need.args))))
        except BaseException as error:
            self.inputs.put(e.Finished(need.id, e.HookRaised(error)))

    def call(self, key: Key, request: Request) -> Any:
        self.callers[number := next(self.numbers)] = answer = Future[Any]()
        self.inputs.put(e.Called(number, key, request, deadline=clock() + 30_000))
        return whichever_ends(answer, self.worker)

    def close(self) -> None:
        self.inputs.put(e.Stopping(grace_ms=5_000))
        self.worker.result()


# -- a job, and what it is like to use


@frozen
class Counter:
    """The state."""

    n: int = 0


DONE = threading.Event()


@Continuous.job(state=Counter, schedule=every("50 ms"))
def tick(ctx: ContinuousContext[Counter]) -> None:
    """Count."""
    ctx.set_state(Counter(ctx.state.n + 1))
    print(f"  {ctx.instance_id}: run {ctx.run_count}")
    if ctx.run_count == 3:
        DONE.set()


START = StartRequested(Stored(version=1, value={"n": 0}))


def one_step() -> None:
    """A step by hand: what would have to be written, and what may happen once it is."""
    key = Key("continuous", "tick", "a")
    env = Env(key=key, now=1_700_000_000_000, entropy=1, number=1, engine=1, may_start=True, lease_ms=30_000)
    transition = step(tick, None, START, env)
    for title, effects in (("commit", transition.commit), ("then", transition.then)):
        print(title)
        print(*(f"  {type(effect).__name__}" for effect in effects), sep="\n")


def many_steps() -> None:
    """An engine under the driver: an instance lives through three runs, and ends."""
    runtime = Runtime(create_durable_jobs({"tick": tick}), MemoryBackend())
    key = Key("continuous", "tick", "a")
    answers = [runtime.call(key, START)]
    DONE.wait(10)
    answers += [runtime.call(key, StatusRequested()), runtime.call(key, TerminateRequested("enough"))]
    runtime.close()
    print(*answers, sep="\n")


if __name__ == "__main__":
    one_step()
    many_steps()
