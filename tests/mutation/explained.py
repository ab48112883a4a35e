"""How a mutant is explained that no test can tell from the original."""

from __future__ import annotations

from typing import NamedTuple


class Explained(NamedTuple):
    """A survivor: its module, its line, what it changes (`before -> after`), and why that is nothing."""

    module: str
    line: str
    change: str
    why: str
