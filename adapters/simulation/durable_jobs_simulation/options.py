"""Run handlers under crashes and other faults, in virtual time, and replay what failed.

    run module:case                    your handlers, under 20 seeds; a failure is shrunk and shown
    run module:case --seeds 1000       under more of them
    run module:case --seed 7           one run, with its trace
    replay journal.jsonl module:jobs   what happened in production again: does it still fail?
    replay trace.jsonl                 the run of a trace again: does it go the same way?

For work on the library itself:

    run                                its own cases: tokens (continuous), webhooks (debounce), orders (task)
    run --seeds 10000 --table          and where each fault struck: at which stage, of which kind
    check                              every order and crash point of small scopes
    check --all --states 5000000       of large ones too, as far as so many states go
    speed                              how much simulated time a second of CPU time makes

The guide is docs/test-your-handlers.md; `run --help` and so on list the options.
The exit code is 0 if all is well, 1 if something failed, 2 if the command was used wrongly.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from durable_jobs_simulation.exhaustive import command
from durable_jobs_simulation.scenarios import CASES
from durable_jobs_simulation.tasks import SimulationError

_TRACE = "write the trace of --seed, or of the first violation: .html, .txt, .mmd (Mermaid), else JSON"
_LEAST = {"seed": 0, "first": 0, "minutes": 0, "seeds": 1, "processes": 1, "depth": 1, "states": 1}
_POSITIVE = ("hours", "gib")
OF_MANY = {"first": 0, "processes": 1, "table": False}
"""The options of many seeds, with what they are if nobody gives them."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def parser() -> argparse.ArgumentParser:
    """What the command line may be told; this module's docstring is its help."""
    whole = _Parser(
        prog="python -m durable_jobs_simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="run|replay|check|speed")

    def add(name: str, what: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")

    run = add("run", "run a case under many seeds, or under one with its trace")
    run.add_argument(
        "scenario", nargs="?", metavar="CASE", help="module:case; without one our own: " + ", ".join(CASES)
    )
    much = run.add_mutually_exclusive_group()
    much.add_argument("--seed", type=int, metavar="N", help="one run, and its trace")
    much.add_argument("--seeds", type=int, metavar="N", help="so many runs of each case, 20 if not given")
    much.add_argument("--hours", type=float, metavar="H", help="runs for so many hours")
    run.add_argument("--first", type=int, metavar="N", help="the first seed, 0 if not given")
    run.add_argument("--processes", type=int, metavar="N", help="so many at a time")
    run.add_argument("--table", action="store_true", help="show where faults struck; fail if some never did")
    run.add_argument("--trace", metavar="FILE", help=_TRACE)
    run.set_defaults(**OF_MANY)
    again = add("replay", "run again what a trace or a journal was written of")
    again.add_argument("file", type=Path, help="a trace in JSON lines, or a journal")
    again.add_argument(
        "jobs", nargs="?", help="for a journal: module:jobs, where jobs may be a function that makes them"
    )
    again.add_argument(
        "--as-test", type=Path, metavar="FILE.py", help="for a journal: write a test that fails like it"
    )
    command.add_arguments(add("check", "try all that can happen in small scopes of the library"))
    add("speed", "measure how fast it simulates")
    return whole


def check_numbers(args: argparse.Namespace) -> None:
    """Raise `SimulationError` for a number that is too small."""
    for name, number in vars(args).items():
        if number is None:
            continue
        if name in _LEAST and not number >= _LEAST[name]:
            expected = f"at least {_LEAST[name]}"
        elif name in _POSITIVE and not number > 0:
            expected = "more than 0"
        else:
            continue
        raise SimulationError(f"--{name}: expected {expected}, got {number}, as in --{name} 7")
