"""What the type checkers are shown. Never run: a line marked `expect-error` is one, and no other line is."""

# pyright: strict

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NewType, assert_type

from attrs import frozen
from durable_jobs_simulation import Simulation
from typing_extensions import TypeAliasType

from durable_jobs_core import (
    Backoff,
    Client,
    Continuous,
    ContinuousClient,
    ContinuousContext,
    Debounce,
    DebounceClient,
    DebounceContext,
    DebounceEventContext,
    Failure,
    InstanceStatus,
    Key,
    Retry,
    Task,
    TaskClient,
    TaskContext,
    create_durable_jobs,
    cron,
    every,
    skip,
)
from durable_jobs_core.backend import Answer, Backend, Batch, Health, Page, Query


@frozen
class Tokens:
    value: str


@frozen
class Push:
    repository: str


@frozen
class Pull:
    number: int


Change = Push | Pull
Pushes = list[Push]
NamedChange = TypeAliasType("NamedChange", Push | Pull)  # as `type NamedChange = ...` does
UserId = NewType("UserId", str)
Percent = Annotated[int, "0 to 100"]
Mode = Literal["fast", "slow"]


# -- continuous


@Continuous.job(state=Tokens, schedule=every("30 minutes"), retry=Retry(delay=Backoff.exponential("1s")))
async def refresher(ctx: ContinuousContext[Tokens]) -> None:
    assert_type(ctx.state, Tokens)
    assert_type(ctx.scheduled_for, datetime | None)
    assert_type(ctx.idempotency_key, str)
    ctx.set_state(Tokens("new"))
    ctx.set_state("new")  # expect-error
    ctx.update_state(lambda tokens: Tokens(tokens.value + "!"))
    ctx.update_state(lambda tokens: tokens.value)  # expect-error
    ctx.schedule("1 hour")  # expect-error


def plain(ctx: ContinuousContext[int]) -> None:
    ctx.terminate("over")


async def counting(ctx: ContinuousContext[int]) -> int:
    return ctx.state


def either(ctx: ContinuousContext[Change]) -> None:
    assert_type(ctx.state, Push | Pull)


counter = Continuous.make(state=int, schedule=cron("0 0 * * *"), execute=plain, misfire=skip("1 hour"))


@Continuous.job(state=Change, schedule=every("1s"))
def one_of_both(ctx: ContinuousContext[Change]) -> None:
    assert_type(ctx.state, Push | Pull)


@Continuous.job(state=NamedChange, schedule=every("1s"))
def one_of_the_named(ctx: ContinuousContext[NamedChange]) -> None: ...


assert_type(one_of_the_named, Continuous[Change])


one_of = Continuous.make(state=Change, schedule=every("1s"), execute=either)
assert_type(refresher, Continuous[Tokens])
assert_type(counter, Continuous[int])
assert_type(one_of, Continuous[Push | Pull])
assert_type(one_of_both, Continuous[Push | Pull])


# What is no class is a state as well, with a name or without.
def user(ctx: ContinuousContext[UserId]) -> None: ...
def percent(ctx: ContinuousContext[Percent]) -> None: ...
def mode(ctx: ContinuousContext[Mode]) -> None: ...
def maybe(ctx: ContinuousContext[str | None]) -> None: ...
def one_of_two(ctx: ContinuousContext[Push]) -> None: ...


assert_type(Continuous.make(state=UserId, schedule=every("1s"), execute=user), Continuous[UserId])
assert_type(Continuous.make(state=Percent, schedule=every("1s"), execute=percent), Continuous[int])
assert_type(Continuous.make(state=Mode, schedule=every("1s"), execute=mode), Continuous[Mode])
assert_type(Continuous.make(state=str | None, schedule=every("1s"), execute=maybe), Continuous[str | None])
assert_type(Continuous.job(state=UserId, schedule=every("1s"))(user), Continuous[UserId])
assert_type(Continuous.job(state=Percent, schedule=every("1s"))(percent), Continuous[int])
assert_type(Continuous.job(state=Mode, schedule=every("1s"))(mode), Continuous[Mode])
assert_type(Continuous.job(state=str | None, schedule=every("1s"))(maybe), Continuous[str | None])
Continuous.make(state=Push | Pull, schedule=every("1s"), execute=one_of_two)  # expect-error
Continuous.job(state=Push | Pull, schedule=every("1s"))(one_of_two)  # expect-error
Continuous.make(state=Push("a"), schedule=every("1s"), execute=one_of_two)  # expect-error
Continuous.make(state=str, schedule=every("1s"), execute=plain)  # expect-error
Continuous.make(state=int, schedule="1s", execute=plain)  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=counting)  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=plain, misfire="skip")  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=plain, max_events=1)  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=plain, on_exhausted="explode")  # expect-error
every(60_000)  # expect-error
Retry(delay=5)  # expect-error
Retry(retry_on="ValueError")  # expect-error


# -- what a user may write for a protocol, in other words and narrower types


