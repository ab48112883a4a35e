"""A hook that runs in a simulated node: what a driver does with an `Invoke`, on virtual time.

An async hook is a coroutine driven by hand. A plain one is called at its beginning, and its thread
"returns" a while later; if its time is up before that, or its shutdown a while ago, it is detached (S-15).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from durable_jobs_core.engine import (
    Finished,
    HookCancelled,
    HookDetached,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Invoke,
    Returned,
)
from durable_jobs_simulation.stages import of_hook
from durable_jobs_simulation.tasks import Cancelled, Sleep, Task, Wanted, refuse_foreign

if TYPE_CHECKING:
    from durable_jobs_simulation.node import Node


RETURN_MS = 2_000
"""How long the drivers let a thread take to return at a shutdown."""


class InjectedFailure(Exception):
    """Raised in the place of a hook, or after it, by the fault `hook_failure`."""


class Unspeakable(Exception):
    """Raised in the same way by the fault `hook_unspeakable`: nobody can say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("it is unspeakable")

    __repr__ = __str__


class HookRun:
    """One call of a hook. `ended`: its `Finished` was fed, or is on its way."""

    def __init__(self, node: Node, invoke: Invoke) -> None:
        self.node, self.invoke = node, invoke
        self.began = node.world.now
        self.ended = False
        self._stopped_by: HookOutcome | None = None
        self._task: Task | None = None
        fate, world = node.world.fate, node.world
        self._place = of_hook(invoke)
        dice = world.hook_dice
        self._at_once = invoke.inline_def and not invoke.function.is_async
        self._ms = 0 if self._at_once else dice.between(0, 4)
        self._slowed = 0
        if not self._at_once:
            self._slowed += fate.dice("hook_slow").between(1, 40_000) if self._befalls("hook_slow") else 0
            self._slowed += 120_000 if self._befalls("hook_hang") else 0
        self._ms += self._slowed
        self._deaf_ms = fate.dice("hook_deaf").between(1, 60_000) if fate("hook_deaf") else 0
        self._error: BaseException | None = None
        self._told = False
        if self._befalls("hook_failure"):
            self._error = InjectedFailure("injected")
        elif self._befalls("hook_exit"):
            self._error = SystemExit("injected")
        elif self._befalls("hook_unspeakable"):
            self._error = Unspeakable()
        self._fails_first = fate.dice("hook_failure").chance(0.5)

    def _befalls(self, fault: str) -> bool:
        """Whether it befalls this hook."""
        fate = self.node.world.fate
        befalls = fate(fault)
        if befalls:
            fate.struck(fault, [self._place])
        return befalls

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.invoke.hook} of {self.invoke.key.job}"

    @property
    def untold(self) -> bool:
        """Whether it has ended, and its engine does not know yet."""
        return self.ended and not self._told

    def injected(self, outcome: HookOutcome) -> str:
        """Of a failure that is a fault's: that it is, and whether the hook did anything before it."""
        if isinstance(outcome, HookTimedOut) and self._slowed:
            return "injected"
        if not isinstance(outcome, HookRaised) or outcome.error is not self._error:
            return ""
        return f"injected {'before' if self._fails_first else 'after'} its work"

    def start(self) -> None:
        """Begin. Nothing is fed before the node has performed its other needs."""
        if self.invoke.leased and self.node.world.poisons(self.invoke.key):
            self.node.later(0, self._kill)
        limit = self.invoke.timeout_ms
        if limit is not None and not self._at_once:
            self.node.later_t(limit, self._time_out)
        if self.invoke.function.is_async:
            self._task = Task(self.name, self._run(), self._want, self._task_ended)
            self._task.resume(0)
            return
        outcome = self._call()
        self.node.later(self._ms, lambda: self._returned(outcome))

    async def _run(self) -> Any:
        await Sleep(self._ms)
        if self._error is not None and self._fails_first:
            raise self._error
        value = await self.invoke.function.call(*self.invoke.args)
        if self._error is not None:
            raise self._error
        return value

    def _call(self) -> HookOutcome:
        if self._error is not None and self._fails_first:
            return HookRaised(self._error)
        try:
            value = copy_context().run(self.invoke.function.call, *self.invoke.args)
        except BaseException as error:
            refuse_foreign(self.name, error)
            return HookRaised(_plain(error))
        return HookReturned(value) if self._error is None else HookRaised(self._error)

    def _want(self, task: Task, wanted: Wanted) -> None:
        turn = task.turn
        if isinstance(wanted, Sleep):
            self.node.later(wanted.ms, lambda: task.resume(turn))
        else:
            life = self.node.life
            self.node.world.ask(
                wanted,
                lambda value, error: self.node.later_in(life, 0, lambda: task.resume(turn, value, error)),
            )

    # -- the ways to end

    def _kill(self) -> None:
        """It takes its node with it."""
        if not self.ended:
            self.node.world.fate.struck("poison", [self._place])
            self.node.crash()

    def cancel(self) -> None:
        """The engine has cancelled it."""
        self._stop(HookCancelled())

    def _time_out(self) -> None:
        if not self.ended and self._stopped_by is None:
            self._stop(HookTimedOut())

    def _stop(self, why: HookOutcome) -> None:
        if self.ended or self._stopped_by is not None:
            return
        self._stopped_by = why
        if self._task is None and self.node.stopping and isinstance(why, HookCancelled):
            self.node.later(RETURN_MS, self._detach)
        elif self._task is None:
            self._detach()
        else:
            if self._deaf_ms:
                self.node.world.fate.struck("hook_deaf", [self._place])
            self.node.later(self._deaf_ms, self._throw)

    def _detach(self) -> None:
        if not self.ended:
            self._end(HookDetached())

    def _throw(self) -> None:
        if self._task is not None:
            self._task.resume(self._task.turn, error=Cancelled())

    def _task_ended(self, value: Any, error: BaseException | None) -> None:
        self._task = None  # it holds this: nothing goes round in a circle, for nobody collects garbage
        if isinstance(error, Cancelled) and self._stopped_by is not None:
            self._end(self._stopped_by)
        else:
            self._end(HookReturned(value) if error is None else HookRaised(_plain(error)))

    def _returned(self, outcome: HookOutcome) -> None:
        """The thread of a plain hook returns: to whom it may concern."""
        if self.ended and not self._told:
            self.node.later(1, lambda: self._returned(outcome))
        elif self.ended:
            self.node.returned(self)
            self.node.feed(Returned(self.invoke.id))
        else:
            self._end(outcome)

    def _end(self, outcome: HookOutcome) -> None:
        self.ended = True
        self.node.later(0, lambda: self._tell(outcome))

    def _tell(self, outcome: HookOutcome) -> None:
        self._told = True
        self.node.finished(self, outcome)
        self.node.feed(Finished(self.invoke.id, outcome))

    def bury(self, graveyard: Callable[[Any], None]) -> None:
        """The node has died: nothing of the hook may run any more, its `finally` included."""
        if self._task is not None and not self._task.over:
            self._task.over = True
            graveyard(self._task.coroutine)


def _plain(error: BaseException) -> BaseException:
    """Without its traceback, so that what is stored does not depend on the interpreter."""
    return error.with_traceback(None)
