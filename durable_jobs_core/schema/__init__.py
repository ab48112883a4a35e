"""The schemas of users' values: strict both ways, over cattrs (S-62, S-64).

A `Codec` turns values of a declared type into JSON and back. `StrictCodec`, the default, knows attrs
classes, dataclasses, TypedDicts, named tuples, enums, unions told apart by class or by a `Literal`
field, and the usual scalars, and coerces nothing: `5` is no `str`, `True` no `int`, `1.5` no `int`;
unknown and missing fields, NaN, naive datetimes and lone surrogates are refused, with the path.
Bring your own codec to use pydantic or msgspec models.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from attrs import frozen
from cattrs import Converter, StructureHandlerNotFoundError

from durable_jobs_core.errors import DefinitionError, ValidationError
from durable_jobs_core.failures import RAISED
from durable_jobs_core.schema._explain import cause_of, explain
from durable_jobs_core.schema._scalars import read_json
from durable_jobs_core.schema._strict import no_form, strict_converter
from durable_jobs_core.words import PAYLOAD_MAX_BYTES, GivenJson, Json

__all__ = ["STRICT", "Codec", "Schema", "StrictCodec", "read_json", "to_json"]


class Codec(Protocol):
    """How values of users' types become JSON and come back."""

    def encode(self, value: Any, type_: Any, /) -> GivenJson:
        """The JSON of `value`; raises any exception if it is not a `type_`."""
        ...

    def decode(self, data: Any, type_: Any, /) -> Any:
        """The value of `data`, which is JSON; raises any exception if it does not fit `type_`."""
        ...

    def schema(self, type_: Any, /) -> GivenJson:
        """The JSON Schema of `type_`, or `None` if there is none."""
        ...


class StrictCodec:
    """The default codec: cattrs, made strict. `converter` may be given further hooks.

    Fields with `init=False` are not stored: a class makes them anew.
    """

    def __init__(self, converter: Converter | None = None) -> None:
        self.converter = converter or strict_converter()

    def encode(self, value: Any, type_: Any) -> Json:
        """Unstructure, then read back: what is stored is what could be loaded."""
        data: Json = self.converter.unstructure(value, unstructure_as=type_)
        self.converter.structure(data, type_)
        return data

    def decode(self, data: Json, type_: Any) -> Any:
        """Structure, strictly."""
        return self.converter.structure(data, type_)

    def schema(self, type_: Any) -> Json:
        """cattrs knows no JSON Schema."""
        return None

    def check(self, type_: Any) -> None:
        """Raise `DefinitionError` if there is no form for `type_`.

        A type that names a class which is not defined yet is judged when it is first used.
        """
        try:
            self.converter.get_structure_hook(type_)
            self.converter.get_unstructure_hook(type_)
        except NameError:
            pass
        except StructureHandlerNotFoundError as error:
            raise no_form(error.type_) from error
        except (AttributeError, TypeError) as error:
            raise DefinitionError(f"expected a type, got {type_!r}") from error


STRICT = StrictCodec()


@frozen
class Schema:
    """One declared type with the codec that serves it."""

    type: Any
    codec: Codec = STRICT

    def encode(self, value: Any, *subject: object) -> tuple[Json, int]:
        """The JSON to store for `value`, and the bytes of its text; `subject` names it in the error.

        Raises `ValidationError` if it does not fit, or its JSON text is over 1 MiB.
        """
        try:
            data = read_json(self.codec.encode(value, self.type))  # a copy: users may change theirs
            size = len(to_json(data))
        except RAISED as error:
            raise self.refuse(subject, error) from cause_of(error)
        if size > PAYLOAD_MAX_BYTES:
            expected = f"at most {PAYLOAD_MAX_BYTES} bytes of JSON"
            raise ValidationError.of(_text(subject), expected, f"{size} bytes")
        return data, size

    def decode(self, data: Json, *subject: object) -> Any:
        """The value of stored JSON; raises `ValidationError` if it does not fit."""
        try:
            # The default codec gives away nothing of what it is given; of another, no one knows.
            own = data if type(self.codec) is StrictCodec else read_json(data)
            return self.codec.decode(own, self.type)
        except RAISED as error:
            raise self.refuse(subject, error) from cause_of(error)

    def refuse(self, subject: tuple[object, ...], error: BaseException) -> ValidationError:
        """What to raise for a value that does not fit, for the reason in `error`."""
        issues = error.issues if isinstance(error, ValidationError) else explain(error, self.type)
        return ValidationError(_text(subject), issues)


def _text(subject: tuple[object, ...]) -> str:
    return " ".join(map(str, subject))


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)


def to_json(data: Json) -> bytes:
    """The canonical JSON text: sorted keys, no spaces, UTF-8, and no NaN."""
    return _ENCODER.encode(data).encode()
