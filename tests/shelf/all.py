"""The whole shelf."""

from __future__ import annotations

from shelf import continuous, debounce, drivers, engines, task
from shelf.plants import Planted
from support import wrong_backends, wrong_lanes, wrong_listings, wrong_processes

PLANTED: tuple[Planted, ...] = tuple(
    wrong for module in (continuous, debounce, task, engines, drivers) for wrong in module.put.wrongs
)
BACKENDS = [
    wrong
    for module in (wrong_backends, wrong_lanes, wrong_listings, wrong_processes)
    for wrong in module.SHELF
]


def table() -> list[tuple[str, str, str, str]]:
    """Name, sort, what is wrong, what it is caught by."""
    rows: list[tuple[str, str, str, str]] = [(w.name, w.sort, w.says, w.by) for w in PLANTED]
    for name, _, _, check in BACKENDS:
        rule, _, broken = check.partition("-")[2].partition("-")
        kind = check.partition("-")[0]
        rows.append((name, "backend", f"not so: {broken.replace('_', ' ')}", f"{kind}-{rule}"))
    return rows
