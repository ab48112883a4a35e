"""Whether a value is of the types the port names.

`10.0 == 10`, and `memoryview(b"x") == b"x"`: to compare with what was expected does not tell, and an engine
takes neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from attrs import has


def misfit(place: str, value: Any, form: Any) -> tuple[str, Any, Any] | None:
    """The first part of `value` that is of another type: where, what it had to be, and the part."""
    for option in _options(form):
        if _is(value, option):
            return next(_misfits(_parts(place, value, option)), None)
    return place, form, value


def named(form: Any) -> str:
    """A type as its author writes it."""
    return " or ".join(
        str(each.__args__) if get_origin(each) is Literal else "None" if each is NoneType else each.__name__
        for each in _options(form)
    )


def _misfits(parts: Iterable[tuple[str, Any, Any]]) -> Iterator[tuple[str, Any, Any]]:
    return (found for part in parts if (found := misfit(*part)) is not None)


def _options(form: Any) -> tuple[Any, ...]:
    return get_args(form) if get_origin(form) in (Union, UnionType) else (form,)


def _is(value: Any, option: Any) -> bool:
    if get_origin(option) is Literal:
        return value in get_args(option)
    if not isinstance(value, get_origin(option) or option):
        return False
    if get_origin(option) is tuple:
        return ... in get_args(option) or len(value) == len(get_args(option))
    return option is bool or not isinstance(value, bool)  # which is an int


def _parts(place: str, value: Any, option: Any) -> Iterable[tuple[str, Any, Any]]:
    if get_origin(option) is tuple:
        forms = get_args(option)
        each = forms[:1] * len(value) if forms[1:] == (...,) else forms
        return [(f"{place}[{n}]", *part) for n, part in enumerate(zip(value, each, strict=True))]
    if has(option) or hasattr(option, "_fields"):
        return [(f"{place}.{name}", getattr(value, name), each) for name, each in _fields(option).items()]
    return ()


_fields = cache(get_type_hints)
