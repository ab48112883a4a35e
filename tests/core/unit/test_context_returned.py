"""What a hook gives back: a new state from a reducer, nothing from the others (S-16, S-22)."""

from __future__ import annotations

from typing import Any

import pytest
from support.samples import CHORE, FOLD, TICK, chore, folding, tick

from durable_jobs_core.context import ContinuousContext, TerminateSignal, close_context, open_context
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.operations import HookCall, Operations, Termination
from durable_jobs_core.words import Key


async def later() -> None:
    """It would do something, if anybody waited for it."""


class Promise:
    """Something that can be awaited and is no coroutine."""

    def __await__(self) -> Any:
        yield


def call(key: Key, hook: Any) -> HookCall:
    return HookCall(key=key, hook=hook, leased=False, at=0, life=1, created_at=0, event=5)


@pytest.mark.parametrize("made", [later, Promise])
def test_S_22_a_plain_hook_that_gives_something_to_be_awaited_has_failed(made: Any) -> None:
    ctx, _ = open_context(chore(), call(CHORE, "execute"))

    with pytest.raises(ValidationError) as info:
        close_context(chore(), ctx, made())

    assert str(info.value).startswith(
        "execute of task:chore:a: expected nothing to be awaited from a hook that is not an async def"
    )


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
