"""A declared type with its codec: what is refused at the edge, whoever made the JSON (S-62, S-64)."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import pytest
from cattrs import ClassValidationError

from durable_jobs_core.errors import Issue, ValidationError
from durable_jobs_core.failures import describe
from durable_jobs_core.schema import Schema, StrictCodec, to_json
from durable_jobs_core.words import PAYLOAD_MAX_BYTES


class Trusting:
    """A codec of a user's own that passes on what it is given, as one over plain JSON would."""

    def encode(self, value: Any, type_: Any) -> Any:
        if value == "refuse":
            raise ValidationError("inner", (Issue("$.a", "better", "worse"),))
        if value == "missing":
            raise KeyError("b")
        if value == "exit":
            sys.exit("not this")
        return value

    def decode(self, data: Any, type_: Any) -> Any:
        if data == "refuse":
            raise LookupError("not there")
        if data == "exit":
            sys.exit("not that")
        return data

    def schema(self, type_: Any) -> Any:
        return {"type": "object"}


@attrs.frozen
class Positive:
    n: int = attrs.field(validator=attrs.validators.gt(0))


PRICES = {"tea": 5}


@attrs.frozen
class Sold:
    """A class that looks something up, as its own code may."""

    item: str

    def __attrs_post_init__(self) -> None:
        PRICES[self.item]


@attrs.frozen
class Receipt:
    sold: Sold


def refused(schema: Schema, value: Any) -> str:
    with pytest.raises(ValidationError) as info:
        schema.encode(value, "state")
    return str(info.value)


@pytest.mark.parametrize(
    ("error", "issue"),
    [
        (KeyError("dollars"), "expected a valid int, got KeyError: 'dollars'"),
        (LookupError("dollars"), "expected a valid int, got LookupError: dollars"),
        (ValidationError("inner", (Issue("$.a", "better", "worse"),)), "$.a: expected better, got worse"),
    ],
)
def test_S_6_what_an_upcaster_raised_is_no_missing_field(error: Exception, issue: str) -> None:
    assert str(Schema(int).refuse(("state",), error)) == f"state: {issue} (nothing was changed)"


def test_the_json_and_its_size_in_bytes() -> None:
    assert Schema(dict[str, str]).encode({"a": "ä"}, "state") == ({"a": "ä"}, len('{"a":"ä"}'.encode()))


def test_S_62_a_payload_over_a_mebibyte_is_refused() -> None:
    longest = "x" * (PAYLOAD_MAX_BYTES - 2)

    assert Schema(str).encode(longest, "state") == (longest, PAYLOAD_MAX_BYTES)
    assert refused(Schema(str), longest + "x") == (
        "state: expected at most 1048576 bytes of JSON, got 1048577 bytes (nothing was changed)"
    )


@pytest.mark.parametrize("schema", [Schema(Any), Schema(dict[str, Any], Trusting())], ids=["strict", "own"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": float("nan")}, "$['a']: expected a finite float, got float nan"),
        ({"a": [2**63]}, "$['a'][0]: expected an int of 64 bits"),
        ({1: "a"}, "$[1]: expected a str as the name in an object, got int 1"),
        ({"a": (1, 2)}, "$['a']: expected a JSON value, got tuple (1, 2)"),
        ({"a": "\udfff"}, "$['a']: expected text without lone surrogates"),
    ],
    ids=str,
)
def test_S_62_a_strict_walk_stands_behind_every_codec(schema: Schema, value: Any, text: str) -> None:
    assert text in refused(schema, value)


def test_S_62_deep_nesting_is_refused() -> None:
    deep: Any = []
    for _ in range(99):
        deep = [deep]

    assert Schema(Any).encode(deep, "state")[0] == deep
    assert Schema(Any).encode({"a": deep[0]}, "state")[0] == {"a": deep[0]}
    for deeper in ([deep], {"a": deep}):
        assert "expected at most 100 levels of nesting" in refused(Schema(Any), deeper)


def test_S_62_what_contains_itself_is_refused() -> None:
    @attrs.define
    class Node:
        inner: Any = None

    circle: list[Any] = []
    circle.append(circle)
    node = Node()
    node.inner = [node]

    assert "expected at most 100 levels" in refused(Schema(Any), circle)
    assert "$.inner[0]: expected a JSON value" in refused(Schema(Node), node)


