"""Ours beside what bounds it: a bare loop on the same store, and prototypes without features."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import ModuleType

from benchmarks import plain, product, prototype
from benchmarks.table import ACCEPTED, DRAINED, PROCESSOR, Figures, Measure, Part, Size, apart, rates

LOOPS = "asyncio", "trio"
BARE = "bare loop, SQLite FULL"
FULL = "each commit synced (WAL, synchronous=FULL)"
MEMORY = "nothing is durable"
PREFIXES = {product: "durable-jobs", prototype: "prototype", plain: "plain loop"}


def name_of(module: ModuleType, loop: str, store: str) -> str:
    """As it is called in the table."""
    return f"{PREFIXES[module]}, {loop}, {store}"


def both(name: str, loop: str, settings: str, place: str, count: int) -> Figures:
    """Accepted, then drained, by the module of that name."""
    module = next(module for module in PREFIXES if module.__name__ == name)
    found: dict[str, float] = {}
    for what, work in ((ACCEPTED, f"accept_{loop}"), (DRAINED, f"drain_{loop}")):
        began = time.process_time()
        found[what] = getattr(module, work)(place, count)
        (taken,) = PROCESSOR[what]
        found[taken] = (time.process_time() - began) * 1e6 / count
    return Figures(found, settings)


def _one(module: ModuleType, loop: str, place: str, settings: str, folder: Path, count: int) -> Figures:
    figures: Figures = apart(both, module.__name__, loop, settings, place.format(folder=folder), count)
    return figures


def _bare(folder: Path, count: int) -> Figures:
    found = apart(prototype.bare, str(folder / "bare.db"), count)
    return Figures(dict(zip((ACCEPTED, DRAINED), found, strict=True)), FULL)


def _measure(module: ModuleType, loop: str, store: str, place: str, settings: str) -> Measure:
    return Measure(name_of(module, loop, store), partial(_one, module, loop, place, settings))


def _measures() -> list[Measure]:
    found = [Measure(BARE, _bare)]
    for loop in LOOPS:
        found += [
            _measure(plain, loop, "memory", "", MEMORY),
            _measure(product, loop, "memory", "memory://jobs", MEMORY),
            _measure(prototype, loop, "SQLite FULL", "{folder}/jobs.db", FULL),
            _measure(product, loop, "SQLite FULL", "sqlite:///{folder}/jobs.db", FULL),
        ]
    return found


def _pairs(of: ModuleType, store: str) -> list[tuple[str, list[str]]]:
    return [(name_of(product, loop, store), [name_of(of, loop, store)]) for loop in LOOPS]


LIMITS = Part(
    "limits",
    "one process; starts from many callers, then all of them run",
    _measures(),
    [
        rates("sqlite_accept_vs_limit", [ACCEPTED], _pairs(prototype, "SQLite FULL"), 0.6, floor=0.4),
        rates("sqlite_drain_vs_limit", [DRAINED], _pairs(prototype, "SQLite FULL"), 0.6, floor=0.4),
        rates("memory_vs_limit", [ACCEPTED, DRAINED], _pairs(plain, "memory"), 0.5),
    ],
    full=Size(5, 10_000),
    short=Size(3, 2_000),
)
