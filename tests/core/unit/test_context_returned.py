"""What a hook gives back: a new state from a reducer, nothing from the others (S-16, S-22)."""

from __future__ import annotations

from typing import Any, Optional, Union

import pytest
from attrs import frozen
from support.samples import CHORE, FOLD, TICK, chore, folding, note, nothing, tick

from durable_jobs_core.context import ContinuousContext, TerminateSignal, close_context, open_context
from durable_jobs_core.definitions import AnyDefinition, Task
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.operations import HookCall, Operations, Termination
from durable_jobs_core.words import Key


async def later() -> None:
    """It would do something, if anybody waited for it."""


class Promise:
    """Something that can be awaited and is no coroutine."""

    def __await__(self) -> Any:
        yield


@frozen
class Waits:
    """A stage."""

    since: int


@frozen
class Paid:
    """Another."""

    cents: int


def call(key: Key, hook: Any) -> HookCall:
    return HookCall(key=key, hook=hook, leased=False, at=0, life=1, created_at=0, event=5)


@pytest.mark.parametrize("made", [later, Promise])
def test_S_22_a_plain_hook_that_gives_something_to_be_awaited_has_failed(made: Any) -> None:
    ctx, _ = open_context(chore(), call(CHORE, "execute"))

    with pytest.raises(ValidationError) as info:
        close_context(chore(), ctx, made())

    assert str(info.value).startswith(
        "execute of task:chore:a: expected nothing to be awaited, for nobody would await it: "
    )


async def yielding_later() -> Any:
    yield 1


def yielding() -> Any:
    yield 1


@pytest.mark.parametrize("made", [yielding, yielding_later])
def test_a_hook_that_gives_a_generator_has_not_run_so_it_has_failed(made: Any) -> None:
    ctx, _ = open_context(chore(), call(CHORE, "execute"))

    with pytest.raises(ValidationError, match="expected a function that does not yield, for nobody would"):
        close_context(chore(), ctx, made())


@pytest.mark.parametrize("stages", [Waits | Paid, Optional[Paid], Union[Waits, Paid]])  # noqa: UP007, UP045
def test_S_16_a_member_of_a_union_that_is_returned_and_not_set_would_be_lost_too(stages: Any) -> None:
    definition = Task.make(state=stages, event=int, on_event=note, execute=nothing)
    ctx, _ = open_context(definition, call(CHORE, "execute"))

    with pytest.raises(ValidationError, match="expected no state to be returned"):
        close_context(definition, ctx, Paid(5))


def test_S_16_so_would_one_of_a_generic_class() -> None:
    ctx, _ = open_context(chore(), call(CHORE, "on_event"))  # its state is a `list[int]`

    with pytest.raises(ValidationError, match="expected no state to be returned"):
        close_context(chore(), ctx, [5])


def test_S_22_a_reducer_likewise() -> None:
    ctx, _ = open_context(folding(), call(FOLD, "on_event"))

    with pytest.raises(ValidationError, match="expected nothing to be awaited"):
        close_context(folding(), ctx, later())


@pytest.mark.parametrize("returned", [5, 0])
def test_S_16_a_state_that_is_returned_and_not_set_would_be_lost_so_the_hook_has_failed(
    returned: int,
) -> None:
    ctx, _ = open_context(tick(), call(TICK, "execute"))

    with pytest.raises(ValidationError) as info:
        close_context(tick(), ctx, returned)

    told = "execute of continuous:tick:a: expected no state to be returned, for only ctx.set_state keeps one"
    assert str(info.value).startswith(told)


def test_S_16_a_state_that_is_returned_and_set_is_kept() -> None:
    ctx, _ = open_context(tick(), call(TICK, "execute"))
    assert isinstance(ctx, ContinuousContext)
    ctx.set_state(5)

    assert close_context(tick(), ctx, 5).state is not None


RETURNING: list[tuple[AnyDefinition, Key, Any, Any]] = [
    (tick(), TICK, "execute", "no state"),
    (tick(), TICK, "execute", True),
    (chore(), CHORE, "on_event", object()),
    (folding(), FOLD, "execute", []),
]


@pytest.mark.parametrize(("definition", "key", "hook", "returned"), RETURNING)
def test_what_else_a_hook_that_is_no_reducer_gives_back_is_nothing_to_anyone(
    definition: AnyDefinition, key: Key, hook: Any, returned: Any
) -> None:
    ctx, _ = open_context(definition, call(key, hook))

    assert close_context(definition, ctx, returned) == Operations()


def test_S_43_what_a_reducer_returns_is_the_state() -> None:
    ctx, _ = open_context(folding(), call(FOLD, "on_event"))

    assert close_context(folding(), ctx, [5]).state is not None


def test_S_17_what_a_hook_returns_after_it_has_terminated_is_of_no_account() -> None:
    ctx, _ = open_context(tick(), call(TICK, "execute"))
    assert isinstance(ctx, ContinuousContext)
    with pytest.raises(TerminateSignal):
        ctx.terminate()

    assert close_context(tick(), ctx, 5).terminate == Termination()