@pytest.mark.parametrize(
    "schema", [Schema(Any), Schema(dict), Schema(Any, Trusting())], ids=["any", "dict", "trusting"]
)
def test_S_16_what_is_stored_is_not_what_users_hold(schema: Schema) -> None:
    value = {"a": [1]}

    data, _ = schema.encode(value, "state")
    value["a"].append(2)
    held = schema.decode(data, "state")
    held["a"].append(3)

    assert data == {"a": [1]}


def test_a_codec_of_the_users_own_may_refuse_with_issues_or_in_its_own_words() -> None:
    schema = Schema(dict, Trusting())

    assert refused(schema, "refuse") == "state: $.a: expected better, got worse (nothing was changed)"
    with pytest.raises(ValidationError, match="expected a valid dict, got LookupError: not there"):
        schema.decode("refuse", "state")


@pytest.mark.parametrize(
    ("type_", "data", "issue"),
    [
        (Sold, {"item": "ink"}, "expected a valid Sold, got KeyError: 'ink'"),
        (Receipt, {"sold": {"item": "ink"}}, "$.sold: expected a valid Sold, got KeyError: 'ink'"),
        (Receipt, {"sold": {}}, "$.sold.item: expected str, got nothing: the field 'item' is missing"),
    ],
)
def test_S_62_what_a_class_looked_for_is_no_missing_field(type_: Any, data: Any, issue: str) -> None:
    with pytest.raises(ValidationError) as info:
        Schema(type_).decode(data, "state")

    assert str(info.value) == f"state: {issue} (nothing was changed)"
    assert (info.value.__cause__ is None) == ("is missing" in issue)


def test_S_62_what_a_codec_of_the_users_own_looked_for_is_no_missing_field() -> None:
    with pytest.raises(ValidationError) as info:
        Schema(dict, Trusting()).encode("missing", "state")

    assert str(info.value) == "state: expected a valid dict, got KeyError: 'b' (nothing was changed)"
    assert isinstance(info.value.__cause__, KeyError)


def test_S_62_what_a_hook_of_the_users_own_looked_for_is_no_missing_field() -> None:
    codec = StrictCodec()
    codec.converter.register_structure_hook(Sold, lambda item, _: PRICES[item])

    with pytest.raises(ValidationError) as info:
        Schema(Receipt, codec).decode({"sold": "ink"}, "state")

    assert (
        str(info.value) == "state: $.sold: expected a valid Sold, got KeyError: 'ink' (nothing was changed)"
    )
    assert info.value.__cause__ is not None


def test_S_62_a_codec_that_would_end_the_process_only_refuses() -> None:
    schema = Schema(dict, Trusting())

    assert refused(schema, "exit") == (
        "state: expected a valid dict, got SystemExit: not this (nothing was changed)"
    )
    with pytest.raises(ValidationError, match="expected a valid dict, got SystemExit: not that"):
        schema.decode("exit", "state")


@pytest.mark.parametrize("wrong", [{"n": "x"}, {"m": 1}, {"n": 1, "z": 2}, 5])
def test_S_6_stored_json_that_does_not_fit_is_a_validation_error_that_says_it_all(wrong: Any) -> None:
    with pytest.raises(ValidationError, match=r"^state of a: .*expected") as info:
        Schema(Positive).decode(wrong, "state of", "a")

    assert info.value.__cause__ is None
    assert "caused by" not in describe(info.value).message


def test_S_6_what_a_validator_or_a_codec_raised_is_the_cause() -> None:
    with pytest.raises(ValidationError) as by_validator:
        Schema(Positive).decode({"n": -1}, "state")
    with pytest.raises(ValidationError) as among_others:
        Schema(list[Positive]).decode([{"n": -1}, {"n": "x"}], "state")
    with pytest.raises(ValidationError) as by_codec:
        Schema(dict, Trusting()).decode("refuse", "state")

    assert among_others.value.__cause__ is not None
    assert "must be > 0" in describe(by_validator.value).message
    assert isinstance(by_validator.value.__cause__, ClassValidationError)
    assert isinstance(by_codec.value.__cause__, LookupError)


def test_cattrs_knows_no_json_schema() -> None:
    assert StrictCodec().schema(int) is None


def test_S_64_the_text_is_canonical() -> None:
    assert to_json({"b": 1, "a": ["ä", None, 1.5]}) == '{"a":["ä",null,1.5],"b":1}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(float("nan"))
