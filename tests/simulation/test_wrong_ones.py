"""The simulation is tested: faults of the core and the engine are found, by the check that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from durable_jobs_simulation import Violation
from durable_jobs_simulation.scenarios import CASES

from durable_jobs_core.engine import keeper
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.settling import Settled
from durable_jobs_core.kinds import _draft

SEEDS = 60


def found(case: str, seeds: int = SEEDS) -> str | None:
    """The invariant that the first failing seed violates."""
    for seed in range(seeds):
        try:
            CASES[case]().run(seed)
        except Violation as violation:
            return violation.invariant
    return None


Plant = Callable[[pytest.MonkeyPatch], None]


def forgets_the_alarm(patch: pytest.MonkeyPatch) -> None:
    """A retry that waits has no alarm."""
    right = keeper.alarm_of

    def wrong(kind: Any, record: Any) -> int | None:
        run = record.body.run
        return None if run is not None and run.attempt > 1 and run.lease is None else right(kind, record)

    patch.setattr(keeper, "alarm_of", wrong)


def acknowledges_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """A write whose outcome is unknown is taken for committed."""

    def wrong(self: Keeper) -> None:
        self.lost.append(self._taken_back())
        self.settling = self.wants_load = True

    def settle(lost: Any, found: Any, *, engine: int, final: bool) -> Settled:
        return Settled(landed=lost[-1]) if lost else Settled()

    patch.setattr(Keeper, "outcome_unknown", wrong)
    patch.setattr(keeper, "settle", settle)


def repeats_what_has_landed(patch: pytest.MonkeyPatch) -> None:
    """A lost write is never found to have landed."""
    patch.setattr(keeper, "settle", lambda lost, found, *, engine, final: Settled())


def counts_no_attempts(patch: pytest.MonkeyPatch) -> None:
    """A failed attempt is tried for ever."""
    right = _draft.Draft.failed

    def wrong(self: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        after = right(self, run, *args, **kwargs)
        return evolve(after, attempt=run.attempt) if hasattr(after, "attempt") else after

    patch.setattr(_draft.Draft, "failed", wrong)


def calls_hooks_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """What a step orders is done at once."""
    right = Keeper._step

    def wrong(self: Keeper, queue: Any, make_env: Any, released: Any) -> bool:
        before = len(self.steps)
        more = right(self, queue, make_env, released)
        for stepped in self.steps[before:]:
            if stepped.then and stepped.writes:
                released.append(keeper.Released(stepped.entry, stepped.then, committed=True))
                self.steps[self.steps.index(stepped)] = evolve(stepped, then=())
        return more

    patch.setattr(Keeper, "_step", wrong)


def loses_conflicted_inputs(patch: pytest.MonkeyPatch) -> None:
    """After a conflict the inputs are forgotten, but not their callers."""
    right = Keeper.conflicted

    def wrong(self: Keeper, found: Any, stamp: int) -> Any:
        lost = tuple(self.writing.steps) if self.writing is not None else ()
        released = right(self, found, stamp)
        self._remove({stepped.entry for stepped in lost})
        return released

    patch.setattr(Keeper, "conflicted", wrong)


@pytest.mark.parametrize(
    ("case", "plant", "invariants"),
    [
        ("tokens", forgets_the_alarm, ("I-4",)),
        ("webhooks", acknowledges_before_the_commit, ("I-1", "I-7")),
        ("webhooks", repeats_what_has_landed, ("I-1", "I-2", "I-9", "scenario", "engine")),
        ("tokens", counts_no_attempts, ("I-6",)),
        ("tokens", calls_hooks_before_the_commit, ("I-7",)),
        ("webhooks", loses_conflicted_inputs, ("I-8", "engine")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, case: str, plant: Plant, invariants: tuple[str, ...]
) -> None:
    plant(monkeypatch)

    assert found(case) in invariants
