"""The one call."""

from __future__ import annotations

from collections.abc import Callable

from durable_jobs_conformance import durability, harnesses, histories, index, listing, model, threads, writes
from durable_jobs_conformance.check import HARNESS, Broken, Check, registered
from durable_jobs_conformance.harness import Capability, Harness
from durable_jobs_conformance.report import Failed, Report

_MODULES = (
    harnesses,
    writes,
    index,
    listing,
    threads,
    model,
    histories,
    durability,
)  # each registers its checks


def checks(harness: Harness) -> tuple[Check, ...]:
    """The checks that apply to `harness`, to run one by one: `check(harness)` raises `Broken`."""
    return tuple(check for check in registered() if check.needs is None or check.needs in harness.can)


def certify(harness: Harness, *, progress: Callable[[Check], None] = lambda check: None) -> Report:
    """Run every check that applies.

    None after one that finds the harness itself wrong, and no search after a check that failed: that tells
    more, and sooner.

    Never raises for a fault of the backend; `progress` is told what runs.
    """
    failed: list[Failed] = []
    ran = 0
    for check in checks(harness):
        if check.is_search and failed:
            continue
        ran += 1
        progress(check)
        try:
            check(harness)
        except Broken as broken:
            failed.append(Failed(check.name, check.rule, check.needs, broken))
            if check.rule == HARNESS:
                break
    known: dict[Capability, None] = {check.needs: None for check in registered() if check.needs is not None}
    skipped: tuple[Capability, ...] = tuple(
        capability for capability in known if capability not in harness.can
    )
    return Report(harness.name, ran, tuple(failed), skipped)
