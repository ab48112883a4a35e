"""`python -m durable_jobs_simulation check`: go through scopes, with a progress line, and report."""

from __future__ import annotations

import argparse
import sys
import time

from durable_jobs_simulation.exhaustive.scopes import SCOPES, SMALL
from durable_jobs_simulation.exhaustive.search import Progress, Report, check
from durable_jobs_simulation.tasks import SimulationError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `check` may be told."""
    parser.add_argument(
        "scopes", nargs="*", metavar="SCOPE", help="the small ones, or of " + ", ".join(SCOPES)
    )
    parser.add_argument("--depth", type=int, help="at most so many actions in a row")
    parser.add_argument("--states", type=int, help="at most so many states of each scope")
    parser.add_argument("--minutes", type=float, help="at most so long for each scope")


def run(args: argparse.Namespace) -> int:
    """Go through the scopes named. 1 if an invariant does not hold in one; its shortest trace is shown."""
    failed = 0
    unknown = [name for name in args.scopes if name not in SCOPES]
    if unknown:
        raise SimulationError(f"there is no scope {unknown[0]}: {', '.join(SCOPES)}")
    for name in args.scopes or SMALL:
        seconds = None if args.minutes is None else args.minutes * 60
        report = check(
            SCOPES[name], depth=args.depth, states=args.states, seconds=seconds, progress=_progress()
        )
        print(report)
        if report.violation is not None:
            failed = 1
            print(report.violation.trace.text(), end="")
    return failed


def _progress() -> Progress | None:
    """Writes over one line of the terminal, a few times a second."""
    if not sys.stderr.isatty():
        return None
    told = 0.0

    def show(report: Report) -> None:
        nonlocal told
        if time.monotonic() - told > 0.2:
            told = time.monotonic()
            sys.stderr.write(
                f"\r\x1b[K{report.scope}: {report.states} states, {report.waiting} waiting, "
                f"depth {report.depth}, {report.seconds:.0f} s\r"
            )
            sys.stderr.flush()

    return show
