"""A check is a plain function of a `Port`, with the rule it shows; it raises `Broken` when that is broken."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from durable_jobs_conformance.harness import Capability, Harness
from durable_jobs_conformance.port import Broken, Port

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

    def __call__(self, harness: Harness) -> None:
        """Run it on a fresh store. What is raised is `Broken`, whatever the backend raised."""
        try:
            self.body(harness)
        except Broken as broken:
            raise broken.of(self.rule, self.name) from broken.__cause__
        except Exception as error:
            notes = tuple(getattr(error, "__notes__", ()))
            raised = Broken("no exception", f"{type(error).__name__}: {error}", notes)
            raise raised.of(self.rule, self.name) from error


_CHECKS: list[Check] = []


def registered() -> tuple[Check, ...]:
    """All checks, in the order of their modules."""
    return tuple(_CHECKS)


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
