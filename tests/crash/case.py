"""What a check is given, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeAlias

from attrs import frozen
from crash.history import KeyHistory, Request
from crash.jobs import Rule
from crash.store import Held

Found: TypeAlias = Iterator[tuple[str, str]]
"""What is wrong, each by the invariant's name."""


@frozen
class Violation:
    """What is wrong with an instance, by the invariant's name."""

    invariant: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.what}"


@frozen(kw_only=True)
class Case:
    """One instance: what the log says, and what the file holds (`None`: nothing)."""

    key: str
    log: KeyHistory
    held: Held | None
    rule: Rule
    clock: int

    @property
    def body(self) -> dict[str, Any]:
        """The stored body, empty if there is none."""
        return {} if self.held is None else self.held.body

    @property
    def current(self) -> dict[str, Any]:
        """The stored unfinished run, empty if there is none."""
        run: dict[str, Any] = self.body.get("run") or {}
        return run

    def is_over(self, life: str, run: int) -> bool:
        """Whether a run is not, or no longer, what the file says is to be done."""
        if self.held is None or self.held.life != life:
            return True
        return self.current.get("number") != run or self.current.get("hook") != "execute"

    @cached_property
    def terminations(self) -> list[Request]:
        """The requests of a client that ended a life."""
        return [end for end in self.log.asked("terminate") if end.result.get("terminated")]
