"""Randomness from one seed: the engine's node id, stretched by a counter (SplitMix64)."""

from __future__ import annotations

from attrs import define

_MASK = 2**64 - 1


@define(eq=False)
class Entropy:
    """`seed`: 64 bits; `count`: how often it was asked."""

    seed: int
    count: int = 0

    def __call__(self) -> int:
        """The next 64 bits."""
        self.count += 1
        z = (self.seed + self.count * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)
