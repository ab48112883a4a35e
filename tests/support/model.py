"""What the dumb models of the three kinds share."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen
class Refused:
    """A model's answer to a request that is refused: the name of the error."""

    error: str


class Piece:
    """A run of the model: where it stands (`waits`, `flies`, `parked`), and its counters."""

    def __init__(self, at: int, **facts: Any) -> None:
        self.stands, self.at, self.attempt, self.crashes = "waits", at, 1, 0
        self.forced = False
        self.__dict__.update(facts)

    def revive(self, now: int) -> None:
        """Due now, attempts and crashes from the beginning (S-18)."""
        self.stands, self.at, self.attempt, self.crashes = "waits", now, 1, 0
