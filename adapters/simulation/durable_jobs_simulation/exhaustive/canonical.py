"""The digest of a world: equal for two that go on in the same way (state hashing, symmetry reduction).

A world is told in parts, and each part as a text and the numbers that are left out of it, because they only
name something. What a number is shows in its size, for a world begins counting each sort far from the others
(the constants here). Numbers become what they mean:

* instants count from now, and those long past are one;
* stamps, which only their engine compares, and revision numbers keep their order, and whether one follows
  the other at once;
* the ids of exchanges and hooks, which only their engine uses, and those of nodes and lives, which no one
  compares but for being the same, are counted as they appear.

Nodes are alike to all but each other, so their order does not matter: they are told in that of their texts,
and where those are the same in either, of which the smaller counts. A part that nothing has happened to,
and a value, is told once for all worlds that share it.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain, permutations
from operator import attrgetter
from types import FunctionType
from typing import Any, TypeAlias

from attrs import fields, frozen, has

from durable_jobs_core.backend import Row
from durable_jobs_core.engine import Invoke
from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.engine.entries import Reading
from durable_jobs_core.engine.handlers import Invocation
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.state import State
from durable_jobs_core.words import Revision
from durable_jobs_simulation.exhaustive.forking import can_change, names_of
from durable_jobs_simulation.exhaustive.ledger import Ledger

IDS = 10**10
STAMPS = 2 * 10**10
EACH = 10**7
"""So many ids, and stamps, of one engine before those of the next."""
NUMBERS = 3 * 10**10
EPOCH = 17 * 10**11
NODES = 10**15
LIVES = 10**17
PAST_MS = 200_000
"""Longer ago than this is long ago: no span in a scope is as long."""

_NUMBER = re.compile(r"(\d{11,})")
_UNTOLD: dict[type, set[str]] = {
    Invoke: {"function", "args", "key", "timeout_ms", "inline_def"},
    Keeper: {"definition", "slots", "job", "row"},
    State: {"jobs", "runnable", "limits", "lane_of", "entropy", "needs"},
    Invocation: {"keeper"},
    Cache: {"size", "limit"},
    Ledger: {"open"},
}
"""What is the same in all worlds of a scope, or is told elsewhere."""

# -- what is told

_Seen: TypeAlias = dict[int, int]
"""What can change and was told already: by number the second time."""
_KEPT = 20_000
_VALUES: dict[int, tuple[Any, str, Sequence[int]]] = {}
"""Values, which forks share, as told: by identity, kept alive."""


def tell(x: Any) -> tuple[str, Sequence[int]]:
    """Anything as text, and the numbers that only name something, in the order in which they come."""
    numbers: list[int] = []
    return _told(x, {}, numbers), numbers


def _told(x: Any, seen: _Seen, numbers: list[int]) -> str:
    cls = type(x)
    if cls in _PLAIN:
        return repr(x)
    if cls is int:
        if x < IDS:
            return repr(x)
        numbers.append(x)
        return "#"
    simple = _SIMPLE.get(cls)
    if simple is not None:
        return simple(x, seen, numbers)
    if can_change(cls):
        number = seen.get(id(x))
        if number is not None:
            return f"@{number}"
        seen[id(x)] = len(seen)
        return _object(x, seen, numbers)
    known = _VALUES.get(id(x))
    if known is None:
        if len(_VALUES) > _KEPT:
            _VALUES.clear()
        its: list[int] = []
        known = _VALUES[id(x)] = x, _object(x, {}, its), its
    numbers += known[2]
    return known[1]


_PLAIN = frozenset((str, bool, type(None), float))


def _object(x: Any, seen: _Seen, numbers: list[int]) -> str:
    cls = type(x)
    known = _FIELDS.get(cls)
    if known is None:
        known = _FIELDS[cls] = _fields(cls)
    return f"{cls.__name__}({_joined(known(x), seen, numbers)})"


def _joined(items: Iterable[Any], seen: _Seen, numbers: list[int]) -> str:
    return ",".join([repr(x) if type(x) in _PLAIN else _told(x, seen, numbers) for x in items])


def _fields(cls: type) -> Callable[[Any], Iterable[Any]]:
    """What gets all of an object that is told."""
    if issubclass(cls, BaseException):
        return lambda x: (str(x),)
    if issubclass(cls, tuple):
        return lambda x: x
    assert not issubclass(cls, dict | list | set), "these are told by what they hold"
    names: Iterable[str] = [field.name for field in fields(cls)] if has(cls) else names_of(cls)
    told = [name for name in names if name not in _UNTOLD.get(cls, ())]
    if not has(cls) and cls.__dictoffset__:
        told.append("__dict__")
    if not told:
        return lambda x: ()
    if cls is Keeper:
        told += ["row.__class__"]  # whether it has the text of its record, which it will cache
    get = attrgetter(*told)
    return get if len(told) > 1 else lambda x: (get(x),)


_FIELDS: dict[type, Callable[[Any], Iterable[Any]]] = {}


def _bytes(x: bytes, seen: _Seen, numbers: list[int]) -> str:
    """A stored text, or a revision."""
    if not x.startswith(b"DJ"):
        return _joined(Revision.from_bytes(x), seen, numbers)
    pieces = _NUMBER.split(x[12:].decode())
    numbers += map(int, pieces[1::2])
    return "#".join(pieces[::2])


def _items(x: Any, seen: _Seen, numbers: list[int]) -> str:
    return f"[{_joined(x, seen, numbers)}]" if x else "[]"


def _set(x: Any, seen: _Seen, numbers: list[int]) -> str:
    return f"{{{_joined(sorted(x, key=repr), seen, numbers)}}}" if x else "{}"


def _pairs(x: Any, seen: _Seen, numbers: list[int]) -> str:
    return f"{{{_joined(chain.from_iterable(x.items()), seen, numbers)}}}" if x else "{}"


_SIMPLE: dict[type, Callable[[Any, _Seen, list[int]], str]] = {
    bytes: _bytes,
    list: _items,
    tuple: _items,
    set: _set,
    frozenset: _set,
    dict: _pairs,
    OrderedDict: _pairs,
    Counter: _pairs,
    FunctionType: lambda x, seen, numbers: x.__qualname__,
    type: lambda x, seen, numbers: x.__name__,
    Reading: lambda x, seen, numbers: x.name,
}

# -- parts


@frozen(eq=False)
class Part:
    """A part of a world. `text`: a digest of all that no other part has to do with; and the other numbers:
    `instants`, `revisions` and `names`, of nodes and lives."""

    text: bytes
    instants: Sequence[int]
    revisions: Sequence[int]
    names: Sequence[int]


def part(text: str, numbers: Sequence[int]) -> Part:
    """A part, as it was told."""
    sorts = bytes([bisect_right(_SORTS, number) for number in numbers])
    sorted_out = ids, stamps, revisions, instants, names = [array("q") for _ in range(len(_SORTS) + 1)]
    for sort, number in zip(sorts, numbers, strict=True):
        sorted_out[sort].append(number)
    ranks = _ranks(stamps)
    own = array("q", [*_counted(ids), *[ranks[stamp] for stamp in stamps]]).tobytes()
    whole = hashlib.blake2b(b"".join((text.encode(), sorts, own)), digest_size=16).digest()
    return Part(whole, instants, revisions, names)


_SORTS = STAMPS, NUMBERS, EPOCH // 2, NODES
"""Where stamps, revisions, instants and names begin; before them, ids."""


def _ranks(numbers: Iterable[int]) -> dict[int, int]:
    """How they are ordered, and which follow each other at once."""
    ranks: dict[int, int] = {}
    last = rank = 0
    for number in sorted(set(numbers)):
        rank += min(2, number - last)
        ranks[number] = rank
        last = number
    return ranks


def _counted(numbers: Iterable[int]) -> list[int]:
    """Numbers that are only the same or not, counted as they appear."""
    counts: dict[int, int] = {}
    return [counts.setdefault(number, len(counts)) for number in numbers]


_PARTS: dict[int, tuple[Any, Part]] = {}
_same = lru_cache(_KEPT)(part)


def part_of(x: Any) -> Part:
    """The part that a value is: told once, kept alive; the same for values that are told alike. Of a stored
    row, the rest follows from its record."""
    known = _PARTS.get(id(x))
    if known is None:
        if len(_PARTS) > _KEPT:
            _PARTS.clear()
        text, numbers = tell((x.revision, x.wake, x.blob) if type(x) is Row else x)
        known = _PARTS[id(x)] = x, _same(text, tuple(numbers))
    return known[1]


# -- worlds


@lru_cache(_KEPT)
def digest(nodes: tuple[tuple[Part, ...], ...], rest: tuple[Part, ...], now: int) -> bytes:
    """Sixteen bytes for a world told in parts; the order of the nodes does not matter.

    What happens in another order is often the same to the last number: that is digested once.
    """
    ranks = _ranks(chain.from_iterable([part.revisions for part in chain(*nodes, rest)]))
    fixed = [_fixed(node, ranks, now) for node in nodes]
    texts = sorted(fixed)
    orders = (order for order in permutations(range(len(nodes))) if [fixed[at] for at in order] == texts)
    names = min([_named(chain(*[nodes[at] for at in order], rest)) for order in orders])
    return hashlib.blake2b(b"".join((*texts, _fixed(rest, ranks, now), names)), digest_size=16).digest()


def _fixed(parts: Sequence[Part], ranks: dict[int, int], now: int) -> bytes:
    """All of some parts that does not depend on the order in which the nodes are told."""
    numbers, past = list[int](), now - PAST_MS
    for part in parts:
        if part.instants:
            numbers += [at - now if at > past else -PAST_MS for at in part.instants]
        if part.revisions:
            numbers += [ranks[number] for number in part.revisions]
    return b"".join((*[part.text for part in parts], array("q", numbers).tobytes()))


def _named(parts: Iterable[Part]) -> bytes:
    """The names of some parts, counted as they appear."""
    return array("q", _counted(chain.from_iterable([part.names for part in parts]))).tobytes()
