"""What was measured, as a table for people and as a file for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.table import ACCEPTED, DRAINED, WHAT, Ratio, Result

TAKEN = {"µs accept": ACCEPTED, "µs run": DRAINED}


def lines(result: Result) -> Iterator[str]:
    """A part: jobs a second, as medians of the rounds, then its ratios."""
    part = result.part
    rounds = len(result.rounds)
    yield f"\n{part.name}: {part.about}; jobs a second, µs of processor a job; {_medians(rounds)}"
    yield f"{'':<36}" + "".join(f"{what:>12}" for what in (*WHAT, *TAKEN))
    for measure in part.measures:
        figures = [result.rate(measure.name, what) for what in WHAT]
        figures += [result.processor(measure.name, what) for what in TAKEN.values()]
        yield f"{measure.name:<36}" + "".join(f"{_number(figure):>12}" for figure in figures)
    yield "\nwhat was durable when, and other settings"
    for settings, names in _by_settings(result).items():
        yield f"  {', '.join(names)}:\n    {settings}"
    yield f"\n{'ratio, the lowest of all rounds':<36}{'is':>12}{'goal':>12}{'by processor':>15}"
    for ratio in part.ratios:
        is_, taken = result.ratios[ratio.name], result.by_processor[ratio.name]
        yield f"{ratio.name:<36}{is_:>12.2f}{ratio.goal:>12.2f}{taken:>15.2f}{_fails(result, ratio)}"


def _by_settings(result: Result) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, figures in result.rounds[0].items():
        found.setdefault(figures.settings, []).append(name)
    return found


def _medians(rounds: int) -> str:
    return "one round" if rounds == 1 else f"medians of {rounds} rounds"


def _number(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.0f}"


def _fails(result: Result, ratio: Ratio) -> str:
    return "" if holds(result, ratio) else f"  below {ratio.floor}: FAILED"


def holds(result: Result, ratio: Ratio) -> bool:
    """Whether a ratio is at least at its floor."""
    return result.ratios[ratio.name] >= ratio.floor


def _all(
    result: Result, what: Iterable[str], figure: Callable[[str, str], float | None]
) -> dict[str, dict[str, float]]:
    names = [measure.name for measure in result.part.measures]
    return {name: {one: found for one in what if (found := figure(name, one)) is not None} for name in names}


def write(path: Path, results: Sequence[Result]) -> None:
    """`{"ratios": {name: value}, "goals": …, "jobs a second": {part: {measure: {what: median}}}, …}`."""
    data = {
        "ratios": {name: value for result in results for name, value in result.ratios.items()},
        "by processor": {name: value for result in results for name, value in result.by_processor.items()},
        "goals": {ratio.name: ratio.goal for result in results for ratio in result.part.ratios},
        "rounds": {result.part.name: len(result.rounds) for result in results},
        "jobs a second": {result.part.name: _all(result, WHAT, result.rate) for result in results},
        "processor": {result.part.name: _all(result, TAKEN.values(), result.processor) for result in results},
        "settings": {
            result.part.name: {name: figures.settings for name, figures in result.rounds[0].items()}
            for result in results
        },
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n")
