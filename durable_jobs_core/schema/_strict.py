"""A cattrs converter that coerces nothing, and the words it explains a misfit with.

cattrs coerces by default. Here each type accepts one JSON form, and one Python form on the way out:
a value of another type becomes an `Alien`, which no form accepts, so that the path of the misfit
is found by the same code in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, is_typeddict

import attrs
from cattrs import (
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    is_namedtuple,
    iterable_unstructure_factory,
    list_structure_factory,
    mapping_structure_factory,
    mapping_unstructure_factory,
    namedtuple_dict_structure_factory,
    namedtuple_dict_unstructure_factory,
)
from cattrs.gen import make_hetero_tuple_unstructure_fn

from durable_jobs_core.errors import DefinitionError, Issue
from durable_jobs_core.schema._scalars import (
    JSON_SCALARS,
    TEXT_SCALARS,
    Alien,
    Misfit,
    read_json,
    read_none,
)

_Hook: TypeAlias = Callable[[Any, Any], Any]
_Out: TypeAlias = Callable[[Any], Any]


def _name(type_: Any) -> str:
    return getattr(type_, "__name__", None) or str(type_).replace("typing.", "")


def _shaped(hook: _Hook, shape: type, expected: str) -> _Hook:
    """`hook`, behind a check that the JSON value is an array or an object at all."""

    def structure(value: Any, type_: Any) -> Any:
        if type(value) is not shape:
            raise Misfit(expected, value)
        return hook(value, type_)

    return structure


def _typed(hook: _Out, python_type: Any) -> _Out:
    def unstructure(value: Any) -> Any:
        return hook(value) if isinstance(value, python_type) else Alien(value)

    return unstructure


def _is_class(type_: Any) -> bool:
    origin = _origin(type_)
    return isinstance(origin, type) and (attrs.has(origin) or is_dataclass(origin))


def _is_enum(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Enum)


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, UnionType)


def _is_literal(type_: Any) -> bool:
    return get_origin(type_) is Literal


@attrs.frozen
class _Collection:
    """`python_type`: what may be written; `read`, `write`: make the hooks for a type of this sort."""

    python_type: Any
    read: Callable[[Any, Converter], _Hook]
    write: Callable[[Any, Converter], _Out]


def _read_set(type_: Any, converter: Converter) -> _Hook:
    item: Any = get_args(type_)[0]
    items = list_structure_factory(cast(Any, list)[item], converter)
    python_type = frozenset if _origin(type_) is frozenset else set

    def structure(value: Any, _: Any) -> Any:
        result = python_type(items(value, None))
        if len(result) != len(value):
            raise Misfit("items that differ", value)
        return result

    return structure


def _read_tuple(type_: Any, converter: Converter) -> _Hook:
    if get_args(type_)[-1:] == (...,):
        return homogenous_tuple_structure_factory(type_, converter)
    return converter.gen_structure_hetero_tuple(type_)


def _write_array(type_: Any, converter: Converter) -> _Out:
    args = get_args(type_)
    if _origin(type_) is tuple and args[-1:] != (...,):
        return make_hetero_tuple_unstructure_fn(type_, converter, unstructure_to=list)
    return iterable_unstructure_factory(type_, converter, unstructure_to=list)


def _write_set(type_: Any, converter: Converter) -> _Out:
    write = iterable_unstructure_factory(type_, converter, unstructure_to=list)
    return lambda value: sorted(write(value), key=repr)  # sets have no order: bytes must have one


_COLLECTIONS: dict[Any, _Collection] = {
    list: _Collection(list, list_structure_factory, _write_array),
    Sequence: _Collection((list, tuple), list_structure_factory, _write_array),
    tuple: _Collection(tuple, _read_tuple, _write_array),
    set: _Collection(set, _read_set, _write_set),
    frozenset: _Collection(frozenset, _read_set, _write_set),
    Set: _Collection(Set, _read_set, _write_set),
    dict: _Collection(dict, mapping_structure_factory, mapping_unstructure_factory),
    Mapping: _Collection(Mapping, mapping_structure_factory, mapping_unstructure_factory),
}


def _origin(type_: Any) -> Any:
    return get_origin(type_) or type_


def _is_collection(type_: Any) -> bool:
    origin = _origin(type_)
    return isinstance(origin, type) and origin in _COLLECTIONS


def _filled(type_: Any) -> Any:
    """A bare `list` is a `list[Any]`, and so on."""
    if get_args(type_):
        return type_
    argument: Any = Any
    if type_ in (dict, Mapping):
        argument = (str, Any)
    elif type_ is tuple:
        argument = (Any, ...)
    return cast(Any, type_).__class_getitem__(argument)


def _members(expected: str, values: Sequence[tuple[Any, Any]]) -> _Hook:
    """One of a few scalars, told apart by type too: `True` is not `1`."""
    table = {(type(raw), raw): member for raw, member in values}

    def structure(value: Any, _: Any) -> Any:
        try:
            return table[type(value), value]
        except (KeyError, TypeError):
            raise Misfit(expected, value) from None

    return structure


def _enum_hook(type_: Any) -> _Hook:
    names = ", ".join(repr(member.value) for member in type_)
    return _members(f"one of {names}", [(member.value, member) for member in type_])


def _literal_hook(type_: Any) -> _Hook:
    values = get_args(type_)
    names = ", ".join(map(repr, values))
    return _members(f"one of {names}", [(v.value if _is_enum(type(v)) else v, v) for v in values])


def _json_types(type_: Any) -> set[type]:
    """The Python types that the JSON form of `type_` may have."""
    if _is_literal(type_) or _is_enum(type_):
        values = get_args(type_) or [member.value for member in type_]
        return {type(value) for value in values}
    if type_ in (None, NoneType):
        return {NoneType}
    if type_ is float:
        return {float, int}
    if type_ in JSON_SCALARS:
        return {type_}
    if type_ in TEXT_SCALARS:
        return {str}
    is_array = _is_collection(type_) and _origin(type_) not in (dict, Mapping)
    return {list} if is_array else {dict}


def _as_target(hook: _Hook, target: Any) -> _Hook:
    return lambda value, _: hook(value, target)


def _union_hook(type_: Any, converter: Converter) -> _Hook:
    """Tells members apart by JSON type, and several classes as cattrs does, by field."""
    by_json: dict[type, list[Any]] = {}
    for member in get_args(type_):
        for json_type in _json_types(member):
            by_json.setdefault(json_type, []).append(member)
    hooks: dict[type, _Hook] = {}
    for json_type, members in by_json.items():
        if json_type is int and int in members:
            members = [int]  # of `int | float`: a float is written with its point
        if len(members) == 1:
            target: Any = members[0]
            hook = converter.get_structure_hook(target)
        elif all(map(_is_class, members)):
            target = Union[tuple(members)]  # noqa: UP007 (the members are known at run time only)
            hook = converter._gen_attrs_union_structure(target)  # pyright: ignore
        else:
            names = " and ".join(map(_name, members))
            raise DefinitionError(f"{type_}: {names} cannot be told apart in JSON")
        hooks[json_type] = _as_target(hook, target)

    expected = " or ".join("null" if m is NoneType else _name(m) for m in get_args(type_))

    def structure(value: Any, union: Any) -> Any:
        hook = hooks.get(type(value))
        if hook is None:
            raise Misfit(expected, value)
        try:
            return hook(value, union)
        except (ValueError, KeyError) as error:
            if isinstance(error, Misfit):
                raise
            raise Misfit(expected, value) from error

    return structure


class _StrictConverter(Converter):
    """The converter, with the strict hooks registered over the coercing ones."""

    def __init__(self) -> None:
        super().__init__(forbid_extra_keys=True)
        for scalar, read in JSON_SCALARS.items():
            self.register_structure_hook(scalar, self._scalar_hook(scalar, read))
        self.register_unstructure_hook(str, _text_out)
        for scalar, (read, write) in TEXT_SCALARS.items():
            self.register_structure_hook(scalar, self._scalar_hook(scalar, read))
            self.register_unstructure_hook(scalar, _typed(write, scalar))
        self.register_structure_hook_factory(lambda t: t in (None, NoneType), self._none_hook)
        self.register_structure_hook_factory(lambda t: t in (Any, object), self._any_hook)
        self.register_unstructure_hook_factory(lambda t: t in (Any, object), lambda _: _identity)
        self.register_structure_hook_factory(_is_enum, _enum_hook)
        self.register_unstructure_hook_factory(_is_enum, self._enum_out)
        self.register_structure_hook_factory(_is_literal, _literal_hook)
        self.register_structure_hook_factory(_is_union, lambda t: _union_hook(t, self))
        self._wrap(_is_class, dict, self.gen_structure_attrs_fromdict, self._class_out)
        self._wrap(is_typeddict, dict, self.gen_structure_typeddict, self.gen_unstructure_typeddict)
        self._wrap(
            is_namedtuple,
            dict,
            lambda t: namedtuple_dict_structure_factory(t, self, "from_converter", True),
            lambda t: namedtuple_dict_unstructure_factory(t, self),
        )
        self._wrap_collections()

    def _scalar_hook(self, scalar: Any, read: Callable[[Any], Any]) -> _Hook:
        def structure(value: Any, type_: Any) -> Any:
            if type_ is scalar:
                return read(value)
            # A subclass lands here too, because cattrs dispatches on the class: enums over a scalar.
            hook = _enum_hook(type_) if _is_enum(type_) else None
            if hook is None:
                raise Misfit(f"{_name(type_)}, for which there is no form", value)
            return hook(value, type_)

        return structure

    def _none_hook(self, _: Any) -> _Hook:
        return lambda value, _: read_none(value)

    def _any_hook(self, _: Any) -> _Hook:
        return lambda value, _: read_json(value)

    def _enum_out(self, type_: Any) -> _Out:
        return _typed(lambda member: member.value, type_)

    def _class_out(self, type_: Any) -> _Out:
        return self.gen_unstructure_attrs_fromdict(type_)

    def _wrap(
        self,
        predicate: Callable[[Any], bool],
        shape: type,
        read: Callable[[Any], Any],
        write: Callable[[Any], Any],
    ) -> None:
        def structure_factory(type_: Any) -> _Hook:
            return _shaped(read(type_), shape, f"an object ({_name(type_)})")

        def unstructure_factory(type_: Any) -> _Out:
            python_type = dict if is_typeddict(type_) else _origin(type_)
            return _typed(write(type_), python_type)

        self.register_structure_hook_factory(predicate, structure_factory)
        self.register_unstructure_hook_factory(predicate, unstructure_factory)

    def _wrap_collections(self) -> None:
        def structure_factory(type_: Any) -> _Hook:
            origin = _origin(type_)
            shape = dict if origin in (dict, Mapping) else list
            expected = f"{'an object' if shape is dict else 'an array'} ({_name(type_)})"
            return _shaped(_COLLECTIONS[origin].read(_filled(type_), self), shape, expected)

        def unstructure_factory(type_: Any) -> _Out:
            collection = _COLLECTIONS[_origin(type_)]
            return _typed(collection.write(_filled(type_), self), collection.python_type)

        self.register_structure_hook_factory(_is_collection, structure_factory)
        self.register_unstructure_hook_factory(_is_collection, unstructure_factory)


def _identity(value: Any) -> Any:
    return value


def _text_out(value: Any) -> Any:
    """cattrs dispatches an enum over `str` to `str`."""
    return value.value if isinstance(value, Enum) else value


def strict_converter() -> Converter:
    """A new converter with every strict hook; register further types' hooks on it."""
    return _StrictConverter()


# -- explaining


def explain(error: Exception, type_: Any, value: object) -> tuple[Issue, ...]:
    """What is wrong, where: the leaves of a cattrs error as issues."""
    return tuple(_issues(error, "$", type_))


def _issues(error: BaseException, path: str, type_: Any) -> Iterator[Issue]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, bare = error.group_exceptions()
        for child, note in noted:
            name = getattr(note, "name", None)
            step = f".{name}" if name is not None else f"[{note.index!r}]"
            yield from _issues(child, path + step, note.type)
        for child in bare:
            yield from _issues(child, path, type_)
    elif isinstance(error, Misfit):
        yield Issue(path, error.expected, error.got)
    elif isinstance(error, KeyError):
        yield Issue(path, _name(type_), f"nothing: the field {error} is missing")
    elif isinstance(error, ForbiddenExtraKeysError):
        extra = ", ".join(sorted(map(repr, error.extra_fields)))
        yield Issue(path, f"only the fields of {_name(type_)}", f"also {extra}")
    else:
        yield Issue(path, f"a valid {_name(type_)}", f"{type(error).__name__}: {error}")
