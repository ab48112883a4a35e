"""Randomness from one seed: named streams, the same on every machine and Python (SplitMix64)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15
_UNIT = 2.0**-53


class Dice:
    """One stream of a seed. `split` gives another that does not disturb this one, nor is disturbed by it."""

    __slots__ = ("_state", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed & _MASK
        self._state = self.seed

    def split(self, name: str) -> Dice:
        """The stream of that name: the same however much was drawn from this one."""
        text = f"{self.seed:016x}/{name}".encode()
        return Dice(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big"))

    def bits(self) -> int:
        """64 bits."""
        self._state = (self._state + _STEP) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def chance(self, rate: float) -> bool:
        """True in `rate` of the cases. Nothing is drawn if it is 0."""
        return rate > 0 and (self.bits() >> 11) * _UNIT < rate

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, and without, `limit`."""
        return self.bits() % limit

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.bits() % (high - low + 1)

    def choose(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.bits() % len(options)]
