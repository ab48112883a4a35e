"""What a benchmark is made of: measures that alternate in rounds, and the ratios between them that count."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

ACCEPTED, DRAINED, THROUGH = "accepted", "drained", "end to end"
WHAT = ACCEPTED, DRAINED, THROUGH
"""Only taken in; only run, from a store full of them; both, until all are done. In jobs a second."""


@frozen
class Figures:
    """What one measure gave in one round.

    `rates`: jobs a second; `settings`: what it said of them; `processor`: microseconds of it that a job took,
    which other work on the machine changes less; that of a server is not in it.
    """

    rates: Mapping[str, float]
    settings: str = ""
    processor: Mapping[str, float] = field(factory=dict[str, float])

    def taken(self, what: str) -> float:
        """Microseconds of processor a job; end to end is both."""
        return sum(self.processor[one] for one in ((ACCEPTED, DRAINED) if what == THROUGH else (what,)))


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
    """What is done by ours, over what is done by the best of others in the same round; the lowest counts.

    `pairs`: names of measures, ours and those beside it, of which some may not have been measured; `goal`:
    what it should be; `floor`: below it the benchmark fails.
    """

    name: str
    what: Sequence[str]
    pairs: Sequence[tuple[str, Sequence[str]]]
    goal: float
    floor: float = 0.0

    def of(self, rounds: Sequence[Round]) -> float:
        """The lowest of all rounds, pairs and rates."""
        return self._lowest(rounds, lambda figures, what: figures.rates[what])

    def by_processor(self, rounds: Sequence[Round]) -> float:
        """The same, if jobs a second were those that a processor alone would do: it says whether a ratio is a
        matter of processors or of waiting, and tells more than `of` on a machine with other work."""
        return self._lowest(rounds, lambda figures, what: 1 / figures.taken(what))

    def _lowest(self, rounds: Sequence[Round], rate: Callable[[Figures, str], float]) -> float:
        return min(
            rate(one[ours], what) / max(rate(one[other], what) for other in others if other in one)
            for one in rounds
            for ours, others in self.pairs
            for what in self.what
        )


@frozen
class Size:
    """How much is measured: rounds, and jobs in each."""

    rounds: int
    jobs: int


@frozen
class Part:
    """A part of the benchmark. `about`: a line; `short`: `None` if only the full run has it."""

    name: str
    about: str
    measures: Sequence[Measure]
    ratios: Sequence[Ratio]
    full: Size
    short: Size | None = None


@frozen
class Result:
    """A part that was measured."""

    part: Part
    rounds: Sequence[Round]
    ratios: Mapping[str, float] = field()
    by_processor: Mapping[str, float] = field()

    @ratios.default
    def _ratios(self) -> dict[str, float]:
        return {ratio.name: ratio.of(self.rounds) for ratio in self.part.ratios}

    @by_processor.default
    def _by_processor(self) -> dict[str, float]:
        return {ratio.name: ratio.by_processor(self.rounds) for ratio in self.part.ratios}

    def rate(self, name: str, what: str) -> float | None:
        """Jobs a second, the median of the rounds; `None` if this is not measured."""
        return _median(one[name].rates.get(what) for one in self.rounds)

    def processor(self, name: str, what: str) -> float | None:
        """Microseconds a job, the median of the rounds; `None` if this is not measured."""
        return _median(one[name].processor.get(what) for one in self.rounds)


def _median(found: Iterable[float | None]) -> float | None:
    figures = [figure for figure in found if figure is not None]
    return statistics.median(figures) if figures else None


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a new process, where no other has left anything for the garbage collector to visit."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()
