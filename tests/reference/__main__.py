"""`python -m tests.reference --runs DIR`: replay recorded runs of the original, explain each difference."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reference.replay import Report, replay
from reference.rules import RULES


def summary(report: Report) -> list[str]:
    """The account of a replay."""
    counts = Counter(found.rule for found in report.found if found.rule is not None)
    lines = [f"{counts[rule]:6}  {rule.sentence:5}  {rule.says}" for rule in RULES if counts[rule]]
    passed = ", ".join(f"{why} {count}" for why, count in report.passed.items()) or "none"
    lines += [
        "",
        f"{report.runs} runs, {report.steps} steps: {len(report.found)} differences, "
        f"explained by {len(counts)} of {len(RULES)} rules; {len(report.unexplained)} unexplained",
        f"passed over: {report.passed.total()} steps ({passed})",
    ]
    if report.as_bad:
        lines.append(f"defects that ours has too: {', '.join(report.as_bad)}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print one line a difference, then the account; 1 if something is not explained."""
    parser = argparse.ArgumentParser(prog="tests.reference", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the runs and jobs.json")
    folder: Path = parser.parse_args(arguments).runs
    if not (folder / "jobs.json").exists():
        print(f"{folder} has no recorded runs (no jobs.json)")
        return 1
    report = replay(folder)
    for found in report.found:
        print(found)
    print(*("", *summary(report)), sep="\n")
    return 1 if report.unexplained or report.as_bad else 0


if __name__ == "__main__":
    sys.exit(main())
