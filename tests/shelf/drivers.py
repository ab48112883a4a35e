"""Wrong drivers, swapped into the simulation: most are mistakes that `docs/write-a-driver.md` warns of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable_jobs_simulation import Faults
from durable_jobs_simulation import node as driver
from durable_jobs_simulation import world as world_module
from durable_jobs_simulation.hooks import HookRun
from durable_jobs_simulation.node import Node
from shelf.attempts import attempts, punctual
from shelf.plants import Attribute, Shelf, case

from durable_jobs_core import StorageError
from durable_jobs_core.backend import Answer, Committed
from durable_jobs_core.engine import (
    Answered,
    Cancel,
    Emit,
    Exchange,
    HookDetached,
    HookRaised,
    HookReturned,
    Invoke,
    Reply,
    Returned,
    Stopping,
)
from durable_jobs_core.events import SendRequested
from durable_jobs_core.results import SendResult

NODE = Attribute(world_module, "Node")
HOOK = Attribute(driver, "HookRun")

LOSSES = Faults(lost_answer=0.1, lost_request=0.1)
REDEPLOYS = Faults(redeploy=0.02)
SLOW = Faults(hook_slow=0.7)

put = Shelf("driver", case("tokens"))


# -- exchanges


@put("I-8", NODE, faults=LOSSES)
def swallows_a_lost_answer(right: type[Node]) -> type[Node]:
    """An exchange that raised is not answered: its lane stands still."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def feed(self, input: Any) -> None:
            if not (isinstance(input, Answered) and isinstance(input.answer, Exception)):
                super().feed(input)

    return Wrong


@put("I-9", NODE, case=case("webhooks"), faults=LOSSES)
def sends_again_after_a_lost_answer(right: type[Node]) -> type[Node]:
    """An exchange that raised is tried again, though the first try may have landed."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _perform(self, need: Any) -> None:
            if isinstance(need, Exchange):
                self.asked = need
            super()._perform(need)

        def feed(self, input: Any) -> None:
            if isinstance(input, Answered) and isinstance(input.answer, Exception):
                self.world.network.exchange(self, self.asked)
            else:
                super().feed(input)

    return Wrong


@put("I-7", NODE, faults=LOSSES)
def takes_a_lost_answer_for_a_good_one(right: type[Node]) -> type[Node]:
    """An exchange that raised is answered as if all of its writes had been committed."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _perform(self, need: Any) -> None:
            if isinstance(need, Exchange):
                self.asked = need.batch
            super()._perform(need)

        def feed(self, input: Any) -> None:
            if isinstance(input, Answered) and isinstance(input.answer, Exception):
                outcomes = (Committed(),) * len(self.asked.writes)
                rows = (None,) * len(self.asked.loads)
                answer = Answer(
                    outcomes=outcomes, rows=rows, claimed=(), next_wake=None, clock=self.world.now
                )
                input = Answered(input.exchange, answer)
            super().feed(input)

    return Wrong


# -- hooks


@put("engine", NODE)
def runs_a_hook_twice(right: type[Node]) -> type[Node]:
    """An `Invoke` is performed twice."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _perform(self, need: Any) -> None:
            super()._perform(need)
            if isinstance(need, Invoke):
                super()._perform(need)

    return Wrong


@put("I-8", HOOK, case=case("webhooks"), faults=Faults(hook_exit=0.2))
def lets_an_exit_pass(right: type[HookRun]) -> type[HookRun]:
    """`except Exception` around a hook: what exits is not told to the engine."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _tell(self, outcome: Any) -> None:
            if not isinstance(outcome, HookRaised) or isinstance(outcome.error, Exception):
                super()._tell(outcome)

    return Wrong


@put("S-18", HOOK)
def hides_what_a_hook_raised(right: type[HookRun]) -> type[HookRun]:
    """A hook that raised is told as one that returned nothing."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _tell(self, outcome: Any) -> None:
            super()._tell(HookReturned(None) if isinstance(outcome, HookRaised) else outcome)

    return Wrong


@put("S-11", HOOK, case=attempts, faults=Faults(hook_deaf=0.5))
def says_ended_when_it_has_only_cancelled(right: type[HookRun]) -> type[HookRun]:
    """`Finished` at the moment of the `Cancel`: the next attempt overlaps with what the hook still does."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _stop(self, why: Any) -> None:
            if not self.ended:
                super()._stop(why)
                self._end(why)

        def _task_ended(self, value: Any, error: BaseException | None) -> None:
            if not self.ended:
                super()._task_ended(value, error)

    return Wrong


@put("S-15", HOOK, case=punctual, faults=Faults())
def ignores_timeouts(right: type[HookRun]) -> type[HookRun]:
    """A hook is not cancelled when its time is up."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _time_out(self) -> None:
            pass

    return Wrong


@put("S-36", NODE, case=punctual, faults=Faults())
def ignores_cancels(right: type[Node]) -> type[Node]:
    """A hook whose instance was terminated goes on to its end."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _perform(self, need: Any) -> None:
            if not isinstance(need, Cancel):
                super()._perform(need)

    return Wrong


