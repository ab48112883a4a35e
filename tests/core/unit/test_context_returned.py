"""What a hook gives back: a new state from a reducer, nothing from the others (S-16, S-22)."""

from __future__ import annotations

from typing import Any

import pytest
from support.samples import CHORE, FOLD, chore, folding

from durable_jobs_core.context import close_context, open_context
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.operations import HookCall
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
        "execute of task:chore:a: $: expected nothing to be awaited from a hook that is not an async def"
    )


def test_S_22_a_reducer_likewise() -> None:
    ctx, _ = open_context(folding(), call(FOLD, "on_event"))

    with pytest.raises(ValidationError, match="expected nothing to be awaited"):
        close_context(folding(), ctx, later())


def test_what_else_a_hook_that_is_no_reducer_gives_back_is_nothing_to_anyone() -> None:
    ctx, _ = open_context(chore(), call(CHORE, "execute"))

    assert close_context(chore(), ctx, 5).state is None
