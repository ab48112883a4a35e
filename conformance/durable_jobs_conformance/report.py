"""What `certify` found: the level, what failed and why, what was not tried."""

from __future__ import annotations

import re
from typing import Any, Literal

from attrs import frozen

from durable_jobs_conformance.harness import Capability
from durable_jobs_conformance.port import Broken
from durable_jobs_core import backend

CONTRACT_VERSION = 1
"""Of `durable_jobs_core.backend`, the rules of which are checked."""

Level = Literal["not run", "none", "base", "durable", "complete"]
_STEPS: tuple[tuple[Capability | None, Level], ...] = (
    (None, "base"),
    ("durable", "durable"),
    ("damage", "complete"),
)


@frozen
class Failed:
    """A check that failed, and what a reader needs to see why."""

    check: str
    rule: str
    needs: Capability | None
    why: Broken

    def to_json(self) -> dict[str, Any]:
        """As in `build/conformance.json`."""
        return {"check": self.check, "rule": self.rule, "why": str(self.why)}


@frozen
class Report:
    """`checks`: how many ran; `skipped`: capabilities that the store does not have; `missing`: why nothing
    was run at all."""

    name: str
    checks: int
    failed: tuple[Failed, ...]
    skipped: tuple[Capability, ...]
    missing: str | None = None

    @property
    def level(self) -> Level:
        """The highest level of which nothing failed or was skipped; see the package."""
        if self.missing is not None:
            return "not run"
        lost = {failed.needs for failed in self.failed} | set(self.skipped)
        level: Level = "none"
        for needs, reached in _STEPS:
            if needs in lost:
                break
            level = reached
        return level

    def to_json(self) -> dict[str, Any]:
        """`{"level": ..., "checks": n, "failed": [...], ...}`."""
        return {
            "level": self.level,
            "checks": self.checks,
            "failed": [failed.to_json() for failed in self.failed],
            "skipped": list(self.skipped),
            "contract": CONTRACT_VERSION,
        }

    def __str__(self) -> str:
        return table([self])


def table(reports: list[Report]) -> str:
    """One line a backend, then what failed, in full, then what the rules say."""
    head = ("backend", "level", "checks", "failed", "skipped")
    rows = [head] + [
        (r.name, r.level, str(r.checks), str(len(r.failed)), r.missing or ", ".join(r.skipped) or "-")
        for r in reports
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    whys = [f"\n{report.name}: {failed.why}" for report in reports for failed in report.failed]
    broken = dict.fromkeys(failed.rule for report in reports for failed in report.failed)
    says = [f"\n{rule} says: {_RULES[rule]}" for rule in broken if rule in _RULES]
    return "\n".join([line.rstrip() for line in lines] + whys + says)


_RULES = {
    f"R-{number}": " ".join(text.split())
    for number, text in re.findall(r"^ *(\d+)\. (.+?)(?=^ *\d+\.|^\S|\Z)", backend.__doc__ or "", re.M | re.S)
}
"""The sentences of the port, by their names."""
