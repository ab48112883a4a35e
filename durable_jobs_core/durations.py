"""Durations: `timedelta` or text in, whole milliseconds out (S-7, S-62).

Text is one or more `<number> <unit>` in descending order, each unit once (`"30 minutes"`, `"1h30m"`,
`"1.5 seconds"`), in small letters, for `M` may mean months; or ISO 8601 without months and years
(`"PT30M"`, `"P1DT12H"`). A bare number is refused: it is not said of what.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

from durable_jobs_core.checks import shown_apart
from durable_jobs_core.errors import DefinitionError, ValidationError
from durable_jobs_core.words import INSTANT_MAX

Duration: TypeAlias = timedelta | str

_UNITS = {
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_NAMES = {
    alias: unit
    for unit, aliases in {
        "w": "w week weeks",
        "d": "d day days",
        "h": "h hr hrs hour hours",
        "m": "m min mins minute minutes",
        "s": "s sec secs second seconds",
        "ms": "ms milli millis millisecond milliseconds",
    }.items()
    for alias in aliases.split()
}
_TERM = re.compile(r"\s*([0-9]+)(?:\.([0-9]+))?\s*([a-z]+)\s*")
_ISO = re.compile(
    r"P(?:([0-9]+)W)?(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:\.([0-9]+))?S)?)?"
)
_EXPECTED = 'a duration such as "30 minutes", "1h30m", "PT30M" or a timedelta'
_UNITS_THERE_ARE = f"{_EXPECTED} (the units are {', '.join(_UNITS)} and their names, in small letters)"


def to_ms(value: object, subject: str, *, exact: bool = True, also: str = "") -> int:
    """The span of `value` in whole milliseconds, zero or more.

    `subject` names the value in the error, and `also` what else is taken in its place. Raises
    `ValidationError` for a bare number, a negative span, a span beyond the calendar, text of another form,
    or, unless `exact` is false, for a fraction of a millisecond.
    """
    if isinstance(value, timedelta):
        ms, rest = divmod(value, timedelta(milliseconds=1))
        if rest and exact:
            raise ValidationError.of(subject, "whole milliseconds", repr(value))
    elif isinstance(value, str):
        parsed = _parse_iso(value, exact) if value.startswith("P") else _parse_terms(value, exact)
        if parsed is None:
            raise ValidationError.of(subject, also + _UNITS_THERE_ARE, repr(value))
        ms = parsed
    else:
        raise ValidationError.of(subject, also + _EXPECTED, *shown_apart(value))
    if not 0 <= ms <= INSTANT_MAX:
        raise ValidationError.of(subject, "a duration from zero to 8,029 years", repr(value))
    return ms


def defined_ms(value: object, name: str, least: int = 0) -> int:
    """`to_ms` for what is written in a definition: raises `DefinitionError`, also below `least`."""
    try:
        ms = to_ms(value, name)
    except ValidationError as error:
        (issue,) = error.issues
        raise DefinitionError(f"{name}: {issue}") from None
    if ms < least:
        raise DefinitionError(f"{name}: expected at least {least} ms, got {value!r}")
    return ms


def maybe_ms(value: object, name: str, least: int = 0) -> int | None:
    """`defined_ms`, and `None` for none."""
    return None if value is None else defined_ms(value, name, least)


def _scaled(whole: str, fraction: str | None, scale: int, exact: bool) -> int | None:
    """`whole.fraction` units in milliseconds, rounded down; `None` if that is not `exact`, but has to be."""
    if len(whole) > 18 or len(fraction or "") > 18:
        return None
    if not fraction:
        return int(whole) * scale
    part, rest = divmod(int(fraction) * scale, 10 ** len(fraction))
    return None if rest and exact else int(whole) * scale + part


def _parse_terms(text: str, exact: bool) -> int | None:
    total, position, smallest = 0, 0, _UNITS["w"] + 1
    while position < len(text):
        match = _TERM.match(text, position)
        scale = _UNITS.get(_NAMES.get(match[3], "")) if match else None
        if match is None or scale is None or scale >= smallest:
            return None
        part = _scaled(match[1], match[2], scale, exact)
        if part is None:
            return None
        total, position, smallest = total + part, match.end(), scale
    return total if position else None


def _parse_iso(text: str, exact: bool) -> int | None:
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    total = 0
    for digits, unit in zip(match.groups()[:5], "wdhms", strict=True):
        part = _scaled(digits or "0", match[6] if unit == "s" else None, _UNITS[unit], exact)
        if part is None:
            return None
        total += part
    return total
