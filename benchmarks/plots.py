"""Plots of what was measured: `python -m benchmarks.plots build/bench.json` draws them again.

Of each part an SVG and a PNG beside the file: its columns side by side, then its ratios as shares of their
goals. An axis is logarithmic where values differ by more than thirty times, and says so.
"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.network import TRIP_MS, TRIPS_TO_ACCEPT, TRIPS_TO_RUN
from benchmarks.processes import ALLOWED, CORES
from benchmarks.report import medians, number
from benchmarks.scale import SERVED
from benchmarks.table import ACCEPTED, DRAINED, THROUGH, TO_ACCEPT, TO_RUN

AXES = {
    ACCEPTED: "accepted, jobs/s",
    DRAINED: "drained, jobs/s",
    THROUGH: "end to end, jobs/s",
    TO_ACCEPT: "processor to accept, µs/job",
    TO_RUN: "processor to run, µs/job",
    SERVED: "processor of the server, µs/job",
    CORES: "cores that may be used",
    ALLOWED: "what the cores allow, jobs/s",
    TRIP_MS: "a round trip, ms",
    TRIPS_TO_ACCEPT: "to accept, round trips/job",
    TRIPS_TO_RUN: "to run, round trips/job",
}
"""What an axis is called; a column that is not here has its own name."""
OURS = "durable-jobs"
OURS_COLOUR, OTHERS_COLOUR, REACHED_COLOUR = "#d1495b", "#8d99ae", "#1b6e53"
LOGARITHMIC = 30.0
STYLE = {"font.size": 9, "svg.hashsalt": "bench"}
ACROSS_MAX = 4
PANEL_WIDTH, LETTER_WIDTH, BAR_HEIGHT, AXIS_HEIGHT, TITLE_HEIGHT = 2.9, 0.08, 0.27, 0.75, 0.9
TITLE_LETTERS = 10
"""In inches, and letters an inch."""


def draw(file: Path) -> list[Path]:
    """Draw all parts of a file that `report.write` has written; the files that were made."""
    data = json.loads(file.read_text())
    if "parts" not in data:
        raise ValueError(
            f"{file}: expected figures that `python -m benchmarks` wrote, with parts; came {list(data)}"
        )
    made: list[Path] = []
    for part in data["parts"]:
        with rc_context(STYLE):
            figure = figure_of(part, data)
            for kind, metadata in (("svg", {"Date": None}), ("png", {})):
                made.append(file.with_name(f"{file.stem}-{part}.{kind}"))
                figure.savefig(made[-1], dpi=110, metadata=metadata)
    return made


def figure_of(part: str, data: Mapping[str, Any]) -> Figure:
    """A part: a panel a column, a few in a row; below them the ratios."""
    told, table = data["parts"][part], data["figures"][part]
    columns = [column for column in told["columns"] if any(column in row for row in table.values())]
    rows = math.ceil(len(columns) / ACROSS_MAX)
    across = math.ceil(len(columns) / rows)
    heights = [AXIS_HEIGHT + BAR_HEIGHT * len(table)] * rows
    if told["ratios"]:
        heights.append(AXIS_HEIGHT + BAR_HEIGHT * len(told["ratios"]))
    width = LETTER_WIDTH * max(map(len, (*table, *told["ratios"]))) + PANEL_WIDTH * across
    figure = Figure(figsize=(width, sum(heights) + TITLE_HEIGHT), layout="constrained")
    title = f"{part}: {told['about']}; {medians(data['rounds'][part])}"
    figure.suptitle(textwrap.fill(title, int(width * TITLE_LETTERS)), fontweight="bold")
    colours = _colours(table)
    grid = figure.add_gridspec(len(heights), across, height_ratios=heights)
    for place, column in enumerate(columns):
        axes = figure.add_subplot(grid[place // across, place % across])
        _column(axes, column, table, colours)
        if place % across:
            axes.tick_params(labelleft=False)
    if told["ratios"]:
        _ratios(figure.add_subplot(grid[-1, :]), told["ratios"], data)
    if len(set(colours)) > 1:
        named = {OURS: OURS_COLOUR, "others": OTHERS_COLOUR}
        handles = [Patch(color=colour, label=who) for who, colour in named.items()]
        figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False)
    return figure


def _colours(names: Collection[str]) -> list[str]:
    """Ours stands out, where there are others."""
    ours = [name for name in names if name.startswith(OURS)] or names
    return [OURS_COLOUR if name in ours else OTHERS_COLOUR for name in names]


def _column(
    axes: Axes, column: str, table: Mapping[str, Mapping[str, float]], colours: Sequence[str]
) -> None:
    """Bars of all measures; what was not measured has a dash."""
    found = [row.get(column) for row in table.values()]
    _axis(axes, AXES.get(column, column), [value for value in found if value is not None])
    _bars(axes, list(table), [value or 0 for value in found], colours)
    for place, value in enumerate(found):
        _text(axes, place, value or axes.get_xlim()[0], number(value))


def _axis(axes: Axes, label: str, values: Sequence[float]) -> None:
    """As long as the values need, with room for a number beside a bar."""
    low, high = min(values), max(values)
    least = min((value for value in values if value > 0), default=high)
    if low >= 0 and high > LOGARITHMIC * least:
        axes.set_xscale("log")
        axes.set_xlim(least / 2, high * (high / least) ** 0.4)
        label += " (log)"
    else:
        axes.set_xlim(min(low, 0) * 1.3, max(high, 0) * 1.35 or 1)
        axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(label)


def _ratios(axes: Axes, names: Sequence[str], data: Mapping[str, Any]) -> None:
    """Each as a share of its goal, so that all goals are one line."""
    shares: list[float] = []
    for place, name in enumerate(names):
        value, goal, at_most = data["ratios"][name], data["goals"][name], name in data["at most"]
        shares.append(share_of(value, goal, at_most=at_most))
        _text(axes, place, shares[-1], f"{value:.2f}, goal {'≤' if at_most else '≥'} {goal:g}")
    label = "ratio, the worst of all rounds, as a share of its goal (dashed); green has reached it"
    _axis(axes, label, [1.0, *shares])
    _bars(axes, names, shares, [REACHED_COLOUR if share >= 1 else OURS_COLOUR for share in shares])
    axes.axvline(1, color="black", linestyle="--", zorder=3)


def share_of(value: float, goal: float, *, at_most: bool) -> float:
    """How much of a goal is reached: 1 and above is all of it."""
    if not at_most:
        return value / goal
    return goal / value if value > 0 else 1.0


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], colours: Sequence[str]) -> None:
    """From above to below, each with its name."""
    places = range(len(names))
    axes.barh(places, values, color=colours, height=0.7)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", zorder=0)
    axes.set_axisbelow(True)


def _text(axes: Axes, place: int, at: float, text: str) -> None:
    """On a ground of its own, for lines may be behind it."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.annotate(text, (at, place), (4, 0), textcoords="offset points", va="center", zorder=4, bbox=ground)


def main() -> None:
    """Draw and say what was drawn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__)
    parser.add_argument("file", type=Path, help="the figures, as JSON")
    for path in draw(parser.parse_args().file):
        print(path)


if __name__ == "__main__":
    main()
