"""What a run found, and what that means: a table, the survivors, and whether it is good enough."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from mutation.explained import Explained
from mutation.mutants import Mutant
from mutation.running import KILLED, SURVIVED, TIMEOUT

LEAST = 0.9
"""The share of mutants that has to be killed, explained survivors not counted as killed."""


def progress(done: int, total: int, survived: int) -> None:
    """Write over one line of the terminal."""
    if sys.stderr.isatty():
        full = 30 * done // max(total, 1)
        bar = f"[{'#' * full}{'-' * (30 - full)}]"
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r\x1b[K{bar} {done} of {total} mutants, {survived} survived{end}")
        sys.stderr.flush()


def table(outcomes: Mapping[Mutant, str]) -> list[str]:
    """Mutants, killed, survived, timed out and the score, by module and in all."""
    modules = sorted({mutant.module for mutant in outcomes})
    rows = [(name, [o for mutant, o in outcomes.items() if mutant.module == name]) for name in modules]
    rows.append(("total", list(outcomes.values())))
    lines = [f"{'module':28}{'mutants':>9}{'killed':>8}{'survived':>10}{'timed out':>11}{'score':>8}"]
    for name, ended in rows:
        killed, survived, timeout = (ended.count(each) for each in (KILLED, SURVIVED, TIMEOUT))
        score = f"{share(ended):.1%}"
        lines.append(f"{name:28}{len(ended):>9}{killed:>8}{survived:>10}{timeout:>11}{score:>8}")
    return lines


def share(ended: Sequence[str]) -> float:
    """The share of mutants that did not survive."""
    return 1 - ended.count(SURVIVED) / len(ended) if ended else 1.0


def unexplained(
    outcomes: Mapping[Mutant, str], explained: Iterable[Explained]
) -> tuple[list[Mutant], list[Explained]]:
    """The survivors nobody explained, and explanations of what did not survive or is not there."""
    survivors = {mutant: _row(mutant) for mutant, outcome in outcomes.items() if outcome == SURVIVED}
    modules = {mutant.module for mutant in outcomes}
    given = [each for each in explained if each.module in modules]
    rows = {each[:3] for each in given}
    found = set(survivors.values())
    return [m for m, row in survivors.items() if row not in rows], [e for e in given if e[:3] not in found]


def _row(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.module, mutant.text, mutant.change


def told(outcomes: Mapping[Mutant, str], explained: Iterable[Explained]) -> tuple[str, bool]:
    """The report, and whether all is well."""
    lines = table(outcomes)
    survivors, idle = unexplained(outcomes, explained)
    for mutant in survivors:
        lines += ["", f"{mutant.module}:{mutant.line}: survived: {mutant.change}", mutant.diff()]
    lines += [f"explained, but not a survivor: {each}" for each in idle]
    score = share(list(outcomes.values()))
    lines += ["", f"score {score:.1%}, {len(survivors)} unexplained survivors, {len(idle)} idle explanations"]
    return "\n".join(lines), score >= LEAST and not survivors and not idle
