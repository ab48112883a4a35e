"""The search: breadth-first through all states of a scope, so that the first violation is a nearest one."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator

from attrs import define, field

from durable_jobs_core.backend import Row
from durable_jobs_simulation.exhaustive.canonical import EPOCH
from durable_jobs_simulation.exhaustive.scope import Scope
from durable_jobs_simulation.exhaustive.world import Action, World
from durable_jobs_simulation.trace import Trace
from durable_jobs_simulation.violation import Violated, Violation

REST_STEPS = 300
"""Without faults a scope comes to rest within so many actions, from anywhere in it (I-8)."""
REST_EVERY = 8
"""From one new state in so many this is tried; which ones, their digests tell."""

Progress = Callable[["Report"], None]


@define(kw_only=True)
class Report:
    """What was done of a scope. `states`: distinct ones, by digest; `actions`: from all of them together;
    `rested`: from how many it was brought to rest; `waiting`: states not gone on from; `hits`: how often
    each action was done; `violation`: the first, with its trace."""

    scope: str
    states: int = 0
    actions: int = 0
    depth: int = 0
    rested: int = 0
    waiting: int = 0
    seconds: float = 0.0
    hits: dict[str, int] = field(factory=dict[str, int])
    violation: Violation | None = None

    @property
    def finished(self) -> bool:
        """Whether every state was gone on from."""
        return self.waiting == 0 and self.violation is None

    def __str__(self) -> str:
        rate = self.states / max(self.seconds, 0.001)
        end = "finished" if self.finished else f"NOT finished, {self.waiting} states not gone on from"
        if self.violation is not None:
            end = f"VIOLATED {self.violation.invariant}: {self.violation.why}"
        return (
            f"{self.scope:<12} {self.states:>8} states  {self.actions:>8} actions  depth {self.depth:>3}  "
            f"{self.seconds:>6.1f} s  {rate:>5.0f}/s  {self.rested:>7} brought to rest  {end}"
        )


@define
class _Seen:
    """How each state was first reached: from which, and by what."""

    parents: list[int] = field(factory=list[int])
    actions: list[Action] = field(factory=list[Action])

    def add(self, parent: int, action: Action) -> int:
        self.parents.append(parent)
        self.actions.append(action)
        return len(self.parents) - 1

    def path(self, number: int) -> list[Action]:
        """The actions that lead to a state."""
        path: list[Action] = []
        while number:
            path.append(self.actions[number])
            number = self.parents[number]
        return path[::-1]


def check(
    scope: Scope,
    *,
    depth: int | None = None,
    states: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Go through all states of a scope, as far as the bounds allow, and report."""
    report, began = Report(scope=scope.name), time.monotonic()
    threshold = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        for _ in _search(scope, depth, report):
            report.seconds = time.monotonic() - began
            if progress is not None:
                progress(report)
            if states is not None and report.states >= states:
                break
            if seconds is not None and report.seconds >= seconds:
                break
    finally:
        gc.set_threshold(*threshold)
    report.seconds = time.monotonic() - began
    return report


def _search(scope: Scope, most: int | None, report: Report) -> Iterator[None]:
    """One state gone on from, at each `next`. Ends at the first violation."""
    first, seen = World(scope), _Seen()
    found = {first.digest()}
    todo = deque([(seen.add(0, Action("")), 0, first)])
    report.states = report.waiting = 1
    while todo:
        number, depth, world = todo.popleft()
        if most is not None and depth >= most:
            continue  # it stays among those that wait
        report.depth = max(report.depth, depth)
        for action in tuple(world.actions()):
            report.actions += 1
            report.hits[action.what] = report.hits.get(action.what, 0) + 1
            child = world.fork()
            try:
                child.do(action)
            except Violated:
                report.violation = _explained(scope, [*seen.path(number), action])
                return
            digest = child.digest()
            if digest in found:
                continue
            found.add(digest)
            report.states += 1
            report.waiting += 1
            todo.append((seen.add(number, action), depth + 1, child))
            if digest[0] % REST_EVERY == 0:
                report.rested += 1
                if not _rests(child):
                    report.violation = _explained(scope, [*seen.path(number), action])
                    return
        report.waiting -= 1
        yield


def _rests(world: World) -> bool:
    try:
        rest(world.fork())
    except Violated:
        return False
    return True


def rest(world: World) -> None:
    """Without faults and new requests, all that is under way ends, and what is due is done (I-8)."""
    world.left = {**dict.fromkeys(world.left, 0), "jump": REST_STEPS}
    for _ in range(REST_STEPS):
        choices = [action for action in world.actions() if action.what not in ("call", "land")]
        if all(action.what == "jump" for action in choices) and _quiet(world):
            return
        if not choices:
            break
        world.do(choices[0])
    raise Violated("I-8", f"{_undone(world)}, {REST_STEPS} actions after the last fault")


def _quiet(world: World) -> bool:
    return not _undone(world)


def _undone(world: World) -> str:
    """What is not done."""
    for node in world.nodes:
        if node.asked is not None or node.hooks or node.calls:
            return f"{node.name} is not idle"
    for row in world.store.rows.values():
        if isinstance(row, Row) and row.wake is not None and row.wake <= world.now + world.scope.far_ms:
            return f"{row.key} is due"
    return ""


def _explained(scope: Scope, path: list[Action]) -> Violation:
    """The trace that leads to a violation, made anew."""
    world = World(scope)
    world.keeps_trace = True
    trace: Trace = world.trace
    trace.setup = f"exhaustive, scope {scope.name}: {scope.what}"
    try:
        for action in path:
            world.do(action)
        world.say("world", "rest")
        rest(world)
    except Violated as violated:
        trace.violation = str(violated)
        trace.ms = world.now - EPOCH
        return Violation(violated.invariant, violated.why, trace)
    raise AssertionError("the same actions have the same end")

