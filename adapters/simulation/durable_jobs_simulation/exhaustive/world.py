"""One state of a scope: engines, the store between them, what is under way, and what may happen next.

Engines, steps, hooks and the observer are the real ones. Only the order of things is not: it is what the
search chooses, one `Action` at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm
from typing import Any, NamedTuple

from attrs import define, field

from durable_jobs_core.backend import Answer, Batch, Defer, Outcome, Refused, Row, Write
from durable_jobs_core.engine import (
    Answered,
    Called,
    Cancel,
    Emit,
    Engine,
    Exchange,
    Finished,
    HookCancelled,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Input,
    Invoke,
    Nudged,
    Reply,
    Ticked,
)
from durable_jobs_core.jobs import Jobs
from durable_jobs_simulation.exhaustive import canonical
from durable_jobs_simulation.exhaustive.forking import changes, fork
from durable_jobs_simulation.exhaustive.ledger import Ledger
from durable_jobs_simulation.exhaustive.scope import Scope
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.observer import Observer
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.tasks import Ask
from durable_jobs_simulation.trace import Event, Trace
from durable_jobs_simulation.violation import Violated


class Action(NamedTuple):
    """What happens next. `at`: to which node, caller or late batch; `hook`: to which of its hooks."""

    what: str
    at: int = 0
    hook: int = 0


FAULTS = frozenset({"crash", "lose", "refuse", "raise", "timeout", "land", "nudge"})
"""What the liveness phase does without. Each but `land` has a budget in the scope, and so has `jump`."""


@define(eq=False)
class Steady:
    """Entropy without jitter, for the engine of that number: new lives differ, and no delay is drawn."""

    engine: int
    step: int
    count: int = 0

    def __call__(self) -> int:
        self.count += 1
        return canonical.LIVES // self.step * self.step + (self.engine * 1_000 + self.count) * self.step


@define(eq=False)
class Node:
    """An engine and what it waits for. `asked`: its exchange, `answer`: what the store said, if it was
    performed; `hooks`: those that run, by number; `cancelled`: those that are to end; `calls`: the callers."""

    name: str
    engine_id: int
    engine: Engine
    asked: Exchange | None = None
    answer: Answer | None = None
    hooks: dict[int, Invoke] = field(factory=dict[int, Invoke])
    cancelled: set[int] = field(factory=set[int])
    calls: dict[int, int] = field(factory=dict[int, int])
    stopping: bool = False


@define(eq=False)
class Caller:
    """One caller: how many of its requests were made, and whether the last one is open."""

    made: int = 0
    open: bool = False


@define(eq=False)
class Late:
    """A batch whose sender knows no more of it, and that may still land."""

    engine: int
    batch: Batch


class _Rot:
    """Stored rows do not rot here."""

    def after_commit(self, row: Row) -> None:
        """A row was written."""


class World:
    """A state. `left`: what is left of each budget."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.now = canonical.EPOCH
        self.releases: tuple[Jobs, ...] = (scope.jobs,)
        self.trace = Trace(seed=0, faults=Faults())
        self.rot = _Rot()
        self.keeps_trace = False
        self.made = 0
        observer: Any = Observer(self)  # type: ignore[arg-type]  # it asks little of its world
        self.observer: Observer = observer
        self.ledger = Ledger()
        self.store = Store(self.clock, self)
        self.left: dict[str, int] = dict(scope.budgets)
        self.callers = [Caller() for _ in scope.callers]
        self.late: list[Late] = []
        self.nodes: list[Node] = []
        for worker in scope.nodes:
            self.nodes.append(self._boot(worker))
        for node in self.nodes:
            while node.asked is not None:
                self._perform(node)
                self._answer(node)

    def clock(self) -> int:
        """The store's clock, and that of the nodes."""
        return self.now

    def fork(self) -> World:
        """Another world in the same state."""
        new: World = fork(self, {})
        return new

    # -- what the observer and the store ask of a world

    def say(self, lane: str, what: str, *details: object, key: Any = None, fault: bool = False) -> None:
        """A line of the trace."""
        if self.keeps_trace:
            at = self.now - canonical.EPOCH
            event = Event(self.trace.steps, at, lane, what, key, details, fault)
            self.trace.events.append(event)

    def hint(self, engine: int, wake: int | None) -> None:
        """A commit is a hint to others; here a `nudge` is an action of its own."""

    def committed(self, engine: int, write: Write, before: Any) -> None:
        """The store's word to the observer."""
        history = self.observer.history(write.key)
        was = history.record
        self.observer.committed(engine, write, before)
        self.ledger.committed(write.key, was, history.record)

    def indexed(self, key: Any) -> None:
        """The store's word to the observer."""
        self.observer.indexed(key)

    # -- what may happen

    def actions(self) -> Iterator[Action]:
        """All that may happen next."""
        for number, caller in enumerate(self.callers):
            if not caller.open and caller.made < len(self.scope.callers[number]):
                yield Action("call", number)
        for number, node in enumerate(self.nodes):
            yield from self._of_node(number, node)
        for number in range(len(self.late)):
            yield Action("land", number)
        if self.left["jump"] and self.next_at is not None:
            yield Action("jump")

    def _of_node(self, number: int, node: Node) -> Iterator[Action]:
        left = self.left
        if node.asked is not None:
            yield Action("perform" if node.answer is None else "answer", number)
            if left["lose"]:
                yield Action("lose", number)
            if left["refuse"] and node.answer is None and node.asked.batch.writes:
                yield Action("refuse", number)
        for invocation, invoke in node.hooks.items():
            yield Action("return", number, invocation)
            if invocation in node.cancelled:
                yield Action("end", number, invocation)
                continue
            if left["raise"]:
                yield Action("raise", number, invocation)
            if left["timeout"] and invoke.timeout_ms is not None:
                yield Action("timeout", number, invocation)
        if left["crash"]:
            yield Action("crash", number)
        if left["nudge"]:
            yield Action("nudge", number)

    @property
    def next_at(self) -> int | None:
        """The next instant at which anything can happen by itself, unless that is far away."""
        times = [late.batch.not_after + 1 for late in self.late]
        times += [entry for entry in self.store.entries.values() if entry > self.now]
        wakeups = (node.engine.next_wakeup for node in self.nodes)
        times += [max(wakeup, self.now) for wakeup in wakeups if wakeup is not None]
        first = min(times, default=None)
        return first if first is not None and first <= self.now + self.scope.far_ms else None

    # -- what happens

    def do(self, action: Action) -> None:
        """Let it happen. Raises `Violated`."""
        self.trace.steps += 1
        if action.what in self.left:
            self.left[action.what] -= 1
        if action.what == "call":
            self._call(action.at)
        elif action.what == "jump":
            self._jump()
        elif action.what == "land":
            late = self.late.pop(action.at)
            self.say("store", "land", fault=True)
            self.store.perform(late.engine, late.batch, _no_fault)
        elif action.what in _HOOK_ENDS:
            self._finish(self.nodes[action.at], action)
        else:
            _OF_NODES[action.what](self, self.nodes[action.at])

    def _boot(self, worker: bool) -> Node:
        self.made += 1
        scope, made = self.scope, self.made
        node_id = canonical.NODES + made
        engine = Engine(scope.jobs.by_key, node=node_id, limits=scope.limits, worker=worker)
        state, limits = engine._state, scope.limits
        state.entropy = Steady(made, lcm(512, limits.poll // 4, 26, 51, 101, 201))  # type: ignore[assignment]
        state.ids = canonical.IDS + made * canonical.STAMPS_EACH
        state.stamp = canonical.STAMPS + made * canonical.STAMPS_EACH
        state.highest = canonical.NUMBERS
        node = Node(f"{'w' if worker else 'c'}{made}", node_id, engine)
        self.observer.started(node)  # type: ignore[arg-type]
        self._pump(node)
        return node

    def _crash(self, node: Node) -> None:
        self.say(node.name, "crash", fault=True)
        for invoke in node.hooks.values():
            self.observer._running.pop((node.engine_id, invoke.id), None)
        if node.asked is not None and node.answer is None:
            self._leave(node, node.asked.batch)
        for caller in node.calls.values():
            self.callers[caller].open = False
        number = self.nodes.index(node)
        self.nodes[number] = self._boot(self.scope.nodes[number])

    def _leave(self, node: Node, batch: Batch) -> None:
        if self.scope.late and batch.not_after >= self.now and (batch.writes or batch.claim is not None):
            self.late.append(Late(node.engine_id, batch))

    def _call(self, number: int) -> None:
        caller = self.callers[number]
        at, key, request, wait_ms = self.scope.callers[number][caller.made]
        caller.made, caller.open = caller.made + 1, True
        node = self.nodes[at]
        id = 1_000 * (number + 1) + caller.made
        node.calls[id] = number
        ask = Ask(None, key, request, wait_ms, 0)
        self.observer.called(node, id, ask)  # type: ignore[arg-type]
        self.ledger.called(id, key, request)
        self._feed(node, Called(id, key, request, self.now + ask.timeout_ms, wait_ms))

    def _perform(self, node: Node) -> None:
        assert node.asked is not None, "there is an exchange"
        self.say(node.name, "perform")
        node.answer = self.store.perform(node.engine_id, node.asked.batch, _no_fault)

    def _refuse(self, node: Node) -> None:
        assert node.asked is not None, "there is an exchange"
        self.say(node.name, "refuse", fault=True)
        node.answer = self.store.perform(node.engine_id, node.asked.batch, _refused)

    def _answer(self, node: Node) -> None:
        asked, answer = node.asked, node.answer
        assert asked is not None and answer is not None, "there is an answer"
        self.say(node.name, "answer")
        node.asked = node.answer = None
        self._feed(node, Answered(asked.id, answer))

    def _lose(self, node: Node) -> None:
        asked, performed = node.asked, node.answer is not None
        assert asked is not None, "there is an exchange"
        self.say(node.name, "lost", "its answer" if performed else "the exchange", fault=True)
        node.asked = node.answer = None
        if not performed:
            self._leave(node, asked.batch)
        self._feed(node, Answered(asked.id, ConnectionError("lost")))

    def _nudge(self, node: Node) -> None:
        self._feed(node, Nudged())

    def _finish(self, node: Node, action: Action) -> None:
        invoke = node.hooks.pop(action.hook)
        node.cancelled.discard(action.hook)
        outcome = _HOOK_ENDS[action.what]
        if outcome is None:
            outcome = _run(invoke)
            if isinstance(outcome, HookReturned) and invoke.hook == "execute":
                self.ledger.ran(invoke.key, invoke.ctx._call.state)
        self.observer.finished(node, invoke, outcome)  # type: ignore[arg-type]
        self._feed(node, Finished(invoke.id, outcome))

    def _jump(self) -> None:
        at = self.next_at
        assert at is not None, "something will happen"
        self.say("world", "jump", f"{at - self.now} ms")
        self.now = at
        self.late = [late for late in self.late if late.batch.not_after >= at]
        for node in self.nodes:
            wakeup = node.engine.next_wakeup
            if wakeup is not None and wakeup <= at:
                self._feed(node, Ticked())

    def _feed(self, node: Node, input: Input) -> None:
        try:
            node.engine.feed(self.now, input)
        except Exception as error:
            raise Violated("engine", f"it raised {type(error).__name__}: {error}") from error
        self._pump(node)

    def _pump(self, node: Node) -> None:
        try:
            needs = node.engine.needs()
        except Exception as error:
            raise Violated("engine", f"it raised {type(error).__name__}: {error}") from error
        for need in needs:
            match need:
                case Exchange():
                    if node.asked is not None:
                        raise Violated("engine", "a lane has two exchanges")
                    node.asked = need
                case Invoke():
                    self.observer.invoked(node, need)  # type: ignore[arg-type]
                    node.hooks[need.id] = need
                case Cancel():
                    node.cancelled.add(need.invocation)
                case Reply():
                    self.observer.replied(node, need, heard=True)  # type: ignore[arg-type]
                    self.ledger.replied(need)
                    self.callers[node.calls.pop(need.call)].open = False
                case Emit():
                    self.observer.emitted(node, need.events)  # type: ignore[arg-type]
                case _:
                    raise Violated("engine", "it closed, unasked")

    # -- its identity

    def digest(self) -> bytes:
        """Equal for worlds that go on in the same way, as far as engines, store and ledger go."""
        teller = canonical.Teller()
        nodes = [teller.tell(node) for node in self.nodes]
        rows = [canonical.row_text(row, teller) for row in self.store.rows.values() if isinstance(row, Row)]
        rest = (self.store.entries, self.left, self.callers, self.late, self.ledger)
        return canonical.digest(nodes, "\n".join((*rows, *map(teller.tell, rest))), self.now)


def _no_fault(write: Write | Defer) -> Outcome | None:
    return None


def _refused(write: Write | Defer) -> Outcome | None:
    return Refused("no", transient=True)


def _run(invoke: Invoke) -> HookOutcome:
    """Call a hook to its end; in a scope they await nothing."""
    try:
        value = invoke.function.call(*invoke.args)
        if invoke.function.is_async:
            value.send(None)
            raise AssertionError("it awaits something")
        return HookReturned(value)
    except StopIteration as end:
        return HookReturned(end.value)
    except BaseException as error:
        return HookRaised(error)


_HOOK_ENDS: dict[str, HookOutcome | None] = {
    "return": None,
    "raise": HookRaised(ValueError("it failed")),
    "timeout": HookTimedOut(),
    "end": HookCancelled(),
}
_OF_NODES = {
    "perform": World._perform,
    "refuse": World._refuse,
    "answer": World._answer,
    "lose": World._lose,
    "crash": World._crash,
    "nudge": World._nudge,
}
changes(World, Node, Caller, Steady, Ledger, Trace)
