"""The screen of the demo: a table that is drawn again in place, or quiet lines where nobody watches."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from attrs import frozen

STYLES = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "warm": "33"}
LOWEST = 22


@frozen
class Line:
    """One line of text, and how it looks."""

    text: str = ""
    style: str = ""


@frozen
class Row:
    """One job in the table."""

    kind: str
    job: str
    instances: int
    acknowledged: int | None
    runs: int
    retries: int
    crashes: int


def table(rows: Sequence[Row]) -> list[Line]:
    """The table of the jobs: 78 columns wide."""

    def cells(*row: object) -> str:
        kind, job, *numbers = ("–" if cell is None else str(cell) for cell in row)
        widths = (9, 12, 5, 7, 7)
        return f"  {kind:10}  {job:14}" + "".join(
            f"  {cell:>{width}}" for cell, width in zip(numbers, widths, strict=True)
        )

    head = cells("kind", "job", "instances", "acknowledged", "runs", "retries", "crashes")
    body = [
        cells(row.kind, row.job, row.instances, row.acknowledged, row.runs, row.retries, row.crashes)
        for row in rows
    ]
    return [Line(head, "dim"), *map(Line, body)]


def bar(share: float, width: int = 20) -> str:
    """How far it is."""
    full = round(min(share, 1) * width)
    return "█" * full + "░" * (width - full)


class Screen:
    """Where the demo is shown. `is_live`: a person is watching, and the table can be drawn in place."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self.is_live = out.isatty() and shutil.get_terminal_size().lines >= LOWEST
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._shown = 0

    def draw(self, lines: Sequence[Line]) -> None:
        """Show lines in the place of those drawn before."""
        width = shutil.get_terminal_size().columns - 1
        up = f"\x1b[{self._shown}A" if self._shown else ""
        texts = (self._styled(Line(_cut(line.text, width), line.style)) for line in lines)
        self._out.write(up + "".join(f"{text}\x1b[K\n" for text in texts) + "\x1b[J")
        self._out.flush()
        self._shown = len(lines)

    def say(self, line: Line) -> None:
        """Show a line that stays, below everything."""
        self._shown = 0
        self._out.write(self._styled(line) + "\n")
        self._out.flush()

    def _styled(self, line: Line) -> str:
        code = STYLES.get(line.style)
        return f"\x1b[{code}m{line.text}\x1b[0m" if code and self._coloured else line.text


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
