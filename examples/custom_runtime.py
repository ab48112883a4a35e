"""A runtime of one's own in under 60 lines: one queue, plain threads, neither asyncio nor trio.

Hooks are plain functions, each in a thread; callers are plain threads that wait for a future.
Run it: `python examples/custom_runtime.py`.
"""

import itertools
import queue
import secrets
import threading
import time
from concurrent.futures import Future

from attrs import define
from durable_jobs_memory import MemoryBackend

from durable_jobs_core import Continuous, Key, create_durable_jobs, events, every
from durable_jobs_core import engine as e
from durable_jobs_core.record import Stored


class Runtime:
    """The driver: feeds what comes out of one queue, performs what the engine needs."""

    def __init__(self, jobs, backend):
        self.inputs, self.lane, self.calls = queue.SimpleQueue(), queue.SimpleQueue(), {}
        self.engine, self.backend = e.Engine(jobs.by_key, node=secrets.randbits(64)), backend
        self.worker = self.thread(self.work)
        self.thread(self.exchange)

    def thread(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        return thread

    def call(self, key, request):
        self.calls[number := next(numbers)] = future = Future()
        self.inputs.put(e.Called(number, key, request, now() + 30_000))
        return future.result()

    def close(self):
        self.inputs.put(e.Stopping(grace_ms=5_000))
        self.worker.join()

    def exchange(self):
        while True:
            need = self.lane.get()
            try:
                answer = self.backend.exchange(need.lane, need.batch)
            except Exception as error:
                answer = error
            self.inputs.put(e.Answered(need.id, answer))

    def hook(self, need):
        try:
            outcome = e.HookReturned(need.function.call(*need.args))
        except BaseException as error:
            outcome = e.HookRaised(error)
        self.inputs.put(e.Finished(need.id, outcome))

    def work(self):
        while True:
            for need in self.engine.needs():
                match need:
                    case e.Exchange():
                        self.lane.put(need)
                    case e.Invoke():
                        self.thread(self.hook, need)
                    case e.Reply(call, result, error):
                        future = self.calls.pop(call)
                        future.set_exception(error) if error else future.set_result(result)
                    case e.Closed():
                        return
            wakeup = self.engine.next_wakeup
            wait = None if wakeup is None else max(0, wakeup - now()) / 1000
            try:
                given = self.inputs.get(timeout=wait)
            except queue.Empty:
                given = e.Ticked()
            self.engine.feed(now(), given)


numbers = itertools.count(1)


def now():
    return time.monotonic_ns() // 1_000_000


@define
class Counter:
    n: int = 0


@Continuous.job(state=Counter, schedule=every("50 ms"))
def tick(ctx):
    ctx.set_state(Counter(ctx.state.n + 1))
    print(f"{ctx.instance_id}: run {ctx.run_count}")
    if ctx.run_count == 3:
        done.set()


done = threading.Event()

if __name__ == "__main__":
    runtime = Runtime(create_durable_jobs({"tick": tick}), MemoryBackend())
    key = Key("continuous", "tick", "a")
    print(runtime.call(key, events.StartRequested(Stored(1, {"n": 0}))))
    done.wait(10)
    print(runtime.call(key, events.StatusRequested()))
    print(runtime.call(key, events.TerminateRequested("enough")))
    runtime.close()
