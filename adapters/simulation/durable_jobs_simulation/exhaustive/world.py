"""One state of a scope: engines, the store between them, what is under way, and what may happen next.

Engines, steps, hooks and the observer are the real ones. Only the order of things is not: it is what the
search chooses, one `Action` at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from durable_jobs_core.backend import Answer, Batch, Damaged, Defer, Outcome, Refused, Row, Write
from durable_jobs_core.engine import (
    Answered,
    Called,
    Closed,
    Emit,
    HookOutcome,
    HookReturned,
    Input,
    Invoke,
    Nudged,
    Reply,
    Stopping,
    Ticked,
)
from durable_jobs_simulation.exhaustive import canonical
from durable_jobs_simulation.exhaustive.forking import fork
from durable_jobs_simulation.exhaustive.ledger import Ledger
from durable_jobs_simulation.exhaustive.nodes import End, Node, Turn, after, boot
from durable_jobs_simulation.exhaustive.parts import Action, Caller, Late, Seat
from durable_jobs_simulation.exhaustive.scope import GRACE_MS, Scope
from durable_jobs_simulation.exhaustive.stage import Stage
from durable_jobs_simulation.observer import Observer
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.tasks import Ask

CALLS_EACH = 1_000
"""Calls of one caller have numbers before those of the next."""


class World:
    """A state. `left`: what is left of each budget; `mine`: what no other world has, and so may change."""

    __slots__ = (
        "callers",
        "far_ms",
        "late",
        "ledger",
        "left",
        "made",
        "mine",
        "now",
        "observer",
        "scope",
        "seats",
        "stage",
        "store",
    )

    def __init__(self, scope: Scope, *, keeps_trace: bool = False) -> None:
        stage = self.stage = Stage(scope, keeps_trace=keeps_trace)
        stage.world = self
        self.scope, self.now, self.far_ms, self.made = scope, canonical.EPOCH, scope.far_ms, 0
        self.observer, self.ledger = Observer(stage), Ledger()
        self.store = Store(stage.clock, stage)
        self.mine: tuple[str, ...] = ("observer", "ledger", "store")
        self.left = dict(scope.budgets)
        self.callers = tuple(Caller() for _ in scope.callers)
        self.late: tuple[Late, ...] = ()
        self.seats: tuple[Seat, ...] = ()
        for number, worker in enumerate(scope.nodes):
            self.seats += (Seat(self._boot(worker).node),)
            while self.seats[number].node.asked is not None:
                self._perform(number)
                self._answer(number)

    def fork(self) -> World:
        """Another world in the same state. What they share is not changed by either from here on."""
        new = object.__new__(World)
        for name, put in _SLOTS:
            put(new, getattr(self, name))
        self.mine = new.mine = ()
        return new

    def _own(self, what: str) -> None:
        """Before the observer, the ledger or the store changes."""
        if what not in self.mine:
            self.mine += (what,)
            old = getattr(self, what)
            stage = self.stage
            setattr(self, what, old.fork(stage.clock, stage) if what == "store" else fork(old, {}))

    def committed(self, engine: int, write: Write, before: Row | Damaged | None) -> None:
        """A write has taken effect."""
        self._own("observer")
        self._own("ledger")
        history = self.observer.history(write.key)
        was = history.record
        self.observer.committed(engine, write, before)
        self.ledger.committed(write.key, was, history.record)

    # -- what may happen

    def actions(self) -> Iterator[Action]:
        """All that may happen next."""
        for number, caller in enumerate(self.callers):
            requests = self.scope.callers[number]
            if not caller.open and caller.made < len(requests):
                if not self.seats[requests[caller.made][0]].stalled:
                    yield Action("call", number)
        for number, seat in enumerate(self.seats):
            if seat.node.asked is not None and seat.answer is None:
                yield Action("perform", number)
            yield from (Action("resume", number),) if seat.stalled else self._of_node(number, seat)
        for number in range(len(self.late)):
            yield Action("land", number)
        if self.left["jump"] and self.next_at is not None:
            yield Action("jump")

    def _of_node(self, number: int, seat: Seat) -> Iterator[Action]:
        left, node = self.left, seat.node
        if node.asked is not None:
            if seat.answer is not None:
                yield Action("answer", number)
            if left["lose"]:
                yield Action("lose", number)
            if left["refuse"] and seat.answer is None and node.asked.batch.writes:
                yield Action("refuse", number)
        for id, invoke in node.hooks.items():
            yield Action("return", number, id)
            if id in node.cancelled:
                yield Action("end", number, id)
                continue
            if left["raise"]:
                yield Action("raise", number, id)
            if left["timeout"] and invoke.timeout_ms is not None:
                yield Action("timeout", number, id)
        for id in node.threads:
            yield Action("back", number, id)
        for what in ("crash", "nudge", "stall"):
            if left[what]:
                yield Action(what, number)
        if left["stop"] and not node.stopping:
            yield Action("stop", number)

    @property
    def next_at(self) -> int | None:
        """The next instant at which anything can happen by itself, unless that is far away."""
        times = [late.batch.not_after + 1 for late in self.late]
        times += [entry for entry in self.store.entries.values() if entry > self.now]
        for seat in self.seats:
            if not seat.stalled and seat.node.wakeup is not None:
                times.append(max(seat.node.wakeup, self.now))
        first = min(times, default=None)
        return first if first is not None and first <= self.now + self.far_ms else None

    # -- what happens

    def do(self, action: Action) -> None:
        """Let it happen. Raises `Violated`."""
        self.stage.world = self
        self.stage.trace.steps += 1
        if action.what in self.left:
            self.left = {**self.left, action.what: self.left[action.what] - 1}
        if action.what in _ENDS:
            self._feed(action.at, End(action.what, action.hook))
        elif action.what == "jump":
            self._jump()
        else:
            _DOES[action.what](self, action.at)

    def _boot(self, worker: bool) -> Turn:
        self.made += 1
        turn = boot(self.scope, self.made, worker, self.now, self.stage.turns)
        self._own("observer")
        self.observer.started(turn.node)
        return turn

    def _restart(self, number: int) -> None:
        self._seat(number, Seat(self._boot(self.scope.nodes[number]).node))

    def _seat(self, number: int, seat: Seat) -> None:
        self.seats = (*self.seats[:number], seat, *self.seats[number + 1 :])

    def _crash(self, number: int) -> None:
        node, answer, _ = self.seats[number]
        self.stage.say(node.name, "crash", fault=True)
        self._own("observer")
        self._own("ledger")
        for id in node.hooks:
            self.observer.hook_gone(node, id)
        if node.asked is not None and answer is None:
            self._leave(node.engine_id, node.asked.batch)
        for call in node.calls:
            self._close(call)
            self.ledger.open.pop(call, None)
        self._restart(number)

    def _leave(self, engine: int, batch: Batch) -> None:
        if self.scope.late and batch.not_after >= self.now and (batch.writes or batch.claim is not None):
            self.late += (Late(engine, batch),)

    def _land(self, number: int) -> None:
        late = self.late[number]
        self.late = (*self.late[:number], *self.late[number + 1 :])
        self.stage.say("store", "land", fault=True)
        self._write_all(late.engine, late.batch)

    def _call(self, number: int) -> None:
        made = self.callers[number].made
        at, key, request, wait_ms = self.scope.callers[number][made]
        self._callers(number, Caller(made + 1, open=True))
        id = CALLS_EACH * (number + 1) + made
        ask = Ask(None, key, request, wait_ms, 0)
        self._own("observer")
        self._own("ledger")
        self.observer.called(self.seats[at].node, id, ask)
        self.ledger.called(id, key, request)
        self._feed(at, Called(id, key, request, self.now + ask.timeout_ms, wait_ms))

    def _close(self, call: int) -> None:
        number = call // CALLS_EACH - 1
        self._callers(number, Caller(self.callers[number].made))

    def _callers(self, number: int, caller: Caller) -> None:
        self.callers = (*self.callers[:number], caller, *self.callers[number + 1 :])

    def _perform(self, number: int) -> None:
        seat = self.seats[number]
        assert seat.node.asked is not None, "there is an exchange"
        self.stage.say(seat.node.name, "perform")
        answer = self._write_all(seat.node.engine_id, seat.node.asked.batch)
        self._seat(number, seat._replace(answer=answer))

    def _write_all(self, engine: int, batch: Batch) -> Answer:
        self._own("store")
        return self.store.perform(batch, lambda write: self.store.write(engine, write, batch.not_after))

    def _refuse(self, number: int) -> None:
        seat = self.seats[number]
        assert seat.node.asked is not None, "there is an exchange"
        self.stage.say(seat.node.name, "refuse", fault=True)
        self._own("store")
        answer = self.store.perform(seat.node.asked.batch, _refused)
        self._seat(number, seat._replace(answer=answer))

    def _answer(self, number: int) -> None:
        node, answer, _ = self.seats[number]
        assert node.asked is not None, "there is an exchange"
        assert answer is not None, "it was performed"
        self.stage.say(node.name, "answer")
        self._feed(number, Answered(node.asked.id, answer))

    def _lose(self, number: int) -> None:
        node, answer, _ = self.seats[number]
        assert node.asked is not None, "there is an exchange"
        self.stage.say(node.name, "lost", "the exchange" if answer is None else "its answer", fault=True)
        if answer is None:
            self._leave(node.engine_id, node.asked.batch)
        self._feed(number, Answered(node.asked.id, _LOST))

    def _nudge(self, number: int) -> None:
        self._feed(number, Nudged())

    def _stop(self, number: int) -> None:
        self.stage.say(self.seats[number].node.name, "stop", f"grace {GRACE_MS} ms", fault=True)
        self._feed(number, Stopping(GRACE_MS))

    def _stall(self, number: int) -> None:
        seat = self.seats[number]
        self.stage.say(seat.node.name, "stall", fault=True)
        self._seat(number, seat._replace(stalled=True))

    def _resume(self, number: int) -> None:
        seat = self.seats[number]
        self.stage.say(seat.node.name, "resume")
        self._seat(number, seat._replace(stalled=False))
        if seat.node.wakeup is not None and seat.node.wakeup <= self.now:
            self._feed(number, Ticked())

    def _jump(self) -> None:
        at = self.next_at
        assert at is not None, "something will happen"
        self.stage.say("world", "jump", f"{at - self.now} ms")
        self.now = at
        self.late = tuple(late for late in self.late if late.batch.not_after >= at)
        for number, seat in enumerate(self.seats):
            if not seat.stalled and seat.node.wakeup is not None and seat.node.wakeup <= at:
                self._feed(number, Ticked())

    def _feed(self, number: int, input: Input | End) -> None:
        """A node takes its turn, and what it needs is performed, or waits in it."""
        seat = self.seats[number]
        turn = after(seat.node, self.now, input, self.stage.turns)
        node = turn.node
        answer = None if isinstance(input, Answered) else seat.answer
        self._seat(number, Seat(turn.node, answer))
        if turn.ended is not None:
            self._ended(node, *turn.ended)
        for need in turn.needs:
            match need:
                case Invoke():
                    self._own("observer")
                    self.observer.invoked(node, need)
                case Reply():
                    self._own("observer")
                    self._own("ledger")
                    self.observer.replied(node, need)
                    self.ledger.replied(need)
                    self._close(need.call)
                case Emit():
                    self._own("observer")
                    self.observer.emitted(node, need.events)
                case Closed():
                    self.stage.say(node.name, "closed")
                    self._restart(number)
                case _:
                    pass
        if turn.stray is not None:
            raise turn.stray

    def _ended(self, node: Node, invoke: Invoke, outcome: HookOutcome) -> None:
        if isinstance(outcome, HookReturned) and invoke.hook == "execute":
            self._own("ledger")
            self.ledger.ran(invoke.key, invoke.ctx._call.state)
        self._own("observer")
        self.observer.finished(node, invoke, outcome)

    # -- its identity

    def digest(self) -> bytes:
        """Equal for worlds that go on in the same way, as far as engines, store and ledger go."""
        self.mine = ()  # what is told once is not changed
        nodes = tuple([seat.tell() for seat in self.seats])
        rows = [row for row in self.store.rows.values() if isinstance(row, Row)]
        rest = (*rows, *self.late, self.store.entries, self.left, self.callers, self.ledger)
        return canonical.digest(nodes, tuple([canonical.part_of(x) for x in rest]), self.now)


def _refused(write: Write | Defer) -> Outcome:
    return Refused("no", transient=True)


_SLOTS = tuple((name, getattr(World, name).__set__) for name in World.__slots__)
_LOST = ConnectionError("lost")
_ENDS = ("return", "raise", "timeout", "end", "back")
_DOES: dict[str, Callable[[World, int], None]] = {
    "call": World._call,
    "perform": World._perform,
    "refuse": World._refuse,
    "answer": World._answer,
    "lose": World._lose,
    "land": World._land,
    "crash": World._crash,
    "nudge": World._nudge,
    "stop": World._stop,
    "stall": World._stall,
    "resume": World._resume,
}
