"""A trace names the cause: why a hook was called again, what of it was done, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_simulation import Event, Faults, Simulation, Trace, Violation, simulate
from durable_jobs_simulation.cli import main

from durable_jobs_core import Task, TaskContext, create_durable_jobs
from durable_jobs_core.engine import Limits

Hook = Callable[..., Coroutine[Any, Any, None]]
NONE = Faults()


async def nothing(ctx: TaskContext[str]) -> None: ...


async def now(event: str, ctx: TaskContext[str]) -> None:
    ctx.schedule("0 seconds")


async def from_all(sim: Simulation) -> None:
    """Of two processes each has the instance in its cache, and one of them an old one."""
    for number, node in enumerate(("c1", "w1", "c1")):
        await sim.client_of(node).task("orders").send("a", f"event {number}")
        await sim.sleep("1 second")


def run(
    scenario: Hook = from_all, *, faults: Faults = NONE, seed: int = 1, execute: Hook = nothing, **hooks: Any
) -> Trace:
    job = Task.make(state=str, event=str, execute=execute, **{"on_event": now, **hooks})
    jobs = create_durable_jobs({"orders": job})
    return simulate(jobs, scenario, seed=seed, faults=faults, nodes=1, limits=Limits())


def of(trace: Trace, *names: str, lane: str | None = None) -> list[Event]:
    return [event for event in trace.events if event.what in names and lane in (None, event.lane)]


def test_a_hook_that_is_called_again_follows_the_conflict_that_is_why() -> None:
    async def idle(event: str, ctx: TaskContext[str]) -> None:
        ctx.set_state(event)

    trace = run(on_event=idle)

    (conflict,) = of(trace, "conflict")
    assert (conflict.lane, str(conflict.key), conflict.text) == ("store", "task:orders:a", "c1")
    assert not conflict.fault, "two requests met: nothing went wrong"
    before, after = (
        event for event in of(trace, "invoke", lane="c1") if event.at > 1_000
    )  # both of the last request
    assert before.step < conflict.step < after.step


def test_an_instance_that_ends_itself_is_no_fault() -> None:
    async def end(ctx: TaskContext[str]) -> None:
        ctx.terminate("done")

    trace = run(execute=end)

    told = [event for event in of(trace, "returned", "raised") if "execute" in event.text]
    assert {(event.what, event.text, event.fault) for event in told} == {
        ("returned", "execute terminates", False)
    }


@pytest.mark.parametrize(
    ("fault", "name"),
    [("hook_failure", "InjectedFailure"), ("hook_exit", "SystemExit"), ("hook_unspeakable", "Unspeakable")],
)
def test_an_injected_failure_tells_what_of_the_hook_was_done(fault: str, name: str) -> None:
    done: list[str] = []

    async def note(event: str, ctx: TaskContext[str]) -> None:
        done.append(event)

    told: list[str] = []
    for seed in range(12):
        told += [
            event.text for event in of(run(faults=Faults(**{fault: 1.0}), seed=seed, on_event=note), "raised")
        ]

    before, after = (f"on_event {name}, injected {when} its work" for when in ("before", "after"))
    assert set(told) == {before, after}
    assert told.count(after) == len(done)


def test_why_an_attempt_failed_is_told_also_if_its_hook_returned() -> None:
    async def set_state(ctx: TaskContext[str]) -> None:
        ctx.set_state(7)  # type: ignore[arg-type]

    async def fail(ctx: TaskContext[str]) -> None:
        raise KeyError("of the user, in words of the interpreter")

    for hook, why in (
        (fail, "execute KeyError"),
        (set_state, "execute ValidationError: new state of task:orders:a"),
    ):
        failed = [event for event in of(run(execute=hook), "emit") if event.details[0] == "job.failed"]
        assert f"job.failed 3 {why}" in failed[0].text


async def two_orders(sim: Simulation) -> None:
    for order in ("a", "b", "a"):
        await sim.client.task("orders").send(order, "an event")
        await sim.sleep("1 second")


def test_the_story_of_a_violation_is_that_of_the_instances_it_names_and_of_the_nodes() -> None:
    trace = run(two_orders)
    others = len([event for event in trace.events if str(event.key) == "task:orders:b"])

    trace.violation = "nobody_pays_twice: task:orders:a paid twice"
    *_, left_out = trace.story().splitlines()[:4]
    told = trace.story().splitlines()[4:-1]
    assert left_out == f"... {others} events of other instances"
    assert told == [str(event) for event in trace.events if str(event.key) in ("None", "task:orders:a")]

    assert trace.story(last=5).splitlines()[3:-1] == [
        f"... {len(told) - 5} events before, {others} events of other instances",
        *told[-5:],
    ]


@pytest.mark.parametrize("violation", [None, "it_balances: 3 and 4"])
def test_the_story_is_of_all_if_nothing_is_named(violation: str | None) -> None:
    trace = run(two_orders)
    trace.violation = violation

    assert trace.story() == trace.text()
    assert trace.story(last=2).splitlines()[3:6] == [
        f"... {len(trace.events) - 2} events before",
        *map(str, trace.events[-2:]),
    ]


def test_of_instances_whose_ids_begin_alike_those_are_named_that_are() -> None:
    async def scenario(sim: Simulation) -> None:
        for order in ("1", "12", "123"):
            await sim.client.task("orders").send(order, "an event")

    trace = run(scenario)

    def named(violation: str) -> set[str]:
        trace.violation = f"nobody_pays_twice: {violation}"
        return {key.id for key in trace.named()}

    assert named("task:orders:12 paid twice") == {"12"}
    assert named("task:orders:123 paid for task:orders:1") == {"123", "1"}
    assert named("somebody paid twice") == set()


def test_a_violation_tells_the_end_of_its_story() -> None:
    trace = run(two_orders)
    trace.violation = "nobody_pays_twice: task:orders:a paid twice"

    assert str(Violation("nobody_pays_twice", "twice", trace)) == (
        f"nobody_pays_twice: twice\n{trace.story(last=40)}"
    )


def test_a_terminal_is_told_the_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "trace.jsonl")
    for arguments in (["run", "charging:wrong", "--seed", "2", "--trace", path], ["replay", path]):
        main(arguments)
        told = capsys.readouterr().out
        assert "events of other instances\n" in told
        assert "task:orders:b" in told
        assert "task:orders:a" not in told
