"""`python -m tests.shelf`: the wrong ones, what is wrong with each, and the check that catches it.

`--margins` runs every seed of the budget on each core, engine and driver, and says how many find it; 1 if
one is found by fewer than five."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from shelf.all import PLANTED, table
from shelf.plants import SEEDS

LEAST = 5


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or the margins."""
    parser = argparse.ArgumentParser(prog="tests.shelf", description=__doc__)
    parser.add_argument("--margins", action="store_true")
    if not parser.parse_args(arguments).margins:
        rows = table()
        widths = [max(len(row[column]) for row in rows) for column in (0, 1, 3)]
        for name, sort, says, by in rows:
            print(f"{sort:{widths[1]}}  {name:{widths[0]}}  {by:{widths[2]}}  {says}")
        print(f"{len(rows)} wrong ones")
        return 0
    least = SEEDS
    for wrong in PLANTED:
        found = list(wrong.violations(SEEDS)).count(wrong.by)
        least = min(least, found)
        print(f"{found:3} of {SEEDS}  {wrong.by:6}  {wrong.sort:6}  {wrong.name}", flush=True)
    return int(least < LEAST)


if __name__ == "__main__":
    sys.exit(main())
