"""What a `Keeper` may have while it waits: the table in its docstring, read and held against it."""

from __future__ import annotations

import re

from durable_jobs_core.engine.entries import Reading
from durable_jobs_core.engine.keeper import Keeper


def table() -> dict[Reading | None, tuple[str, ...]]:
    """The rows of the table, by what the keeper waits for: a reason to be read, or, `None`, its write."""
    assert Keeper.__doc__ is not None
    _, _, rows = Keeper.__doc__.partition("waits for")
    found: dict[Reading | None, tuple[str, ...]] = {}
    for row in filter(str.strip, rows.splitlines()[1:]):
        waits_for, *cells = re.split(r"\s{2,}", row.strip())
        for name in [None] if waits_for == "a write" else re.findall(r"`(\w+)`", waits_for):
            found[None if name is None else Reading[name]] = tuple(cells)
    return found


_TABLE = table()


def check(keeper: Keeper) -> None:
    """It waits for one thing at most, and has only what the table says; who holds a hook has it running."""
    assert keeper.writing is None or keeper.reads is None
    assert keeper.inline is None or (keeper.calling and keeper.inline in keeper.requests)
    if not keeper.blocked:
        return
    inputs = keeper.urgent or keeper.requests or keeper.calling
    for there, cell in zip((keeper.steps, keeper.lost, inputs), _TABLE[keeper.reads], strict=True):
        may = {
            "any": True,
            "none": not there,
            "some": bool(there),
            "if unread": not there or keeper.stamp < 0,
        }
        assert may[cell], (keeper.reads, _TABLE[keeper.reads], keeper)
