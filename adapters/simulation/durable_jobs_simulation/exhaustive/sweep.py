"""Many scopes within one budget, each in a process of its own: its memory is its own, and is given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from attrs import define, field, frozen

from durable_jobs_simulation.exhaustive.scopes import SCOPES
from durable_jobs_simulation.exhaustive.search import Report, check

TOLD_S = 1.0
"""A process tells so often how far it is."""


@frozen(kw_only=True)
class Budget:
    """At most so many distinct states, and so long, in all; so much memory of all processes together; so
    many actions in a row. `None`: no matter."""

    states: int | None = None
    seconds: float | None = None
    gib: float | None = None
    depth: int | None = None


@define
class Sweep:
    """How far it is. `ended`: what is said of scopes that were gone through; `running`: of the others."""

    budget: Budget
    processes: int
    began: float = field(factory=time.monotonic)
    ended: list[Report] = field(factory=list[Report])
    running: dict[str, Report] = field(factory=dict[str, Report])
    allotted: dict[str, int] = field(factory=dict[str, int])

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def states(self) -> int:
        """Distinct states so far."""
        return sum(report.states for report in (*self.ended, *self.running.values()))

    def share(self, name: str, waiting: int) -> dict[str, Any]:
        """What a scope may take, `waiting` of them not begun: an equal part of the states that are left, and
        what it does not take is left to those after it; all the time that is left."""
        budget = self.budget
        bounds: dict[str, Any] = {"depth": budget.depth}
        if budget.states is not None:
            gone = sum(report.states for report in self.ended) + sum(self.allotted.values())
            self.allotted[name] = bounds["states"] = max(1, (budget.states - gone) // waiting)
        if budget.seconds is not None:
            bounds["seconds"] = max(0.0, budget.seconds - self.seconds)
        if budget.gib is not None:
            bounds["gib"] = budget.gib / self.processes
        return bounds

    def end(self, report: Report) -> Report:
        """A scope was gone through, or cut off."""
        self.running.pop(report.scope, None)
        self.allotted.pop(report.scope, None)
        self.ended.append(report)
        return report


def sweep(names: Sequence[str], run: Sweep, show: Callable[[Sweep], None]) -> Iterator[Report]:
    """Go through scopes, those that are named first before the others. Gives what is said of each."""
    if run.processes == 1:
        for number, name in enumerate(names):
            bounds = run.share(name, len(names) - number)
            yield run.end(
                check(SCOPES[name], **bounds, progress=_telling(lambda told: _tell(run, told, show)))
            )
        return
    context = get_context("spawn")
    told = context.SimpleQueue()
    with ProcessPoolExecutor(
        run.processes, context, initializer=_connect, initargs=(told,), max_tasks_per_child=1
    ) as pool:
        todo, futures = list(names), set[Future[Report]]()
        while todo or futures:
            while todo and len(futures) < run.processes:
                bounds = run.share(todo[0], len(todo))
                futures.add(pool.submit(_check, todo.pop(0), bounds))
            done, futures = wait(futures, TOLD_S, FIRST_COMPLETED)
            while not told.empty():
                _tell(run, told.get(), show)
            for future in done:
                yield run.end(future.result())


def _tell(run: Sweep, report: Report, show: Callable[[Sweep], None]) -> None:
    if all(ended.scope != report.scope for ended in run.ended):
        run.running[report.scope] = report
    show(run)


def _telling(tell: Callable[[Report], None]) -> Callable[[Report], None]:
    """Tells now and then."""
    last = 0.0

    def progress(report: Report) -> None:
        nonlocal last
        if time.monotonic() - last > TOLD_S:
            last = time.monotonic()
            tell(report)

    return progress


# -- in a process of its own

_told: Any = None


def _connect(told: Any) -> None:
    global _told
    _told = told


def _check(name: str, bounds: dict[str, Any]) -> Report:
    return check(SCOPES[name], **bounds, progress=_telling(_told.put))
