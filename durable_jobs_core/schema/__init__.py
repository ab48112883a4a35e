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
from cattrs import Converter

from durable_jobs_core.errors import Issue, ValidationError
from durable_jobs_core.schema._strict import explain, strict_converter
from durable_jobs_core.words import PAYLOAD_MAX_BYTES, Json


class Codec(Protocol):
    """How values of users' types become JSON and come back."""

    def encode(self, value: Any, type_: Any) -> Json:
        """The JSON of `value`; raises any exception if it is not a `type_`."""
        ...

    def decode(self, data: Json, type_: Any) -> Any:
        """The value of `data`; raises any exception if it does not fit `type_`."""
        ...

    def schema(self, type_: Any) -> Json:
        """The JSON Schema of `type_`, or `None` if there is none."""
        ...


class StrictCodec:
    """The default codec: cattrs, made strict. `converter` may be given further hooks."""

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


STRICT = StrictCodec()


@frozen
class Schema:
    """One declared type with the codec that serves it."""

    type: Any
    codec: Codec = STRICT

    def encode(self, value: Any, subject: str) -> tuple[Json, int]:
        """The JSON to store for `value`, and the bytes of its text; `subject` names it in the error.

        Raises `ValidationError` if it does not fit, or its JSON text is over 1 MiB.
        """
        try:
            data = self.codec.encode(value, self.type)
            size = len(to_json(data))
        except Exception as error:
            raise self._refuse(subject, value, error) from error
        if size > PAYLOAD_MAX_BYTES:
            issue = Issue("$", f"at most {PAYLOAD_MAX_BYTES} bytes of JSON", f"{size} bytes")
            raise ValidationError(subject, (issue,))
        return data, size

    def decode(self, data: Json, subject: str) -> Any:
        """The value of stored JSON; raises `ValidationError` if it does not fit."""
        try:
            return self.codec.decode(data, self.type)
        except Exception as error:
            raise self._refuse(subject, data, error) from error

    def _refuse(self, subject: str, value: Any, error: Exception) -> ValidationError:
        if isinstance(error, ValidationError):
            return ValidationError(subject, error.issues)
        return ValidationError(subject, explain(error, self.type, value))


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)


def to_json(data: Json) -> bytes:
    """The canonical JSON text: sorted keys, no spaces, UTF-8, and no NaN."""
    return _ENCODER.encode(data).encode()


def from_json(text: str) -> Any:
    """Parse JSON text, refusing duplicate keys, NaN and infinities; raises `ValueError`."""
    return _DECODER.decode(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate keys in a JSON object")
    return result


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
