"""The nodes of a world: real engines, whose every turn is made once.

An engine is a function of its state and its input: whatever else there is in a world, it goes on in the same
way. So a node is never changed; fed an input, another takes its place, and worlds in which the same node is
fed the same input at the same instant get the same one. Which nodes are the same, their texts tell: names
and all, unlike those by which worlds are compared.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Hashable
from math import lcm
from typing import Any, NamedTuple, TypeAlias

from attrs import define, field

from durable_jobs_core.engine import (
    Answered,
    Called,
    Cancel,
    Closed,
    Engine,
    Exchange,
    Finished,
    HookCancelled,
    HookDetached,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Input,
    Invoke,
    Reply,
    Returned,
    Stopping,
)
from durable_jobs_core.engine.protocol import Need
from durable_jobs_simulation.exhaustive import canonical
from durable_jobs_simulation.exhaustive.forking import changes, fork
from durable_jobs_simulation.exhaustive.scope import Scope
from durable_jobs_simulation.holds import stray
from durable_jobs_simulation.violation import Violated

_KEPT = 20_000
"""So many turns are remembered, and then none, and so on."""


@define(eq=False)
class Steady:
    """Entropy without jitter, for the engine of that number: new lives differ, and no delay is drawn."""

    engine: int
    step: int
    count: int = 0

    def __call__(self) -> int:
        self.count += 1
        return canonical.LIVES // self.step * self.step + (self.engine * 1_000 + self.count) * self.step


class End(NamedTuple):
    """A hook ends: it returns, raises, is out of `time`, or ends because it was cancelled. A thread that its
    engine goes on without comes `back`."""

    what: str
    hook: int


@define(eq=False)
class Node:
    """An engine and what it waits for. `asked`: its exchange; `hooks`: those that run, by number;
    `cancelled`: those that are to end; `threads`: those left behind; `calls`: open ones; `wakeup`: when it
    wants to be ticked. `same`: equal for nodes that are the same; `part`: it, told."""

    name: str
    engine_id: int
    engine: Engine
    entropy: Steady
    asked: Exchange | None = None
    hooks: dict[int, Invoke] = field(factory=dict[int, Invoke])
    cancelled: set[int] = field(factory=set[int])
    threads: set[int] = field(factory=set[int])
    calls: set[int] = field(factory=set[int])
    stopping: bool = False
    wakeup: int | None = None
    same: bytes = b""
    part: canonical.Part = field(init=False)

    def tell(self) -> None:
        """Nothing more happens to it."""
        self.wakeup = self.engine.next_wakeup
        facts = (self.asked, self.hooks, self.cancelled, self.threads, self.calls, self.stopping)
        text, numbers = canonical.tell((self.engine_id, self.engine, *facts))
        self.part = canonical.part(text, numbers)
        whole = text.encode() + array("q", [*numbers, self.entropy.count]).tobytes()
        self.same = hashlib.blake2b(whole, digest_size=16).digest()


class Turn(NamedTuple):
    """What comes of an input: the node that takes the place of another, what it needs, the hook that has
    ended, and what it should not hold."""

    node: Node
    needs: tuple[Need, ...]
    ended: tuple[Invoke, HookOutcome] | None = None
    stray: Violated | None = None


Turns: TypeAlias = dict[Hashable, Turn]


def boot(scope: Scope, number: int, worker: bool, now: int, turns: Turns) -> Turn:
    """A new node."""
    key = (number, worker, now)
    known = turns.get(key)
    if known is None:
        known = turns[key] = _boot(scope, number, worker)
    return known


def after(node: Node, now: int, input: Input | End, turns: Turns) -> Turn:
    """What comes of an input."""
    key = (node.same, now, input)
    known = turns.get(key)
    if known is None:
        if len(turns) >= _KEPT:
            turns.clear()
        known = turns[key] = _after(fork(node, {}), now, input)
    return known


def _boot(scope: Scope, number: int, worker: bool) -> Turn:
    node_id, limits = canonical.NODES + number, scope.limits
    engine = Engine(scope.jobs.by_key, node=node_id, limits=limits, worker=worker)
    entropy: Any = Steady(number, lcm(512, limits.poll // 4, 26, 51, 101, 201))
    state = engine._state
    state.entropy = entropy
    state.ids = canonical.IDS + number * canonical.EACH
    state.stamp = canonical.STAMPS + number * canonical.EACH
    state.highest = canonical.NUMBERS
    node = Node(f"{'w' if worker else 'c'}{number}", node_id, engine, entropy)
    needs = _pump(node)
    node.tell()
    return Turn(node, needs)


def _after(node: Node, now: int, input: Input | End) -> Turn:
    ended = None
    if isinstance(input, End):
        input, ended = _end(node, input)
    match input:
        case Called():
            node.calls.add(input.call)
        case Answered():
            node.asked = None
        case Stopping():
            node.stopping = True
        case _:
            pass
    try:
        node.engine.feed(now, input)
    except Exception as error:
        raise Violated("engine", f"it raised {type(error).__name__}: {error}") from error
    needs = _pump(node)
    node.tell()
    hooks = node.hooks.keys() | node.threads
    return Turn(node, needs, ended, stray(node.engine, node.name, hooks))


def _end(node: Node, end: End) -> tuple[Input, tuple[Invoke, HookOutcome] | None]:
    """What an engine is told of the end of a hook."""
    if end.what == "back":
        node.threads.remove(end.hook)
        return Returned(end.hook), None
    invoke = node.hooks.pop(end.hook)
    node.cancelled.discard(end.hook)
    outcome = _run(invoke) if end.what == "return" else _ENDS[end.what]
    if end.what in ("timeout", "end") and in_thread(invoke):
        outcome = HookDetached()
        node.threads.add(end.hook)
    return Finished(end.hook, outcome), (invoke, outcome)


def in_thread(invoke: Invoke) -> bool:
    """Whether a hook runs in a thread, which cannot be stopped (S-15)."""
    return not (invoke.function.is_async or invoke.inline_def)


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
        return HookRaised(error.with_traceback(None))


_ENDS: dict[str, HookOutcome] = {
    "raise": HookRaised(ValueError("it failed")),
    "timeout": HookTimedOut(),
    "end": HookCancelled(),
}


def _pump(node: Node) -> tuple[Need, ...]:
    """Ask an engine for its needs, and note those that are answered later."""
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
                node.hooks[need.id] = need
            case Cancel():
                if need.invocation in node.hooks:
                    node.cancelled.add(need.invocation)
            case Reply():
                if need.call not in node.calls:
                    raise Violated("engine", f"call {need.call} was answered twice")
                node.calls.remove(need.call)
            case Closed():
                if node.calls or node.hooks or node.asked is not None:
                    raise Violated("S-67", f"{node.name} has closed and is not done")
            case _:
                pass
    return needs


changes(Node, Steady)
