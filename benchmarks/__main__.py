"""`make bench`, `make bench-full`: what a job costs, as ratios beside others in one run.

Each round measures everything of a part once, one after the other; the table has the medians of the rounds,
and of each ratio the worst. What is measured and beside what is in `benchmarks/parts.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve

from benchmarks.parts import PARTS
from benchmarks.plots import draw
from benchmarks.report import failed, lines, write
from benchmarks.table import Figures, Part, Result, Round, Size

OUT = Path("build/bench.json")


def perform(part: Part, size: Size) -> Result:
    """Measure a part."""
    with part.around():
        return Result(part, _rounds(part, size))


def _rounds(part: Part, size: Size) -> list[Round]:
    rounds: list[Round] = []
    for number in range(size.rounds):
        found: dict[str, Figures] = {}
        for place, measure in enumerate(part.measures, 1):
            told = f"{part.name}: round {number + 1} of {size.rounds}, {place} of {len(part.measures)}"
            began = time.perf_counter()
            print(f"{told}: {measure.name} …", end=" ", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                found[measure.name] = measure.run(Path(folder), max(1, int(size.jobs * measure.share)))
            print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
        rounds.append(found)
    return rounds


def chosen(*, full: bool, only: Sequence[str] | None) -> Iterator[tuple[Part, Size]]:
    """The parts to measure, and how much; the short form has only some measures of a part, and of some parts
    none unless they are named."""
    for part in PARTS:
        if only and part.name not in only:
            continue
        if full or (only and part.short is None):
            yield part, part.full
        elif part.short is not None:
            yield evolve(part, measures=[measure for measure in part.measures if measure.short]), part.short


def main() -> int:
    """Measure, print and write; fails if a ratio is beyond its floor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all parts, five rounds: half an hour or so")
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="this part")
    parser.add_argument("--rounds", type=int, help="in place of those of each part")
    parser.add_argument("--jobs", type=int, help="in place of those of each part")
    parser.add_argument("--out", type=Path, default=OUT, help="the figures, as JSON; plots beside it")
    arguments = parser.parse_args()
    results: list[Result] = []
    for part, size in chosen(full=arguments.full, only=arguments.only):
        size = Size(arguments.rounds or size.rounds, arguments.jobs or size.jobs)
        results.append(perform(part, size))
        print("\n".join(lines(results[-1])), flush=True)
        write(arguments.out, results)
    print("\nwritten to", arguments.out, *draw(arguments.out))
    beyond = [name for result in results for name in failed(result)]
    if beyond:
        print("FAILED, beyond their floors:", *beyond)
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
