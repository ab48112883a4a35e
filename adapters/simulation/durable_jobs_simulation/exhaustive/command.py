"""`python -m durable_jobs_simulation check`: go through scopes, with a progress line, and report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial

from durable_jobs_simulation.exhaustive.scopes import SCOPES, SMALL
from durable_jobs_simulation.exhaustive.search import Report
from durable_jobs_simulation.exhaustive.sweep import Budget, Sweep, sweep
from durable_jobs_simulation.progress import Progress
from durable_jobs_simulation.tasks import SimulationError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `check` may be told."""
    parser.add_argument(
        "scopes", nargs="*", metavar="SCOPE", help="all small ones if none is named; of " + ", ".join(SCOPES)
    )
    parser.add_argument("--all", action="store_true", help="the large ones too")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="so many at a time")
    parser.add_argument("--depth", type=int, metavar="N", help="at most so many actions in a row")
    parser.add_argument(
        "--states", type=int, metavar="N", help="stop at so many distinct states; fail if there were fewer"
    )
    parser.add_argument("--minutes", type=float, metavar="N", help="at most so long in all")
    parser.add_argument(
        "--gib", type=float, default=7.0, metavar="N", help="at most so much memory in all, 7 if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Go through the scopes named. 1 if an invariant does not hold in one, whose shortest trace is shown, or
    if some were cut off before there were as many states as asked for."""
    unknown = [name for name in args.scopes if name not in SCOPES]
    if unknown:
        raise SimulationError(f"there is no scope {unknown[0]}: {', '.join(SCOPES)}")
    if args.scopes and args.all:
        raise SimulationError(f"expected scopes or --all, got {', '.join(args.scopes)} and --all")
    seconds = None if args.minutes is None else args.minutes * 60
    budget = Budget(states=args.states, seconds=seconds, gib=args.gib, depth=args.depth)
    going, progress = Sweep(budget, args.processes), Progress()
    names = args.scopes or list(SCOPES if args.all else SMALL)
    for report in sweep(names, going, lambda going: progress.show(partial(_told, going))):
        progress.clear()
        print(report, flush=True)
        if report.violation is not None:
            print(report.violation.trace.text(), end="", flush=True)
    for line in summary(going.ended, going.seconds):
        print(line)
    cut = [report for report in going.ended if not report.finished]
    if cut and args.states is not None and going.states < args.states:
        print(f"fewer states than the {args.states} asked for, and scopes were cut off")
        return 1
    return int(any(report.violation is not None for report in going.ended))


def summary(reports: Sequence[Report], seconds: float) -> Iterator[str]:
    """What was done in all; which scopes are exhausted, and which are not."""
    states, actions, rested = (
        sum(counts) for counts in zip(*((r.states, r.actions, r.rested) for r in reports), strict=True)
    )
    yield (
        f"{states} distinct states in {len(reports)} scopes, by {actions} actions, at most "
        f"{max(r.depth for r in reports)} in a row; {rested} brought to rest; {seconds:.0f} s, "
        f"{states / max(seconds, 0.001):.0f}/s; at most {max(r.gib for r in reports):.1f} GiB a process"
    )
    for what, found in (
        ("finished", [r.scope for r in reports if r.finished]),
        ("cut off, and so not exhaustive", [r.scope for r in reports if r.waiting and r.violation is None]),
        ("violated", [r.scope for r in reports if r.violation is not None]),
    ):
        yield f"{what}: {', '.join(found) or 'none'}"


def _told(going: Sweep) -> str:
    """How far it is."""
    now = "; ".join(
        f"{r.scope}: {r.states} states, {r.states / max(r.seconds, 0.001):.0f}/s, {r.waiting} waiting, "
        f"depth {r.depth}, {r.gib:.1f} GiB"
        for r in going.running.values()
    )
    return f"{going.states} states, {going.seconds:.0f} s, {len(going.ended)} scopes done; {now}"
