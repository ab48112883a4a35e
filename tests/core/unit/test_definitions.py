"""Definitions are checked whole where they are written (S-20, S-24, S-41, S-60)."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import pytest
from attrs import frozen

from durable_jobs_core import Continuous, Debounce, Retry, Task, every, skip
from durable_jobs_core.definitions import DEFAULT_RETRY
from durable_jobs_core.definitions.continuous import ContinuousOptions
from durable_jobs_core.definitions.debounce import DebounceOptions
from durable_jobs_core.definitions.task import TaskOptions
from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.schema import StrictCodec


def hook(*arguments: Any) -> None:
    """A hook that does nothing."""


async def later(*arguments: Any) -> None:
    """One that is awaited."""


def tick(**options: Any) -> Continuous[Any]:
    return Continuous.make(**{"state": int, "schedule": every("1s"), "execute": hook, **options})


def latest(**options: Any) -> Debounce[Any, Any]:
    return Debounce.make(**{"event": int, "flush_after": "1s", "execute": hook, **options})


def chore(**options: Any) -> Task[Any, Any]:
    return Task.make(**{"state": int, "event": int, "on_event": hook, "execute": hook, **options})


KINDS = [tick, latest, chore]


def test_the_defaults_are_those_of_the_specification() -> None:
    for make in KINDS:
        definition = make()
        assert (definition.retry, definition.max_crashes, definition.concurrency) == (DEFAULT_RETRY, 5, None)
        assert (definition.timeout_of("execute"), definition.timeout_of("on_event")) == (None, 30_000)
        assert definition.state_version == 1
    assert [make().on_exhausted for make in KINDS] == ["continue", "park", "park"]
    assert chore().inbox_limit == 100
    assert (latest().quiet, latest().max_events, latest().max_pending) == (False, None, None)
    assert (tick().start_immediately, tick().misfire) == (True, "coalesce")
    assert [make().kind for make in KINDS] == ["continuous", "debounce", "task"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [(Continuous, ContinuousOptions), (Debounce, DebounceOptions), (Task, TaskOptions)],
)
def test_the_help_of_a_kind_explains_each_of_its_options(kind: type, options: type) -> None:
    explained = {name for name in options.__annotations__ if f"`{name}`" in (kind.__doc__ or "")}

    assert explained == set(options.__annotations__)


def test_a_definition_is_shown_by_its_kind_and_its_hook() -> None:
    shown = [repr(make()) for make in KINDS]

    assert shown == [f"<{kind} with execute=hook>" for kind in ("Continuous", "Debounce", "Task")]
    assert repr(tick(execute=partial(hook, 1))).startswith("<Continuous with execute=functools.partial(")


def test_options_become_fields_and_durations_milliseconds() -> None:
    definition = chore(
        retry=None,
        on_exhausted="terminate",
        timeout="1 minute",
        hook_timeout=None,
        max_crashes=1,
        concurrency=3,
        state_version=2,
        upcasters={1: lambda data: data},
        inbox_limit=7,
    )

    assert (definition.retry, definition.on_exhausted) == (None, "terminate")
    assert (definition.timeout_of("execute"), definition.timeout_of("on_idle")) == (60_000, None)
    assert (definition.max_crashes, definition.concurrency, definition.inbox_limit) == (1, 3, 7)
    assert (definition.state_version, list(definition.upcasters)) == (2, [1])


def test_S_60_an_id_is_forgotten_after_24_hours_or_128_later_ones_and_both_are_settable() -> None:
    for make in (latest, chore):
        assert (make().ids_max, make().ids_for_ms) == (128, 86_400_000)
        settled = make(remember_ids=5, remember_ids_for="1h")
        assert (settled.ids_max, settled.ids_for_ms) == (5, 3_600_000)


def test_S_41_a_quiet_window_has_a_longest_wait_or_explicitly_none() -> None:
    quiet = latest(mode="quiet", max_wait="1 minute", max_events=2, max_pending=3)

    assert (quiet.quiet, quiet.flush_after_ms, quiet.max_wait_ms) == (True, 1_000, 60_000)
    assert (quiet.max_events, quiet.max_pending) == (2, 3)
    assert latest(mode="quiet", max_wait=None).max_wait_ms is None
    assert latest(mode="quiet", max_wait="1s").max_wait_ms == 1_000


def test_a_decorator_makes_the_same_as_make() -> None:
    ticking = Continuous.job(state=int, schedule=every("1s"), misfire=skip("1s"), start_immediately=False)(
        hook
    )
    batching = Debounce.job(event=int, flush_after="1s", max_events=2)(hook)
    folding = Debounce.job(event=int, flush_after="1s", state=str, on_event=hook)(hook)
    working = Task.job(
        state=int, event=str, on_event=hook, on_idle=hook, on_error=hook, inbox_limit=7, retry=None
    )(hook)

    assert (ticking.misfire, ticking.start_immediately) == (skip("1s"), False)
    assert (batching.max_events, batching.state.type, list(batching.hooks)) == (2, int, ["execute"])
    assert (folding.state.type, folding.event.type, list(folding.hooks)) == (
        str,
        int,
        ["execute", "on_event"],
    )
    assert set(working.hooks) == {"on_event", "execute", "on_idle", "on_error"}
    assert (working.inbox_limit, working.retry) == (7, None)


class Callable_:  # noqa: N801
    def __call__(self, ctx: Any) -> None:
        """A plain hook."""


class Awaited:
    async def __call__(self, ctx: Any) -> None:
        """One that is awaited."""

    async def method(self, ctx: Any) -> None:
        """Another."""


def decorated(call: Any) -> Any:
    """With a wrapper that brings an argument of its own."""

    @wraps(call)
    async def wrapper(ctx: Any) -> None:
        await call(ctx, 1)

    return wrapper


class Plain:
    def method(self, ctx: Any) -> None:
        """A plain hook."""


@pytest.mark.parametrize(
    ("call", "is_async"),
    [
        (hook, False),
        (later, True),
        (partial(hook, 1), False),
        (partial(later, 1), True),
        (Callable_(), False),
        (Awaited(), True),
        (Awaited().method, True),
        (partial(Awaited()), True),
        (partial(partial(Awaited().method)), True),
        (staticmethod(later), True),  # as in the body of a class
        (staticmethod(hook), False),
        (decorated(later), True),
        (AsyncMock(), True),
        (AsyncMock(spec=later), True),
        (create_autospec(later), True),
        (create_autospec(Awaited().method), True),
        (create_autospec(Awaited, instance=True).method, True),
        (Mock(), False),
        (MagicMock(), False),
        (Mock(spec=hook), False),
        (MagicMock(spec=hook), False),
        (create_autospec(hook), False),
        (create_autospec(Plain, instance=True).method, False),
        (print, False),
    ],
)
def test_S_15_hooks_may_be_async_or_plain(call: Any, is_async: bool) -> None:
    assert tick(execute=call).hooks["execute"].is_async is is_async


def yielding(ctx: Any) -> Any:
    yield 1


async def later_yielding(ctx: Any) -> Any:
    yield 1


class Yielding:
    def __call__(self, ctx: Any) -> Any:
        yield 1


@frozen
class Point:
    x: int


def one(one: Any) -> None:
    """A hook of one parameter."""


def two(one: Any, two: Any) -> None:
    """A hook of two."""


def keyword(ctx: Any, *, given: int) -> None:
    """A hook that wants more than it is given."""


class Told:
    """What says nothing of its parameters is believed."""

    __signature__ = "unknown"

    def __call__(self, *arguments: Any) -> None:
        """A plain hook."""


TAKING_ONE = [
    one,
    Callable_(),
    Awaited().method,
    partial(two, 1),
    lambda ctx, more=1: None,
    hook,
    Told(),
    decorated(two),
]


@pytest.mark.parametrize("call", TAKING_ONE)
def test_a_hook_may_be_anything_that_takes_what_it_is_given(call: Any) -> None:
    for make in KINDS:
        assert make(execute=call).hooks["execute"].call is call
    assert latest(state=int, on_event=call).hooks["on_event"].call is call
    assert chore(on_idle=call).hooks["on_idle"].call is call
    assert set(chore(on_event=two, on_error=two).hooks) == {"on_event", "execute", "on_error"}


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    *[(make, {"execute": None}, "execute: expected a function, got None") for make in KINDS],
    (chore, {"on_event": None}, "on_event: expected a function, got None"),
    (chore, {"on_idle": 5}, "on_idle: expected a function, got 5"),
    *[
        (
            make,
            {"execute": two},
            "execute: expected a function taking (ctx), got one taking (one, two)",
        )
        for make in KINDS
    ],
    (tick, {"execute": lambda: None}, "execute: expected a function taking (ctx), got one taking ()"),
    (tick, {"execute": keyword}, "execute: expected a function taking (ctx), got one taking (ctx, *, given)"),
    (tick, {"execute": Awaited.method}, "execute: expected a function taking (ctx), got one taking (self, "),
    (latest, {"state": int, "on_event": two}, "on_event: expected a function taking (ctx), got one taking"),
    (
        chore,
        {"on_event": one},
        "on_event: expected a function taking (event, ctx), got one taking (one)",
    ),
    (
        chore,
        {"on_error": one},
        "on_error: expected a function taking (error, ctx), got one taking (one)",
    ),
    (
        chore,
        {"on_idle": two},
        "on_idle: expected a function taking (ctx), got one taking (one, two)",
    ),
    (tick, {"execute": yielding}, "execute: expected a function that does not yield"),
    (tick, {"execute": later_yielding}, "execute: expected a function that does not yield"),
    (tick, {"execute": Yielding()}, "execute: expected a function that does not yield"),
    (tick, {"execute": partial(Yielding())}, "execute: expected a function that does not yield"),
    (
        tick,
        {"state_version": 2, "upcasters": {1: later}},
        "upcasters: expected functions by versions below 2 (no async def, and nothing that yields), got",
    ),
    (tick, {"state_version": 2, "upcasters": {1: yielding}}, "upcasters: expected functions by versions"),
    (tick, {"wrong": 1}, "wrong: expected an option of this kind of job"),
    (
        tick,
        {"max_events": 1},
        "max_events: expected an option of this kind of job, got another word; there are codec, ",
    ),
    (tick, {"retry": 3}, "retry: expected a Retry or None, got 3"),
    (tick, {"on_exhausted": "explode"}, "on_exhausted: expected one of 'park', 'continue', 'terminate'"),
    (tick, {"timeout": 5}, "timeout: expected a duration"),
    (tick, {"timeout": "0 s"}, "timeout: expected at least 1 ms, got '0 s'"),
    (chore, {"hook_timeout": "0 s"}, "hook_timeout: expected at least 1 ms"),
    (tick, {"hook_timeout": "1 s"}, "hook_timeout: expected an option of this kind of job, got another word"),
    (tick, {"max_crashes": 0}, "max_crashes: expected a whole number, 1 or more, got 0"),
    (tick, {"max_crashes": None}, "max_crashes: expected a whole number, 1 or more, got None"),
    (tick, {"concurrency": True}, "concurrency: expected a whole number, 1 or more, got True"),
    (tick, {"state_version": 1.0}, "state_version: expected a whole number, 1 or more, got 1.0"),
    (tick, {"upcasters": {1: hook}}, "upcasters: expected functions by versions below 1"),
    (
        tick,
        {"state_version": 2, "upcasters": {"1": hook}},
        "upcasters: expected functions by versions below 2",
    ),
    (tick, {"state_version": 2, "upcasters": {1: None}}, "upcasters: expected functions by versions below 2"),
    (
        tick,
        {"state_version": 4, "upcasters": {1: hook, 3: hook}},
        "upcasters: expected functions by versions below 4, from 1 on each, got",
    ),
    (
        tick,
        {"state_version": 4, "upcasters": {2: hook}},
        "upcasters: expected functions by versions below 4, from 2 on each, got",
    ),
    (tick, {"upcasters": None}, "upcasters: expected functions by versions below 1, got None"),
    (
        tick,
        {"state_version": 2, "upcasters": {1: two}},
        "upcasters: expected functions by versions below 2 taking (state), got one taking (one, two)",
    ),
    (tick, {"codec": StrictCodec}, "codec: expected an object with encode, decode and schema, got <class"),
    (tick, {"codec": object()}, "codec: expected an object with encode, decode and schema"),
    *[
        (tick, {"codec": Mock(spec=have)}, "codec: expected an object with encode, decode and schema")
        for have in (["encode", "decode"], ["encode", "schema"], ["decode", "schema"])
    ],
    (tick, {"schedule": "1s"}, "schedule: expected every(...) or cron(...), got '1s'"),
    (tick, {"misfire": "skip"}, "misfire: expected \"coalesce\" or skip(...), got 'skip'"),
    (tick, {"start_immediately": "no"}, "start_immediately: expected a bool, got 'no'"),
    (tick, {"state": None}, "state: expected a type, got None"),
    (tick, {"state": Point(1)}, "state: expected a type, got Point(x=1)"),
    (tick, {"state": [int]}, "state: expected a type, got [<class 'int'>]"),
    (chore, {"event": None}, "event: expected a type, got None"),
    (tick, {"state": complex}, "state: complex: there is no form for values of this type"),
    (latest, {"event": complex}, "event: complex: there is no form"),
    (latest, {"flush_after": 30_000}, "flush_after: expected a duration"),
    (latest, {"mode": "loud"}, "mode: expected one of 'fixed', 'quiet', got 'loud'"),
    (
        latest,
        {"mode": "quiet"},
        'max_wait: expected a duration or None with mode="quiet" and only then, got nothing',
    ),
    (latest, {"max_wait": "1s"}, "max_wait: expected a duration or None with mode"),
    (
        latest,
        {"mode": "quiet", "max_wait": "1 ms"},
        "max_wait: expected at least flush_after, 1000 ms, got '1 ms'",
    ),
    (latest, {"max_events": 0}, "max_events: expected a whole number, 1 or more, got 0"),
    (latest, {"on_exhausted": "continue"}, 'on_exhausted: expected "park" or "terminate"'),
    (latest, {"state": int}, "on_event: expected both state and on_event, or neither, got nothing"),
    (latest, {"on_event": hook}, "state: expected both state and on_event, or neither, got nothing"),
    (latest, {"remember_ids_for": None}, "remember_ids_for: expected a duration"),
    (chore, {"remember_ids": None}, "remember_ids: expected a whole number, 1 or more, got None"),
    (chore, {"inbox_limit": 0}, "inbox_limit: expected a whole number, 1 or more, got 0"),
    (chore, {"event": list[complex]}, "event: complex: there is no form"),
]


@pytest.mark.parametrize(("make", "options", "text"), REFUSED, ids=[text for _, _, text in REFUSED])
def test_what_can_never_work_is_refused_where_it_is_written(
    make: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(DefinitionError) as info:
        make(**options)

    assert str(info.value).startswith(text)


class Own:
    """A codec that is not over cattrs knows by itself what it can do."""

    def encode(self, value: Any, type_: Any) -> Any:
        return value

    def decode(self, data: Any, type_: Any) -> Any:
        return data

    def schema(self, type_: Any) -> Any:
        return None


def test_a_codec_of_the_users_own_serves_state_and_events() -> None:
    own, strict = Own(), StrictCodec()
    definition = chore(state=complex, codec=own)

    assert definition.state.codec is definition.event.codec is own
    assert latest(codec=strict).event.codec is strict


def test_definitions_are_themselves_whatever_their_fields() -> None:
    assert tick() != tick()
    assert tick(retry=Retry(max_attempts=2)).retry == Retry(max_attempts=2)
