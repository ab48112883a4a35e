"""The digest of a world: equal for two that go on in the same way (state hashing, symmetry reduction).

A world is told as text, and then the numbers in it that only name something are named anew, in the order
in which they appear. What a number is shows in its size, for a world begins counting each sort far
from the others (the constants here). Instants count from now, and those long past are one; stamps and
revisions keep their order; nodes are told in either order, and the smaller text counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from itertools import permutations
from types import FunctionType
from typing import Any, TypeAlias

from attrs import define, field, fields, has

from durable_jobs_core.backend import Row
from durable_jobs_core.engine import Invoke
from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.engine.handlers import Invocation
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.state import State
from durable_jobs_core.words import Revision
from durable_jobs_simulation.exhaustive.forking import can_change, names_of

IDS = 10**10
STAMPS = 2 * 10**10
STAMPS_EACH = 10**7
NUMBERS = 3 * 10**10
EPOCH = 17 * 10**11
NODES = 10**15
LIVES = 10**17
PAST_MS = 200_000
"""Longer ago than this is long ago: no span in a scope is as long."""

_NAME = re.compile(rb"\d{11,}")
_UNTOLD: dict[type, set[str]] = {
    Invoke: {"function", "args", "key", "timeout_ms", "inline_def"},
    Keeper: {"definition", "slots", "job", "row"},
    State: {"jobs", "runnable", "limits", "lane_of", "entropy", "needs"},
    Invocation: {"keeper"},
    Cache: {"size", "limit"},
}
"""What is the same in all worlds of a scope, or is told elsewhere."""

_Tell: TypeAlias = Callable[[Any, "Teller"], str]
_VALUES: dict[int, tuple[Any, str]] = {}
"""Texts of values, which forks share: by identity, kept alive."""


@define(eq=False)
class Teller:
    """Tells things as text. `seen`: what can change and was told already: by number the second time."""

    seen: dict[int, int] = field(factory=dict[int, int])

    def tell(self, x: Any) -> str:
        """The text of anything."""
        cls = type(x)
        simple = _SIMPLE.get(cls)
        if simple is not None:
            return simple(x, self)
        if can_change(cls):
            number = self.seen.get(id(x))
            if number is not None:
                return f"@{number}"
            self.seen[id(x)] = len(self.seen)
            return _object(x, self)
        known = _VALUES.get(id(x))
        if known is not None:
            return known[1]
        text = _object(x, self)
        if len(_VALUES) > 300_000:
            _VALUES.clear()
        _VALUES[id(x)] = x, text
        return text


def _object(x: Any, teller: Teller) -> str:
    cls = type(x)
    if isinstance(x, BaseException):
        return f"{cls.__name__}({x})"
    if isinstance(x, tuple):
        return f"[{','.join([teller.tell(item) for item in x])}]"
    names = _FIELDS.get(cls)
    if names is None:
        names = _FIELDS[cls] = _names(cls)
    shown = [teller.tell(getattr(x, name)) for name in names]
    loose = "" if has(cls) else teller.tell(getattr(x, "__dict__", None))
    return f"{cls.__name__}({','.join(shown)}{loose})"


def _names(cls: type) -> tuple[str, ...]:
    names: Iterable[str] = [field.name for field in fields(cls)] if has(cls) else names_of(cls)
    return tuple(name for name in names if name not in _UNTOLD.get(cls, ()))


_FIELDS: dict[type, tuple[str, ...]] = {}


def _repr(x: Any, teller: Teller) -> str:
    return repr(x)


def _bytes(x: bytes, teller: Teller) -> str:
    return x[12:].decode() if x.startswith(b"DJ") else repr(tuple(Revision.from_bytes(x)))


def _items(x: Any, teller: Teller) -> str:
    return f"[{','.join([teller.tell(item) for item in x])}]"


def _set(x: Any, teller: Teller) -> str:
    return f"{{{','.join(sorted([teller.tell(item) for item in x]))}}}"


def _pairs(x: Any, teller: Teller) -> str:
    return f"{{{','.join([f'{teller.tell(key)}:{teller.tell(item)}' for key, item in x.items()])}}}"


_SIMPLE: dict[type, _Tell] = {
    int: _repr,
    str: _repr,
    bool: _repr,
    type(None): _repr,
    float: _repr,
    bytes: _bytes,
    list: _items,
    tuple: _items,
    set: _set,
    frozenset: _set,
    dict: _pairs,
    FunctionType: lambda x, teller: x.__qualname__,
}


def digest(nodes: list[str], rest: str, now: int) -> bytes:
    """Sixteen bytes for a world told in parts; the order of the nodes does not matter."""
    texts = (_renamed("\n".join((*order, rest)).encode(), now) for order in permutations(nodes))
    return hashlib.blake2b(min(texts), digest_size=16).digest()


def _renamed(text: bytes, now: int) -> bytes:
    names: dict[bytes, bytes] = {}
    ordered: list[tuple[int, bytes]] = []
    for name in _NAME.findall(text):
        if name in names:
            continue
        number = int(name)
        if EPOCH // 2 < number < NODES:
            names[name] = b"t%d" % max(number - now, -PAST_MS)
        elif STAMPS <= number < EPOCH // 2:
            names[name] = b""
            ordered.append((number, name))
        else:
            names[name] = b"n%d" % len(names)
    last, rank, sort = 0, 0, -1
    for number, name in sorted(ordered):
        if number // STAMPS_EACH != sort:
            last, rank, sort = number, 0, number // STAMPS_EACH
        rank += min(2, number - last)
        names[name] = b"o%d" % rank
        last = number
    return _NAME.sub(lambda match: names[match[0]], text)


def row_text(row: Row, teller: Teller) -> str:
    """A stored row, but for what follows from its record."""
    return f"{_bytes(row.revision, teller)}{row.wake}{_bytes(row.blob, teller)}"
