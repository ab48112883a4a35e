"""The clients: arguments are checked, requests are sent, answers are decoded (S-61, S-63)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from support.callers import Benches, run
from support.steps import asked, nothing

from durable_jobs_core import Continuous, Debounce, Task, create_durable_jobs, events, every
from durable_jobs_core.client import Client, Instance, InstancePage, check_id
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.errors import (
    DuplicateEventError,
    InstanceNotFoundError,
    JobNotFoundError,
    NewerVersionError,
    ValidationError,
)
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Key, to_datetime


@attrs.frozen
class Tokens:
    value: str
    uses: int = 0


def hook(*arguments: Any) -> None:
    """The benches call no hook of a definition."""


TOKENS = Continuous.make(state=Tokens, schedule=every("1 minute"), execute=hook, state_version=1)
HOOKS = Debounce.make(event=int, state=list[int], flush_after="1s", on_event=lambda ctx: [], execute=hook)
ORDERS = Task.make(state=str, event=str, on_event=hook, execute=hook)


@pytest.fixture
def benches() -> Benches:
    definitions: dict[str, AnyDefinition] = {"tokens": TOKENS, "hooks": HOOKS, "orders": ORDERS}
    return Benches(create_durable_jobs(definitions))


def waits(benches: Benches) -> list[int | None]:
    """How long the triggers wait."""
    return [wait for _, request, wait, _ in benches.asked if isinstance(request, events.TriggerRequested)]


def test_S_30_start_and_the_other_requests_to_a_continuous_instance(benches: Benches) -> None:
    client = benches.client.continuous(TOKENS)

    started = run(client.start("u1", Tokens("a")))

    assert (started.created, started.status, started.instance_id) == (True, "running", "continuous:tokens:u1")
    assert run(client.get_state("u1")).state == Tokens("a")
    assert run(client.get_state("u2")).state is None
    assert run(client.trigger("u1", wait="1s")).joined
    assert run(client.pause("u1")).paused
    assert run(client.status("u1")).status == "paused"
    assert run(client.resume("u1")).resumed
    assert run(client.terminate("u1", reason="over")).terminated
    assert not run(client.terminate("u1")).terminated
    key, request, wait_ms, size = benches.asked[0]
    assert (key, request) == (
        Key("continuous", "tokens", "u1"),
        events.StartRequested(Stored(1, {"value": "a", "uses": 0})),
    )
    assert (wait_ms, size) == (None, len('{"uses":0,"value":"a"}'))
    assert waits(benches) == [1_000]


def test_S_40_requests_to_a_debounce(benches: Benches) -> None:
    client = benches.client.debounce(HOOKS)

    added = run(client.add("r1", 5, event_id="e1"))

    assert (added.created, added.event_count) == (True, 1)
    assert benches.asked[0][3] == len("5")
    assert run(client.get_state("r1")).state == [5]
    assert run(client.status("r1")).status == "debouncing"
    with pytest.raises(DuplicateEventError):
        run(client.add("r1", 5, event_id="e1"))
    assert run(client.flush("r1", wait=None)).outcome == "accepted"
    assert run(client.flush("r1")).event_count == 1
    assert benches.asked[-1][2] == 30_000
    assert not run(client.clear("r2")).cleared


def test_S_50_requests_to_a_task(benches: Benches) -> None:
    client = benches.client.task(ORDERS)

    sent = run(client.send("o1", "placed", event_id="e1"))

    assert (sent.created, sent.queued) == (True, False)
    assert benches.asked[0][3] == len('"placed"')
    assert run(client.get_state("o1")).state == "placed"
    assert run(client.status("o1")).event_count == 1
    assert run(client.dead_letters("o1")).dead_letters == ()
    assert run(client.redrive("o1")).redriven == 0
    assert run(client.discard("o1")).discarded == 0
    assert run(client.trigger("o1")).triggered
    assert run(client.trigger("o1", wait="2s")).joined
    assert waits(benches) == [None, 2_000]
    for method in (client.dead_letters, client.redrive, client.discard):
        with pytest.raises(InstanceNotFoundError):
            run(method("o2"))


@pytest.mark.parametrize("id", ["a", ":", "a:b:c", "ä" * 256, "x" * 512, "\x00", " "])
def test_S_63_an_id_is_any_text_up_to_512_bytes(id: str) -> None:
    assert check_id(id, "id") == id


@pytest.mark.parametrize(
    ("id", "text"),
    [
        ("", "id: expected a non-empty str, got str ''"),
        (5, "id: expected a non-empty str, got int 5"),
        (None, "id: expected a non-empty str, got NoneType None"),
        ("x" * 513, "id: expected at most 512 bytes of UTF-8, got 513 bytes"),
        ("ä" * 257, "id: expected at most 512 bytes of UTF-8, got 514 bytes"),
        ("\ud800", "id: expected text without lone surrogates, got '\\ud800'"),
    ],
)
def test_S_62_S_63_another_id_is_refused_and_nothing_is_asked(benches: Benches, id: Any, text: str) -> None:
    with pytest.raises(ValidationError) as info:
        run(benches.client.continuous("tokens").status(id))

    assert str(info.value) == f"{text} (nothing was changed)"
    assert benches.asked == []


def test_S_62_every_argument_is_checked_before_anything_is_asked(benches: Benches) -> None:
    tokens, hooks, orders = (
        benches.client.continuous("tokens"),
        benches.client.debounce("hooks"),
        benches.client.task("orders"),
    )
    refused: list[tuple[Any, str]] = [
        (tokens.start("a", {"value": "a"}), "input of continuous:tokens: expected an object (Tokens)"),
        (tokens.start("a", Tokens(5)), "input of continuous:tokens: $.value: expected str, got int 5"),  # type: ignore[arg-type]
        (tokens.trigger("a", wait=5), "wait: expected a duration"),  # type: ignore[arg-type]
        (tokens.terminate("a", reason=5), "reason: expected a non-empty str, got int 5"),  # type: ignore[arg-type]
        (tokens.terminate("a", reason=""), "reason: expected a non-empty str"),
        (hooks.add("a", "5"), "event for debounce:hooks: expected int, got str '5'"),
        (hooks.add("a", 5, event_id=""), "event_id: expected a non-empty str"),
        (orders.send("a", 5), "event for task:orders: expected str, got int 5"),
        (orders.send("a", "x", event_id="x" * 513), "event_id: expected at most 512 bytes"),
    ]

    for request, text in refused:
        with pytest.raises(ValidationError) as info:
            run(request)
        assert str(info.value).startswith(text)
    assert benches.asked == []


def test_S_6_stored_state_that_does_not_fit_is_a_validation_error_that_says_what_a_changed_class_wants(
    benches: Benches,
) -> None:
    key = Key("task", "orders", "o1")
    benches.bench(key).inline["on_event"] = lambda call: asked(5)
    run(benches.client.task("orders").send("o1", "x"))

    with pytest.raises(ValidationError) as raised:
        run(benches.client.task("orders").get_state("o1"))
    assert str(raised.value) == (
        "state of task:orders:o1 stored under state_version 1 (if its class has changed since: raise"
        " state_version, and give an upcaster): expected str, got int 5 (nothing was changed)"
    )


def test_S_6_stored_state_whose_upcaster_fails_is_a_validation_error_though_it_would_fit() -> None:
    def boom(data: Any) -> Any:
        raise RuntimeError("boom")

    old = Task.make(state=str, event=str, on_event=hook, execute=hook)
    benches = Benches(create_durable_jobs({"orders": old}))
    benches.bench(Key("task", "orders", "o1")).inline["on_event"] = lambda call: asked("x")
    run(benches.client.task("orders").send("o1", "x"))
    new = Task.make(state=str, event=str, on_event=hook, execute=hook, state_version=2, upcasters={1: boom})

    with pytest.raises(
        ValidationError,
        match=r"state of task:orders:o1 stored under state_version 1 and upcast: .* RuntimeError: boom",
    ):
        run(Client(create_durable_jobs({"orders": new}), benches).task(new).get_state("o1"))


def test_S_61_an_unknown_name_is_a_job_not_found_error(benches: Benches) -> None:
    client = benches.client
    for make in (client.continuous, client.debounce, client.task):
        with pytest.raises(JobNotFoundError):
            make("nope")
    with pytest.raises(JobNotFoundError, match="no task job is registered as 'hooks'; registered: orders"):
        client.task("hooks")


def test_S_8_reschedule_of_one_and_of_all_page_by_page(benches: Benches) -> None:
    client = benches.client.continuous(TOKENS)
    for id in "abcde":
        run(client.start(id, Tokens(id)))
        benches.bench(Key("continuous", "tokens", id)).succeed()
    run(client.trigger("e"))

    assert run(client.reschedule("a")).rescheduled
    assert run(client.reschedule()) == 4  # all but the one that runs
    with pytest.raises(InstanceNotFoundError):
        run(client.reschedule("z"))


def test_S_8_reschedule_of_all_passes_over_what_it_cannot_have(benches: Benches) -> None:
    client = benches.client.continuous(TOKENS)
    for id in ("a", "b"):
        run(client.start(id, Tokens(id)))
        benches.bench(Key("continuous", "tokens", id)).succeed()
    key = Key("continuous", "tokens", "z")

    class Listed(Benches):
        """What a listing shows may have ended since, may be damaged, or of a newer release."""

        async def page(self, *query: Any) -> InstancePage:
            page = await super().page(*query)
            gone, broken, newer = (key._replace(id=id) for id in ("gone", "broken", "newer"))
            further = [
                Instance(key=gone, status="running", alarm=None),
                Instance(key=broken, status="quarantined", alarm=None),
                Instance(key=newer, status="running", alarm=None),
            ]
            return attrs.evolve(page, instances=(*further, *page.instances))

        async def call(self, key: Key, request: events.Request, **how: Any) -> Any:
            assert key.id != "broken"
            if key.id == "newer":
                raise NewerVersionError(key, "schema", 2, 1)
            return await super().call(key, request, **how)

    listed = Listed(benches.jobs, benches=benches.benches)
    assert run(listed.client.continuous(TOKENS).reschedule()) == 2


def test_S_66_listing_by_job_kind_and_status_page_by_page(benches: Benches) -> None:
    for id in ("a", "b", "c"):
        run(benches.client.continuous("tokens").start(id, Tokens(id)))
    run(benches.client.debounce("hooks").add("a", 1))
    run(benches.client.continuous("tokens").pause("b"))
    client = benches.client

    async def listed(**query: Any) -> list[str]:
        return [instance.instance_id async for instance in client.instances(**query)]

    everything = ["continuous:tokens:a", "continuous:tokens:b", "continuous:tokens:c", "debounce:hooks:a"]
    assert run(listed()) == everything
    assert run(listed(kind="debounce")) == run(listed(job="hooks")) == ["debounce:hooks:a"]
    assert run(listed(job="tokens", status="paused")) == ["continuous:tokens:b"]
    first = run(client.list(limit=1))
    assert [instance.instance_id for instance in first.instances] == everything[:1]
    assert [i.instance_id for i in run(client.list(after=first.after)).instances] == everything[1:3]
    page = run(client.continuous("tokens").list(status="running", limit=1))
    assert page.instances[0] == Instance(
        key=Key("continuous", "tokens", "a"),
        status="running",
        alarm=to_datetime(benches.bench(Key("continuous", "tokens", "a")).alarm or 0),
    )


def test_S_55_terminate_and_get_state_of_a_task_that_never_was(benches: Benches) -> None:
    client = benches.client.task("orders")
    benches.bench(Key("task", "orders", "o")).inline["on_idle"] = nothing

    assert not run(client.terminate("o")).terminated
    assert run(client.get_state("o")).state is None
    assert run(client.status("o")).status == "not_found"
