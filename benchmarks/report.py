"""What was measured, as a table for people and as a file for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import WHAT, Ratio, Result


def lines(result: Result) -> Iterator[str]:
    """A part: jobs a second, as medians of the rounds, then its ratios."""
    part = result.part
    rounds = len(result.rounds)
    yield f"\n{part.name}: {part.about}; jobs a second, {_medians(rounds)}"
    yield f"{'':<36}" + "".join(f"{what:>12}" for what in WHAT)
    for measure in part.measures:
        rates = (result.median(measure.name, what) for what in WHAT)
        yield f"{measure.name:<36}" + "".join(f"{_number(rate):>12}" for rate in rates)
    yield "\nwhat was durable when, and other settings"
    for settings, names in _by_settings(result).items():
        yield f"  {', '.join(names)}:\n    {settings}"
    yield f"\n{'ratio, the lowest of all rounds':<36}{'is':>12}{'goal':>12}"
    for ratio in part.ratios:
        yield f"{ratio.name:<36}{result.ratios[ratio.name]:>12.2f}{ratio.goal:>12.2f}{_fails(result, ratio)}"


def _by_settings(result: Result) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, figures in result.rounds[0].items():
        found.setdefault(figures.settings, []).append(name)
    return found


def _medians(rounds: int) -> str:
    return "one round" if rounds == 1 else f"medians of {rounds} rounds"


def _number(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}"


def _fails(result: Result, ratio: Ratio) -> str:
    return "" if holds(result, ratio) else f"  below {ratio.floor}: FAILED"


def holds(result: Result, ratio: Ratio) -> bool:
    """Whether a ratio is at least at its floor."""
    return result.ratios[ratio.name] >= ratio.floor


def write(path: Path, results: Sequence[Result]) -> None:
    """`{"ratios": {name: value}, "goals": …, "medians": {part: {measure: {what: jobs a second}}}, …}`."""
    medians: dict[str, Any] = {}
    settings: dict[str, str] = {}
    for result in results:
        medians[result.part.name] = {
            measure.name: {
                what: rate for what in WHAT if (rate := result.median(measure.name, what)) is not None
            }
            for measure in result.part.measures
        }
        settings |= {name: figures.settings for name, figures in result.rounds[0].items()}
    data = {
        "ratios": {name: value for result in results for name, value in result.ratios.items()},
        "goals": {ratio.name: ratio.goal for result in results for ratio in result.part.ratios},
        "rounds": {result.part.name: len(result.rounds) for result in results},
        "medians": medians,
        "settings": settings,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n")
