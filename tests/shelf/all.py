"""The whole shelf."""

from __future__ import annotations

from shelf import continuous, debounce, drivers, engines, task
from shelf.plants import Planted
from support.wrong_backends import SHELF as BACKENDS

PLANTED: tuple[Planted, ...] = tuple(
    wrong for module in (continuous, debounce, task, engines, drivers) for wrong in module.put.wrongs
)


def table() -> list[tuple[str, str, str, str]]:
    """Name, sort, what is wrong, what it is caught by."""
    rows: list[tuple[str, str, str, str]] = [(w.name, w.sort, w.says, w.by) for w in PLANTED]
    for name, _, _, check in BACKENDS:
        rule, _, broken = check.partition("-")[2].partition("-")
        kind = check.partition("-")[0]
        rows.append((name, "backend", f"not so: {broken.replace('_', ' ')}", f"{kind}-{rule}"))
    return rows
