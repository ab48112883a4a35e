"""The observer: what it must not take for a violation, and what it must."""

from __future__ import annotations

from typing import Any

import pytest
from durable_jobs_simulation import Faults, Simulation, Trace, Violation, simulate

from durable_jobs_core import Debounce, DebounceContext, Task, TaskContext, create_durable_jobs
from durable_jobs_core.kinds import _shared


async def keep(event: int, ctx: TaskContext[int]) -> None:
    ctx.set_state(event)


async def nothing(ctx: TaskContext[int]) -> None: ...


async def deliver(ctx: DebounceContext[int]) -> None: ...


KEEPER = Task.make(state=int, event=int, on_event=keep, execute=nothing, remember_ids_for="10 seconds")


def sent_twice(pause: str) -> Trace:
    async def scenario(sim: Simulation) -> None:
        client = sim.client.task(KEEPER)
        await client.send("a", 1, event_id="once")
        await sim.sleep(pause)
        await client.send("a", 2, event_id="once")

    return simulate(create_durable_jobs({"keeper": KEEPER}), scenario, seed=1, faults=Faults())


async def refuse(event: int, ctx: TaskContext[int]) -> None:
    ctx.terminate("there is no such order")


async def fail(event: int, ctx: TaskContext[int]) -> None:
    raise ValueError("there is no such order")


async def end(trouble: object, ctx: TaskContext[int]) -> None:
    ctx.terminate("it failed")


@pytest.mark.parametrize("on_event", [refuse, fail])
def test_I_7_an_instance_that_its_first_event_ends_was_never_stored(on_event: Any) -> None:
    job = Task.make(state=int, event=int, on_event=on_event, execute=nothing, on_error=end)

    async def scenario(sim: Simulation) -> None:
        sent = await sim.client.task(job).send("a", 1, event_id="once")
        assert (sent.created, sent.terminated) == (True, True)

    trace = simulate(create_durable_jobs({"job": job}), scenario, seed=1, faults=Faults())
    assert [event.what for event in trace.events if event.what == "commit"] == []


def test_S_60_an_id_that_was_forgotten_is_taken_again() -> None:
    sent_twice("11 seconds")


def test_S_60_an_id_that_is_taken_while_it_is_remembered_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _shared.register

    def wrong(key: Any, ids: Any, event_id: Any, **rest: Any) -> Any:
        return right(key, (), event_id, **rest)

    monkeypatch.setattr(_shared, "register", wrong)
    with pytest.raises(
        Violation, match=r"S-60: task:keeper:a, committed by .*: the remembered 'once' was taken again"
    ):
        sent_twice("9 seconds")


def test_S_60_more_ids_come_in_one_write_than_are_remembered() -> None:
    job = Debounce.make(event=int, flush_after="1 hour", execute=deliver, remember_ids=2)

    async def scenario(sim: Simulation) -> None:
        for number in range(3):
            sim.spawn(sim.client.debounce(job).add("a", number, event_id=f"{number}"))

    trace = simulate(create_durable_jobs({"job": job}), scenario, seed=1, faults=Faults(), nodes=1, clients=0)
    commits = [event for event in trace.events if event.what == "commit"]
    assert "window of 3" in str(commits[0].details[1])
