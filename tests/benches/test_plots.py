"""Plots: one of each part, which can be read."""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import evolve
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as command
from benchmarks import plots
from benchmarks.parts import PARTS
from benchmarks.plots import OTHERS_COLOUR, OURS_COLOUR, draw, share_of
from benchmarks.report import write
from benchmarks.table import DRAINED, TO_RUN, Figures, Measure, Part, Ratio, Result, Size


def made_up(part: Part, apart: float = 2.0) -> Result:
    """Values of every measure in every column, each so many times the one before."""
    return Result(
        part,
        [
            {
                measure.name: Figures(dict.fromkeys(part.columns, 10 * apart**place), "synced")
                for place, measure in enumerate(part.measures)
            }
        ],
    )


def ratio_of(name: str, goal: float, *, at_most: bool = False) -> Ratio:
    return Ratio(name, lambda one: one["durable-jobs"].values[DRAINED], goal, at_most=at_most)


def part_of(*names: str, ratios: tuple[Ratio, ...] = ()) -> Part:
    measures = [Measure(name, lambda folder, count: Figures({DRAINED: 5.0, TO_RUN: 7.0})) for name in names]
    return Part("some", "about them", measures, ratios, full=Size(1, 1), columns=(DRAINED, TO_RUN))


SMALL = part_of(
    "durable-jobs", "another", ratios=(ratio_of("much", 4.0), ratio_of("little", 5.0, at_most=True))
)


def drawn(result: Result, folder: Path) -> Figure:
    """What is drawn of a part, laid out as it is saved."""
    write(folder / "bench.json", [result])
    with rc_context(plots.STYLE):
        figure = plots.figure_of(result.part.name, json.loads((folder / "bench.json").read_text()))
        figure.draw_without_rendering()
    return figure


def texts_of(axes: Axes) -> list[Text]:
    """All that can be read of a panel: ticks beyond its ends are there, and not seen."""
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
    seen = [label for label, at in ticks if low <= at <= high]
    named = [label for label in axes.get_yticklabels() if label.get_visible()]
    return [text for text in (*axes.texts, *seen, *named, axes.xaxis.label) if text.get_text()]


def test_each_part_is_drawn_as_svg_and_png(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    write(file, [made_up(SMALL), made_up(evolve(SMALL, name="other"))])

    made = draw(file)

    assert made == [
        tmp_path / f"bench-{name}.{kind}" for name in ("some", "other") for kind in ("svg", "png")
    ]
    for svg, png in zip(made[::2], made[1::2], strict=True):
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("part", "apart"),
    [(PARTS[0], 1.2), *((part, 5.0) for part in PARTS)],
    ids=lambda of: getattr(of, "name", of),
)
def test_no_text_covers_another_or_leaves_the_picture(part: Part, apart: float, tmp_path: Path) -> None:
    figure = drawn(made_up(part, apart), tmp_path)

    texts = [*figure.texts, *(text for axes in figure.axes for text in texts_of(axes))]
    boxes = {text: text.get_window_extent() for text in texts}
    pairs = [pair for pair in combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
    assert [(one.get_text(), other.get_text()) for one, other in pairs] == []
    width, height = figure.bbox.size
    beyond = [text for text, box in boxes.items() if min(box.min) < 0 or box.x1 > width or box.y1 > height]
    assert [text.get_text() for text in beyond] == []


@pytest.mark.parametrize(("apart", "scale"), [(29.0, "linear"), (31.0, "log")])
def test_an_axis_is_logarithmic_where_values_differ_by_more_than_thirty_times(
    apart: float, scale: str, tmp_path: Path
) -> None:
    drained, *_ = drawn(made_up(SMALL, apart), tmp_path).axes

    assert drained.get_xscale() == scale
    assert drained.get_xlabel() == "drained, jobs/s" + (" (log)" if scale == "log" else "")
    assert [text.get_text() for text in drained.texts] == ["10", f"{10 * apart:.0f}"]


def test_ours_has_a_colour_of_its_own_beside_others_and_alone(tmp_path: Path) -> None:
    def colours(*names: str) -> list[str]:
        axes = drawn(made_up(part_of(*names)), tmp_path).axes[0]
        return [to_hex(bar.get_facecolor()) for bar in axes.patches]

    assert colours("another", "durable-jobs, asyncio") == [OTHERS_COLOUR, OURS_COLOUR]
    assert colours("SQLite", "Redis") == [OURS_COLOUR, OURS_COLOUR]


def test_what_was_not_measured_has_a_dash(tmp_path: Path) -> None:
    result = Result(
        part_of("one", "two"), [{"one": Figures({DRAINED: 3.0, TO_RUN: 4.0}), "two": Figures({DRAINED: 1.5})}]
    )

    drained, to_run = drawn(result, tmp_path).axes

    assert [text.get_text() for text in drained.texts] == ["3", "1.5"]
    assert [text.get_text() for text in to_run.texts] == ["4", "-"]


def test_a_goal_is_a_line_and_ratios_are_shares_of_theirs(tmp_path: Path) -> None:
    *_, ratios = drawn(made_up(SMALL), tmp_path).axes

    assert [label.get_text() for label in ratios.get_yticklabels()] == ["much", "little"]
    assert [bar.get_width() for bar in ratios.patches] == [10 / 4, 5 / 10]
    assert [text.get_text() for text in ratios.texts] == ["10.00, goal ≥ 4", "10.00, goal ≤ 5"]
    assert [list(line.get_xdata()) for line in ratios.lines] == [[1, 1]]


def test_a_goal_is_reached_from_one_on() -> None:
    assert share_of(3.0, 6.0, at_most=False) == 0.5
    assert share_of(6.0, 3.0, at_most=True) == 0.5
    assert share_of(3.0, 6.0, at_most=True) == 2.0
    assert share_of(0.0, 6.0, at_most=True) == 1.0


def test_the_benchmark_draws_and_its_plots_are_drawn_again_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    monkeypatch.setattr(command, "PARTS", [SMALL])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "some", "--out", str(file)])

    assert command.main() == 0

    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["bench-some.png", "bench-some.svg", "bench.json"]
    before = (tmp_path / "bench-some.svg").read_bytes()
    (tmp_path / "bench-some.svg").unlink()
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["plots", str(file)])

    plots.main()

    assert (tmp_path / "bench-some.svg").read_bytes() == before
    assert capsys.readouterr().out.split() == [
        str(tmp_path / f"bench-some.{kind}") for kind in ("svg", "png")
    ]


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({"ratios": {}}))

    with pytest.raises(ValueError, match=r"bench.json: expected figures .*; came \['ratios'\]"):
        draw(file)
    assert list(tmp_path.iterdir()) == [file]
