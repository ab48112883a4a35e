"""Copies of whole worlds, quickly: only what can change is copied, once each; values are shared."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeAlias

from durable_jobs_core import context
from durable_jobs_core.engine import Engine, Invoke
from durable_jobs_core.engine.cache import Cache
from durable_jobs_core.engine.calls import Call, Calls
from durable_jobs_core.engine.clock import Clock
from durable_jobs_core.engine.entries import Entry, Stepped, Writing
from durable_jobs_core.engine.handlers import Handlers, Invocation
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import Backoff, Flight, Lane
from durable_jobs_core.engine.lookout import Lookout
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.engine.state import State
from durable_jobs_simulation import history
from durable_jobs_simulation.observer import Observer

Memo: TypeAlias = dict[int, Any]
_Copier: TypeAlias = Callable[[Any, Memo], Any]


def fork(x: Any, memo: Memo) -> Any:
    """A copy that shares nothing with `x` that can change. What is not in the table is a value."""
    copier = _COPIERS.get(type(x))
    return x if copier is None else copier(x, memo)


def _tuple(x: Any, memo: Memo) -> Any:
    new = tuple([fork(item, memo) for item in x])
    return x if all(map(_is, x, new)) else new


def _is(one: object, other: object) -> bool:
    return one is other


def _counter(x: Counter[Any], memo: Memo) -> Counter[Any]:
    new: Counter[Any] = Counter.__new__(Counter)  # what its `__init__` would do is of no use
    dict.update(new, x)
    return new


def _dict(x: Any, memo: Memo) -> Any:
    return {key: fork(item, memo) for key, item in x.items()} if x else {}


def _ordered(x: Any, memo: Memo) -> Any:
    return OrderedDict(x)


def names_of(cls: type) -> tuple[str, ...]:
    """The slots of a class."""
    slots = (name for part in cls.__mro__ for name in part.__dict__.get("__slots__", ()))
    return tuple(name for name in slots if name not in ("__weakref__", "__dict__"))


def _object(cls: type) -> _Copier:
    names, copiers, new_object = names_of(cls), _COPIERS, object.__new__
    puts = [getattr(cls, name).__set__ for name in names]
    get = attrgetter(*names) if len(names) > 1 else lambda x: [getattr(x, name) for name in names]
    loose = bool(cls.__dictoffset__)

    def copier(x: Any, memo: Memo) -> Any:
        new = memo.get(id(x))
        if new is not None:
            return new
        new = memo[id(x)] = new_object(cls)
        for put, item in zip(puts, get(x), strict=False):
            copy = copiers.get(type(item))  # most are values: a call saved
            put(new, item if copy is None else copy(item, memo))
        if loose:
            new.__dict__.update({name: fork(item, memo) for name, item in x.__dict__.items()})
        return new

    return copier


_COPIERS: dict[type, _Copier] = {
    list: lambda x, memo: [fork(item, memo) for item in x] if x else [],
    set: lambda x, memo: set(x),
    tuple: _tuple,
    dict: _dict,
    OrderedDict: _ordered,
    Counter: _counter,
}


def changes(*classes: type) -> None:
    """Instances of these can change, or hold what can."""
    for cls in classes:
        _COPIERS[cls] = _object(cls)


def can_change(cls: type) -> bool:
    """Whether instances of a class are copied."""
    return cls in _COPIERS


changes(Engine, State, Lane, Lookout, Backoff, Flight, Slots, Cache, Clock, Calls, Call, Handlers, Invocation)
changes(Invoke, Keeper, Entry, Stepped, Writing, Observer, history.History, history.Attempt, history.Call)
changes(context.ContinuousContext, context.DebounceContext, context.DebounceEventContext, context.TaskContext)