def add_scope(state: dict[str, str]) -> dict[str, str]:
    return {**state, "scope": "repo"}


async def add_later(state: dict[str, str]) -> dict[str, str]:
    return state


def add_nothing(state: dict[str, str]) -> object:
    return state


class Texts:
    def encode(self, text: object, declared: Any) -> dict[str, str]:
        return {"text": str(text)}

    def decode(self, data: dict[str, str], declared: Any) -> str:
        return data["text"]

    def schema(self, declared: Any) -> None: ...


@frozen
class Store:
    lanes: int = 1

    def lane(self, of: Key) -> int:
        return 0

    def exchange(self, lane: int, asked: Batch) -> Answer:
        return Answer(clock=0)

    def scan(self, query: Query, cursor: str | None, most: int) -> Page:
        return Page((), None)

    def wait(self, seconds: float) -> None: ...

    def health(self) -> Health:
        return Health(durability="none", clock=0)

    def close(self) -> None: ...


store: Backend = Store()
Continuous.make(state=int, schedule=every("1s"), execute=plain, state_version=2, upcasters={1: add_scope})
Continuous.make(state=int, schedule=every("1s"), execute=plain, upcasters={1: add_later})  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=plain, upcasters={1: add_nothing})  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=plain, codec=Texts())
Continuous.make(state=int, schedule=every("1s"), execute=plain, codec=Texts)  # expect-error
Continuous.make(state=int, schedule=every("1s"), execute=plain, codec=Store())  # expect-error


# -- debounce


def collect(ctx: DebounceEventContext[Push, list[Push]]) -> list[Push]:
    assert_type(ctx.event, Push)
    assert_type(ctx.state, list[Push] | None)
    return [*(ctx.state or ()), ctx.event]


async def collect_later(ctx: DebounceEventContext[Push, list[Push]]) -> list[Push]:
    return [ctx.event]


def wrong(ctx: DebounceEventContext[Push, list[Push]]) -> list[str]:
    return [ctx.event.repository]


async def deliver(ctx: DebounceContext[list[Push]]) -> None:
    assert_type(ctx.idempotency_key, str)
    assert_type(ctx.state, list[Push])
    assert_type(ctx.flush_reason, Literal["flushAfter", "maxEvents", "manual"])
    ctx.set_state([])  # expect-error


@Debounce.job(event=Push, flush_after="5 seconds")
def latest(ctx: DebounceContext[Push]) -> None:
    assert_type(ctx.state, Push)


@Debounce.job(event=NamedChange, flush_after="5 seconds")
def latest_by_name(ctx: DebounceContext[NamedChange]) -> None: ...


assert_type(latest_by_name, Debounce[Change, Change])


@Debounce.job(event=Change, flush_after="5 seconds")
async def latest_change(ctx: DebounceContext[Change]) -> None:
    assert_type(ctx.state, Push | Pull)


@Debounce.job(event=Push, flush_after="5 seconds", state=list[Push], on_event=collect)
async def decorated(ctx: DebounceContext[list[Push]]) -> None:
    assert_type(ctx.state, list[Push])


by_lambdas = Debounce.make(
    event=Push,
    state=int,
    flush_after="5s",
    on_event=lambda ctx: (ctx.state or 0) + len(ctx.event.repository),
    execute=lambda ctx: print(ctx.state.bit_length()),
)
batcher = Debounce.make(
    event=Push, state=list[Push], flush_after="5s", on_event=collect_later, execute=deliver, max_events=10
)
assert_type(latest, Debounce[Push, Push])
assert_type(latest_change, Debounce[Push | Pull, Push | Pull])
assert_type(decorated, Debounce[Push, list[Push]])
assert_type(batcher, Debounce[Push, list[Push]])
assert_type(by_lambdas, Debounce[Push, int])
Debounce.make(event=Push, flush_after=5, execute=deliver)  # expect-error
Debounce.make(event=Push, flush_after="5s", execute=deliver)  # expect-error
Debounce.make(event=Pull, state=Pushes, flush_after="5s", on_event=collect, execute=deliver)  # expect-error
Debounce.make(event=Push, state=Pushes, flush_after="5s", on_event=wrong, execute=deliver)  # expect-error
Debounce.make(event=Push, state=Pushes, flush_after="5s", execute=deliver)  # expect-error
Debounce.make(event=Push, flush_after="5s", execute=plain)  # expect-error
Debounce.make(event=str, flush_after="5s", execute=print, on_exhausted="terminate")
Debounce.make(event=str, flush_after="5s", execute=print, on_exhausted="continue")  # expect-error


# -- task


def on_event(event: Push | Pull, ctx: TaskContext[list[str]]) -> None:
    assert_type(ctx.state, list[str] | None)
    ctx.schedule("1 hour")
    ctx.schedule(datetime.now().astimezone())
    ctx.schedule(5)  # expect-error
    ctx.set_state([str(event)])
    ctx.set_state(str(event))  # expect-error


