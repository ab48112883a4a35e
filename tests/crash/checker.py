"""The invariants of SPEC §9, as far as they show on the file and in the log.

Each check is a function of one `Case`, an instance with what the log and the file say of it, and gives
what is wrong. They are written from the specification and know nothing of the product's tables: the stored
JSON is read as it is. `test_checker.py` shows of every check that it can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from crash import check_attempts, check_commits, check_events
from crash.case import Case, Found, Violation
from crash.history import History
from crash.jobs import RULES
from crash.store import Store

Check: TypeAlias = Callable[[Case], Found]


def check(
    history: History, store: Store, *, calm: bool = False, checks: Sequence[Check] | None = None
) -> list[Violation]:
    """All violations. `calm`: the last round was to come to rest; `checks`: others than all there are."""
    found = [Violation("file", "-", what) for what in store.damage]
    for key in sorted({*history.keys, *store.rows}):
        case = Case(
            key=key,
            log=history.of_key(key),
            held=store.rows.get(key),
            rule=RULES[key.split(":")[1]],
            clock=store.clock,
        )
        found += [Violation(name, key, what) for one in checks or CHECKS for name, what in one(case)]
    for line in history.probed:
        if line["before"] != line["after"]:
            found.append(Violation("I-9", line["key"], "a refused request changed the stored bytes"))
    if calm:
        found += _rest(history)
    return found


def _rest(history: History) -> Iterator[Violation]:
    """I-8: with no more faults, everything due has been done."""
    ends = [line for line in history.settled if line["round"] == history.last_round]
    if not ends:
        yield Violation("I-8", "-", "the last round did not come to rest")
    for line in ends:
        for key, what in line["left"]:
            yield Violation("I-8", key, f"there is work left: {what}")


CHECKS = (*check_events.CHECKS, *check_attempts.CHECKS, *check_commits.CHECKS)
