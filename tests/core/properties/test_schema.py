"""Whatever is declared: a value comes back as it was, and what is stored is what JSON text gives back."""

from __future__ import annotations

import json
from datetime import UTC
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
from hypothesis import given
from hypothesis import strategies as st

from durable_jobs_core.errors import ValidationError
from durable_jobs_core.schema import Schema, to_json

text = st.text(st.characters(exclude_categories=["Cs"]))
ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | ints | floats | text
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@attrs.frozen
class Leaf:
    name: str
    size: float | None = None
    kind: Literal["leaf"] = "leaf"


@attrs.frozen
class Branch:
    children: tuple[Branch | Leaf, ...]
    labels: frozenset[str]
    notes: dict[str, Any]
    ids: dict[UUID, Decimal]
    at: Any = None


leaves = st.builds(Leaf, text, floats | st.none())
branches = st.recursive(
    leaves,
    lambda inner: st.builds(
        Branch,
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(text, max_size=3),
        st.dictionaries(text, documents, max_size=3),
        st.dictionaries(st.uuids(), st.decimals(allow_nan=False, allow_infinity=False), max_size=2),
    ),
    max_leaves=6,
)
moments = st.datetimes(timezones=st.just(UTC))
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, documents),
    (str, text),
    (int, ints),
    (float, floats),
    (bytes, st.binary()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (dict[str, list[int | str | None]], st.dictionaries(text, st.lists(ints | text | st.none()))),
    (list[tuple[int, bool]], st.lists(st.tuples(ints, st.booleans()))),
    (set[int], st.sets(ints)),
    (Branch | Leaf, branches),
]
typed = st.sampled_from(TYPED).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1]))


@given(typed)
def test_S_62_a_value_comes_back_as_it_was_through_the_text_that_is_stored(pair: tuple[Any, Any]) -> None:
    type_, value = pair
    schema = Schema(type_)

    data, size = schema.encode(value, "state")
    stored = to_json(data)

    assert size == len(stored)
    assert json.loads(stored) == data
    assert schema.decode(json.loads(stored), "state") == value


@given(typed, documents)
def test_S_62_any_json_is_of_the_type_or_refused_and_what_is_read_can_be_written(
    pair: tuple[Any, Any], data: Any
) -> None:
    schema = Schema(pair[0])
    try:
        value = schema.decode(data, "state")
    except ValidationError:
        return
    again, _ = schema.encode(value, "state")
    assert schema.decode(again, "state") == value


@given(moments)
def test_S_62_an_aware_moment_keeps_its_instant(moment: Any) -> None:
    schema = Schema(type(moment))

    assert schema.decode(schema.encode(moment, "state")[0], "state") == moment
