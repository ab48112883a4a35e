"""The checks of what users write, each with one form of error: what was expected, and what came."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.words import INSTANT_MAX

NOT_GIVEN: Any = object()
SHOWN = 200
NO_YIELD = "a function that does not yield, for nobody would go through what it yields"


def check(ok: object, name: str, expected: str, got: object) -> None:
    """Raise `DefinitionError` unless `ok`: what was expected of the argument `name`, and what came."""
    if not ok:
        came = "nothing" if got is NOT_GIVEN else looks(got)[:SHOWN] or type(got).__name__
        raise DefinitionError(f"{name}: expected {expected}, got {came}")


def check_whole(value: object, name: str, least: int) -> None:
    """A whole number; `True` is none."""
    check(type(value) is int and value >= least, name, f"a whole number, {least} or more", value)


def check_ms(value: object, name: str, least: int = 0, most: int = INSTANT_MAX) -> None:
    """A span that is in milliseconds already."""
    ok = type(value) is int and least <= value <= most
    expected = f"{least} or more" if most == INSTANT_MAX else f"from {least} to {most:,}"
    check(ok, name, f"whole milliseconds, {expected}", value)


def check_function(call: Any, name: str, expected: str, *arguments: str) -> None:
    """Something to be called with so many arguments; what does not tell its parameters is accepted.

    Those of a decorated function are the wrapper's, which may add some of its own.
    """
    check(callable(call), name, expected, call)
    try:
        signature = inspect.signature(call, follow_wrapped=False)
    except Exception:
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
        taken = signature.replace(parameters=bare, return_annotation=signature.empty)
        taking = f"{expected} taking ({', '.join(arguments)})"
        raise DefinitionError(f"{name}: expected {taking}, got one taking {taken}") from None


def check_plain(call: Any, name: str, expected: str, *arguments: str) -> None:
    """A function whose result is used at once: nobody would await it, or go through what it yields."""
    check_function(call, name, expected, *arguments)
    check(
        not is_async(call) and not yields(call),
        name,
        f"{expected} (no async def, and nothing that yields)",
        call,
    )


def is_async(call: Any) -> bool:
    """Whether what it gives is to be awaited."""
    return any(map(inspect.iscoroutinefunction, _bodies(call)))


def yields(call: Any) -> bool:
    """Whether it is a generator, async or not."""
    return any(
        inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body) for body in _bodies(call)
    )


def _bodies(call: Any) -> Iterator[Any]:
    """What runs when it is called: itself, and the `__call__` of an object, or the mock of an autospec.

    A mock that poses as a plain function has mocks for flags, which would say yes to every question.
    """
    while isinstance(call, partial | staticmethod):
        call = call.func if isinstance(call, partial) else call.__func__
    for body in (call, getattr(call, "mock", None) if inspect.isroutine(call) else type(call).__call__):
        if isinstance(getattr(getattr(body, "__code__", None), "co_flags", 0), int):
            yield body


def shown(value: object) -> str:
    """A value for an error: its type, and the beginning of what it looks like."""
    return f"{type(value).__name__} {looks(value)}".strip()[:80]


def shown_apart(value: object) -> tuple[str, str]:
    """The same, in two: what a value looks like may be a secret."""
    type_, _, text = shown(value).partition(" ")
    return type_, text


def looks(value: object) -> str:
    """What a value looks like, empty if it does not tell."""
    try:
        return repr(value)
    except Exception:  # an int of too many digits, an object that is broken
        return ""


def without_secrets(url: str) -> str:
    """A URL as it may be shown, also one that is written wrongly: without who logs in, and without the values
    of options that are called like a secret. An `@` in such a value may be the end of who logs in."""
    hidden = _SECRET.sub(lambda found: found[1] + re.sub("[^@]+", "***", found[2]), url)
    return _LOGIN.sub(r"\1***@", hidden)


_SECRET = re.compile(r"((?:pass|secret|token|key|auth)[^=&]*=)([^&]*)", re.IGNORECASE)
_LOGIN = re.compile(r"^([\w+]*:/*|).*@", re.DOTALL)
