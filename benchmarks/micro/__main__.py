"""`python -m benchmarks.micro`: what operations cost, beside the committed figures; fails if one has risen.

A figure may rise by a tenth. Instructions are compared only where valgrind and the build that they were
counted on are at hand; what a job asks of the store and of the codec, always. `--write` puts the figures into
the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from durable_jobs_simulation.progress import Progress

from benchmarks.micro import counting
from benchmarks.micro.calls import of_core, of_store
from benchmarks.report import number

FILE = Path(__file__).with_name("figures.json")
RISE_MAX = 1.1
STORE = "what a job asks of the store"
CORE = "how often a job steps and copies"


def rows(found: Mapping[str, float], committed: Mapping[str, float]) -> Iterator[tuple[str, bool]]:
    """A line for each figure, and whether it is too high. A figure that was not committed is never."""
    for name, figure in found.items():
        before = committed.get(name)
        change = "new" if before is None else f"{figure / before - 1:+.1%}" if before else f"{figure:+.3g}"
        high = before is not None and figure > before * RISE_MAX
        yield f"{name:<64}{number(figure):>12}{change:>9}{'  RISEN' if high else ''}", high


def main() -> int:
    """Count, compare and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="do not count what there is nothing to compare with"
    )
    parser.add_argument("--write", action="store_true", help="put these figures into the file")
    parser.add_argument("--only", default="", help="count only operations with this in their names")
    arguments = parser.parse_args()
    committed: dict[str, Any] = json.loads(FILE.read_text())
    build = counting.build()
    found: dict[str, Mapping[str, float]] = {STORE: of_store(), CORE: of_core()}
    why_not = counting.missing()
    if why_not is None and arguments.check and build not in committed:
        why_not = f"no figures of {build}"
    if why_not is None:
        progress = Progress()
        found[build] = counting.count(
            lambda place, of, name: progress.show(lambda: f"{place} of {of}: {name}"), arguments.only
        )
        progress.clear()
    else:
        print(f"instructions are not counted: {why_not}")
    risen = False
    for title, figures in found.items():
        print(f"\n{title}")
        for line, high in rows(figures, committed.get(title, {})):
            risen = risen or high
            print(line)
    if arguments.write:
        if arguments.only and build in found:
            found[build] = {**committed.get(build, {}), **found[build]}
        FILE.write_text(json.dumps(committed | found, indent=2) + "\n")
    elif risen:
        print("\na figure has risen by more than a tenth: make it cheaper, or write it and say why")
    return 1 if risen and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
