"""Plain hooks at a shutdown, with a loop whose time the test lets pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

import pytest
from durable_jobs_runtime.loop import Loop
from durable_jobs_runtime.plain import RETURN_SECONDS, PlainHooks

from durable_jobs_core import Key
from durable_jobs_core.definitions import HookFunction
from durable_jobs_core.engine import HookDetached, HookOutcome, HookReturned, Invoke


class Hand:
    """A loop that is turned by hand: timers, and what threads tell it."""

    def __init__(self) -> None:
        self.timers: dict[float, Callable[[], None]] = {}
        self.told: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def after(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        self.timers[seconds] = function
        return lambda: self.timers.pop(seconds, None) and None

    def from_thread(self, function: Callable[..., None], *args: Any) -> None:
        self.told.put(lambda: function(*args))


class Rig:
    """A plain hook that returns when it is told to; what is told of it."""

    def __init__(self, *, leased: bool = True, timeout_ms: int | None = None) -> None:
        self.loop, self.release = Hand(), threading.Event()
        self.outcomes: list[HookOutcome] = []
        self.returned: list[int] = []
        self.hooks = PlainHooks(
            cast(Loop, self.loop), lambda _, outcome: self.outcomes.append(outcome), self.returned.append
        )
        function = HookFunction(lambda: self.release.wait(20), is_async=False)
        key, ctx = Key("task", "job", "a"), cast(Any, None)
        self.hooks.start(Invoke(1, key, "on_event", function, (), ctx, leased, timeout_ms, False))

    def stop(self) -> None:
        """The grace of a shutdown is over."""
        self.hooks.stopping = True
        assert self.hooks.cancel(1)

    def end(self) -> None:
        """It returns."""
        self.release.set()
        self.loop.told.get(timeout=20)()


def test_S_15_a_thread_whose_attempt_is_cancelled_is_left_behind_at_once_and_told_of_when_it_returns() -> (
    None
):
    rig = Rig(timeout_ms=500)
    assert rig.hooks.cancel(1)
    assert not rig.hooks.cancel(2)
    assert (rig.outcomes, rig.loop.timers) == ([HookDetached()], {})
    rig.end()
    assert (rig.outcomes, rig.returned) == ([HookDetached()], [1])


def test_S_67_the_time_a_thread_has_to_return_is_not_cut_by_its_timeout() -> None:
    rig = Rig(timeout_ms=500)
    rig.stop()
    assert rig.loop.timers.keys() == {RETURN_SECONDS}
    rig.end()
    assert rig.outcomes == [HookReturned(True)]
    assert rig.loop.timers == {}


@pytest.mark.parametrize(
    ("leased", "what_comes"), [(True, ": the attempt is made again and counts as a crash"), (False, "")]
)
def test_S_67_a_thread_that_is_left_behind_is_told_with_what_comes_of_it(
    leased: bool, what_comes: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of a request whose hook it was has happened, and its caller knows."""
    rig = Rig(leased=leased)
    rig.stop()
    assert rig.outcomes == []
    rig.loop.timers[RETURN_SECONDS]()
    assert rig.outcomes == [HookDetached()]
    assert caplog.messages == [f"on_event of task:job:a did not return and is left behind{what_comes}"]
    rig.end()
    assert rig.returned == [1]