async def execute(ctx: TaskContext[list[str]]) -> None:
    assert_type(ctx.idempotency_key, str | None)  # `None` in an inline hook
    assert_type(ctx.is_retry, bool)


def on_error(error: Failure, ctx: TaskContext[list[str]]) -> None:
    ctx.set_state([error.message])


def on_change(event: Change, ctx: TaskContext[Pushes]) -> None: ...


async def keep(ctx: TaskContext[Pushes]) -> None: ...


def on_push(event: Push, ctx: TaskContext[list[str]]) -> None: ...


work = Task.make(
    state=list[str], event=Change, on_event=on_event, execute=execute, on_idle=execute, on_error=on_error
)
by_name = Task.make(state=Pushes, event=NamedChange, on_event=on_change, execute=keep)
assert_type(by_name, Task[Change, Pushes])
in_place = Task.make(state=list[str], event=Push | Pull, on_event=on_event, execute=execute)
assert_type(in_place, Task[Push | Pull, list[str]])
by_lambda = Task.make(
    state=list[str], event=Push | Pull, on_event=lambda event, ctx: ctx.schedule("1 hour"), execute=execute
)
assert_type(by_lambda, Task[Push | Pull, list[str]])
either_way = Task.job(state=Pushes, event=Change, on_event=on_change)(keep)
pushes = Task.job(state=list[str], event=Push, on_event=on_push)(execute)
assert_type(work, Task[Push | Pull, list[str]])
assert_type(either_way, Task[Push | Pull, list[Push]])
assert_type(pushes, Task[Push, list[str]])
Task.make(state=list[str], event=Pull, on_event=on_push, execute=execute)  # expect-error
Task.make(state=list[str], event=Push | Pull, on_event=on_push, execute=execute)  # expect-error
Task.make(state=list[int], event=Push, on_event=on_push, execute=execute)  # expect-error
Task.make(state=list[str], event=Push, on_event=on_push, execute=execute, on_error=execute)  # expect-error
Task.make(state=list[str], event=Push, on_event=on_push, execute=plain)  # expect-error


# -- the clients

create_durable_jobs({"refresher": refresher, "batcher": batcher, "work": work})
create_durable_jobs({"refresher": plain})  # expect-error


async def use_continuous(client: Client) -> None:
    tokens = client.continuous(refresher)
    assert_type(tokens, ContinuousClient[Tokens])
    await tokens.start("user", Tokens("a"))
    await tokens.start(id="user", input=Tokens("a"))
    await tokens.start("user", "a")  # expect-error
    await tokens.start(5, Tokens("a"))  # expect-error
    await tokens.trigger("user", wait="1 second")
    await tokens.trigger("user", wait=1)  # expect-error
    await tokens.add("user", Tokens("a"))  # expect-error
    assert_type((await tokens.get_state("user")).state, Tokens | None)
    assert_type((await tokens.status("user")).next_run_at, datetime | None)
    assert_type(await tokens.reschedule(), int)
    assert_type((await tokens.reschedule("user")).rescheduled, bool)
    await client.continuous(one_of).start("a", Pull(1))
    await client.continuous(one_of).start("a", Tokens("a"))  # expect-error


async def use_debounce(client: Client) -> None:
    hooks = client.debounce(batcher)
    assert_type(hooks, DebounceClient[Push, list[Push]])
    await hooks.add("repository", Push("a"), event_id="e")
    await hooks.add("repository", Pull(1))  # expect-error
    await hooks.add("repository", [Push("a")])  # expect-error
    assert_type((await hooks.get_state("repository")).state, list[Push] | None)
    assert_type((await client.debounce(latest).get_state("repository")).state, Push | None)


async def use_task(client: Client) -> None:
    orders = client.task(work)
    assert_type(orders, TaskClient[Push | Pull, list[str]])
    await orders.send("order", Pull(1))
    await orders.send("order", "pull")  # expect-error
    assert_type((await orders.get_state("order")).state, list[str] | None)
    await client.task(pushes).send("order", Pull(1))  # expect-error
    await orders.start("order", Pull(1))  # expect-error


async def use_names(client: Client) -> None:
    assert_type(client.continuous("refresher"), ContinuousClient[Any])
    assert_type(client.debounce("batcher"), DebounceClient[Any, Any])
    assert_type(client.task("work"), TaskClient[Any, Any])
    client.continuous(batcher)  # expect-error
    client.debounce(work)  # expect-error
    client.task(refresher)  # expect-error
    client.task(unknown)  # expect-error  # noqa: F821
    client.task(5)  # expect-error


async def page(client: Client, status: InstanceStatus | None, anything: str) -> None:
    assert_type((await client.list(status=status)).after, str | None)
    await client.list(status=anything)  # expect-error


def all_is_done(sim: Simulation, key: Key) -> None:
    if sim.status(key) in ("idle", "not_found"):
        assert sim.records()
    if sim.status(key) == "scheduled":  # expect-error
        assert sim.records()
