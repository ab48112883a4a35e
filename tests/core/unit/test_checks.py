"""The checks of what users write say what was expected, and what came (S-61)."""

from __future__ import annotations

from functools import wraps
from typing import Any

import pytest

from durable_jobs_core.checks import (
    NOT_GIVEN,
    check,
    check_function,
    check_ms,
    check_plain,
    check_whole,
    shown,
    without_secrets,
)
from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.words import INSTANT_MAX


class Silent:
    """What says nothing of its parameters."""

    __signature__ = "unknown"

    def __call__(self) -> None:
        """It could not be called with one."""


def takes_none() -> None:
    """Nothing."""


def takes_two(one: int, two: int) -> None:
    """Of both."""


@wraps(takes_two)
def adding(one: int) -> None:
    """With one more."""
    takes_two(one, 2)


async def later() -> None:
    """What is to be awaited."""


async def yielding_later() -> Any:
    yield 1


def test_what_is_right_passes() -> None:
    check(True, "name", "anything", 1)
    check_whole(3, "name", 3)
    check_ms(0, "name")
    check_ms(INSTANT_MAX, "name", 1)
    check_function(takes_none, "name", "a function")
    check_function(print, "name", "a function", "one", "two")
    check_function(Silent(), "name", "a function", "one")
    check_function(adding, "name", "a function", "one")
    check_plain(print, "name", "a function", "one")


@pytest.mark.parametrize(
    ("checking", "text"),
    [
        (lambda: check(False, "name", "more", "less"), "name: expected more, got 'less'"),
        (lambda: check(None, "name", "more", NOT_GIVEN), "name: expected more, got nothing"),
        (
            lambda: check(False, "name", "less", "more" * 99),
            "name: expected less, got '" + "more" * 49 + "mor",
        ),
        (lambda: check_whole(2, "name", 3), "name: expected a whole number, 3 or more, got 2"),
        (lambda: check_whole(True, "name", 0), "name: expected a whole number, 0 or more, got True"),
        (lambda: check_ms("1s", "name"), "name: expected whole milliseconds, 0 or more, got '1s'"),
        (lambda: check_ms(INSTANT_MAX + 1, "name"), "name: expected whole milliseconds, 0 or more, got"),
        (lambda: check_function(5, "name", "a function", "ctx"), "name: expected a function, got 5"),
        (
            lambda: check_plain(takes_none, "name", "a function", "one"),
            "name: expected a function taking (one), got",
        ),
        (
            lambda: check_plain(later, "name", "a function"),
            "name: expected a function (no async def, and nothing that yields), got <function later",
        ),
        (
            lambda: check_plain(yielding_later, "name", "a function"),
            "name: expected a function (no async def",
        ),
        (
            lambda: check_function(takes_none, "name", "a function", "event", "ctx"),
            "name: expected a function taking (event, ctx), got one taking ()",
        ),
    ],
)
def test_what_is_wrong_is_told(checking: Any, text: str) -> None:
    with pytest.raises(DefinitionError) as info:
        checking()

    assert str(info.value).startswith(text)
    assert len(str(info.value)) < 250


class Broken:
    """Nobody can say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("value", "name"), [(-(10**5000), "int"), (Broken(), "Broken")], ids=["int", "object"]
)
def test_S_61_what_cannot_be_shown_is_refused_as_everything_else(value: object, name: str) -> None:
    with pytest.raises(DefinitionError, match=f"^lease: expected a whole number, 1 or more, got {name}$"):
        check_whole(value, "lease", 1)


def test_a_value_is_shown_by_its_type_and_as_far_as_it_can_be() -> None:
    assert [shown(5), shown(Broken()), shown(10**5000)] == ["int 5", "Broken", "int"]
    assert len(shown("x" * 1_000)) == 80


@pytest.mark.parametrize(
    ("url", "as_shown"),
    [
        ("redis://host:1/0?namespace=a", "redis://host:1/0?namespace=a"),
        ("redis+cluster://me:se\ncr@et@one,two", "redis+cluster://***@one,two"),
        ("me:secret@host", "me:***@host"),
        (
            "redis://host?a=1&PASSWORD=secret&sentinel%5Fpassword=se=cret",
            "redis://host?a=1&PASSWORD=***&sentinel%5Fpassword=***",
        ),
        ("redis://host?password=se@cret&a=1", "redis://***@***&a=1"),
        ("redis://:secret&key=too@host", "redis://***@***"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_secret(url: str, as_shown: str) -> None:
    assert without_secrets(url) == as_shown
