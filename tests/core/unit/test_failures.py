"""Exceptions as data: never raises, keeps to its lengths, says where it was raised."""

from __future__ import annotations

import pytest

from durable_jobs_core.errors import ExecutionError, Issue, ValidationError
from durable_jobs_core.failures import MESSAGE_MAX, STACK_MAX, describe, leaves, untried
from durable_jobs_core.schema import Schema
from durable_jobs_core.words import Key


def caught(raiser: object) -> BaseException:
    assert callable(raiser)
    with pytest.raises(BaseException) as info:  # noqa: PT011 (whatever it is)
        raiser()
    return info.value


def boom() -> None:
    raise ValueError("no stock")


def test_an_exception_as_data() -> None:
    failure = describe(caught(boom))

    assert (failure.type, failure.message) == ("ValueError", "no stock")
    assert failure.stack is not None
    assert failure.stack.endswith(f"line {boom.__code__.co_firstlineno + 1}, in boom")


def test_an_exception_that_was_never_raised_has_no_stack() -> None:
    assert describe(KeyError("a")).stack is None


def test_of_a_group_each_leaf_is_told() -> None:
    group = ExceptionGroup("two", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])

    failure = describe(group)

    assert failure.type == "ExceptionGroup"
    assert failure.message == "two (2 sub-exceptions)\n  ValueError: a\n  KeyError: 'b'"


def test_S_61_the_whole_cause_is_told() -> None:
    def sync() -> None:
        try:
            try:
                raise OSError("refused")
            except OSError:
                raise LookupError  # noqa: B904 (the point)
        except LookupError as error:
            raise RuntimeError("no sync") from error

    assert describe(caught(sync)).message == (
        "no sync\n  caused by LookupError\n  caused by OSError: refused"
    )


def test_a_cause_that_the_message_quotes_is_not_told_again() -> None:
    def quote() -> None:
        try:
            boom()
        except ValueError as error:
            raise RuntimeError(f"expected an int, got ValueError: {error}") from error

    assert describe(caught(quote)).message == "expected an int, got ValueError: no stock"


def test_a_cause_that_was_hidden_is_not_told_and_a_circle_ends() -> None:
    def hide() -> None:
        try:
            boom()
        except ValueError:
            raise RuntimeError("over") from None

    assert describe(caught(hide)).message == "over"
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__cause__ = other, one
    assert describe(one).message == "a\n  caused by ValueError: b"
    first = ValueError("first")
    first.__cause__ = one  # which is in the circle
    assert describe(first).message == "first\n  caused by ValueError: a\n  caused by ValueError: b"


def test_a_group_nested_deeper_than_the_stack_is_flattened() -> None:
    nested: Exception = ValueError("a")
    for _ in range(5_000):
        nested = ExceptionGroup("g", [nested])

    assert [str(leaf) for leaf in leaves(nested)] == ["a"]


@pytest.mark.parametrize("trouble", [RuntimeError, SystemExit])
def test_an_exception_without_a_text(trouble: type[BaseException]) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise trouble

    assert describe(Silent()).message == "(its text could not be made)"


def test_lone_surrogates_and_long_texts_are_cut_to_what_can_be_stored() -> None:
    failure = describe(ValueError("\ud800" + "x" * 5_000))

    assert failure.message == "?" + "x" * (MESSAGE_MAX - 1)


def test_of_a_long_stack_the_end_is_kept_where_it_was_raised() -> None:
    def dive(depth: int) -> None:
        if depth == 0:
            boom()
        dive(depth - 1)

    failure = describe(caught(lambda: dive(300)))

    assert failure.stack is not None
    assert len(failure.stack) == STACK_MAX
    assert failure.stack.endswith("in boom")


def test_S_61_a_failure_does_not_say_that_nothing_was_changed_for_its_teller_does() -> None:
    error = ValidationError("state", (Issue("$", "int", "null"),))
    told = ExecutionError(Key("task", "job", "a"), "on_event", describe(error))

    assert describe(error).message == "state: expected int, got null"
    assert str(told).count("nothing was changed") == 1


def test_S_65_a_state_that_does_not_fit_is_not_quoted() -> None:
    def refuse() -> None:
        Schema(list[int]).decode([1, "refresh-token"], "state")

    error = caught(refuse)

    assert "refresh-token" in str(error), "who asked may see it"
    assert describe(error).message == "state: $[1]: expected int, got str"
    assert "refresh-token" not in describe(caught(lambda: reraise(error))).message


def reraise(error: BaseException) -> None:
    raise RuntimeError("no state") from error


def test_why_it_is_not_tried_again_is_told_whatever_the_lengths() -> None:
    failure = untried(describe(ValueError("no stock" * 1_000)), "Retry(delay)", KeyError("k" * 10_000))

    assert failure.message.startswith("no stock")
    assert "\n  not tried again, for Retry(delay) failed with KeyError: 'kkk" in failure.message
    assert len(failure.message) == MESSAGE_MAX
    assert untried(describe(ValueError()), "Retry(delay)", KeyError("\ud800")).message.isascii()
