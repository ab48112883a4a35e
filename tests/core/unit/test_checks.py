"""The checks of what users write say what was expected, and what came (S-61)."""

from __future__ import annotations

from typing import Any

import pytest

from durable_jobs_core.checks import NOT_GIVEN, check, check_function, check_ms, check_whole
from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.words import INSTANT_MAX


class Silent:
    """What says nothing of its parameters."""

    __signature__ = "unknown"

    def __call__(self) -> None:
        """It could not be called with one."""


def takes_none() -> None:
    """Nothing."""


def test_what_is_right_passes() -> None:
    check(True, "name", "anything", 1)
    check_whole(3, "name", 3)
    check_ms(0, "name")
    check_ms(INSTANT_MAX, "name", 1)
    check_function(takes_none, "name", "a function")
    check_function(print, "name", "a function", "one", "two")
    check_function(Silent(), "name", "a function", "one")


@pytest.mark.parametrize(
    ("checking", "text"),
    [
        (lambda: check(False, "name", "more", "less"), "name: expected more, got 'less'"),
        (lambda: check(None, "name", "more", NOT_GIVEN), "name: expected more, got nothing"),
        (lambda: check_whole(2, "name", 3), "name: expected a whole number, 3 or more, got 2"),
        (lambda: check_whole(True, "name", 0), "name: expected a whole number, 0 or more, got True"),
        (lambda: check_ms("1s", "name"), "name: expected whole milliseconds, 0 or more, got '1s'"),
        (lambda: check_ms(INSTANT_MAX + 1, "name"), "name: expected whole milliseconds, 0 or more, got"),
        (lambda: check_function(5, "name", "a function", "ctx"), "name: expected a function, got 5"),
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
