"""What was measured, as a table for people and as a file for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Part, Ratio, Result


def lines(result: Result) -> Iterator[str]:
    """A part: its figures, as medians of the rounds, then its ratios."""
    part = result.part
    yield f"\n{part.name}: {part.about}; {medians(len(result.rounds))}"
    yield f"{'':<36}" + "".join(f"{column:>14}" for column in part.columns)
    for measure in part.measures:
        figures = [result.figure(measure.name, column) for column in part.columns]
        yield f"{measure.name:<36}" + "".join(f"{number(figure):>14}" for figure in figures)
    yield "\nwhat was durable when, and other settings"
    for settings, names in _by_settings(result).items():
        yield f"  {', '.join(names)}:\n    {settings}"
    if part.ratios:
        yield f"\n{'ratio, the worst of all rounds':<36}{'is':>12}{'goal':>12}{'by processor':>15}"
    for ratio in part.ratios:
        value, aside = result.ratios[ratio.name], result.aside.get(ratio.name)
        goal = f"{'≤' if ratio.at_most else '≥'} {ratio.goal:.2f}"
        yield f"{ratio.name:<36}{value:>12.2f}{goal:>12}{_ratio(aside):>15}{_fails(ratio, value)}"


def _by_settings(result: Result) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, figures in result.rounds[0].items():
        found.setdefault(figures.settings, []).append(name)
    return found


def medians(rounds: int) -> str:
    """What the figures are."""
    return "one round" if rounds == 1 else f"medians of {rounds} rounds"


def number(figure: float | None) -> str:
    """A figure with as many digits as mean something."""
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _fails(ratio: Ratio, value: float) -> str:
    return "" if ratio.holds(value) else f"  beyond {ratio.floor}: FAILED"


def failed(result: Result) -> list[str]:
    """The ratios that are beyond their floors."""
    return [ratio.name for ratio in result.part.ratios if not ratio.holds(result.ratios[ratio.name])]


def _table(result: Result) -> dict[str, dict[str, float]]:
    part = result.part
    found = {
        measure.name: {column: result.figure(measure.name, column) for column in part.columns}
        for measure in part.measures
    }
    return {
        name: {column: figure for column, figure in row.items() if figure is not None}
        for name, row in found.items()
    }


def _about(part: Part) -> dict[str, Any]:
    names = [ratio.name for ratio in part.ratios]
    return {"about": part.about, "columns": list(part.columns), "ratios": names}


def write(path: Path, results: Sequence[Result]) -> None:
    """`{"ratios": {name: value}, "goals": …, "figures": {part: {measure: {column: median}}}, …}`."""
    data = {
        "ratios": {name: value for result in results for name, value in result.ratios.items()},
        "by processor": {name: value for result in results for name, value in result.aside.items()},
        "goals": {ratio.name: ratio.goal for result in results for ratio in result.part.ratios},
        "at most": [ratio.name for result in results for ratio in result.part.ratios if ratio.at_most],
        "parts": {result.part.name: _about(result.part) for result in results},
        "rounds": {result.part.name: len(result.rounds) for result in results},
        "figures": {result.part.name: _table(result) for result in results},
        "settings": {
            result.part.name: {name: figures.settings for name, figures in result.rounds[0].items()}
            for result in results
        },
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n")
