"""What a benchmark is made of: measures that alternate in rounds, and the ratios between them that count."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

ACCEPTED, DRAINED, THROUGH = "accepted/s", "drained/s", "end to end/s"
TO_ACCEPT, TO_RUN = "µs to accept", "µs to run"
RATES = ACCEPTED, DRAINED, THROUGH
"""Columns: jobs only taken in; only run, from a store full of them; both, until all are done."""
PROCESSOR = {ACCEPTED: (TO_ACCEPT,), DRAINED: (TO_RUN,), THROUGH: (TO_ACCEPT, TO_RUN)}
"""Columns beside them: microseconds of processor that a job took, without a server's. Other work on the
machine changes them less."""


@frozen
class Figures:
    """What one measure gave in one round: by column, and what it said of its `settings`."""

    values: Mapping[str, float]
    settings: str = ""


Round: TypeAlias = Mapping[str, Figures]
"""By the names of the measures."""


@frozen
class Measure:
    """Something that is measured: `run` is given an empty folder and a number of jobs, and measures in
    processes of its own; `share`: of the number of jobs, for one that would take too long; `short`: whether
    it is in the short form too."""

    name: str
    run: Callable[[Path, int], Figures]
    share: float = 1.0
    short: bool = True


@frozen
class Ratio:
    """`of`: its value in one round; the worst of all rounds counts. `goal`: what it should be, or with
    `at_most` what it should not be over; `floor`: beyond that the benchmark fails. `aside`: another value,
    told beside it."""

    name: str
    of: Callable[[Round], float]
    goal: float
    at_most: bool = False
    floor: float | None = None
    aside: Callable[[Round], float] | None = None

    def worst(self, values: Iterable[float]) -> float:
        """The one that counts."""
        return max(values) if self.at_most else min(values)

    def holds(self, value: float) -> bool:
        """Whether it is not beyond its floor."""
        return self.floor is None or self.worst((value, self.floor)) == self.floor


def rates(
    name: str,
    columns: Sequence[str],
    pairs: Sequence[tuple[str, Sequence[str]]],
    goal: float,
    floor: float | None = None,
) -> Ratio:
    """Jobs a second of ours over those of the best of others in the same round, the lowest of all.

    `pairs`: names of measures, ours and those beside it, of which some may not have been measured. Told aside
    is what it would be if nothing ever waited: that says whether it is a matter of processors or of waiting.
    """

    def lowest(one: Round, rate: Callable[[Figures, str], float]) -> float:
        return min(
            rate(one[ours], column) / max(rate(one[other], column) for other in others if other in one)
            for ours, others in pairs
            for column in columns
        )

    def by_processor(figures: Figures, column: str) -> float:
        return 1 / sum(figures.values[taken] for taken in PROCESSOR[column])

    return Ratio(
        name,
        lambda one: lowest(one, lambda figures, column: figures.values[column]),
        goal,
        floor=floor,
        aside=lambda one: lowest(one, by_processor),
    )


@frozen
class Size:
    """How much is measured: rounds, and jobs in each."""

    rounds: int
    jobs: int


@frozen
class Part:
    """A part of the benchmark. `about`: a line; `short`: `None` if only the full run has it; `columns`: of
    its table, as far as a measure has figures for them; `around`: entered once for all rounds, for what they
    share."""

    name: str
    about: str
    measures: Sequence[Measure]
    ratios: Sequence[Ratio]
    full: Size
    short: Size | None = None
    columns: Sequence[str] = (*RATES, TO_ACCEPT, TO_RUN)
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@frozen
class Result:
    """A part that was measured. `aside`: what is told beside the ratios."""

    part: Part
    rounds: Sequence[Round]
    ratios: Mapping[str, float] = field()
    aside: Mapping[str, float] = field()

    @ratios.default
    def _ratios(self) -> dict[str, float]:
        return {ratio.name: ratio.worst(map(ratio.of, self.rounds)) for ratio in self.part.ratios}

    @aside.default
    def _aside(self) -> dict[str, float]:
        return {
            ratio.name: ratio.worst(map(ratio.aside, self.rounds))
            for ratio in self.part.ratios
            if ratio.aside is not None
        }

    def figure(self, name: str, column: str) -> float | None:
        """The median of the rounds; `None` if this is not measured."""
        found = [one[name].values[column] for one in self.rounds if column in one[name].values]
        return statistics.median(found) if found else None


def quantile(values: Sequence[float], share: float) -> float:
    """The least of them that so great a share does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def new_process() -> ProcessPoolExecutor:
    """A process in which no other has left anything for the garbage collector to visit.

    It does not log how durable a store is: the table tells it.
    """
    return ProcessPoolExecutor(1, get_context("spawn"), logging.disable, (logging.WARNING,))


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a new process."""
    with new_process() as process:
        return process.submit(function, *arguments).result()
