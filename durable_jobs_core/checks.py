"""The checks of what users write, each with one form of error: what was expected, and what came."""

from __future__ import annotations

import inspect
from typing import Any

from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.words import INSTANT_MAX

NOT_GIVEN: Any = object()


def check(ok: object, name: str, expected: str, got: object) -> None:
    """Raise `DefinitionError` unless `ok`: what was expected of the argument `name`, and what came."""
    if not ok:
        shown = "nothing" if got is NOT_GIVEN else repr(got)
        raise DefinitionError(f"{name}: expected {expected}, got {shown}")


def check_whole(value: object, name: str, least: int) -> None:
    """A whole number; `True` is none."""
    check(type(value) is int and value >= least, name, f"a whole number, {least} or more", value)


def check_ms(value: object, name: str, least: int = 0, most: int = INSTANT_MAX) -> None:
    """A span that is in milliseconds already."""
    ok = type(value) is int and least <= value <= most
    expected = f"{least} or more" if most == INSTANT_MAX else f"from {least} to {most:,}"
    check(ok, name, f"whole milliseconds, {expected}", value)


def check_function(call: Any, name: str, expected: str, *arguments: str) -> None:
    """Something to be called with so many arguments; what does not tell its parameters is accepted."""
    check(callable(call), name, expected, call)
    try:
        signature = inspect.signature(call)
    except Exception:
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
        taken = signature.replace(parameters=bare, return_annotation=signature.empty)
        taking = f"{expected} taking ({', '.join(arguments)})"
        raise DefinitionError(f"{name}: expected {taking}, got one taking {taken}") from None
