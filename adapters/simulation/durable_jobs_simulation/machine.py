"""A Hypothesis state machine over a simulation: you write rules, and a failing run shrinks to few of them.

    class Ordering(JobsMachine):
        def make_jobs(self):
            self.bank = FakeBank()
            return make_jobs(self.bank)

        @rule(id=st.sampled_from("ab"))
        def order(self, id):
            self.ask(self.client.task("orders").send(id, Order(100)))

        @invariant()
        def nobody_pays_twice(self):
            assert self.bank.doubled == []

    TestOrdering = Ordering.TestCase

Rules that let time pass, a little or to the next alarm, and that crash a node are there already. Between
rules the world stands still. I-1 to I-9 are checked all the time; when the rules are over, all that is due is
done, and `at_end` is called. What fails is shown with its last events.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from durable_jobs_core.backend import Row
from durable_jobs_core.client import Client
from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_core.engine import Limits
from durable_jobs_simulation.arguments import ManyJobs
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.invariants import nothing_given
from durable_jobs_simulation.node import Node
from durable_jobs_simulation.simulation import Simulation, begin, entered, settle
from durable_jobs_simulation.strategies import spans
from durable_jobs_simulation.tasks import Ask, SimulationError, Sleep, Task
from durable_jobs_simulation.trace import Trace

T = TypeVar("T")

MOMENTS: dict[str, Callable[[Node], bool]] = {
    "now": lambda node: True,
    "a hook has ended": lambda node: any(run.untold for run in node.hooks),
    "a hook runs": lambda node: any(not run.ended for run in node.hooks),
}
"""When a node may be made to crash."""
_AWAITED_MS = 60_000
_POLLS_MAX = 5_000
"""How often idle workers look for work until the next alarm: a second or two."""
_SHOWN = 30
"""Events of a failing run."""
_ANY_WORKER = st.runner().flatmap(lambda machine: st.sampled_from(machine.workers))


class JobsMachine(RuleBasedStateMachine):
    """Base of a state machine whose rules act on simulated nodes.

    Define `make_jobs`, rules, and invariants. `nodes`, `clients`, `faults`, `limits` and `seed` are those
    of `simulate`; by default nothing goes wrong but what the rules do, and idle workers seldom look for
    work, so that days take little time.
    """

    nodes: ClassVar[int] = 1
    clients: ClassVar[int] = 1
    faults: ClassVar[Faults] = Faults()
    limits: ClassVar[Limits] = Limits(poll=600_000)
    seed: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._outside = sys.exception()
        self.sim: Simulation = begin(
            self.make_jobs(),
            seed=self.seed,
            faults=self.faults,
            nodes=self.nodes,
            clients=self.clients,
            limits=self.limits,
        )
        self._world = self.sim._world
        self._let_pass(1)  # the nodes start

    def make_jobs(self) -> ManyJobs:
        """The jobs, or a function that makes them for each node that starts; and all that their hooks reach,
        made anew: what they note is of one run."""
        raise NotImplementedError(f"{type(self).__name__} defines no make_jobs")

    def at_end(self) -> None:
        """Override it to assert what holds once all that was due is done, without faults."""

    # -- for your rules

    @property
    def client(self) -> Client:
        """Typed requests, to be given to `ask`: they go to any node that is up, workers or not."""
        return self.sim.client

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of the workers: `w1`, `w2`, …"""
        return tuple(node.name for node in self._world.nodes if node.worker)

    @property
    def trace(self) -> Trace:
        """What has happened so far."""
        return self._world.trace

    @property
    def next_alarm(self) -> int | None:
        """In how many milliseconds the next instance is due, if one is to be and it is not too far."""
        now, rows = self._world.now, self._world.store.rows.values()
        wakes = [row.wake for row in rows if isinstance(row, Row) and row.wake is not None and row.wake > now]
        ms = min(wakes, default=now) - now
        return ms if 0 < ms <= _POLLS_MAX * self._world.limits.poll else None

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a request, or any coroutine that a scenario could run, to its end: its result, or its error
        raised. Virtual time passes meanwhile."""
        done: list[tuple[Any, BaseException | None]] = []
        with entered(self.sim):
            task = Task("a rule", coroutine, self._want, lambda value, error: done.append((value, error)))
            task.resume(0)
            while not done:
                if not self._world.step():
                    raise SimulationError("a rule waits for something, and nothing will happen any more")
        value, error = done[0]
        if error is not None:
            raise error
        result: T = value
        return result

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run something beside the rules. What a request raises ends it; if nothing has gone wrong before,
        neither a fault nor a crash, it fails the run."""
        with entered(self.sim):
            self.sim.spawn(coroutine)

    # -- rules that are there already

    @rule(span=spans())
    def time_passes(self, span: Duration) -> None:
        """So long, and what is due in it happens."""
        self._let_pass(to_ms(span, "span"))

    @rule()
    def next_alarm_comes(self) -> None:
        """The time until the next instance is due, be it days, and a second more, in which it begins."""
        self._let_pass((self.next_alarm or 0) + 1_000)

    @rule(node=_ANY_WORKER, when=st.sampled_from(tuple(MOMENTS)))
    def node_crashes(self, node: str, when: str = "now") -> None:
        """A worker dies: `now`, or when `a hook runs` or `a hook has ended` on it, which is not committed
        then. It comes back within 20 s. Nothing of the kind in a minute, and it lives."""
        (chosen,) = (one for one in self._world.nodes if one.name == node)
        if self._let_pass(_AWAITED_MS, until=lambda: chosen.up and MOMENTS[when](chosen)):
            self._world.fate.note("crash")
            with entered(self.sim):
                chosen.crash()

    def teardown(self) -> None:
        """All that is due is done, and the end is checked: unless the run has failed already."""
        try:
            if not self._failed:
                with entered(self.sim):
                    self._world.still()
                    settle(self.sim)
                end: Callable[[], object] = self.at_end
                nothing_given("at_end", end())
        finally:
            if self._failed and hypothesis.currently_in_test_context():
                hypothesis.note(self.trace.story(last=_SHOWN))
            self.sim._bury()

    @property
    def _failed(self) -> bool:
        return self.trace.violation is not None or sys.exception() is not self._outside

    def _let_pass(self, ms: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Whether `until` came true within that time."""
        world = self._world
        end = world.now + ms
        world.after(ms, lambda: None)
        with entered(self.sim):
            while not until():
                if not world.goes_on(end):
                    return False
                world.step()
        return True

    def _want(self, task: Task, wanted: Sleep | Ask) -> None:
        self.sim._want(task, wanted)
