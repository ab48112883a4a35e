"""`make bench`: jobs accepted and drained a second, with the ratios that matter.

Each round measures everything once, one after the other; the table has the medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import product, prototype

ROUNDS = 3
JOBS = 5_000


def measure(folder: Path, count: int) -> dict[str, float]:
    """One round: name of the measure to jobs a second."""
    found: dict[str, float] = {}
    bare = prototype.bare(str(folder / "bare.db"), count)
    found["bare loop, SQLite FULL|accepted"], found["bare loop, SQLite FULL|drained"] = bare
    path = str(folder / "prototype.db")
    found["prototype, SQLite FULL|accepted"] = prototype.accept(path, count)
    found["prototype, SQLite FULL|drained"] = prototype.drain(path, count)
    drivers: dict[str, tuple[Callable[[str, int], float], Callable[[str, int], float]]] = {
        "asyncio": (product.accept_asyncio, product.drain_asyncio),
        "trio": (product.accept_trio, product.drain_trio),
    }
    for name, (accept, drain) in drivers.items():
        for store, url in (
            ("memory", f"memory://{folder.name}-{name}"),
            ("SQLite FULL", f"sqlite:///{folder / name}.db"),
        ):
            found[f"{name}, {store}|accepted"] = accept(url, count)
            found[f"{name}, {store}|drained"] = drain(url, count)
    return found


def report(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The medians."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def show(medians: dict[str, float]) -> bool:
    """Print the table; whether the ratios to the prototype hold."""
    names = list(dict.fromkeys(name.partition("|")[0] for name in medians))
    print(f"\n{'jobs a second':<28}{'accepted':>10}{'drained':>10}   of prototype   of bare loop")
    holds = True
    for name in names:
        accepted, drained = medians[f"{name}|accepted"], medians[f"{name}|drained"]
        line = f"{name:<28}{accepted:>10,.0f}{drained:>10,.0f}"
        if name.endswith("SQLite FULL") and not name.startswith("bare"):
            for base in ("prototype", "bare loop"):
                of = (
                    accepted / medians[f"{base}, SQLite FULL|accepted"],
                    drained / medians[f"{base}, SQLite FULL|drained"],
                )
                line += f"   {of[0]:.2f} {of[1]:.2f}"
                if base == "prototype" and not name.startswith("prototype"):
                    holds = holds and min(of) >= 0.4
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
    print("\nours does at least 0.4 of the prototype:", "yes" if holds else "NO")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
