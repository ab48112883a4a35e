"""A bug planted in the worked backend of the guide is found and explained.

It is certified in `test_outside_backend.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from certify_file_backend import Folder
from durable_jobs_conformance import Broken, Harness, checks
from file_backend import FileBackend

from durable_jobs_core.backend import Row

ROOT = Path(__file__).parents[2]


class KeepsTheEntry(FileBackend):
    """The planted bug: an alarm that is taken away stays in the index."""

    def _put(self, row: Row, entry: int | None) -> None:
        stored = self._load(row.key)
        super()._put(row, entry if entry is not None or stored is None else stored.wake)


class Planted(Folder):
    def open(self) -> FileBackend:
        return KeepsTheEntry(Path(self._folder.name))


def test_a_planted_bug_is_found_and_explained() -> None:
    planted = Harness("planted", Planted)
    name = "a_commit_without_an_alarm_takes_the_entry_away"
    (check,) = [check for check in checks(planted) if check.name == name]

    with pytest.raises(Broken, match=r"R-6 a commit without an alarm[^$]*wake None"):
        check(planted)


def test_the_guide_shows_the_code_as_it_stands() -> None:
    code = "\n".join(
        (ROOT / f"examples/{name}.py").read_text() for name in ("file_backend", "certify_file_backend")
    )
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs/write-a-backend.md").read_text(), re.DOTALL)

    assert shown
    assert [part for block in shown for part in block.split("\n\n") if bare(part) not in bare(code)] == []


def bare(code: str) -> str:
    """Without white space: a method of the guide stands at the margin."""
    return "".join(code.split())