@put("engine", NODE, faults=SLOW)
def forgets_that_a_thread_returned(right: type[Node]) -> type[Node]:
    """`Returned` is not fed: the slot of a thread that was left behind is lost."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def feed(self, input: Any) -> None:
            if not isinstance(input, Returned):
                super().feed(input)

    return Wrong


@put("engine", HOOK, faults=SLOW)
def hops_in_the_wrong_order(right: type[HookRun]) -> type[HookRun]:
    """From thread to loop, `Returned` overtakes the `Finished` of the hook that was left behind."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _tell(self, outcome: Any) -> None:
            if isinstance(outcome, HookDetached):
                self.node.feed(Returned(self.invoke.id))
            super()._tell(outcome)

    return Wrong


# -- callers


@put("I-1", NODE, case=case("orders"))
def answers_before_the_outcome(right: type[Node]) -> type[Node]:
    """A `send` is answered when it comes, and not when the engine has an answer."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def call(self, ask: Any, answer: Callable[[Any, Any], None]) -> None:
            if isinstance(ask.request, SendRequested):
                answer(SendResult(instance_id=str(ask.key), created=False, queued=True), None)
                super().call(ask, lambda value, error: None)
            else:
                super().call(ask, answer)

    return Wrong


@put("I-9", NODE, case=case("orders"), faults=Faults(hook_failure=0.2))
def answers_the_wrong_caller(right: type[Node]) -> type[Node]:
    """Two callers who `send` at the same time are given each other's answers."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def call(self, ask: Any, answer: Any) -> None:
            sends = isinstance(ask.request, SendRequested)
            other = next((n for n in getattr(self, "senders", ()) if n in self._callers), None)
            super().call(ask, answer)
            if sends and self._calls in self._callers:
                self.senders = [self._calls]
                if other is not None:
                    mine, theirs = self._callers[self._calls], self._callers[other]
                    self._callers[self._calls], self._callers[other] = theirs, mine

    return Wrong


@put("I-9", NODE, case=case("webhooks"), faults=Faults(abandoned=0.3))
def takes_the_request_of_a_caller_with_it(right: type[Node]) -> type[Node]:
    """A caller that is cancelled is told that nothing happened, though no one can know."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _abandon(self, number: int) -> None:
            answer = self._callers.get(number)
            if answer is not None:
                self._callers[number] = lambda value, error: answer(None, StorageError("it was cancelled"))
            super()._abandon(number)

    return Wrong


@put("I-8", NODE, case=case("webhooks"))
def loses_a_reply(right: type[Node]) -> type[Node]:
    """One caller in twenty is never answered."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _perform(self, need: Any) -> None:
            if not (isinstance(need, Reply) and need.call % 20 == 7):
                super()._perform(need)

    return Wrong


# -- time, telemetry, identity, the end


@put("S-69", NODE, faults=Faults())
def forgets_to_wake_up(right: type[Node]) -> type[Node]:
    """`next_wakeup` is not looked at: nothing happens until something else comes."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _set_timer(self, at: int) -> None:
            pass

    return Wrong


@put("engine", NODE)
def goes_by_the_wall_clock(right: type[Node]) -> type[Node]:
    """`t` is the time of day, which is set back by a second every minute."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        @property
        def t(self) -> int:
            shown: int = super().t
            return shown - shown // 60_000 * 1_000

    return Wrong


@put("I-7", NODE, faults=Faults())
def tells_telemetry_out_of_turn(right: type[Node]) -> type[Node]:
    """What is emitted waits, and what is emitted next goes first."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        held: Emit | None = None

        def _perform(self, need: Any) -> None:
            if isinstance(need, Emit):
                held, self.held = self.held, None if self.held else need
                if held is None:
                    return
                super()._perform(need)
                need = held
            super()._perform(need)

    return Wrong


@put("S-3", NODE, faults=Faults(impatient=0.5))
def waits_for_its_trackers(right: type[Node]) -> type[Node]:
    """The needs that follow an `Emit` wait until a tracker has sent it, which takes two seconds."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def _perform(self, need: Any) -> None:
            if isinstance(need, Emit):
                self.busy_until = self.world.now + 2_000
            ms = getattr(self, "busy_until", 0) - self.world.now
            if ms > 0 and isinstance(need, Reply):
                self.later(ms, lambda: super(Wrong, self)._perform(need))
            else:
                super()._perform(need)

    return Wrong


@put("I-8", NODE, case=case("webhooks"), faults=REDEPLOYS)
def ignores_a_stop(right: type[Node]) -> type[Node]:
    """A signal to end is caught, and the engine is not told."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def feed(self, input: Any) -> None:
            if not isinstance(input, Stopping):
                super().feed(input)

    return Wrong


@put("S-67", NODE, case=attempts, faults=Faults(redeploy=0.05))
def leaves_at_once(right: type[Node]) -> type[Node]:
    """A node that is to stop exits without waiting for `Closed`: what was in flight counts as a crash."""

    class Wrong(right):  # type: ignore[valid-type,misc]
        def feed(self, input: Any) -> None:
            if isinstance(input, Stopping):
                self._end()
            else:
                super().feed(input)

    return Wrong
