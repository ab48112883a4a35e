"""One state of a scope: engines, the store between them, what is under way, and what may happen next.

Engines, steps, hooks and the observer are the real ones. Only the order of things is not: it is what the
search chooses, one `Action` at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from math import lcm
from typing import Any

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
from durable_jobs_simulation.exhaustive.parts import Action, Caller, Late, Node, Rot, Steady
from durable_jobs_simulation.exhaustive.scope import Scope
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.observer import Observer
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.tasks import Ask
from durable_jobs_simulation.trace import Event, Trace
from durable_jobs_simulation.violation import Violated


class World:
    """A state. `left`: what is left of each budget."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.now = canonical.EPOCH
        self.releases: tuple[Jobs, ...] = (scope.jobs,)
        self.trace = Trace(seed=0, faults=Faults())
        self.rot = Rot()
        self.keeps_trace = False
        self.made = 0
        observer: Any = Observer(self)  # type: ignore[arg-type]  # it asks little of its world
        self.observer: Observer = observer
        self.ledger = Ledger()
        self.store = Store(self.clock, self)
        self.far_ms = scope.far_ms
        self.left: dict[str, int] = dict(scope.budgets)
        self.callers = [Caller() for _ in scope.callers]
        self.late: list[Late] = []
        self.nodes: list[Node] = []
        self.owned: set[int] = set(range(len(scope.nodes)))
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
        """Another world in the same state. A node is shared until something happens to it."""
        new = object.__new__(World)
        new.__dict__.update(self.__dict__)
        new.store = self.store.fork(new.clock, new)
        new.observer = fork(self.observer, {id(self): new})
        new.ledger = fork(self.ledger, {})
        new.left, new.callers = self.left.copy(), fork(self.callers, {})
        new.late, new.nodes = self.late.copy(), self.nodes.copy()
        new.owned = set()
        return new

    def _own(self, number: int) -> Node:
        """A node to be changed."""
        if number not in self.owned:
            self.owned.add(number)
            self.nodes[number] = fork(self.nodes[number], {})
        return self.nodes[number]

    def _shell(self, number: int) -> Node:
        """A node of which only the exchange is changed."""
        if number not in self.owned:
            self.nodes[number] = copy(self.nodes[number])
        return self.nodes[number]

    # -- what the observer and the store ask of a world

    def say(
        self,
        lane: str,
        what: str,
        *details: object,
        key: Any = None,
        fault: bool = False,
        change: Any = None,
    ) -> None:
        """A line of the trace."""
        if self.keeps_trace:
            at = self.now - canonical.EPOCH
            event = Event(self.trace.steps, at, lane, what, key, details, fault, change)
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
        return first if first is not None and first <= self.now + self.far_ms else None

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
            self._write_all(late.engine, late.batch)
        elif action.what in _HOOK_ENDS:
            self._finish(self._own(action.at), action)
        else:
            shallow = action.what in ("perform", "refuse", "crash")
            node = self._shell(action.at) if shallow else self._own(action.at)
            _OF_NODES[action.what](self, node)

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
        for call in node.calls:
            self.ledger.open.pop(call, None)
        number = self.nodes.index(node)
        self.nodes[number] = self._boot(self.scope.nodes[number])
        self.owned.add(number)

    def _leave(self, node: Node, batch: Batch) -> None:
        if self.scope.late and batch.not_after >= self.now and (batch.writes or batch.claim is not None):
            self.late.append(Late(node.engine_id, batch))

    def _call(self, number: int) -> None:
        caller = self.callers[number]
        at, key, request, wait_ms = self.scope.callers[number][caller.made]
        caller.made, caller.open = caller.made + 1, True
        node = self._own(at)
        id = 1_000 * (number + 1) + caller.made
        node.calls[id] = number
        ask = Ask(None, key, request, wait_ms, 0)
        self.observer.called(node, id, ask)  # type: ignore[arg-type]
        self.ledger.called(id, key, request)
        self._feed(node, Called(id, key, request, self.now + ask.timeout_ms, wait_ms))

    def _perform(self, node: Node) -> None:
        assert node.asked is not None, "there is an exchange"
        self.say(node.name, "perform")
        node.answer = self._write_all(node.engine_id, node.asked.batch)

    def _write_all(self, engine: int, batch: Batch) -> Answer:
        return self.store.perform(
            engine, batch, lambda write: self.store.write(engine, write, batch.not_after)
        )

    def _refuse(self, node: Node) -> None:
        assert node.asked is not None, "there is an exchange"
        self.say(node.name, "refuse", fault=True)
        node.answer = self.store.perform(node.engine_id, node.asked.batch, _refused)

    def _answer(self, node: Node) -> None:
        asked, answer = node.asked, node.answer
        assert asked is not None, "there is an exchange"
        assert answer is not None, "it was performed"
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
        for number, node in enumerate(self.nodes):
            wakeup = node.engine.next_wakeup
            if wakeup is not None and wakeup <= at:
                self._feed(self._own(number), Ticked())

    def _feed(self, node: Node, input: Input) -> None:
        node.text = None
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
        nodes = [node.tell(teller) for node in self.nodes]
        rows = [canonical.row_text(row, teller) for row in self.store.rows.values() if isinstance(row, Row)]
        rest = (self.store.entries, self.left, self.callers, self.late, self.ledger)
        return canonical.digest(nodes, "\n".join((*rows, *map(teller.tell, rest))), self.now)


def _refused(write: Write | Defer) -> Outcome:
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
changes(World)  # the observer of a fork is to know it
