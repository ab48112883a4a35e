"""The log of a campaign: one JSON object a line, appended before and after each thing that happens.

A line is written with one `write` on a descriptor in append mode, so that SIGKILL loses nothing that was
written, and the lines of all threads and rounds stand in the order in which they happened. A line torn by
the end of a process is passed over: what it would have said is not known.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]


class Log:
    """Appends to the log, for one process of a round; `by` tells it from the others."""

    def __init__(self, path: Path, round: int, by: str = "") -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._numbers = itertools.count(1)
        self.round = round
        self._by = by

    def name(self) -> str:
        """A name that nothing else in the campaign has."""
        return f"{self.round}{self._by}.{next(self._numbers)}"

    def write(self, what: str, **fields: Any) -> None:
        """Append one line."""
        line = {"what": what, "round": self.round, "at": round(time.monotonic() * 1000, 1), **fields}
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def read(path: Path) -> list[Line]:
    """All lines, but for torn ones."""
    return list(_lines(path.read_bytes())) if path.exists() else []


def _lines(data: bytes) -> Iterator[Line]:
    for text in data.split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def unresolved(lines: list[Line]) -> list[Line]:
    """The requests nobody knows the outcome of, oldest first; one asked again counts as it is answered."""
    open: dict[str, Line] = {}
    for line in lines:
        if line["what"] == "asked":
            open[line["n"]] = line
        elif line["what"] == "answered" or line["what"] == "refused":
            asked = open.pop(line["n"])
            open = {n: other for n, other in open.items() if _matter(other) != _matter(asked)}
    latest = {_matter(line): line for line in open.values()}
    return list(latest.values())


def _matter(line: Line) -> tuple[str, str, str]:
    return line["op"], line["key"], str(line.get("event"))
