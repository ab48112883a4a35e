"""The strict converter: no coercion, either way (S-62); each row of the matrix of cattrs' own habits."""

from __future__ import annotations

import collections
import dataclasses
import enum
import sys
from collections.abc import (
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import attrs
import pytest
from typing_extensions import TypeAliasType

from durable_jobs_core.errors import DefinitionError, Issue, ValidationError
from durable_jobs_core.schema import Schema, StrictCodec

T = TypeVar("T")
K = TypeVar("K")
UserId = NewType("UserId", str)
Amount = Annotated[int, "cents"]
Alias = TypeAliasType("Alias", int | list[str])
Twice = TypeAliasType("Twice", tuple[T, T], type_params=(T,))
Itself = TypeAliasType("Itself", T, type_params=(T,))
By = TypeAliasType("By", dict[K, list[T]] | None, type_params=(T, K))
Up = Literal["up"]
Down = Literal["down"]
ID = UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001


class Color(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Plain(enum.Enum):
    A = "a"


class Maybe(enum.Enum):
    NO = None
    YES = 1


class Corner(enum.Enum):
    ORIGIN = (0, 0)


class Moment(datetime):
    """As libraries of dates have it."""


@attrs.frozen
class Point:
    x: int
    y: int = 0


@attrs.frozen
class Point3(Point):
    z: int = 0


@dataclasses.dataclass(frozen=True)
class Card:
    number: str
    expires: datetime | None = None


@attrs.frozen
class Person:
    mother: Person | None
    born: date


@attrs.frozen
class Tree:
    kids: list[Tree]


@dataclasses.dataclass
class Chain:
    links: dict[str, Chain | None]


@attrs.frozen
class Box(Generic[T]):
    content: list[T]


@attrs.frozen
class Circle:
    radius: float
    kind: Literal["circle"] = "circle"


@attrs.frozen
class Square:
    side: float
    kind: Literal["square"] = "square"


@dataclasses.dataclass
class Opened:
    kind: Literal["opened"] = "opened"


@dataclasses.dataclass
class Closed:
    kind: Literal["closed"] = "closed"


class Settings(TypedDict):
    name: str
    points: list[Point]


class Partial(TypedDict, total=False):
    name: Required[str]
    color: Color


class More(Partial):
    size: int
    note: NotRequired[Annotated[str, "a note"]]


class Pair(TypedDict, Generic[T]):
    both: tuple[T, T]


class Forest(TypedDict):
    trees: list[Forest]


class Span(NamedTuple):
    low: int
    high: int = 9


def stored(type_: Any, value: Any) -> Any:
    data, _ = Schema(type_).encode(value, "state")
    return data


def issues(type_: Any, value: Any) -> list[str]:
    with pytest.raises(ValidationError) as info:
        Schema(type_).encode(value, "state")
    return [str(issue) for issue in info.value.issues]


def misread(type_: Any, data: Any) -> list[str]:
    with pytest.raises(ValidationError) as info:
        Schema(type_).decode(data, "state")
    return [str(issue) for issue in info.value.issues]


FORMS: list[tuple[Any, Any, Any]] = [
    (str, "ä", "ä"),
    (int, -5, -5),
    (int, -(2**63), -(2**63)),
    (bool, True, True),
    (float, 1.5, 1.5),
    (float, 2.0**53, 2**53),
    (None, None, None),
    (bytes, b"\x00\xff", "AP8="),
    (datetime, NOON, "2024-01-01T12:00:00+00:00"),
    (Decimal, Decimal("1.50"), "1.50"),
    (UUID, ID, str(ID)),
    (Color, Color.RED, "red"),
    (Level, Level.LOW, 1),
    (Plain, Plain.A, "a"),
    (Maybe, Maybe.NO, None),
    (Literal["a", 1, None], 1, 1),
    (Literal[Color.RED], Color.RED, "red"),
    (list[int], [1, 2], [1, 2]),
    (list, [1, "a", None], [1, "a", None]),
    (Sequence[int], [1], [1]),
    (MutableSequence[int], [1], [1]),
    (tuple[int, ...], (1, 2), [1, 2]),
    (tuple[int, str], (1, "a"), [1, "a"]),
    (tuple, (1, "a"), [1, "a"]),
    (set[int], {3, 1}, [1, 3]),
    (set[int | str], {2, "a"}, ["a", 2]),
    (frozenset[str], frozenset({"b", "a"}), ["a", "b"]),
    (Set[int], {1}, [1]),
    (MutableSet[int], {1}, [1]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict, {"a": [1]}, {"a": [1]}),
    (dict[UUID, Point], {ID: Point(1)}, {str(ID): {"x": 1, "y": 0}}),
    (dict[Color, int], {Color.RED: 1}, {"red": 1}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (MutableMapping[str, int], {"a": 1}, {"a": 1}),
    (Any, {"a": [1.5, None, True]}, {"a": [1.5, None, True]}),
    (object, "a", "a"),
    (Point, Point(1), {"x": 1, "y": 0}),
    (Card, Card("7", NOON), {"number": "7", "expires": "2024-01-01T12:00:00+00:00"}),
    (Tree, Tree([Tree([Tree([])])]), {"kids": [{"kids": [{"kids": []}]}]}),
    (Chain, Chain({"a": Chain({}), "b": None}), {"links": {"a": {"links": {}}, "b": None}}),
    (Box[Point], Box([Point(1)]), {"content": [{"x": 1, "y": 0}]}),
    (Settings, {"name": "n", "points": [Point(1)]}, {"name": "n", "points": [{"x": 1, "y": 0}]}),
    (Partial, {"name": "n", "color": Color.RED}, {"name": "n", "color": "red"}),
    (Partial, {"name": "n"}, {"name": "n"}),
    (More, {"name": "n", "size": 1}, {"name": "n", "size": 1}),
    (Pair[int], {"both": (1, 2)}, {"both": [1, 2]}),
    (Forest, {"trees": [{"trees": []}]}, {"trees": [{"trees": []}]}),
    (Span, Span(1), {"low": 1, "high": 9}),
    (UserId, UserId("u"), "u"),
    (Amount, 5, 5),
    (Alias, ["a"], ["a"]),
    (Twice[int], (1, 2), [1, 2]),
    (Itself[UserId], UserId("u"), "u"),
    (By[Point, str], {"a": [Point(1)]}, {"a": [{"x": 1, "y": 0}]}),
    (Box[Twice[int]], Box([(1, 2)]), {"content": [[1, 2]]}),
    (UserId | None, UserId("u"), "u"),
    (Amount | None, 5, 5),
    (Alias | None, 5, 5),
    (Point | None, Point(1), {"x": 1, "y": 0}),
    (list[Point] | str, [Point(1)], [{"x": 1, "y": 0}]),
    (list[Point] | dict[str, Point] | None, {"a": Point(1)}, {"a": {"x": 1, "y": 0}}),
    (Settings | None, {"name": "n", "points": []}, {"name": "n", "points": []}),
    (Span | None, Span(1), {"low": 1, "high": 9}),
    (Circle | Square | None, Square(2), {"side": 2, "kind": "square"}),
    (Opened | Closed, Closed(), {"kind": "closed"}),
    (list[Circle | Square], [Circle(1.5)], [{"radius": 1.5, "kind": "circle"}]),
    (Up | Down, "down", "down"),
    (Up | Down | None, None, None),
    (Color | int, Color.RED, "red"),
    (Literal[Plain.A] | None, Plain.A, "a"),
    (int | float, 5, 5),
    (int | float, 5.0, 5.0),
    (bool | int, True, True),
    (float | None, 2, 2),
    (datetime | None, NOON, "2024-01-01T12:00:00+00:00"),
    (Any | None, {"a": 1}, {"a": 1}),
]


def test_S_62_a_datetime_of_a_subclass_has_a_form_in_a_union_too() -> None:
    assert stored(datetime | None, Moment(2024, 1, 1, 12, tzinfo=UTC)) == "2024-01-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("type_", "value", "data"), FORMS, ids=[f"{type_} {data}" for type_, _, data in FORMS]
)
def test_S_62_a_value_of_the_declared_type_has_one_form_and_comes_back(
    type_: Any, value: Any, data: Any
) -> None:
    assert stored(type_, value) == data
    back = Schema(type_).decode(data, "state")
    assert (back, type(back)) == (value, type(value) if type_ not in (float | None,) else float)


COERCED: list[tuple[Any, Any, str]] = [  # what cattrs would make something else of, and what is said instead
    (str, 5, "expected str, got int 5"),
    (str, b"x", "expected str, got bytes b'x'"),
    (str, Color.RED, "expected str, got Color <Color.RED: 'red'>"),
    (str | None, Plain.A, "expected str or null, got Plain <Plain.A: 'a'>"),
    (str | None, ID, f"expected str or null, got UUID {ID!r}"),
    (str, "\ud800", "expected text without lone surrogates, got str '\\ud800'"),
    (int, "5", "expected int, got str '5'"),
    (int, 1.0, "expected int, got float 1.0"),
    (int, True, "expected int, got bool True"),
    (int, Level.LOW, "expected int, got Level <Level.LOW: 1>"),
    (int, 2**63, f"expected an int of 64 bits, got int {2**63}"),
    (int, -(2**63) - 1, f"expected an int of 64 bits, got int {-(2**63) - 1}"),
    (float, "nan", "expected a finite float, got str 'nan'"),
    (float, float("nan"), "expected a finite float, got float nan"),
    (float, float("-inf"), "expected a finite float, got float -inf"),
    (float, True, "expected a finite float, got bool True"),
    (list[float | None], [1.5, float("inf")], "$[1]: expected a finite float, got float inf"),
    (float, 2**53 + 1, f"expected a finite float, got int {2**53 + 1}"),
    (bool, "no", "expected bool, got str 'no'"),
    (bool, 1, "expected bool, got int 1"),
    (None, 0, "expected null, got int 0"),
    (bytes, [1, 2], "expected bytes as base64 text, got list [1, 2]"),
    (datetime, NAIVE, f"expected a datetime with its offset, as ISO 8601 text, got datetime {NAIVE!r}"),
    (
        datetime | None,
        NAIVE,
        f"expected a datetime with its offset, as ISO 8601 text, got datetime {NAIVE!r}",
    ),
    (dict[datetime, int], {NAIVE: 1}, f"$[{NAIVE!r}]: expected a datetime with its offset"),
    (datetime, date(2024, 1, 1), "expected a datetime with its offset"),
    (Decimal, Decimal("NaN"), "expected a finite decimal as text, got Decimal Decimal('NaN')"),
    (Decimal, 1.5, "expected a finite decimal as text, got float 1.5"),
    (UUID, str(ID), "expected a UUID as text"),
    (Color, "red", "expected one of 'red', got str 'red'"),
    (Literal["a", 1], True, "expected one of 'a', 1, got bool True"),
    (Literal["red"], Color.RED, "expected one of 'red', got Color <Color.RED: 'red'>"),
    (Literal[Color.RED], "red", "expected one of <Color.RED: 'red'>, got str 'red'"),
    (list[int], "123", "expected an array (list[int]), got str '123'"),
    (list[int], (1, 2), "expected an array (list[int]), got tuple (1, 2)"),
    (list[int] | None, {1}, "expected list[int] or null, got set {1}"),
    (list[str], ["a", 5], "$[1]: expected str, got int 5"),
    (tuple[int, str], (1, "a", 2), "expected an array (tuple[int, str]), got tuple (1, 'a', 2)"),
    (tuple[int, str], (1,), "expected an array (tuple[int, str]), got tuple (1,)"),
    (set[int], [1], "expected an array (set[int]), got list [1]"),
    (dict[str, int], {1: 2}, "$[1]: expected str, got int 1"),
    (dict[str, int], [("a", 1)], "expected an object (dict[str, int]), got list [('a', 1)]"),
    (Point, {"x": 1}, "expected an object (Point), got dict {'x': 1}"),
    (Point, Point3(1, 2, 3), "expected an object (Point), got Point3 Point3(x=1, y=2, z=3)"),
    (Point | None, Point3(1), "expected Point or null, got Point3"),
    (list[Point], [Point3(1)], "$[0]: expected an object (Point), got Point3"),
    (Point, Point("1"), "$.x: expected int, got str '1'"),  # type: ignore[arg-type]
    (Span, (1, 2), "expected an object (Span), got tuple (1, 2)"),
    (Span, Span("1"), "$.low: expected int, got str '1'"),  # type: ignore[arg-type]
    (
        Settings,
        {"name": "n", "points": [], "more": 1},
        "expected only the fields of Settings, got also 'more'",
    ),
    (Settings, {"name": "n"}, "expected Settings, got nothing: the field 'points' is missing"),
    (int | str, None, "expected int or str, got null"),
    (Any, {"a": [1, {"b": float("nan")}]}, "$['a'][1]['b']: expected a finite float, got float nan"),
    (Any, {"a": (1,)}, "$['a']: expected a JSON value, got tuple (1,)"),
    (Any, {"\ud800": 1}, "$['\\ud800']: expected text without lone surrogates"),
    (Any, {None: 1}, "$[None]: expected a str as the name in an object, got null"),
    (Any | None, Point(1), "expected a JSON value, got Point Point(x=1, y=0)"),
]


@pytest.mark.parametrize(("type_", "value", "issue"), COERCED, ids=lambda part: str(part)[:40])
def test_S_62_nothing_is_coerced_on_the_way_out(type_: Any, value: Any, issue: str) -> None:
    (only,) = issues(type_, value)

    assert only.startswith(issue)


MISREAD: list[tuple[Any, Any, str]] = [
    (str, 5, "expected str, got int 5"),
    (Level, "1", "expected one of 1, got str '1'"),
    (Level, True, "expected one of 1, got bool True"),
    (Color, "blue", "expected one of 'red', got str 'blue'"),
    (Color, ["red"], "expected one of 'red', got list ['red']"),
    (bytes, "é", "expected bytes as base64 text, got str 'é'"),
    (bytes, "A", "expected bytes as base64 text, got str 'A'"),
    (datetime, "noon", "expected a datetime with its offset, as ISO 8601 text, got str 'noon'"),
    (datetime, "2024-01-01T00:00:00", "expected a datetime with its offset"),
    (Decimal, "1,5", "expected a finite decimal as text, got str '1,5'"),
    (Decimal, "NaN", "expected a finite decimal as text, got str 'NaN'"),
    (UUID, "123", "expected a UUID as text, got str '123'"),
    (list[int], "123", "expected an array (list[int]), got str '123'"),
    (list[int], None, "expected an array (list[int]), got null"),
    (set[int], [1, 1], "expected items that differ, got list [1, 1]"),
    (Set[int], [1, 1], "expected items that differ, got list [1, 1]"),
    (tuple[int, str], [1], "expected an array of 2 (tuple[int, str]), got list [1]"),
    (
        MutableSequence[str],
        "abc",
        "expected an array (collections.abc.MutableSequence[str]), got str 'abc'",
    ),
    (MutableSet[str], "abc", "expected an array ("),
    (MutableMapping[str, int], [], "expected an object ("),
    (Point, [], "expected an object (Point), got list []"),
    (Point, {"y": 1}, "$.x: expected int, got nothing: the field 'x' is missing"),
    (Point, {"x": 1, "z": 1}, "expected only the fields of Point, got also 'z'"),
    (Span, {"low": 1, "z": 1}, "expected only the fields of Span, got also 'z'"),
    (Settings, [], "expected an object (Settings), got list []"),
    (Partial, {}, "$.name: expected str, got nothing: the field 'name' is missing"),
    (More, {"name": "n"}, "$.size: expected int, got nothing: the field 'size' is missing"),
    (Pair[int], {"both": [1, "2"]}, "$.both[1]: expected int, got str '2'"),
    (Circle | Square, {"kind": "triangle"}, "expected Circle or Square, got dict {'kind': 'triangle'}"),
    (Circle | Square, {"kind": ["circle"]}, "expected Circle or Square, got dict {'kind': ['circle']}"),
    (Point | Card, {"z": 1}, "expected Point or Card, got dict {'z': 1}"),
    (Circle | Square, {}, "expected Circle or Square, got dict {}"),
    (Circle | Square, "circle", "expected Circle or Square, got str 'circle'"),
    (
        Circle | Square,
        {"kind": "circle"},
        "$.radius: expected float, got nothing: the field 'radius' is missing",
    ),
    (int | str, True, "expected int or str, got bool True"),
    (int | float, "1", "expected int or float, got str '1'"),
]


@pytest.mark.parametrize(("type_", "data", "issue"), MISREAD, ids=lambda part: str(part)[:40])
def test_S_62_nothing_is_coerced_on_the_way_in(type_: Any, data: Any, issue: str) -> None:
    (only,) = misread(type_, data)

    assert only.startswith(issue)


def test_S_62_all_that_is_wrong_is_said_at_once_with_its_path() -> None:
    value = {"a": [{"x": "1", "y": None}, {"x": 1, "z": 2}]}

    assert misread(dict[str, list[Point]], value) == [
        "$['a'][0].x: expected int, got str '1'",
        "$['a'][0].y: expected int, got null",
        "$['a'][1]: expected only the fields of Point, got also 'z'",
    ]


def test_a_value_that_cannot_be_shown_is_named_by_its_type_and_a_long_one_is_cut() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    assert issues(int, Shy()) == ["expected int, got Shy"]
    (long,) = issues(int, "x" * 100)
    assert long == f"expected int, got str '{'x' * 56}..."


@pytest.mark.parametrize(
    ("type_", "why"),
    [
        (date, "date: there is no form for values of this type"),
        (timedelta, "timedelta: there is no form"),
        (complex, "complex: there is no form"),
        (collections.deque[str], "collections.deque[str]: there is no form"),
        (collections.defaultdict[str, int], "collections.defaultdict[str, int]: there is no form"),
        (Iterable[int], "collections.abc.Iterable[int]: there is no form"),
        (list[date], "date: there is no form"),
        (date | None, "date: there is no form"),
        (str | UUID, "str | uuid.UUID: str and UUID cannot be told apart in JSON"),
        (list[int] | set[int], "list[int] | set[int]: list[int] and set[int] cannot be told apart in JSON"),
        (Settings | Forest, "Settings and Forest cannot be told apart in JSON"),
        (Settings | Point, "Settings and Point cannot be told apart in JSON"),
        (Point | Point3, "a field with a Literal of its own in each tells them apart"),
        (T, "T: there is no form"),
        ("Point", "'Point': there is no form"),
        (list["Point"], "'Point': there is no form"),  # a name in quotes, outside of a class
        (dict[int, str], "dict[int, str]: the names in a JSON object are text, and int is not"),
        (Mapping[Level, str], "the names in a JSON object are text, and Level is not"),
        (Corner, "Corner: the values of an enum are text, numbers, bools or None, and (0, 0) is not"),
    ],
    ids=str,
)
def test_S_62_a_type_without_a_form_is_refused_at_definition(type_: Any, why: str) -> None:
    with pytest.raises(DefinitionError) as info:
        StrictCodec().check(type_)

    assert why in str(info.value)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement `type` is of 3.12")
def test_S_62_a_name_may_stand_for_a_type_that_contains_it() -> None:
    names: dict[str, Any] = {"date": date}
    exec(
        "type Document = dict[str, Document] | list[Document] | str | None\n"
        "type Nested[T] = list[Nested[T]] | T\n"
        "type Dates = dict[str, Dates] | date\n",
        names,
    )
    document, nested = names["Document"], names["Nested"][int]
    page = attrs.make_class("Page", {"body": attrs.field(type=document)})
    deep: Any = {"a": [{"b": "c"}, None, "d"]}
    assert stored(document, deep) == deep
    assert stored(page, page(deep)) == {"body": deep}
    assert Schema(page).decode({"body": deep}, "state") == page(deep)
    members = "dict[str, Document] or list[Document] or str or null"
    assert misread(document, {"a": [{"b": 5}]}) == [f"$['a'][0]['b']: expected {members}, got int 5"]
    assert issues(document, {"a": [5]}) == [f"$['a'][0]: expected {members}, got int 5"]
    assert stored(nested, [1, [2, [3]]]) == [1, [2, [3]]]
    with pytest.raises(DefinitionError, match="date: there is no form"):
        StrictCodec().check(names["Dates"])


class Outline:
    """A name, as `type` of Python 3.12 makes it, for a type that contains it."""

    @property
    def __value__(self) -> Any:
        return dict[str, OUTLINE] | list[OUTLINE] | str  # type: ignore[valid-type]

    def __repr__(self) -> str:
        return "Outline"


OUTLINE = Outline()


def test_S_62_a_name_whose_type_contains_it_is_looked_up_again_within() -> None:
    deep: Any = {"a": [{"b": "c"}, "d"]}
    assert stored(OUTLINE, deep) == deep
    assert Schema(OUTLINE).decode(deep, "state") == deep
    assert misread(OUTLINE, {"a": [5]})[0].startswith(
        "$['a'][0]: expected dict[str, Outline] or list[Outline]"
    )


def test_a_type_that_names_what_is_not_there_yet_is_judged_when_it_is_used() -> None:
    @attrs.frozen
    class Early:
        later: Later  # type: ignore[name-defined]  # noqa: F821

    StrictCodec().check(Early)
    assert issues(Early, Early(1)) == ["expected a valid Early, got NameError: name 'Later' is not defined"]


def test_a_class_within_itself_is_written_while_another_thread_makes_its_hook() -> None:
    person = Person(Person(None, NOON.date()), NOON.date())
    codec, written = StrictCodec(), list[Any]()

    def hook_of(_: Any) -> Callable[[date], str]:
        if not written:
            written.append(None)
            with ThreadPoolExecutor() as threads:
                written.append(threads.submit(codec.converter.unstructure, person).result())
        return date.isoformat

    codec.converter.register_unstructure_hook_factory(lambda type_: type_ is date, hook_of)

    first = codec.converter.unstructure(person)

    assert written[1] == first == codec.converter.unstructure(person)


def test_a_class_within_itself_is_written_though_it_could_not_be_when_it_was_tried_first() -> None:
    person = Person(Person(None, NOON.date()), NOON.date())
    codec, errors = StrictCodec(), [NameError("what a type names is not there yet")]

    def hook_of(_: Any) -> Callable[[date], str]:
        if errors:
            raise errors.pop()
        return date.isoformat

    codec.converter.register_unstructure_hook_factory(lambda type_: type_ is date, hook_of)
    with pytest.raises(NameError):
        codec.converter.unstructure(person)

    data = codec.converter.unstructure(person)

    assert data == {"mother": {"mother": None, "born": "2024-01-01"}, "born": "2024-01-01"}


def test_a_user_may_give_a_form_to_a_further_type_also_in_a_union() -> None:
    codec = StrictCodec()
    codec.converter.register_structure_hook(date, lambda text, _: date.fromisoformat(text))
    codec.converter.register_unstructure_hook(date, date.isoformat)
    codec.check(list[date | None])
    schema = Schema(list[date | None], codec)

    data, _ = schema.encode([date(2024, 1, 2), None], "state")

    assert data == ["2024-01-02", None]
    assert schema.decode(data, "state") == [date(2024, 1, 2), None]
    with pytest.raises(ValidationError) as info:
        schema.decode(["soon"], "state")
    why = "ValueError: Invalid isoformat string: 'soon'"
    assert info.value.issues == (Issue("$[0]", "a valid datetime.date | None", why),)


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no")])
def test_what_a_form_of_the_user_raises_is_told_in_a_union_too(error: Exception) -> None:
    def read(value: Any, _: Any) -> Person:
        raise error

    codec = StrictCodec()
    codec.converter.register_structure_hook(Person, read)
    for type_ in (Person, Person | None, Person | Point):
        with pytest.raises(ValidationError, match=f"got {type(error).__name__}: .*no") as info:
            Schema(type_, codec).decode({"mother": None, "born": "soon"}, "state")
        assert info.value.__cause__ is error


def test_a_read_only_mapping_may_be_written_where_a_mapping_is_declared() -> None:
    assert stored(Mapping[str, int], MappingProxyType({"a": 1})) == {"a": 1}
    assert stored(Sequence[int], (1, 2)) == [1, 2]
    assert stored(datetime, NOON.astimezone(timezone(timedelta(hours=1)))) == "2024-01-01T13:00:00+01:00"
