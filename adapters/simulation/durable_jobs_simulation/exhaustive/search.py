"""The search: breadth-first through all states of a scope, so that the first violation is a nearest one."""

from __future__ import annotations

import resource
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator

from attrs import define, field

from durable_jobs_core.backend import Row
from durable_jobs_simulation.exhaustive.canonical import EPOCH
from durable_jobs_simulation.exhaustive.parts import Action
from durable_jobs_simulation.exhaustive.scope import Scope
from durable_jobs_simulation.exhaustive.world import World
from durable_jobs_simulation.simulation import uncollected
from durable_jobs_simulation.trace import Trace
from durable_jobs_simulation.violation import Violated, Violation

REST_STEPS = 300
"""Without faults a scope comes to rest within so many actions, from anywhere in it (I-8)."""
REST_FAR_MS = 30 * 60_000
"""What is due within half an hour is done then; the next tick of an hourly job is not waited for."""

Progress = Callable[["Report"], None]


@define(kw_only=True)
class Report:
    """What was done of a scope. `states`: distinct ones, by digest; `actions`: from all of them together;
    `rested`: from how many it was brought to rest; `waiting`: states not gone on from; `hits`: how often
    each action was done; `gib`: the most memory it took; `violation`: the first, with its trace."""

    scope: str
    states: int = 0
    actions: int = 0
    depth: int = 0
    rested: int = 0
    waiting: int = 0
    seconds: float = 0.0
    gib: float = 0.0
    hits: dict[str, int] = field(factory=dict[str, int])
    violation: Violation | None = None
    nearest: int | None = None

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
            f"{self.seconds:>6.1f} s  {rate:>5.0f}/s  {self.gib:.1f} GiB  "
            f"{self.rested:>6} brought to rest  {end}"
        )


@define
class _Seen:
    """How each state was first reached: from which, and by what. Few bytes each."""

    parents: array[int] = field(factory=lambda: array("I"))
    actions: array[int] = field(factory=lambda: array("H"))
    kinds: dict[Action, int] = field(factory=dict[Action, int])

    def add(self, parent: int, action: Action) -> int:
        """A new state; its number."""
        self.parents.append(parent)
        self.actions.append(self.kinds.setdefault(action, len(self.kinds)))
        return len(self.parents) - 1

    def path(self, number: int) -> list[Action]:
        """The actions that lead to a state."""
        kinds, path = list(self.kinds), list[Action]()
        while number:
            path.append(kinds[self.actions[number]])
            number = self.parents[number]
        return path[::-1]


def check(
    scope: Scope,
    *,
    depth: int | None = None,
    states: int | None = None,
    seconds: float | None = None,
    gib: float | None = None,
    progress: Progress | None = None,
) -> Report:
    """Go through all states of a scope, as far as the bounds allow, and report."""
    report, began = Report(scope=scope.name), time.monotonic()
    with uncollected():
        for turn, _ in enumerate(_search(scope, depth, report)):
            report.seconds = time.monotonic() - began
            if turn % 256 == 0:
                report.gib = peak_gib()
            if progress is not None:
                progress(report)
            bounds = (states, report.states), (seconds, report.seconds), (gib, report.gib)
            if any(most is not None and done >= most for most, done in bounds):
                break
    report.seconds, report.gib = time.monotonic() - began, peak_gib()
    return report


def peak_gib() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


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
        for action in tuple(world.actions()):
            report.actions += 1
            report.hits[action.what] = report.hits.get(action.what, 0) + 1
            child = world.fork()
            try:
                child.do(action)
            except Violated:
                _tell(report, scope, [*seen.path(number), action])
                return
            digest = child.digest()
            if digest in found:
                continue
            found.add(digest)
            report.states += 1
            report.waiting += 1
            report.depth = depth + 1
            todo.append((seen.add(number, action), depth + 1, child))
            if digest[0] % scope.rest_every == 0:
                report.rested += 1
                if not _rests(child):
                    _tell(report, scope, [*seen.path(number), action])
                    return
        report.waiting -= 1
        yield


def _tell(report: Report, scope: Scope, path: list[Action]) -> None:
    report.violation, report.nearest = _explained(scope, path), len(path)


def _rests(world: World) -> bool:
    try:
        rest(world.fork())
    except Violated:
        return False
    return True


def rest(world: World) -> None:
    """Without faults and new requests, all that is under way ends, and what is due is done (I-8)."""
    world.far_ms = REST_FAR_MS
    world.left = {**dict.fromkeys(world.left, 0), "jump": REST_STEPS}
    for _ in range(REST_STEPS):
        choice = next((action for action in world.actions() if action.what not in ("call", "land")), None)
        if (choice is None or choice.what == "jump") and not _undone(world):
            return
        if choice is None:
            break
        world.do(choice)
    raise Violated("I-8", f"{_undone(world)}, {REST_STEPS} actions after the last fault")


def _undone(world: World) -> str:
    """What is not done."""
    for node, _, _ in world.seats:
        if node.asked is not None or node.hooks or node.threads or node.calls:
            return f"{node.name} is not idle"
    for row in world.store.rows.values():
        if isinstance(row, Row) and row.wake is not None and row.wake <= world.now + world.far_ms:
            return f"{row.key} is due"
    return ""


def _explained(scope: Scope, path: list[Action]) -> Violation:
    """The trace that leads to a violation, made anew."""
    world = World(scope, keeps_trace=True)
    trace: Trace = world.stage.trace
    trace.setup = f"exhaustive, scope {scope.name}: {scope.what}"
    try:
        for action in path:
            world.do(action)
        world.stage.say("world", "rest")
        rest(world)
    except Violated as violated:
        trace.violation = str(violated)
        trace.ms = world.now - EPOCH
        return Violation(violated.invariant, violated.why, trace)
    raise AssertionError("the same actions have the same end")
