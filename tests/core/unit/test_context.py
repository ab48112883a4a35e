"""What hooks are given, and what they ask for (S-15 to S-17, S-22, S-37, S-43, S-52)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from support.steps import MINUTE, T, continuous, debounce, task

from durable_jobs_core.context import (
    ContinuousContext,
    DebounceContext,
    DebounceEventContext,
    TaskContext,
    TerminateSignal,
    cancel_context,
    close_context,
    end_context,
    is_terminated,
    open_context,
)
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.failures import describe
from durable_jobs_core.operations import HookCall, Operations, ScheduleChange, Termination
from durable_jobs_core.record import Stored
from durable_jobs_core.words import INSTANT_MAX, Failure, Hook, Key, Kind, to_datetime

CONTINUOUS, TASK = continuous(), task("on_idle", "on_error")
DEBOUNCE, FOLDING = debounce(), debounce(reducer=True)
LEASED = ("attempt", "is_retry", "crashes", "cancelled", "idempotency_key")
TOMORROW = datetime(2026, 11, 25, 8, tzinfo=UTC)


def call(kind: Kind, hook: Hook = "execute", *, leased: bool = True, **shown: Any) -> HookCall:
    """A call of a hook of instance `a` of that kind."""
    key = Key(kind, "job", "a")
    return HookCall(key=key, hook=hook, leased=leased, at=T, life=7, created_at=T - MINUTE, **shown)


def tick(state: Any = 1, **shown: Any) -> ContinuousContext[Any]:
    """The context of `execute` of a continuous job."""
    ctx, arguments = open_context(CONTINUOUS, call("continuous", state=Stored(1, state), **shown))
    assert arguments == (ctx,)
    assert isinstance(ctx, ContinuousContext)
    return ctx


def batch(**shown: Any) -> DebounceContext[Any]:
    """The context of `execute` of a debounce."""
    ctx, arguments = open_context(DEBOUNCE, call("debounce", state=Stored(1, 5), **shown))
    assert arguments == (ctx,)
    assert isinstance(ctx, DebounceContext)
    return ctx


def reducing(state: Stored | None = None, **shown: Any) -> DebounceEventContext[Any, Any]:
    """The context of `on_event` of a debounce."""
    asked = call("debounce", "on_event", leased=False, event=3, state=state, **shown)
    ctx, arguments = open_context(FOLDING, asked)
    assert arguments == (ctx,)
    assert isinstance(ctx, DebounceEventContext)
    return ctx


def chore(hook: Hook = "execute", **shown: Any) -> TaskContext[Any]:
    """The context of a hook of a task."""
    ctx, _ = open_context(TASK, call("task", hook, **shown))
    assert isinstance(ctx, TaskContext)
    return ctx


def members(ctx: object) -> set[str]:
    """The names a hook finds on its context."""
    return {name for name in dir(ctx) if not name.startswith("_")}


# -- what each hook is given


def test_S_37_execute_of_a_continuous_job_is_given() -> None:
    ctx = tick(5, run=4, run_count=4, attempt=2, crashes=1, scheduled_for=T - MINUTE)

    assert members(ctx) == {
        "state", "set_state", "update_state", "terminate", "instance_id", "job_name", "run_count",
        "scheduled_for", *LEASED,
    }  # fmt: skip
    assert (ctx.state, ctx.instance_id, ctx.job_name) == (5, "continuous:job:a", "job")
    assert (ctx.run_count, ctx.attempt, ctx.is_retry, ctx.crashes, ctx.cancelled) == (4, 2, True, 1, False)
    assert ctx.scheduled_for == to_datetime(T - MINUTE)


def test_S_37_a_first_attempt_is_no_retry_and_a_triggered_run_serves_no_tick() -> None:
    ctx = tick(run=1)

    assert (ctx.attempt, ctx.is_retry, ctx.scheduled_for) == (1, False, None)


def test_S_43_execute_of_a_debounce_is_given() -> None:
    ctx = batch(run=1, event_count=3, flush_reason="maxEvents", started_at=T, attempt=2)

    assert members(ctx) == {
        "state", "event_count", "flush_reason", "debounce_started_at", "instance_id", "job_name", *LEASED,
    }  # fmt: skip
    assert (ctx.state, ctx.event_count, ctx.flush_reason) == (5, 3, "maxEvents")
    assert ctx.debounce_started_at == to_datetime(T)
    assert (ctx.instance_id, ctx.job_name, ctx.attempt, ctx.is_retry) == ("debounce:job:a", "job", 2, True)


def test_S_43_the_reducer_is_given() -> None:
    ctx = reducing(Stored(1, [1, 2]), event_count=3)

    assert members(ctx) == {"event", "state", "event_count", "instance_id", "job_name"}
    assert (ctx.event, ctx.state, ctx.event_count) == (3, [1, 2], 3)
    assert (ctx.instance_id, ctx.job_name) == ("debounce:job:a", "job")


def test_S_40_the_first_reducer_call_of_a_window_sees_no_state() -> None:
    assert reducing().state is None


@pytest.mark.parametrize("hook", ["execute", "on_event", "on_idle", "on_error"])
def test_S_52_every_hook_of_a_task_is_given_the_same(hook: Hook) -> None:
    event = "paid" if hook == "on_event" else None
    failure = Failure("Error", "no") if hook == "on_error" else None
    ctx = chore(
        hook,
        event=event,
        failure=failure,
        run=2,
        state=Stored(1, "new"),
        event_count=1,
        execute_count=3,
        scheduled_at=T + MINUTE,
        attempt=2,
        crashes=1,
    )

    assert members(ctx) == {
        "schedule", "cancel_schedule", "scheduled_time", "state", "set_state", "update_state", "terminate",
        "is_first_event", "event_count", "execute_count", "created_at", "instance_id", "job_name", *LEASED,
    }  # fmt: skip
    assert (ctx.state, ctx.scheduled_time) == ("new", to_datetime(T + MINUTE))
    assert (ctx.is_first_event, ctx.event_count, ctx.execute_count) == (True, 1, 3)
    assert ctx.created_at == to_datetime(T - MINUTE)
    assert (ctx.instance_id, ctx.job_name) == ("task:job:a", "job")
    assert (ctx.attempt, ctx.is_retry, ctx.crashes, ctx.cancelled) == (2, True, 1, False)


def test_S_52_the_second_event_is_not_the_first() -> None:
    assert not chore(event_count=2).is_first_event


def test_S_52_an_inline_hook_is_attempt_1_with_no_key() -> None:
    ctx, _ = open_context(TASK, call("task", "on_event", leased=False, event="paid"))

    assert isinstance(ctx, TaskContext)
    assert (ctx.attempt, ctx.is_retry, ctx.crashes, ctx.idempotency_key) == (1, False, 0, None)


def test_S_52_the_hooks_of_a_task_are_called_with() -> None:
    failure = Failure("Error", "no")
    on_event, with_event = open_context(TASK, call("task", "on_event", event="paid"))
    on_error, with_failure = open_context(TASK, call("task", "on_error", failure=failure))
    on_idle, alone = open_context(TASK, call("task", "on_idle"))

    assert with_event == ("paid", on_event)
    assert with_failure == (failure, on_error)
    assert alone == (on_idle,)


# -- the idempotency key


def test_S_18_every_attempt_of_a_run_has_the_same_key_crashes_included() -> None:
    keys = {tick(run=3, attempt=attempt, crashes=attempt).idempotency_key for attempt in (1, 2, 3)}

    assert len(keys) == 1


def test_S_18_every_other_run_has_another_key() -> None:
    first = call("continuous", run=1)
    others = [
        first,
        evolve(first, run=2),
        evolve(first, life=8),
        evolve(first, key=Key("continuous", "job", "b")),
        evolve(first, key=Key("continuous", "other", "a")),
        evolve(first, key=Key("task", "job", "a")),
    ]

    assert len({other.idempotency_key for other in others}) == 6


def test_S_18_a_key_is_short_ascii() -> None:
    key = chore(run=2**40).idempotency_key

    assert key is not None
    assert key.isascii()
    assert len(key) <= 60


# -- what hooks ask for


def test_S_16_state_reads_back_what_the_hook_itself_has_set() -> None:
    ctx = tick(1)

    ctx.set_state(2)
    ctx.update_state(lambda state: state + 1)

    assert ctx.state == 3


def test_S_16_S_52_a_task_reads_back_state_and_schedule() -> None:
    ctx = chore(scheduled_at=T + MINUTE)

    ctx.update_state(lambda state: "first" if state is None else "again")
    ctx.schedule(TOMORROW)

    assert (ctx.state, ctx.scheduled_time) == ("first", TOMORROW)


def test_S_16_what_is_asked_for_is_data() -> None:
    ctx = chore(state=Stored(1, "old"))

    ctx.set_state("new")
    ctx.schedule("10 seconds")

    assert close_context(TASK, ctx, None) == Operations(
        state=Stored(1, "new"), schedule=ScheduleChange(after_ms=10_000)
    )


def test_S_16_a_hook_that_asks_for_nothing_changes_nothing() -> None:
    ctx = tick()

    assert close_context(CONTINUOUS, ctx, "ignored") == Operations()


def test_S_43_what_the_reducer_returns_is_the_new_state() -> None:
    assert close_context(FOLDING, reducing(), [3]) == Operations(state=Stored(1, [3]))


def test_a_new_state_has_the_version_of_the_definition() -> None:
    definition = continuous(state_version=3)
    ctx, _ = open_context(definition, call("continuous", state=Stored(3, 1)))
    assert isinstance(ctx, ContinuousContext)

    ctx.set_state(2)

    assert close_context(definition, ctx, None).state == Stored(3, 2)


def test_S_22_a_new_state_that_does_not_fit_is_a_failure() -> None:
    ctx = tick()

    ctx.set_state("text")

    with pytest.raises(ValidationError, match="new state of continuous:job:a: "):
        close_context(CONTINUOUS, ctx, None)


def test_S_22_a_reducer_that_returns_nothing_has_failed_and_is_told_whose_state_it_was() -> None:
    with pytest.raises(ValidationError, match="new state of debounce:job:a as on_event returned it: "):
        close_context(FOLDING, reducing(), None)


@pytest.mark.parametrize(
    ("definition", "asked"),
    [
        (CONTINUOUS, call("continuous", state=Stored(1, "text"))),
        (DEBOUNCE, call("debounce", state=Stored(1, "text"))),
        (FOLDING, call("debounce", "on_event", state=Stored(1, "text"), event=1)),
        (FOLDING, call("debounce", "on_event", event="text")),
        (TASK, call("task", state=Stored(1, 1))),
        (TASK, call("task", "on_event", event=1)),
    ],
)
def test_S_22_what_is_stored_and_does_not_decode_is_said(definition: Any, asked: HookCall) -> None:
    with pytest.raises(ValidationError, match=r"(state of|event for) \w+:job:a"):
        open_context(definition, asked)


def divide(dollars: Any) -> Any:
    return 100 / dollars


@pytest.mark.parametrize(
    ("upcasters", "why"),
    [
        ({1: divide}, "expected a valid int, got ZeroDivisionError: division by zero"),
        ({1: lambda dollars: {}["dollars"]}, "expected a valid int, got KeyError: 'dollars'"),
        ({1: lambda dollars: object()}, "expected a JSON value, got object"),
        ({1: str}, "expected int, got str '0'"),
    ],
)
def test_S_6_S_22_a_state_whose_upcaster_fails_is_not_shown_though_it_would_fit(
    upcasters: Any, why: str
) -> None:
    definition = continuous(state_version=2, upcasters=upcasters)

    with pytest.raises(ValidationError, match="job:a stored under state_version 1 and upcast: " + why):
        open_context(definition, call("continuous", state=Stored(1, 0)))


def test_S_6_S_22_the_stack_of_a_failing_upcaster_ends_in_it() -> None:
    definition = continuous(state_version=2, upcasters={1: divide})

    with pytest.raises(ValidationError) as caught:
        open_context(definition, call("continuous", state=Stored(1, 0)))

    assert (describe(caught.value).stack or "").endswith(", in divide")


def test_S_6_a_state_of_an_older_version_without_an_upcaster_is_shown_if_it_fits() -> None:
    ctx, _ = open_context(continuous(state_version=2), call("continuous", state=Stored(1, 5)))
    assert isinstance(ctx, ContinuousContext)
    assert ctx.state == 5


@pytest.mark.parametrize("hook", ["on_idle", "on_error"])
def test_S_8_S_22_a_hook_that_a_newer_definition_no_longer_has_is_said(hook: Hook) -> None:
    with pytest.raises(ValidationError, match=f"{hook} of task:job:a"):
        open_context(task(), call("task", hook))


# -- terminate


def test_S_17_terminate_is_not_swallowed_by_except_exception() -> None:
    ctx = tick()

    with pytest.raises(TerminateSignal) as caught:
        ctx.terminate("done")

    assert not isinstance(caught.value, Exception)
    assert is_terminated(ctx)
    assert close_context(CONTINUOUS, ctx, None) == Operations(terminate=Termination("done"))


def test_S_17_terminate_is_honoured_though_user_code_swallows_it() -> None:
    ctx = chore()
    ctx.set_state("lost")
    with suppress(BaseException):
        ctx.terminate()
    ctx.schedule("1 second")

    assert close_context(TASK, ctx, None) == Operations(terminate=Termination(None))


def test_S_17_a_hook_that_has_not_asked_for_it_is_not_terminated() -> None:
    assert not is_terminated(tick())


# -- cancelled


def test_S_15_a_hook_is_told_that_it_can_no_longer_commit() -> None:
    ctx = tick()
    before = ctx.cancelled

    cancel_context(ctx)

    assert (before, ctx.cancelled) == (False, True)


# -- the schedule of a task


def test_S_52_a_duration_is_counted_from_the_beginning_here_and_from_the_end_in_truth() -> None:
    ctx = chore()

    ctx.schedule(timedelta(seconds=10))

    assert ctx.scheduled_time == to_datetime(T + 10_000)
    asked = close_context(TASK, ctx, None).schedule
    assert asked is not None
    assert asked.due(T + 5_000) == T + 15_000


def test_S_53_the_last_call_wins() -> None:
    ctx = chore(scheduled_at=T + MINUTE)

    ctx.schedule("10 seconds")
    ctx.cancel_schedule()
    cancelled = ctx.scheduled_time
    ctx.schedule(TOMORROW)

    assert (cancelled, ctx.scheduled_time) == (None, TOMORROW)


def test_S_53_a_schedule_is_dropped_when_the_hook_returns() -> None:
    ctx = chore(scheduled_at=T + MINUTE)

    ctx.cancel_schedule()

    asked = close_context(TASK, ctx, None).schedule
    assert asked is not None
    assert asked.due(T) is None


def test_S_52_an_instant_of_any_zone_is_the_same_instant() -> None:
    ctx = chore()

    ctx.schedule(datetime.fromisoformat("2026-11-25T09:00+01:00"))

    assert ctx.scheduled_time == TOMORROW


@pytest.mark.parametrize(
    "when",
    [
        10,
        1.5,
        True,
        datetime(2026, 11, 25),  # noqa: DTZ001
        datetime(2026, 11, 25, microsecond=1, tzinfo=UTC),
        datetime(1969, 12, 31, tzinfo=UTC),
        "soon",
    ],
)
def test_S_7_S_52_what_is_no_instant_and_no_duration_is_refused_and_changes_nothing(when: Any) -> None:
    ctx = chore(scheduled_at=T + MINUTE)

    with pytest.raises(ValidationError):
        ctx.schedule(when)

    assert ctx.scheduled_time == to_datetime(T + MINUTE)
    assert close_context(TASK, ctx, None) == Operations()


@pytest.mark.parametrize("when", [10, "2026-11-25T08:00:00Z"])
def test_S_52_what_is_no_schedule_is_told_that_it_may_be_a_datetime_too(when: Any) -> None:
    with pytest.raises(ValidationError, match=r"schedule\(when\): expected an aware datetime, or a duration"):
        chore().schedule(when)


@pytest.mark.parametrize("instant", [0, INSTANT_MAX])
def test_S_7_the_first_and_the_last_instant_of_the_calendar_are_instants(instant: int) -> None:
    ctx = chore()

    ctx.schedule(to_datetime(instant))

    assert close_context(TASK, ctx, None).schedule == ScheduleChange(at=instant)


def test_S_22_what_is_no_time_may_be_a_state_and_is_not_told_of() -> None:
    with pytest.raises(ValidationError, match=r"got list \['secret'\]") as raised:
        chore().schedule(["secret"])  # type: ignore[arg-type]

    assert raised.value.plain.endswith("got list")


def test_S_17_a_reason_is_text_and_another_ends_nothing() -> None:
    ctx = tick()

    with pytest.raises(
        ValidationError, match=r"^terminate\(reason\): expected text or None, got int 5"
    ) as raised:
        ctx.terminate(5)  # type: ignore[arg-type]

    assert raised.value.plain.endswith("got int"), "it may be a state"
    assert close_context(CONTINUOUS, ctx, None) == Operations()


@pytest.mark.parametrize(
    "ask",
    [
        lambda ctx: ctx.set_state("later"),
        lambda ctx: ctx.update_state(lambda state: "later"),
        lambda ctx: ctx.schedule("1 hour"),
        lambda ctx: ctx.cancel_schedule(),
        lambda ctx: ctx.terminate("later"),
    ],
)
def test_S_16_what_a_hook_asks_for_after_its_end_is_refused_and_not_lost_in_silence(ask: Any) -> None:
    ctx = chore("on_event", event="paid")
    end_context(ctx)

    with pytest.raises(
        RuntimeError, match="on_event of task:job:a has ended: its context changes nothing any"
    ):
        ask(ctx)

    assert close_context(TASK, ctx, None) == Operations()
    assert isinstance(ctx.event_count, int)  # it may be looked at
