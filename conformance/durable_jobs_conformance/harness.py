"""What the author of a backend writes: a store to test, and how to make new ones."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, Literal, get_args

from attrs import frozen

from durable_jobs_core.backend import Backend
from durable_jobs_core.words import Key

Capability = Literal["durable", "damage"]


class Store:
    """One store, empty when it is made. Only `open` must be written; name what else is in `Harness.can`."""

    def open(self) -> Backend:
        """A new handle on this store, as another process would have."""
        raise NotImplementedError

    def crash(self) -> None:
        """`durable`: kill what serves the store, if that is another process, and start it again.

        No handle is closed before, and one may be in the midst of an exchange. A store in the process of its
        user has nothing to do here.
        """

    def damage(self, key: Key) -> None:
        """`damage`: make the row of `key` unreadable where it is stored. Every handle is closed."""
        raise NotImplementedError

    def discard(self) -> None:
        """Called once at the end, with all handles closed."""


@frozen
class Harness:
    """A backend under test. `fresh` makes an empty store; `can` names the capabilities of such stores;
    `missing`: why there can be none here, for want of a server for example."""

    name: str
    fresh: Callable[[], Store]
    can: Set[Capability] = frozenset()
    missing: str | None = None

    def __attrs_post_init__(self) -> None:
        for part, is_right, expected in (
            ("name", isinstance(self.name, str) and self.name != "", "words"),
            ("fresh", callable(self.fresh), "a function that makes a Store"),
            ("can", _is_known(self.can), f"a set of {', '.join(get_args(Capability))}, or of some of them"),
        ):
            if not is_right:
                raise TypeError(f"Harness.{part}: expected {expected}, got {getattr(self, part)!r}")


def _is_known(can: Any) -> bool:
    return isinstance(can, Set) and can <= set(get_args(Capability))
