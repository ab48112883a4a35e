"""A cattrs converter that coerces nothing.

cattrs coerces by default. Here each type accepts one JSON form, and one Python form on the way out:
a value of another type becomes an `Alien`, which no form accepts, so that the path of the misfit
is found by the same code in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from types import NoneType
from typing import Any, TypeAlias, cast, get_args

from cattrs import Converter
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
from cattrs.disambiguators import create_default_dis_func
from cattrs.gen import make_hetero_tuple_unstructure_fn

from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.schema._explain import type_name
from durable_jobs_core.schema._scalars import JSON_SCALARS, TEXT_SCALARS, Alien, Misfit, read_json, read_none
from durable_jobs_core.schema._types import (
    bare,
    filled,
    fitting,
    is_alias,
    is_any,
    is_class,
    is_collection,
    is_enum,
    is_formless,
    is_literal,
    is_typed_dict,
    is_union,
    json_types,
    members_of,
    origin_of,
    resolve_fields,
    resolved,
)

_Hook: TypeAlias = Callable[[Any, Any], Any]
_Out: TypeAlias = Callable[[Any], Any]


def _shaped(hook: _Hook, shape: type, expected: str) -> _Hook:
    """`hook`, behind a check that the JSON value is an array or an object at all."""

    def structure(value: Any, type_: Any) -> Any:
        if type(value) is not shape:
            raise Misfit(expected, value)
        return hook(value, type_)

    return structure


def _typed(hook: _Out, type_: Any) -> _Out:
    """`hook`, for values of the declared type alone."""
    fits = fitting(type_)
    return lambda value: hook(value) if fits(value) else Alien(value)


def _read_set(type_: Any, converter: Converter) -> _Hook:
    item: Any = get_args(type_)[0]
    items = list_structure_factory(cast(Any, list)[item], converter)
    python_type = frozenset if origin_of(type_) is frozenset else set

    def structure(value: Any, _: Any) -> Any:
        result = python_type(items(value, None))
        if len(result) != len(value):
            raise Misfit("items that differ", value)
        return result

    return structure


def _read_tuple(type_: Any, converter: Converter) -> _Hook:
    args = get_args(type_)
    if args[-1:] == (...,):
        return homogenous_tuple_structure_factory(type_, converter)
    items = converter.gen_structure_hetero_tuple(type_)

    def structure(value: Any, _: Any) -> Any:
        if len(value) != len(args):  # cattrs would quote it in a text of its own
            raise Misfit(f"an array of {len(args)} ({type_name(type_)})", value)
        return items(value, type_)

    return structure


def _write_array(type_: Any, converter: Converter) -> _Out:
    args = get_args(type_)
    if origin_of(type_) is tuple and args[-1:] != (...,):
        write = make_hetero_tuple_unstructure_fn(type_, converter, unstructure_to=list)
        return lambda value: write(value) if len(value) == len(args) else Alien(value)
    return iterable_unstructure_factory(type_, converter, unstructure_to=list)


def _write_set(type_: Any, converter: Converter) -> _Out:
    write = iterable_unstructure_factory(type_, converter, unstructure_to=list)
    return lambda value: sorted(write(value), key=repr)  # sets have no order: bytes must have one


def _write_mapping(type_: Any, converter: Converter) -> _Out:
    return mapping_unstructure_factory(type_, converter, unstructure_to=dict)


def _sort_of(type_: Any) -> tuple[Callable[[Any, Converter], _Hook], Callable[[Any, Converter], _Out]]:
    """What makes the hooks, in and out, for a collection."""
    origin = origin_of(type_)
    if issubclass(origin, Mapping):
        return mapping_structure_factory, _write_mapping
    if issubclass(origin, Set):
        return _read_set, _write_set
    return _read_tuple if origin is tuple else list_structure_factory, _write_array


def _check_names(mapping: Any) -> None:
    """Refuse a mapping whose keys are surely no text in JSON."""
    key = bare(get_args(filled(mapping))[0])
    if not json_types(key) <= {str}:
        expected = "the names in a JSON object are text"
        raise DefinitionError(f"{type_name(mapping)}: {expected}, and {type_name(key)} is not")


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
    for member in type_:
        if member.value is not None and type(member.value) not in JSON_SCALARS:
            expected = "the values of an enum are text, numbers, bools or None"
            raise DefinitionError(f"{type_name(type_)}: {expected}, and {member.value!r} is not")
    names = ", ".join(repr(member.value) for member in type_)
    return _members(f"one of {names}", [(member.value, member) for member in type_])


def _literal_hook(type_: Any) -> _Hook:
    values = get_args(type_)
    names = ", ".join(map(repr, values))
    return _members(f"one of {names}", [(v.value if is_enum(type(v)) else v, v) for v in values])


def _as_target(hook: _Hook, target: Any) -> _Hook:
    return lambda value, _: hook(value, target)


def _class_union_hook(members: Sequence[Any], expected: str, converter: Converter) -> _Hook:
    """Tells classes apart by field; what a hook raises is no sign that none was found."""
    for member in members:
        resolve_fields(origin_of(member))
    try:
        class_of = create_default_dis_func(converter, *members)
    except TypeError as error:
        names = " | ".join(map(type_name, members))
        hint = "a field with a Literal of its own in each tells them apart"
        raise DefinitionError(f"{names}: {error}; {hint}") from error

    def structure(value: Any, _: Any) -> Any:
        try:
            found: Any = class_of(value)
        except (ValueError, KeyError, TypeError) as error:  # none, or a tag that nothing could have
            raise Misfit(expected, value) from error
        return converter.structure(value, found)

    return structure


def _union_hook(type_: Any, converter: Converter) -> _Hook:
    """Tells members apart by JSON type, and several classes as cattrs does, by field."""
    by_json: dict[Any, list[Any]] = {}
    all_members = list(members_of(type_))
    if any(map(is_any, all_members)):
        return _any_in
    for member in all_members:
        for json_type in json_types(member) or (None,):  # `None`: only the user's hooks know
            by_json.setdefault(json_type, []).append(member)
    expected = " or ".join("null" if m is NoneType else type_name(m) for m in get_args(type_))
    hooks: dict[Any, _Hook] = {}
    for json_type, members in by_json.items():
        if json_type is int and int in members:
            members = [int]  # of `int | float`: a float is written with its point
        if len(members) == 1:
            hooks[json_type] = _as_target(converter.get_structure_hook(members[0]), members[0])
        elif all(map(is_class, members)):
            hooks[json_type] = _class_union_hook(members, expected, converter)
        else:
            names = " and ".join(map(type_name, members))
            raise DefinitionError(f"{type_}: {names} cannot be told apart in JSON")

    def structure(value: Any, union: Any) -> Any:
        json_type = value.form if type(value) is Alien else type(value)
        hook = hooks.get(json_type) or hooks.get(None)
        if hook is None:
            raise Misfit(expected, value)
        return hook(value, union)

    return structure


def _union_out(type_: Any, converter: Converter) -> _Out:
    """Tells members apart by Python type; cattrs would forget what was declared."""
    members = list(members_of(type_))
    if any(map(is_any, members)):
        return _as_it_is
    hooks = [(fitting(member), converter.get_unstructure_hook(member)) for member in members]

    def unstructure(value: Any) -> Any:
        for fits, hook in hooks:
            if fits(value):
                return hook(value)
        return Alien(value)

    return unstructure


class _StrictConverter(Converter):
    """The converter, with the strict hooks registered over the coercing ones."""

    def __init__(self) -> None:
        super().__init__(forbid_extra_keys=True)
        self._made: dict[Any, _Out] = {}
        self._naming: set[tuple[Any, Any]] = set()
        self.register_structure_hook_factory(is_formless, _formless)
        for scalar, read in JSON_SCALARS.items():
            self.register_structure_hook(scalar, self._scalar_hook(scalar, read))
        for scalar, (read, write) in TEXT_SCALARS.items():
            self.register_structure_hook(scalar, self._scalar_hook(scalar, read))
            self.register_unstructure_hook(scalar, _typed(write, scalar))
        self.register_structure_hook_factory(lambda t: t in (None, NoneType), lambda _: _none_in)
        self.register_structure_hook_factory(is_any, lambda _: _any_in)
        self.register_unstructure_hook_factory(is_any, lambda _: _as_it_is)
        self.register_structure_hook_factory(is_alias, self._alias_in)
        self.register_unstructure_hook_factory(is_alias, partial(self._named, self.get_unstructure_hook))
        self.register_structure_hook_factory(is_enum, _enum_hook)
        self.register_structure_hook_factory(is_literal, _literal_hook)
        self.register_unstructure_hook_factory(is_literal, lambda t: _typed(self.unstructure, t))
        self.register_structure_hook_factory(is_union, lambda t: _union_hook(t, self))
        self.register_unstructure_hook_factory(is_union, lambda t: _union_out(t, self))
        self._wrap(is_class, self.gen_structure_attrs_fromdict, self.gen_unstructure_attrs_fromdict)
        self._wrap(
            is_typed_dict,
            lambda t: self.gen_structure_typeddict(resolved(t)),
            lambda t: self.gen_unstructure_typeddict(resolved(t)),
        )
        self._wrap(
            is_namedtuple,
            lambda t: namedtuple_dict_structure_factory(t, self, "from_converter", True),
            lambda t: namedtuple_dict_unstructure_factory(t, self),
        )
        self._wrap_collections()

    def get_unstructure_hook(self, type: Any, cache_result: bool = True) -> _Out:
        """cattrs takes an enum over `str` for a `str`: enums come first here."""
        if is_enum(type):
            return _typed(lambda member: member.value, type)
        return super().get_unstructure_hook(type, cache_result)

    def unstructure(self, obj: Any, unstructure_as: Any = None) -> Any:
        """As in cattrs, by `get_unstructure_hook`."""
        return self.get_unstructure_hook(type(obj) if unstructure_as is None else unstructure_as)(obj)

    def _alias_in(self, type_: Any) -> _Hook:
        return _as_target(self._named(self.get_structure_hook, type_), bare(type_))

    def _named(self, get: Callable[[Any], Any], alias: Any) -> Any:
        """The hook of what an alias stands for; of one within itself, whose hook is being made, one that
        looks for it when it is called."""
        target = bare(alias)
        if (get, alias) in self._naming:
            return lambda *arguments: get(target)(*arguments)
        self._naming.add((get, alias))
        try:
            return get(target)
        finally:
            self._naming.discard((get, alias))

    def _scalar_hook(self, scalar: Any, read: Callable[[Any], Any]) -> _Hook:
        def structure(value: Any, type_: Any) -> Any:
            if type_ is scalar:
                return read(value)
            # A subclass lands here too, because cattrs dispatches on the class: enums over a scalar.
            hook = _enum_hook(type_) if is_enum(type_) else _formless(type_)
            return hook(value, type_)

        return structure

    def _wrap(
        self, predicate: Callable[[Any], bool], read: Callable[[Any], Any], write: Callable[[Any], Any]
    ) -> None:
        def structure_factory(type_: Any) -> _Hook:
            return _shaped(read(type_), dict, f"an object ({type_name(type_)})")

        def unstructure_factory(type_: Any) -> _Out:
            try:
                hook = _typed(write(type_), type_)
            except RecursionError:  # as cattrs says of a class within itself, whose hook is being made
                return lambda value: self._made_of(type_)(value)
            self._made[type_] = hook
            return hook

        self.register_structure_hook_factory(predicate, structure_factory)
        self.register_unstructure_hook_factory(predicate, unstructure_factory)

    def _made_of(self, type_: Any) -> _Out:
        """The hook of a class within itself; made anew if that failed, or another thread is still at it."""
        return self._made.get(type_) or self.get_unstructure_hook(type_, cache_result=False)

    def _wrap_collections(self) -> None:
        def structure_factory(type_: Any) -> _Hook:
            read, _ = _sort_of(type_)
            is_object = issubclass(origin_of(type_), Mapping)
            if is_object:
                _check_names(type_)
            shape, expected = (dict, "an object") if is_object else (list, "an array")
            return _shaped(read(filled(type_), self), shape, f"{expected} ({type_name(type_)})")

        def unstructure_factory(type_: Any) -> _Out:
            _, write = _sort_of(type_)
            return _typed(write(filled(type_), self), type_)

        self.register_structure_hook_factory(is_collection, structure_factory)
        self.register_unstructure_hook_factory(is_collection, unstructure_factory)


def _as_it_is(value: Any) -> Any:
    return value


def _any_in(value: Any, _: Any) -> Any:
    return read_json(value)


def _none_in(value: Any, _: Any) -> None:
    return read_none(value)


def _formless(type_: Any) -> _Hook:
    """What cattrs would make of other types is not strict; a user may register hooks for them."""
    raise no_form(type_)


def no_form(type_: Any) -> DefinitionError:
    """What to raise for a type of which no values are stored."""
    hint = "use an attrs class, a dataclass or a TypedDict, or give a codec= that knows it"
    return DefinitionError(f"{type_name(type_)}: there is no form for values of this type; {hint}")


def strict_converter() -> Converter:
    """A new converter with every strict hook; register further types' hooks on it."""
    return _StrictConverter()
