"""A check is a plain function of a `Port`, with the rule it shows; it raises `Broken` when that is broken."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from attrs import frozen

from durable_jobs_conformance.harness import Capability, Harness
from durable_jobs_conformance.port import ASKED, Broken, Port

HARNESS = "harness"
"""The `rule` of the check that looks at the harness itself."""
_HERE = Path(__file__).parent

__all__ = ["Broken", "Check", "check", "registered", "registered_for_harnesses"]


@frozen
class Check:
    """`name` says what must hold, `rule` where it is written; `needs`: without it the check is skipped."""

    name: str
    rule: str
    needs: Capability | None
    body: Callable[[Harness], None]

    def __str__(self) -> str:
        return f"{self.rule}-{self.name}"

    @property
    def is_search(self) -> bool:
        """Of many rules at once: it finds what no example does, and takes the longest, above all to fail."""
        return ".." in self.rule

    def __call__(self, harness: Harness) -> None:
        """Run it on a fresh store. What is raised is `Broken`, whatever the backend raised."""
        try:
            self.body(harness)
        except Broken as broken:
            raise broken.of(self.rule, self.name) from broken.__cause__
        except Exception as error:
            raise _raised(error).of(self.rule, self.name) from error


def _raised(error: Exception) -> Broken:
    """What was raised, what had been asked, and where in the backend it was."""
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    asked = tuple(dict.fromkeys(note.removeprefix(ASKED) for note in notes if note.startswith(ASKED)))
    broken = Broken("no exception", f"{type(error).__name__}: {error}", asked)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [n for n, frame in enumerate(frames) if Path(frame.filename).parent == _HERE]
    for frame in frames[max(ours) + 1 :][-3:]:
        broken.add_note(f"raised in {frame.name}, {Path(frame.filename).name} line {frame.lineno}")
    for note in notes:
        if not note.startswith(ASKED):
            broken.add_note(note)
    return broken


_CHECKS: list[Check] = []


def registered() -> tuple[Check, ...]:
    """All checks, in the order that leads who writes a backend.

    What needs no capability comes first, rule by rule, and what is found by a search is at the end of it.
    """
    return tuple(sorted(_CHECKS, key=_place))


def _place(check: Check) -> tuple[int, bool, int]:
    needs = (None, *get_args(Capability)).index(check.needs)
    return needs, check.is_search, int("".join(re.findall(r"\d+", check.rule)[:1]) or 0)


def check(
    rule: str, *, each: Iterable[Any] = (), needs: Capability | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of a `Port` (and of one of `each`) as a check of `rule`."""

    def register(body: Callable[..., None]) -> Callable[..., None]:
        cases = [(f"[{_short(case)}]", functools.partial(_on_a_port, body, case)) for case in each]
        for suffix, run in cases or [("", functools.partial(_on_a_port, body))]:
            _CHECKS.append(Check(f"{body.__name__}{suffix}", rule, needs, run))
        return body

    return register


def registered_for_harnesses(
    rule: str, *, needs: Capability | None = None
) -> Callable[[Callable[[Harness], None]], Callable[[Harness], None]]:
    """Register a function of a `Harness`, which makes its own stores."""

    def register(body: Callable[[Harness], None]) -> Callable[[Harness], None]:
        _CHECKS.append(Check(body.__name__, rule, needs, body))
        return body

    return register


def _on_a_port(body: Callable[..., None], *rest: Any) -> None:
    *case, harness = rest
    with new_port(harness) as port:
        body(port, *case)


@contextmanager
def new_port(harness: Harness) -> Generator[Port]:
    """A handle on a fresh store; all handles are closed at the end, and the store is discarded."""
    store = harness.fresh()
    try:
        port = Port(store)
        try:
            yield port
        finally:
            port.close_all()
    finally:
        store.discard()


def _short(case: Any) -> str:
    return case.decode("ascii", "backslashreplace") if isinstance(case, bytes) else str(case)
