"""The engine's time: a lower bound of the backend's clock that never goes back (D-8)."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class Clock:
    """`t`: the driver's monotonic clock, ms; `at`: the backend's clock when the answer of `at_t` came."""

    t: int = 0
    at: int | None = None
    at_t: int = 0
    last: int = 0

    @property
    def known(self) -> bool:
        """Whether a backend has told its clock yet."""
        return self.at is not None

    @property
    def now(self) -> int:
        """The instant it is at least."""
        assert self.at is not None, "the first exchange tells the clock"
        now = self.at + self.t - self.at_t
        if now > self.last:
            self.last = now
        return self.last

    def told(self, clock: int, asked_t: int) -> None:
        """An answer to what was asked at `asked_t` says that it was `clock` at some moment since.

        If that moment may be long ago, what is known already is nearer: it is kept.
        """
        if self.at is not None and clock <= self.at + self.t - self.at_t <= clock + self.t - asked_t:
            return
        self.at, self.at_t = clock, self.t

    def t_of(self, instant: int) -> int:
        """When, on the driver's clock, it will be `instant`; now, if it is already."""
        if instant <= self.now:
            return self.t
        assert self.at is not None, "`now` is known"
        return self.at_t + instant - self.at  # also while `now` stands still
