"""An engine at work: its lanes in threads, its hooks, timers and trackers. It decides nothing.

A driver lends it an event loop (`Loop`) and calls it from that loop only. What it is asked is fed, and needs
are performed, once per turn of the loop, so that what comes together is written together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import assert_never

from durable_jobs_core.backend import Backend
from durable_jobs_core.engine import (
    Abandoned,
    Answered,
    Attempt,
    Called,
    Cancel,
    Closed,
    Emit,
    Engine,
    Exchange,
    Finished,
    HookOutcome,
    Input,
    Invoke,
    Limits,
    Need,
    Nudged,
    Reply,
    Returned,
    Stopping,
    Ticked,
)
from durable_jobs_core.errors import ClosedError, OutcomeUnknownError
from durable_jobs_core.events import Request
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.words import Key
from durable_jobs_runtime.hints import HintThread
from durable_jobs_runtime.journal import FileJournal
from durable_jobs_runtime.lanes import LaneThread
from durable_jobs_runtime.loop import Loop, clock, now_ms
from durable_jobs_runtime.plain import PlainHooks
from durable_jobs_runtime.trackers import Trackers

CLOSE_SECONDS = 5.0
"""How long trackers may take to send what they hold, once the machine has closed."""

Deliver = Callable[[Reply], None]


class Machine:
    """One engine and what it needs of the world."""

    def __init__(
        self,
        jobs: Jobs,
        backend: Backend,
        loop: Loop,
        *,
        node: int,
        worker: bool,
        limits: Limits,
        trackers: Trackers,
        journal: FileJournal | None,
    ) -> None:
        self._backend = backend
        self._journal = journal
        self._loop = loop
        self._trackers = trackers
        self._plain = PlainHooks(loop, self._finished, self._returned)
        self._context = copy_context()
        """The context variables that each hook finds: of who opened the runtime, never of a caller."""
        self._engine = Engine(
            jobs.by_key,
            node=node,
            lanes=backend.lanes,
            lane=backend.lane,
            limits=limits,
            worker=worker,
            journal=journal,
        )
        self._lanes = [LaneThread(backend, lane, self._from_lane) for lane in range(backend.lanes)]
        nudge = partial(loop.from_thread, self._feed, Nudged())
        self._hints = HintThread(backend, nudge) if worker else None
        self._calls = 0
        self._deliver: dict[int, Deliver] = {}
        self._asked: list[Input] = []
        """What the program asks, fed in the next turn: its own stack may have no room for the engine."""
        self._pumping = False
        self._wake_at = math.inf
        self._unset_timer: Callable[[], None] | None = None
        self._when_idle: list[Callable[[], object]] = []
        self._when_closed: list[Callable[[], object]] = []
        self.closed = False
        self.released = False
        """Whether `close` was called."""
        self.error: BaseException | None = None
        """A bug of the library that ended the machine."""

    def start(self) -> None:
        """Begin: greet the backend, look for due work. Raises `RuntimeError` if there are no threads."""
        try:
            for lane in self._lanes:
                lane.start()
            if self._hints is not None:
                self._hints.start()
        except BaseException:
            self.closed = True  # nothing has begun, and nothing will
            raise
        self._pump_soon()

    # -- the driver's side; all from the loop

    def call(
        self,
        key: Key,
        request: Request,
        deliver: Deliver,
        *,
        timeout_ms: int,
        wait_ms: int | None,
        size: int,
    ) -> int:
        """Send a request; `deliver` is called once, unless the call is abandoned first.

        Raises what `check_open` does.
        """
        self.check_open()
        self._calls += 1
        called = Called(self._calls, key, request, now_ms() + timeout_ms, wait_ms, size)
        self._ask(called)
        self._deliver[self._calls] = deliver
        return self._calls

    def abandon(self, call: int) -> None:
        """The caller is gone."""
        if self._deliver.pop(call, None) is not None:
            self._ask(Abandoned(call))

    def when_idle(self, function: Callable[[], object]) -> None:
        """Call `function` as soon as nothing is queued, running, in flight or due, or the machine closes."""
        self._check_here()
        if self.closed:
            function()
            return
        self._when_idle.append(function)
        self._ask(Nudged())

    def when_closed(self, function: Callable[[], object]) -> None:
        """Call `function` as soon as the machine closes."""
        self._check_here()
        if self.closed:
            function()
        else:
            self._when_closed.append(function)

    def forget(self, function: Callable[[], object]) -> None:
        """Who waited for that is gone: call `function` no more."""
        for waiting in (self._when_idle, self._when_closed):
            if function in waiting:
                waiting.remove(function)

    def stop(self, grace_ms: int, done: Callable[[], None]) -> None:
        """Shut down; `done` when the engine has closed (S-67)."""
        self.when_closed(done)
        self._ask(Stopping(grace_ms))
        self._plain.stopping = True

    def drop(self) -> None:
        """End at once, as if the process had crashed, which is safe."""
        if not self.closed:
            self._close()

    def close(self) -> None:
        """Release threads, trackers and the backend, each whatever another raises. Blocks."""
        self.released = True
        with ExitStack() as closing:
            closing.callback(self._plain.close)
            if self._hints is not None:
                closing.callback(self._hints.end)
            closing.callback(self._backend.close)
            if self._journal is not None:
                closing.callback(self._journal.close)
            closing.callback(self._trackers.close, CLOSE_SECONDS)
            for lane in self._lanes:
                lane.stop()

    @property
    def failing(self) -> tuple[str, ...]:
        """Why the lanes could not do what they were asked last, or that they do not answer."""
        troubles = zip(self._lanes, self._engine.troubles, strict=True)
        whys = [lane.silence or ("" if trouble is None else trouble.why) for lane, trouble in troubles]
        return tuple(filter(None, whys))

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that hold slots, the longest first."""
        return self._engine.attempts

    @property
    def dropped_returns(self) -> int:
        """How many plain hooks have returned after they were left behind."""
        return self._engine.dropped_returns

    def check_open(self) -> None:
        """Raise `ClosedError` once the machine has closed, `RuntimeError` in another event loop."""
        self._check_here()
        if self.closed:
            raise ClosedError("the runtime is closed") from self.error

    def _check_here(self) -> None:
        if not self._loop.is_here():
            raise RuntimeError("a runtime works only in the event loop that opened it, and so do its clients")

    # -- feeding and pumping

    def _ask(self, input: Input) -> None:
        if self.closed:
            return
        if not self._pumping:
            self._pump_soon()
        self._asked.append(input)

    def _feed(self, input: Input) -> None:
        if self.closed:
            return
        self._asked.append(input)
        try:
            self._feed_asked()
        except BaseException as error:
            self._break(error)
        else:
            if not self._pumping:
                self._pump_soon()

    def _feed_asked(self) -> None:
        asked, self._asked = self._asked, []
        for input in asked:
            self._engine.feed(now_ms(), input)

    def _pump_soon(self) -> None:
        self._loop.soon(partial(self._context.run, self._pump))
        self._pumping = True

    def _pump(self) -> None:
        try:
            while needs := self._needs():
                for need in needs:
                    self._perform(need)
            self._pumping = False
            if not self.closed:
                self._set_timer()
                if self._when_idle and self._engine.idle:
                    self._say_idle()
        except BaseException as error:
            self._break(error)

    def _needs(self) -> Sequence[Need]:
        if self.closed:
            return ()
        if self._asked:
            self._feed_asked()
        return self._engine.needs()

    def _say_idle(self) -> None:
        waiting, self._when_idle = self._when_idle, []
        for function in waiting:
            function()

    def _break(self, error: BaseException) -> None:
        is_interrupt = isinstance(error, KeyboardInterrupt)
        if not is_interrupt:
            self.error = error
        self._close()
        self._loop.broken()
        for call in tuple(self._deliver):
            lost = OutcomeUnknownError("the runtime broke before it had an answer")
            reply = Reply(call, error=lost, cause=error)
            self._loop.soon(partial(self._answer, reply))  # the caller may not wait yet
        if is_interrupt:
            raise error  # the second Ctrl-C, which asyncio raises anywhere: it is for the program

    def _close(self) -> None:
        """Nothing more happens: nobody is left waiting."""
        self.closed = True
        if self._unset_timer is not None:
            self._unset_timer()
        self._say_idle()
        for function in self._when_closed:
            function()

    def _perform(self, need: Need) -> None:
        match need:
            case Exchange():
                self._lanes[need.lane].submit(need)
            case Reply():
                self._answer(need)
            case Invoke():
                self._invoke(need)
            case Emit():
                self._trackers.emit(need.events)
            case Cancel():
                if not self._plain.cancel(need.invocation):
                    self._loop.cancel_hook(need.invocation)
            case Closed():
                self._close()
            case _:
                assert_never(need)

    def _answer(self, reply: Reply) -> None:
        deliver = self._deliver.pop(reply.call, None)
        if deliver is not None:  # else the caller is gone
            deliver(reply)

    def _set_timer(self) -> None:
        at = min([lane.watch_at for lane in self._lanes])
        wakeup = self._engine.next_wakeup
        if wakeup is not None:
            at = min(at, wakeup / 1000)
        if self._wake_at <= at:
            return  # an earlier tick is on its way, and harmless; or there is nothing to wait for
        if self._unset_timer is not None:
            self._unset_timer()
        self._wake_at = at
        self._unset_timer = self._loop.after(max(0.0, at - clock()), self._tick)

    def _tick(self) -> None:
        self._wake_at, self._unset_timer = math.inf, None
        for lane in self._lanes:
            lane.watch()
        self._feed(Ticked())

    # -- hooks

    def _invoke(self, invoke: Invoke) -> None:
        if invoke.function.is_async:
            self._loop.start_hook(invoke, self._finished)
        else:
            self._plain.start(invoke)

    def _finished(self, invocation: int, outcome: HookOutcome) -> None:
        self._feed(Finished(invocation, outcome))

    def _returned(self, invocation: int) -> None:
        self._feed(Returned(invocation))

    # -- threads

    def _from_lane(self, lane: int, answered: Answered) -> None:
        self._loop.from_thread(self._answered, lane, answered)

    def _answered(self, lane: int, answered: Answered) -> None:
        self._feed(answered)
        self._lanes[lane].heard(self._engine.troubles[lane])
