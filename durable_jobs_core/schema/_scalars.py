"""The JSON form of each scalar, exactly; what does not have it is a `Misfit`."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from durable_jobs_core.checks import looks

_INT_END = 2**63
_DEPTH_MAX = 100


class Misfit(ValueError):
    """A value that has not the form `expected`; `path`: where, from the value that was looked at."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(expected)
        self.expected, self.got, self.path = expected, _describe(value), ""


class Alien:
    """A Python value that has no form as what is declared, on its way to being refused.

    `form`: the type its JSON would have had, where it is of the type declared, and only its value is wrong.
    """

    def __init__(self, value: object, form: type | None = None) -> None:
        self.value, self.form = value, form

    def __repr__(self) -> str:
        return repr(self.value)  # as the name in an object it is part of a path


def _describe(value: object) -> tuple[str, str]:
    """Its type, and the beginning of what it looks like."""
    value = value.value if isinstance(value, Alien) else value
    if value is None:
        return "null", ""
    text = looks(value)
    return type(value).__name__, text if len(text) <= 60 else text[:57] + "..."


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Misfit("str", value)
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misfit("text without lone surrogates", value) from None
    return value


def _int(value: Any) -> int:
    if type(value) is not int:
        raise Misfit("int", value)
    if not -_INT_END <= value < _INT_END:
        raise Misfit("an int of 64 bits", value)
    return value


def _float(value: Any) -> float:
    if type(value) is int and abs(value) <= 2**53:
        return float(value)
    if type(value) is not float or not math.isfinite(value):
        raise Misfit("a finite float", value)
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise Misfit("bool", value)
    return value


def read_none(value: Any) -> None:
    """Null."""
    if value is not None:
        raise Misfit("null", value)


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise Misfit("bytes as base64 text", value) from None


def _write_datetime(value: datetime) -> Any:
    return Alien(value, str) if value.utcoffset() is None else value.isoformat()


def _datetime(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
        if moment.utcoffset() is not None:
            return moment
    except ValueError:
        pass
    raise Misfit("a datetime with its offset, as ISO 8601 text", value)


def _write_decimal(value: Decimal) -> Any:
    return str(value) if value.is_finite() else Alien(value, str)


def _decimal(value: Any) -> Decimal:
    try:
        number = Decimal(_text(value))
        if number.is_finite():
            return number
    except (InvalidOperation, ValueError):
        pass
    raise Misfit("a finite decimal as text", value)


def _uuid(value: Any) -> UUID:
    try:
        return UUID(_text(value))
    except ValueError:
        raise Misfit("a UUID as text", value) from None


JSON_SCALARS: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _int,
    float: _float,
    bool: _bool,
}
TEXT_SCALARS: dict[Any, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytes: (_bytes, lambda value: base64.b64encode(value).decode()),
    datetime: (_datetime, _write_datetime),
    Decimal: (_decimal, _write_decimal),
    UUID: (_uuid, str),
}


def read_json(value: Any, depth: int = 0) -> Any:
    """Any JSON value, checked all the way down, as a copy that nobody else holds."""
    kind = type(value)
    if kind in JSON_SCALARS:
        return JSON_SCALARS[kind](value)
    if value is None:
        return None
    if kind is not dict and kind is not list:
        raise Misfit("a JSON value", value)
    if depth == _DEPTH_MAX:
        raise Misfit(f"at most {_DEPTH_MAX} levels of nesting", value)
    place: Any = None
    try:
        if kind is list:
            items: list[Any] = []
            for item in value:
                place = len(items)
                items.append(read_json(item, depth + 1))
            return items
        fields: dict[str, Any] = {}
        for place, item in value.items():
            fields[_name(place)] = read_json(item, depth + 1)
        return fields
    except Misfit as misfit:
        misfit.path = f"[{place!r}]{misfit.path}"
        raise


def _name(value: Any) -> str:
    if type(value) is not str:
        raise Misfit("a str as the name in an object", value)
    return _text(value)
