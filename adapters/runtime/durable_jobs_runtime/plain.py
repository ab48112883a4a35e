"""Plain `def` hooks: a reducer runs in the event loop, every other one in a thread (S-15)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from durable_jobs_core.engine import HookDetached, HookOutcome, HookRaised, HookReturned, HookTimedOut, Invoke
from durable_jobs_runtime.log import say
from durable_jobs_runtime.loop import Loop, clock
from durable_jobs_runtime.threads import ThreadPool

RETURN_SECONDS = 2.0
"""How long, at a shutdown, a thread may take to return once `ctx.cancelled` has turned true."""

_LEFT_BEHIND = "%s of %s did not return and is left behind"
_CRASHES = f"{_LEFT_BEHIND}: the attempt is made again and counts as a crash"


class PlainHooks:
    """Those that run. `finished` is told how one ended, `returned` that one has which was left behind, both
    in the loop; `stopping`: the program ends."""

    def __init__(
        self,
        loop: Loop,
        finished: Callable[[int, HookOutcome], None],
        returned: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._finished = finished
        self._returned = returned
        self._pool = ThreadPool()
        self._running: dict[int, Callable[[], None]] = {}
        """What cancels them."""
        self.stopping = False

    def start(self, invoke: Invoke) -> None:
        """Call a hook."""
        if invoke.inline_def:
            self._reduce(invoke)
        else:
            self._in_thread(invoke)

    def cancel(self, invocation: int) -> bool:
        """Cancel a hook, if it is one of these."""
        cancel = self._running.get(invocation)
        if cancel is not None:
            cancel()
        return cancel is not None

    def close(self) -> None:
        """Let the threads end that have nothing to do."""
        self._pool.close()

    def _reduce(self, invoke: Invoke) -> None:
        self._finished(invoke.id, _outcome(invoke))

    def _in_thread(self, invoke: Invoke) -> None:
        """A thread cannot be stopped: one whose time is up is left behind.

        At a shutdown one that heeds `ctx.cancelled` is not: it ends as other hooks do (S-67).
        """
        unset_timer: Callable[[], None] = _nothing

        def set_timer(seconds: float, function: Callable[[], None]) -> None:
            nonlocal unset_timer
            unset_timer()
            unset_timer = self._loop.after(seconds, function)

        def end() -> bool:
            unset_timer()
            return self._running.pop(invoke.id, None) is not None

        def detach() -> None:
            if end():
                self._finished(invoke.id, HookDetached())

        def leave_behind() -> None:
            say(logging.WARNING, _CRASHES if invoke.leased else _LEFT_BEHIND, invoke.hook, invoke.key)
            detach()

        def cancel() -> None:
            if self.stopping:
                set_timer(RETURN_SECONDS, leave_behind)
            else:
                detach()

        def returned(value: Any, error: BaseException | None) -> None:
            if end():
                self._finished(invoke.id, HookReturned(value) if error is None else HookRaised(error))
            else:
                self._returned(invoke.id)

        self._running[invoke.id] = cancel
        if invoke.timeout_ms is not None:
            set_timer(invoke.timeout_ms / 1000, detach)
        try:
            self._pool.run(
                copy_context().run,
                (invoke.function.call, *invoke.args),
                lambda value, error: self._loop.from_thread(returned, value, error),
            )
        except RuntimeError as error:  # the system gives no more threads
            returned(None, error)


def _outcome(invoke: Invoke) -> HookOutcome:
    """Call a reducer; its timeout is judged when it returns.

    No local of a frame that an error refers to refers to the error: what the hook held would be kept until
    the garbage collector comes.
    """
    began = clock()
    try:
        returned = HookReturned(copy_context().run(invoke.function.call, *invoke.args))
    except BaseException as error:  # also an exit or a cancellation of the hook's own (S-14)
        return HookTimedOut() if _is_late(invoke, began) else HookRaised(error)
    return HookTimedOut() if _is_late(invoke, began) else returned


def _is_late(invoke: Invoke, began: float) -> bool:
    limit = invoke.timeout_ms
    return limit is not None and (clock() - began) * 1000 > limit


def _nothing() -> None:
    """There is no timer yet."""
