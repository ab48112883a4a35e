"""Cases under many seeds, in one process or several, with progress; and where the faults struck."""

from __future__ import annotations

import argparse
import gc
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import count
from multiprocessing import get_context

from attrs import define, field

from durable_jobs_core.words import Kind
from durable_jobs_simulation import strikes
from durable_jobs_simulation.calls import Calls, Ends, calls_of, told
from durable_jobs_simulation.case import SCENARIO, MakeCase, commits_of, load, tried
from durable_jobs_simulation.progress import Progress
from durable_jobs_simulation.scenarios import CASES
from durable_jobs_simulation.strikes import Cell
from durable_jobs_simulation.trace import clock

BAR = 24


def find(name: str) -> MakeCase:
    """One of our own cases, or the one `module:case` names. Raises `SimulationError` if it is none; what
    the module raises comes as it is."""
    if name in CASES:
        return CASES[name]
    return load(name, f"{SCENARIO}; or one of ours: {', '.join(CASES)}")


@define
class Ran:
    """One run, told to the parent process."""

    case: str
    seed: int
    steps: int
    ms: int
    hits: dict[str, int]
    cells: Counter[Cell]
    calls: Calls
    ends: Ends
    commits: int
    invariant: str | None = None
    why: str = ""


def run_one(name: str, seed: int) -> Ran:
    """Run one seed of a case."""
    case = find(name)()
    trace, violation = tried(case, seed)
    violated = () if violation is None else (violation.invariant, violation.why)
    calls, commits = calls_of(case, trace), commits_of(trace)
    sums = trace.steps, trace.ms, trace.hits, trace.cells, calls, trace.ends, commits
    return Ran(name, seed, *sums, *violated)


@define
class Tally:
    """What was run so far."""

    began: float = field(factory=time.monotonic)
    runs: int = 0
    steps: int = 0
    ms: int = 0
    commits: int = 0
    hits: Counter[str] = field(factory=Counter[str])
    cells: Counter[Cell] = field(factory=Counter[Cell])
    calls: Calls = field(factory=Calls)
    ends: Ends = field(factory=Ends)
    failed: list[Ran] = field(factory=list[Ran])
    interrupted: bool = False

    def add(self, ran: Ran) -> None:
        """Count one."""
        self.runs += 1
        self.steps += ran.steps
        self.ms += ran.ms
        self.commits += ran.commits
        self.hits.update(ran.hits)
        self.cells.update(ran.cells)
        self.calls.update(ran.calls)
        self.ends.update(ran.ends)
        if ran.invariant is not None:
            self.failed.append(ran)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def bar(self, share: float) -> str:
        """The progress in one line."""
        full = min(BAR, int(share * BAR))
        rate = self.runs / max(self.seconds, 0.001)
        return (
            f"[{'#' * full}{'-' * (BAR - full)}] {min(share, 1):4.0%}  {self.runs} runs ({rate:.1f}/s), "
            f"{self.steps} steps, {len(self.failed)} violations"
        )

    def summary(self) -> str:
        """What came of it."""
        hits = ", ".join(f"{name} {number}" for name, number in sorted(self.hits.items()))
        done = f"{self.runs} runs, {self.steps} steps, {clock(self.ms)} of virtual time"
        done = f"{done} in {self.seconds:.0f} s: {len(self.failed)} violations"
        return "\n".join((done, f"faults: {hits or 'none'}", *told(self.calls, self.ends)))


def run_many(names: Sequence[str], args: argparse.Namespace) -> Tally:
    """Run seeds of all the cases in turn, in `args.processes` processes, with a progress bar. An interrupt
    ends it with what there is."""
    tally, progress = Tally(), Progress()
    seeds = range(args.first, args.first + args.seeds) if args.seeds else count(args.first)
    work = ((name, seed) for seed in seeds for name in names)
    total = len(names) * args.seeds if args.seeds else 0
    try:
        for ran in _results(work, args.processes):
            tally.add(ran)
            share = tally.runs / total if total else tally.seconds / (args.hours * 3600)
            if ran.invariant is not None:
                progress.say(f"{ran.case} --seed {ran.seed}: {ran.invariant}: {ran.why}")
            progress.show(partial(tally.bar, share))
            if not total and share >= 1:
                break
    except KeyboardInterrupt:
        tally.interrupted = True
        progress.say("interrupted")
    progress.clear()
    return tally


def _results(work: Iterator[tuple[str, int]], processes: int) -> Iterator[Ran]:
    if processes == 1:
        for name, seed in work:
            yield run_one(name, seed)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _keep_all) as pool:
        waiting: set[Future[Ran]] = set()
        try:
            for name, seed in work:
                waiting.add(pool.submit(_run_and_forget, name, seed))
                if len(waiting) >= 2 * processes:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _keep_all() -> None:
    """In a process that only runs seeds: what it begins with stays, and is never looked at for garbage. An
    interrupt is for its parent, which waits for the runs under way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.disable()


def _run_and_forget(name: str, seed: int) -> Ran:
    try:
        return run_one(name, seed)
    finally:
        gc.collect()  # once a run is over: to look at it while it goes on took a quarter of the time


def show_strikes(cells: Counter[Cell]) -> bool:
    """Print where faults struck; whether that is all they can, of the kinds there were, and no more."""
    kinds: set[Kind] = {kind for _, _, kind in cells}
    for line in strikes.table(cells):
        print(line)
    found = {"never struck": strikes.empty(cells, kinds), "impossible, and yet struck": strikes.wrong(cells)}
    for what, places in found.items():
        for fault, stage, kind in places:
            print(f"{what}: {fault} at {stage}, {kind}")
    return not any(found.values())
