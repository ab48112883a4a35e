"""The command line, `python -m durable_jobs_simulation`; `options` has what it may be told."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from durable_jobs_core.jobs import Jobs
from durable_jobs_simulation.arguments import check_arguments
from durable_jobs_simulation.case import made, named, python_of, refuse_idle, tried
from durable_jobs_simulation.exhaustive import command
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.incident import lines_of, replay, write_test
from durable_jobs_simulation.many import find, run_many, show_strikes
from durable_jobs_simulation.options import OF_MANY, check_numbers, parser
from durable_jobs_simulation.progress import Progress
from durable_jobs_simulation.scenarios import CASES
from durable_jobs_simulation.shrink import as_test, repeats, shrink, strays
from durable_jobs_simulation.speed import measure
from durable_jobs_simulation.tasks import SimulationError
from durable_jobs_simulation.trace import WHY, Trace, clock, parting, written

INTERRUPTED = 130
"""What a shell says of a program that was."""
JOBS = "expected module:jobs, as in shop:jobs: what create_durable_jobs gives, or a function that makes it"
FILE = "expected a trace or a journal, as in: replay trace.jsonl, replay journal.jsonl shop:jobs"


def explain(name: str, seed: int, path: str | None) -> int:
    """Run one seed; show its trace, or what failed in as few events as can be. 1 if something did."""
    make, again = find(name), None
    trace, violation = tried(make(), seed)
    if violation is not None:
        again = strays(make, trace)
        print(f"{name}: {violation.invariant}; looking for a smaller run ...", file=sys.stderr)
        progress = Progress()

        def told(tries: int, smallest: Trace) -> None:
            nonlocal trace
            trace = smallest
            progress.show(lambda: f"try {tries}")

        try:
            trace = shrink(make, trace, violation.invariant, told=told)
        except KeyboardInterrupt:
            progress.say("interrupted: this is the smallest run so far")
        progress.clear()
        again = again or as_test(python_of(name), make, trace)
    trace.case = name
    print(trace.story(last=None if path is None and violation is not None else 60), end="")
    print(f"{trace.steps} steps, {clock(trace.ms)}, digest {trace.digest}")
    if path is not None:
        with _told_of_files():
            trace.write(path)
        print(f"written to {path}")
    if again is not None:
        print(again)
    return int(violation is not None)


def replay_journal(args: argparse.Namespace) -> int:
    """Replay a journal over the definitions that `args.jobs` names. 1 if it fails or goes another way."""
    if args.jobs is None:
        raise SimulationError(f"{args.file} is a journal: name the jobs too; {JOBS}")
    module, _, name = args.jobs.partition(":")
    replayed = replay(args.file, made(args.jobs, named(args.jobs, "jobs", JOBS), Jobs, JOBS))
    print(replayed.text(), end="")
    if args.as_test is not None:
        with _told_of_files():
            written = write_test(replayed, module, name or "jobs", args.as_test)
        print(f"written to {' and '.join(written)}")
    return int(not replayed.good)


def replay_file(args: argparse.Namespace) -> int:
    """Replay a trace or a journal, whichever it is."""
    with _told_of_files(f"; {FILE}"):
        text = args.file.read_text(encoding="utf-8", errors="replace")
        lines = text.removesuffix("\n").split("\n")  # in JSON a text may have other ends of lines
        journal = lines_of(args.file)
    if lines[:1] and lines[0].startswith('{"case"'):
        return run_again(args, lines)
    if not any('"journal":' in line for line in journal):
        raise SimulationError(f"{args.file} is neither a trace nor a journal; {FILE}")
    return replay_journal(args)


def run_again(args: argparse.Namespace, lines: Sequence[str]) -> int:
    """Run what a JSON trace was written of, and compare. 1 if it is not the same."""
    try:
        head = json.loads(lines[0])
        name, seed, size = (
            str(head["case"]),
            int(head["seed"]),
            {key: head[key] for key in ("nodes", "clients", "lanes")},
        )
        faults = Faults(**head["faults"])
        check_arguments(seed, faults, limits=None, **size)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SimulationError(f"{args.file} is no trace of this release: {error!r}; {FILE}") from None
    case = evolve(find(name)(), **size)
    if args.jobs is not None or args.as_test is not None:
        raise SimulationError(f"{args.file} is a trace, which takes no jobs and makes no test; {FILE}")
    trace, _ = tried(case, seed, faults)
    trace.case = name
    print(trace.story(last=40), end="")
    now = list(trace.json_lines())
    if now == lines:
        print("the same, line by line")
        return 0
    print(f"it went another way: the code or the setup is not what it was, or {WHY}")
    print(parting(written(lines), written(now)) or parting(lines, now))
    return 1


@contextmanager
def _told_of_files(more: str = "") -> Generator[None]:
    """A file that cannot be read or written is told in a line."""
    try:
        yield
    except OSError as error:
        raise SimulationError(f"{error}{more}") from None


def _check_trace(path: Path) -> None:
    """Hours may go by before it is written."""
    if path.is_dir() or not path.parent.is_dir():
        raise SimulationError(f"--trace {path}: expected a file in a folder that is there")


def _run(args: argparse.Namespace) -> int:
    if args.trace is not None:
        _check_trace(Path(args.trace))
    names = list(CASES) if args.scenario is None else [args.scenario]
    if args.seed is not None:
        for name in (name for name, default in OF_MANY.items() if getattr(args, name) != default):
            raise SimulationError(
                f"--{name} is for many seeds: expected --seeds or --hours with it, not --seed"
            )
        if args.trace is not None and len(names) > 1:
            raise SimulationError(f"--trace: expected one scenario with --seed, got {', '.join(names)}")
        return max(explain(name, args.seed, args.trace) for name in names)
    args.seeds = args.seeds or (0 if args.hours else 20)
    tally = run_many(names, args)
    print(tally.summary())
    if tally.interrupted:
        return INTERRUPTED
    if not tally.failed:
        refuse_idle(tally.runs, tally.commits)
        for again in filter(None, (repeats(find(name), args.first) for name in names if tally.runs > 1)):
            print(again)
    else:
        first = min(tally.failed, key=lambda ran: (ran.seed, names.index(ran.case)))
        if not explain(first.case, first.seed, args.trace):
            print(f"seed {first.seed} failed above, and not now: {WHY}")
    struck = not args.table or show_strikes(tally.cells)
    return int(bool(tally.failed) or not struck)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. 2 if it was used wrongly, which is told in a line, under the traceback of what a
    scenario or a hook raised, if that is why."""
    args = parser().parse_args(argv)
    try:
        if not __debug__:
            raise SimulationError(
                "python -O leaves out each `assert`: run it without, and without PYTHONOPTIMIZE"
            )
        check_numbers(args)
        if args.command == "replay":
            return replay_file(args)
        if args.command == "check":
            return command.run(args)
        if args.command == "run":
            return _run(args)
        for line in measure():
            print(line, flush=True)
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SimulationError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        print(error, *(f"({note})" for note in getattr(error, "__notes__", ())), file=sys.stderr)
        return 2
