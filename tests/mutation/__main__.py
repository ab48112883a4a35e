"""`make mutation`: small changes are made to the core, one at a time, and each has to fail a test.

python -m tests.mutation [--module kinds/continuous.py] [--processes 2] [--fresh | --survivors]

Results are kept in `build/mutation` and are valid for as long as no file of the core or its tests changes;
after that the test that killed a mutant is the first one tried. Exit code 1 if too many mutants survive,
a survivor is not explained in `explained_*.py`, or an explanation is of none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cattrs  # noqa: F401  what the tests import and is not the core: once, before any fork
import cronsim  # noqa: F401
import pytest
import trio  # noqa: F401
from mutation.explained_engine import ENGINE
from mutation.explained_kinds import KINDS
from mutation.mutants import CORE, ROOT, SCOPE, Mutant, mutants_of
from mutation.report import progress, told
from mutation.running import (
    AT_IMPORT,
    SURVIVED,
    TESTS,
    Baseline,
    Verdict,
    at_import,
    forked,
    functions,
    judged,
    measure,
    pool,
    put_into,
    with_tests,
)

FOLDER = ROOT / "build/mutation"


class Memory:
    """The verdicts of this run and of earlier ones, by the name of the mutant."""

    def __init__(self, *, fresh: bool, survivors: bool) -> None:
        self._survivors = survivors
        self._file = FOLDER / "verdicts.jsonl"
        self._digest = digest()
        if fresh:
            self._file.unlink(missing_ok=True)
        self._known: dict[str, tuple[str, Verdict]] = {}
        self.read()

    def read(self) -> None:
        """Read what was written, by another process too."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        for line in lines:
            name, of, outcome, killer = json.loads(line)
            self._known[name] = of, Verdict(outcome, killer)

    def verdict(self, mutant: Mutant) -> Verdict | None:
        """What is known of a mutant and still true."""
        of, verdict = self._known.get(mutant.name, ("", None))
        known = of == self._digest or (
            self._survivors and verdict is not None and verdict.outcome != SURVIVED
        )
        return verdict if known else None

    def killer(self, mutant: Mutant) -> str:
        """The test that killed it when it was run last."""
        return self._known[mutant.name][1].killer if mutant.name in self._known else ""

    def baseline(self) -> Baseline | None:
        """What the tests do without a mutant, if that is still true."""
        file = FOLDER / f"baseline-{self._digest}.json"
        return Baseline.read(file) if file.exists() else None

    def keep_baseline(self, text: str) -> None:
        """Write it down."""
        for old in FOLDER.glob("baseline*.json"):
            old.unlink()
        (FOLDER / f"baseline-{self._digest}.json").write_text(text)

    def keep(self, mutant: Mutant, verdict: Verdict) -> None:
        """Write it down."""
        self._known[mutant.name] = self._digest, verdict
        with self._file.open("a") as file:
            file.write(json.dumps([mutant.name, self._digest, *verdict]) + "\n")


def digest() -> str:
    """Of all that a verdict rests on."""
    total = hashlib.sha256(sys.version.encode())
    for folder in (CORE, ROOT / "tests/core", ROOT / "tests/support"):
        for path in sorted(folder.rglob("*.*")):
            if path.suffix in (".py", ".txt"):
                total.update(path.read_bytes())
    return total.hexdigest()[:16]


class Run:
    """One run over some mutants."""

    def __init__(self, mutants: Sequence[Mutant], memory: Memory, processes: int) -> None:
        self.mutants = mutants
        self.memory = memory
        self.processes = processes
        self._kills: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for mutant in mutants:
            self._kills[mutant.module][memory.killer(mutant)] += 1

    def all(self) -> dict[Mutant, str]:
        """Run what is not known yet: first what can be put into functions, then what is made at import."""
        if any(self.memory.verdict(mutant) is None for mutant in self.mutants):
            self._in_functions()
            self.memory.read()
            baseline = self.memory.baseline()
            assert baseline is not None, "it has just been measured"
            self._at_import(baseline)
        verdicts = ((mutant, self.memory.verdict(mutant)) for mutant in self.mutants)
        return {mutant: verdict.outcome for mutant, verdict in verdicts if verdict is not None}

    def _in_functions(self) -> None:
        """In a process of its own, which has all tests collected."""
        child = os.fork()
        if child:
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                raise SystemExit("the tests do not pass without a mutant, or were not collected")
            return
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        status = 1
        try:
            status = with_tests(TESTS, self._with_items)
        finally:
            os._exit(status)

    def _with_items(self, items: dict[str, pytest.Item]) -> None:
        baseline = self.memory.baseline() or self._measured(items)
        found = functions(SCOPE)

        def work(mutant: Mutant) -> Verdict:
            if not put_into(found, mutant.code()):
                return Verdict(AT_IMPORT)
            return judged([items[test] for test in self._order(baseline, mutant)], baseline.seconds)

        self._pool([mutant for mutant in self.mutants if mutant.place.inside], work)

    def _measured(self, items: dict[str, pytest.Item]) -> Baseline:
        child, reader = forked(lambda: measure(items).written())
        with os.fdopen(reader) as answer:
            text = answer.read()
        if os.waitpid(child, 0)[1]:
            raise SystemExit(1)
        self.memory.keep_baseline(text)
        return Baseline.from_text(text)

    def _at_import(self, baseline: Baseline) -> None:
        def work(mutant: Mutant) -> Verdict:
            return at_import(mutant, self._order(baseline, mutant), baseline.seconds)

        self._pool([mutant for mutant in self.mutants if not self._known(mutant)], work)

    def _known(self, mutant: Mutant) -> bool:
        verdict = self.memory.verdict(mutant)
        return verdict is not None and verdict.outcome != AT_IMPORT

    def _order(self, baseline: Baseline, mutant: Mutant) -> list[str]:
        """The tests to be run: first the one that killed it before, then those that kill its neighbours."""
        tests = baseline.tests_of(mutant)
        first, kills = self.memory.killer(mutant), self._kills[mutant.module]
        return sorted(tests, key=lambda test: (test != first, -kills[test]))

    def _pool(self, mutants: Sequence[Mutant], work: Callable[[Mutant], Verdict]) -> None:
        waiting = [
            mutant for mutant in mutants if self.memory.verdict(mutant) is None or not self._known(mutant)
        ]
        survived = 0
        ended: Iterator[tuple[Mutant, Verdict]] = pool(waiting, work, self.processes)
        for done, (mutant, verdict) in enumerate(ended, 1):
            self.memory.keep(mutant, verdict)
            self._kills[mutant.module][verdict.killer] += 1
            survived += verdict.outcome == SURVIVED
            progress(done, len(waiting), survived)


def main() -> int:
    """Run mutants, print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--module", action="append", help="a file, from the folder of the core; all of them")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--survivors", action="store_true", help="only what survived last time")
    arguments = parser.parse_args()
    paths = [CORE / module for module in arguments.module or []] or SCOPE
    FOLDER.mkdir(parents=True, exist_ok=True)
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    memory = Memory(fresh=arguments.fresh, survivors=arguments.survivors)
    outcomes = Run(mutants, memory, arguments.processes).all()
    report, good = told(outcomes, ENGINE + KINDS)
    print(report)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
