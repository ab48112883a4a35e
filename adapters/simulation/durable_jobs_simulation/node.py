"""A simulated node: a real engine, driven as a driver would, that can die, stall and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from durable_jobs_core.engine import (
    Abandoned,
    Answered,
    Called,
    Cancel,
    Closed,
    Emit,
    Engine,
    Exchange,
    HookOutcome,
    Input,
    Invoke,
    Need,
    Nudged,
    Reply,
    Stopping,
    Ticked,
)
from durable_jobs_core.errors import ClosedError, OutcomeUnknownError
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.words import Kind
from durable_jobs_simulation import leases
from durable_jobs_simulation.holds import stray
from durable_jobs_simulation.hooks import HookRun
from durable_jobs_simulation.pace import Pace
from durable_jobs_simulation.tasks import Ask, Ended
from durable_jobs_simulation.under_way import UnderWay
from durable_jobs_simulation.violation import Violated

if TYPE_CHECKING:
    from durable_jobs_simulation.world import World

_MILLION = 1_000_000

LOOK_EVERY = 8
"""In turns: how seldom what an engine holds is looked at. What is forgotten stays, and looking takes time."""


class Node:
    """One process. `life` counts its starts; what was meant for an earlier one comes to nothing.

    `engine_id`: the random identity of its engine; `stalled`: it does nothing, and `_backlog` waits.
    """

    def __init__(self, world: World, name: str, *, worker: bool) -> None:
        self.world = world
        self.name = name
        self.worker = worker
        self.life = 0
        self.up = False
        self.stalled = False
        self.stopping = False
        self.engine_id = 0
        self.jobs: Jobs
        self.kinds: tuple[Kind, ...]
        self.at: UnderWay
        self.pace: Pace
        self._turns = 0
        self._engine: Engine
        self._backlog: list[Callable[[], None]] = []
        self._hooks: dict[int, HookRun] = {}
        self._callers: dict[int, Ended] = {}
        self._calls = 0
        self._wake_at: int | None = None
        self._nudged = False
        self._clock = (0, 0, _MILLION)
        """When it was set, what it showed then, and how many millionths of a second it counts a second."""

    # -- its clock

    @property
    def t(self) -> int:
        """What its monotonic clock shows."""
        set_at, shown, speed = self._clock
        return shown + (self.world.now - set_at) * speed // _MILLION

    def _when(self, t: int) -> int:
        """The first instant at which its clock shows at least `t`."""
        set_at, shown, speed = self._clock
        return set_at + -(-(t - shown) * _MILLION // speed)

    def steady(self) -> None:
        """From here on its clock is right."""
        self._clock = (self.world.now, self.t, _MILLION)

    # -- its life

    def start(self) -> None:
        """Begin a new life."""
        world = self.world
        speed = _MILLION
        if world.fate("drift"):
            speed += world.fate.dice("drift").between(-50_000, 50_000)
        self.life += 1
        self.up, self.stalled, self.stopping = True, False, False
        self._clock = (world.now, world.identities.below(10**9), speed)
        self.engine_id = world.identities.bits()
        self.jobs, release = world.release()
        self.outdated = bool(release)
        self._engine = Engine(
            self.jobs.by_key,
            node=self.engine_id,
            lanes=world.store.lanes,
            lane=world.store.lane,
            limits=world.limits,
            worker=self.worker,
        )
        self.kinds = tuple(dict.fromkeys(kind for kind, _ in self.jobs.by_key))
        self.pace = Pace(self)
        self.at = UnderWay(self, ["drift"] * (speed != _MILLION) + ["old_release"] * self.outdated)
        self._wake_at, self._nudged = None, False
        world.observer.started(self)
        world.trace.engines[self.engine_id] = f"{self.name} life {self.life}"
        drifts = () if speed == _MILLION else (f"clock {speed / _MILLION:.3f}",)
        world.say(self.name, "start", f"life {self.life}", *release, *drifts)
        self._pump()

    def crash(self) -> None:
        """Die, at once."""
        self.world.say(self.name, "crash", fault=True)
        self._end()

    def _end(self) -> None:
        self.up = self.stalled = False
        self.life += 1
        for run in self._hooks.values():
            run.bury(self.world.graveyard.append)
            self.world.observer.hook_gone(self, run.invoke.id)
        callers, self._callers = self._callers, {}
        for answer in callers.values():
            answer(None, OutcomeUnknownError("the node died before it answered"))
        self._hooks, self._backlog = {}, []
        self.world.node_down(self)

    def stall(self, ms: int) -> None:
        """Do nothing for a while."""
        self.world.say(self.name, "stall", f"{ms} ms", fault=True)
        self.stalled = True
        self.at.strike("stall")
        self.at.lasting.append("stall")
        life = self.life
        self.world.after(ms, lambda: self.wake_up(life))

    def wake_up(self, life: int) -> None:
        """Go on, with what has come meanwhile."""
        if not (self.stalled and self.life == life):
            return
        self.world.say(self.name, "resume")
        self.stalled = False
        backlog, self._backlog = self._backlog, []
        for action in backlog:
            self.later(0, action)

    def stop(self, grace_ms: int) -> None:
        """Shut down in two phases."""
        if not self.stopping:
            self.stopping = True
            self.at.strike("redeploy")
            self.at.lasting.append("redeploy")
            self.world.say(self.name, "stop", f"grace {grace_ms} ms", fault=True)
            self.later(0, lambda: self.feed(Stopping(grace_ms)))

    # -- what happens to it, later

    def later(self, ms: int, action: Callable[[], None]) -> None:
        """Do it in so many ms: in this life, and not before it wakes up."""
        self.world.after(ms, action, self, self.life)

    def later_t(self, ms: int, action: Callable[[], None]) -> None:
        """The same, by its own clock."""
        self.later(self._when(self.t + ms) - self.world.now, action)

    def later_in(self, life: int, ms: int, action: Callable[[], None]) -> None:
        """The same, in that life."""
        self.world.after(ms, action, self, life)

    def act(self, life: int, action: Callable[[], None]) -> None:
        """Its time has come."""
        if not self.up or self.life != life:
            return
        if self.stalled:
            self._backlog.append(action)
        else:
            action()

    # -- driving the engine

    def feed(self, input: Input) -> None:
        """Feed an input and perform the needs."""
        world = self.world
        if type(input) is Answered:
            self.at.exchange = None
            self.pace.hears(input)
        try:
            self._engine.feed(self.t, input)
        except Exception as error:
            raise _raised(error) from error
        if world.routes.below(4):
            self._pump()
        else:  # other inputs may come before the needs are asked for
            self.later(world.routes.below(2), self._pump)
        if self.up and not self.stalled:
            if world.fate("stall"):
                self.stall(world.fate.dice("stall").between(100, 3 * world.limits.lease))
            elif world.fate("redeploy"):
                self.stop(world.fate.dice("redeploy").choose((0, 1_000, 10_000)))
            elif world.fate("woken"):
                self.later(world.fate.dice("woken").between(0, 1_000), self._woken)

    def _pump(self) -> None:
        while needs := self._needs():
            for need in needs:
                self.at.acts(need)
                if self.world.fate("crash"):
                    self.at.strike("crash", need)
                    self.crash()
                    return
                self._perform(need)
                if not self.up:
                    return
        self._turns += 1
        found = stray(self._engine, self.name, self._hooks) if self._turns % LOOK_EVERY == 0 else None
        if found is not None:
            raise found
        if "stall" in self.at.lasting:  # all that it held up is given
            self.at.lasting.remove("stall")
        try:
            wakeup = self._engine.next_wakeup
        except Exception as error:
            raise _raised(error) from error
        if wakeup is not None:
            self._set_timer(self._when(wakeup))

    def _needs(self) -> tuple[Need, ...]:
        try:
            needs = self._engine.needs()
        except Exception as error:
            raise _raised(error) from error
        self.pace.acts(bool(needs))
        return needs

    def _set_timer(self, at: int) -> None:
        at = max(at, self.world.now)
        if self._wake_at is not None and self.world.now <= self._wake_at <= at:
            return
        self._wake_at = at
        self.later(at - self.world.now, lambda: self._tick(at))

    def _tick(self, at: int) -> None:
        if self._wake_at == at:
            self._wake_at = None
            self.pace.ticks()
            self.feed(Ticked())

    def _perform(self, need: object) -> None:
        observer = self.world.observer
        match need:
            case Exchange():
                self.at.exchange = need
                self.pace.asks(need)
                self.world.network.exchange(self, need)
            case Invoke():
                observer.invoked(self, need)
                if need.leased:
                    leases.check_slots(self, need.key)
                run = self._hooks[need.id] = HookRun(self, need)
                run.start()
            case Cancel():
                self._cancel(need.invocation)
            case Reply():
                self.at.calls.pop(need.call, None)
                answer = self._callers.pop(need.call, None)
                observer.replied(self, need)
                if answer is not None:
                    answer(need.result, need.error)
            case Emit():
                observer.emitted(self, need.events)
            case Closed():
                self.world.say(self.name, "closed")
                self.world.prompt.closes(self)
                self._end()
            case _:
                raise Violated("engine", f"an unknown need: {need!r}")

    # -- hooks

    def _cancel(self, invocation: int) -> None:
        run = self._hooks.get(invocation)
        if run is not None:  # else its end is told already, and the two crossed
            self.world.say(self.name, "cancel", key=run.invoke.key)
            run.cancel()

    def finished(self, run: HookRun, outcome: HookOutcome) -> None:
        """A hook has ended, or is left behind."""
        self.world.observer.finished(self, run.invoke, outcome, run.injected(outcome))
        if run.invoke.leased:
            self.at.told(run.invoke.key, "completion")
        if type(outcome).__name__ != "HookDetached":
            self._gone(run)

    def returned(self, run: HookRun) -> None:
        """A hook that was left behind has returned."""
        self.world.say(self.name, "returned", key=run.invoke.key)
        self._gone(run)

    def _gone(self, run: HookRun) -> None:
        self.pace.frees(run.invoke.key)
        self._hooks.pop(run.invoke.id, None)

    @property
    def hooks(self) -> tuple[HookRun, ...]:
        """The hooks that run."""
        return tuple(self._hooks.values())

    # -- callers and hints

    @property
    def open_calls(self) -> int:
        """How many callers wait for an answer."""
        return len(self._callers)

    def call(self, ask: Ask, answer: Ended) -> None:
        """A caller's request reaches this node."""
        if not self.up or self.stopping:
            answer(None, ClosedError(f"{self.name} is down"))
            return
        self._calls += 1
        number = self._calls
        self._callers[number] = answer
        self.at.calls[number] = ask.key
        self.world.observer.called(self, number, ask)
        called = Called(
            number, ask.key, ask.request, self.t + ask.timeout_ms, wait_ms=ask.wait_ms, size=ask.size
        )
        if self.world.fate("abandoned"):
            self.later(self.world.fate.dice("abandoned").between(0, 3_000), lambda: self._abandon(number))
        self.later(0, lambda: self._take_call(called))

    def _take_call(self, called: Called) -> None:
        self.at.told(called.key, "command")
        self.feed(called)

    def _abandon(self, number: int) -> None:
        answer: Any = self._callers.pop(number, None)
        if answer is not None:
            self.world.say(self.name, "abandon", f"call {number}", fault=True)
            self.at.strike_call("abandoned", number)
            answer(None, OutcomeUnknownError("the caller went away"))
            self.feed(Abandoned(number))

    def _woken(self) -> None:
        self.at.strike("woken")
        self.feed(Ticked())

    def nudge(self, ms: int) -> None:
        """A hint that work is due; several that come together are one."""
        if self.up and not self._nudged:
            self._nudged = True
            self.later(ms, self._take_nudge)

    def _take_nudge(self) -> None:
        self._nudged = False
        self.feed(Nudged())


def _raised(error: Exception) -> Violated:
    """An engine never raises, whatever users, hooks and backends do."""
    return Violated("engine", f"it raised {type(error).__name__}: {error}")
