"""What a declared type is: questions that need no converter."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypedDict,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from cattrs.cols import is_namedtuple

from durable_jobs_core.schema._scalars import JSON_SCALARS, TEXT_SCALARS

COLLECTIONS: Mapping[Any, Any] = {
    list: list,
    Sequence: (list, tuple),
    MutableSequence: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Set: Set,
    MutableSet: set,
    dict: dict,
    Mapping: Mapping,
    MutableMapping: dict,
}
"""The collections that have a form, each with what may be written where it is declared."""


def origin_of(type_: Any) -> Any:
    """The class of a generic, or the type itself."""
    return get_origin(type_) or type_


def is_collection(type_: Any) -> bool:
    """Whether it is one of `COLLECTIONS`."""
    origin = origin_of(type_)
    return isinstance(origin, type) and origin in COLLECTIONS


def filled(type_: Any) -> Any:
    """A bare `list` is a `list[Any]`, and so on."""
    if get_args(type_):
        return type_
    origin = origin_of(type_)
    arguments: Any = (str, Any) if issubclass(origin, Mapping) else (Any, ...) if origin is tuple else Any
    return cast(Any, origin)[arguments]


def is_class(type_: Any) -> bool:
    """An attrs class or a dataclass."""
    origin = origin_of(type_)
    return isinstance(origin, type) and (attrs.has(origin) or is_dataclass(origin))


def is_enum(type_: Any) -> bool:
    """An enum."""
    return isinstance(type_, type) and issubclass(type_, Enum)


def is_union(type_: Any) -> bool:
    """A union, however it is written."""
    return get_origin(type_) in (Union, UnionType)


def is_any(type_: Any) -> bool:
    """What takes every JSON value."""
    return type_ is Any or type_ is object


def is_formless(type_: Any) -> bool:
    """Any class: a last resort, for those with a form are known by other marks."""
    return isinstance(origin_of(type_), type) and get_origin(type_) is not Annotated


def is_literal(type_: Any) -> bool:
    """A `Literal`."""
    return get_origin(type_) is Literal


def is_alias(type_: Any) -> bool:
    """A name given to a type by `type` or `TypeAliasType`."""
    return hasattr(type_, "__value__")


def bare(type_: Any) -> Any:
    """What an alias, a `NewType` or an annotation stands for."""
    if is_alias(type_):
        return bare(_named(type_))
    if hasattr(type_, "__supertype__"):
        return bare(type_.__supertype__)
    return bare(type_.__origin__) if get_origin(type_) is Annotated else type_


def _named(alias: Any) -> Any:
    """What an alias stands for; where it has parameters, with what it was given for them."""
    value, given = alias.__value__, get_args(alias)
    if not given:
        return value
    by_parameter = dict(zip(get_origin(alias).__type_params__, given, strict=True))
    if value in by_parameter:
        return by_parameter[value]
    parameters = getattr(value, "__parameters__", ())
    return value[tuple(by_parameter[one] for one in parameters)] if parameters else value


def is_typed_dict(type_: Any) -> bool:
    """A TypedDict, generic or not."""
    return is_typeddict(origin_of(type_))


@cache
def resolved(typed_dict: Any) -> Any:
    """The TypedDict with the marks that its annotations have; Python misses them where these are text."""
    if getattr(typed_dict, "__parameters__", ()) or get_origin(typed_dict) is not None:
        return typed_dict
    marked = {
        name: hint
        if get_origin(hint) in (Required, NotRequired)
        else (Required if name in typed_dict.__required_keys__ else NotRequired)[hint]
        for name, hint in get_type_hints(typed_dict, include_extras=True).items()
    }
    return TypedDict(typed_dict.__name__, marked)  # type: ignore[operator]


def members_of(type_: Any) -> Iterator[Any]:
    """The members of a union, bare, all its literals as one."""
    literals: list[Any] = []
    for member in map(bare, get_args(type_)):
        if is_union(member):
            yield from members_of(member)
        elif is_literal(member):
            literals.extend(get_args(member))
        else:
            yield member
    if literals:
        yield Literal[tuple(literals)]  # pyright: ignore


def resolve_fields(class_: Any) -> None:
    """Have the fields of a dataclass know their types where the annotations are text, as attrs has for its
    classes; cattrs looks at them to tell the members of a union apart."""
    if is_dataclass(class_) and any(isinstance(field.type, str) for field in fields(class_)):
        hints = get_type_hints(class_, include_extras=True)
        for field in fields(class_):
            field.type = hints[field.name]


def json_types(type_: Any) -> set[type]:
    """The Python types that the JSON form of `type_` may have; none if only the user's hooks know."""
    if is_literal(type_) or is_enum(type_):
        values = get_args(type_) or [member.value for member in type_]
        return {type(value.value if isinstance(value, Enum) else value) for value in values}
    if type_ in (None, NoneType):
        return {NoneType}
    if type_ is float:
        return {float, int}
    if type_ in JSON_SCALARS:
        return {type_}
    if type_ in TEXT_SCALARS:
        return {str}
    if is_collection(type_):
        return {dict} if issubclass(origin_of(type_), Mapping) else {list}
    return {dict} if is_class(type_) or is_typed_dict(type_) or is_namedtuple(type_) else set()


def fitting(type_: Any) -> Callable[[Any], bool]:
    """Whether a Python value is of a declared type: exactly, lest a field of a subclass be lost."""
    if is_literal(type_):
        values = [(type(value), value) for value in get_args(type_)]
        return lambda value: any(type(value) is exact and value == one for exact, one in values)
    if is_collection(type_):
        python_type = COLLECTIONS[origin_of(type_)]
        return lambda value: isinstance(value, python_type)
    if type_ in TEXT_SCALARS:
        return lambda value: isinstance(value, type_)
    if type_ is float:
        return lambda value: type(value) in (float, int)
    exact = NoneType if type_ is None else dict if is_typed_dict(type_) else origin_of(type_)
    return lambda value: type(value) is exact
