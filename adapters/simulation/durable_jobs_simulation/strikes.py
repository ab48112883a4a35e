"""Where faults struck: fault × stage × kind. A cell that no run hits is a hole in what is tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TypeAlias

from attrs import frozen

from durable_jobs_core.words import Kind
from durable_jobs_simulation.faults import ALL
from durable_jobs_simulation.stages import KINDS, STAGES

Cell: TypeAlias = tuple[str, str, Kind]
"""A fault, the stage it struck at, and the kind of the instance."""


@frozen(kw_only=True)
class Never:
    """Cells that cannot be hit: these faults, `at` these stages, or all but `only` those; of these kinds."""

    faults: tuple[str, ...] = ALL
    only: tuple[str, ...] = ()
    at: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = KINDS
    why: str

    def cells(self) -> Iterator[Cell]:
        """All of them."""
        stages = self.at or tuple(stage for stage in STAGES if stage not in self.only)
        return product(self.faults, stages, self.kinds)


WRITES = ("commit", "claim", "start", "handler", "finish", "purge")
NEVER: tuple[Never, ...] = (
    Never(
        at=("step",),
        kinds=("continuous",),
        why="a continuous job has no inline hook, and a step is pure: nothing comes between",
    ),
    Never(
        faults=("outage", "partition", "lost_request", "lost_answer", "slow"),
        only=("load", *WRITES),
        why="they befall exchanges with the store",
    ),
    Never(
        faults=("unknown", "refused_transient", "refused_permanent", "full"),
        only=WRITES,
        why="they befall writes",
    ),
    Never(
        faults=("nudge_lost", "nudge_late"),
        only=("claim",),
        why="a hint says that there is something to claim, and nothing else",
    ),
    Never(faults=("impatient",), only=("command",), why="a deadline comes with a request"),
    Never(
        faults=("abandoned", "woken"),
        at=("ack", "telemetry"),
        why="they are inputs of an engine, and these are given without one between",
    ),
    Never(
        faults=("hook_failure", "hook_exit", "hook_slow", "hook_hang", "hook_deaf", "hook_unspeakable"),
        only=("step", "handler"),
        why="they befall hooks",
    ),
    Never(faults=("poison",), only=("handler",), why="it kills the node of a leased hook"),
    Never(
        faults=("damage", "newer"),
        only=("load", *WRITES),
        why="a row is met by what reads, claims or writes it",
    ),
)
"""The cells that are impossible, and why. One that is hit all the same is an error in this table."""


def impossible() -> Mapping[Cell, str]:
    """Why each of the impossible cells is."""
    return {cell: never.why for never in NEVER for cell in never.cells()}


def possible() -> frozenset[Cell]:
    """The cells that are to be hit."""
    return frozenset(product(ALL, STAGES, KINDS)) - impossible().keys()


def empty(hits: Mapping[Cell, int], kinds: Iterable[Kind] = KINDS) -> list[Cell]:
    """The cells of these kinds that are to be hit, and were not."""
    return sorted(cell for cell in possible() if cell[2] in kinds and not hits.get(cell))


def wrong(hits: Mapping[Cell, int]) -> list[Cell]:
    """The impossible cells that were hit."""
    return sorted(cell for cell in impossible() if hits.get(cell))


def table(hits: Counter[Cell]) -> Iterator[str]:
    """How often each cell was hit, a kind at a time; `-` is impossible, and `!` is to be looked at."""
    never = impossible()
    for kind in KINDS:
        yield f"{kind:<17} {' '.join(f'{stage[:7]:>7}' for stage in STAGES)}"
        for fault in ALL:
            cells: list[Cell] = [(fault, stage, kind) for stage in STAGES]
            shown = [_shown(hits[cell], cell in never) for cell in cells]
            yield f"{fault:<17} {' '.join(f'{text:>7}' for text in shown)}"
        yield ""


def _shown(count: int, never: bool) -> str:
    if never:
        return f"{count}!" if count else "-"
    return str(count) if count else "0!"


def names(cells: Iterable[Cell]) -> str:
    """Cells, to be read."""
    return ", ".join(" × ".join(cell) for cell in cells)
