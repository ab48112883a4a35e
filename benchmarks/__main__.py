"""`make bench`: jobs accepted and drained a second, with the ratios that matter.

Each round measures everything once, one after the other; the table has the medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import BARE, measure

ROUNDS = 3
JOBS = 5_000
OF_PROTOTYPE = 0.4
WHAT = ("accepted", "drained")


def report(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The medians."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def show(medians: dict[str, float]) -> bool:
    """Print the table; whether the ratios to the prototypes hold."""
    names = list(dict.fromkeys(name.partition("|")[0] for name in medians))
    print(f"\n{'jobs a second':<36}{'accepted':>10}{'drained':>10}   of prototype   of bare loop")
    holds = True
    for name in names:
        line = f"{name:<36}" + "".join(f"{medians[f'{name}|{what}']:>10,.0f}" for what in WHAT)
        if name.startswith("durable-jobs") and name.endswith("SQLite FULL"):
            for base in (name.replace("durable-jobs", "prototype"), BARE):
                shares = [medians[f"{name}|{what}"] / medians[f"{base}|{what}"] for what in WHAT]
                line += "   " + " ".join(f"{share:5.2f}" for share in shares)
                holds = holds and (base == BARE or min(shares) >= OF_PROTOTYPE)
        print(line)
    return holds


def main() -> int:
    """Measure and print; fails if ours does less than 0.4 of the prototype on SQLite FULL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--jobs", type=int, default=JOBS)
    arguments = parser.parse_args()
    rounds: list[dict[str, float]] = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix=f"bench{number}-") as folder:
            rounds.append(measure(Path(folder), arguments.jobs))
    holds = show(report(rounds))
    print(f"\nours does at least {OF_PROTOTYPE} of the prototype on the same loop:", "yes" if holds else "NO")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
