"""What a simulation is asked, and the world that it is of."""

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import fields_dict
from durable_jobs_simulation import Faults, Simulation, Trace, Violation, current, simulate, sleep
from durable_jobs_simulation import case as cases
from durable_jobs_simulation import world as worlds
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.tasks import Ask, Task
from durable_jobs_simulation.trace import EPOCH

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Debounce,
    DurableJobsError,
    Jobs,
    Key,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Limits
from durable_jobs_core.events import TriggerRequested

NONE = Faults()


async def tick(ctx: ContinuousContext[int]) -> None:
    ctx.set_state(ctx.state + 1)


async def deliver(ctx: object) -> None: ...


def make_jobs(execute: Any = tick) -> Jobs:
    often = Continuous.make(state=int, schedule=every("10 seconds"), execute=execute)
    other = Continuous.make(state=int, schedule=every("1 hour"), execute=tick)
    box = Debounce.make(event=int, flush_after="1 hour", execute=deliver)
    return create_durable_jobs({"often": often, "other": other, "box": box})


def run(scenario: Any, jobs: Jobs | None = None, faults: Faults = NONE, **options: Any) -> Trace:
    return simulate(jobs or make_jobs(), scenario, seed=1, faults=faults, limits=Limits(), **options)


# -- time and steps


def test_it_tells_the_virtual_instant() -> None:
    seen = list[tuple[datetime, int]]()

    async def looks(sim: Simulation) -> None:
        for _ in range(2):
            seen.append((sim.now, sim.elapsed_ms))
            await sim.sleep("1 minute")

    run(looks)

    (first, began), (second, went) = seen
    assert first.timestamp() * 1_000 == EPOCH + began
    assert (second - first).total_seconds() * 1_000 == went - began == 60_000
    assert first.tzinfo == UTC


def test_steps_are_counted() -> None:
    seen = list[int]()

    async def nothing(sim: Simulation) -> None:
        await sim.client.continuous("often").start("a", 0)

    trace = run(nothing, invariants=[lambda sim: seen.append(sim._world.trace.steps)])

    assert seen[: trace.steps] == list(range(1, trace.steps + 1)), "each is looked at"
    assert [event.step for event in trace.events] == sorted(event.step for event in trace.events)
    assert trace.events[-1].step == trace.steps


def test_commits_attempts_and_replies_are_counted() -> None:
    async def three(sim: Simulation) -> None:
        for id in "abc":
            await sim.client.continuous("other").start(id, 0)

    trace = run(three)

    written = [event for event in trace.events if event.what == "commit"]
    assert trace.counts == {"attempts": 3, "commits": len(written), "replies": 3}
    assert len(written) >= 6


def test_I_8_steps_that_take_no_time_are_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "STEPS_AT_ONCE", 50)

    async def loops(sim: Simulation) -> None:
        while True:
            await sim.sleep("0 seconds")

    async def goes_on(sim: Simulation) -> None:
        for _ in range(200):
            await sim.sleep("1 ms")

    assert run(goes_on).steps > 200
    with pytest.raises(Violation, match="I-8: 50 steps were made and no time has passed"):
        run(loops)


def test_what_is_down_comes_back_at_once_when_it_is_calm() -> None:
    async def busy(sim: Simulation) -> None:
        for number in range(20):
            with suppress(DurableJobsError):
                await sim.client.continuous("often").start(f"{number}", 0)

    trace = run(busy, faults=Faults(crash=0.2))

    (calm,) = (event for event in trace.events if event.what == "calm")
    late = [event for event in trace.events if event.what == "start" and event.step > calm.step]
    assert late
    assert {event.at for event in late} == {calm.at + 100}


def test_a_task_is_not_resumed_by_what_it_waited_for_before() -> None:
    wanted, got, ended = list[Any](), list[Any](), list[Any]()
    ask = Ask(None, Key("task", "orders", "a"), TriggerRequested(), None, 0)

    async def asks() -> str:
        got.append(await ask)
        got.append(await ask)
        return "done"

    task = Task("it", asks(), lambda task, what: wanted.append(what), lambda *how: ended.append(how))
    for turn, value in ((0, None), (0, "late"), (1, "first"), (1, "late"), (2, "second"), (2, "late")):
        task.resume(turn, value)

    assert (wanted, got, ended) == ([ask, ask], ["first", "second"], [("done", None)])


# -- what it is told


def test_the_first_failure_is_the_one_that_is_told() -> None:
    async def fails_twice(ctx: ContinuousContext[int]) -> None:
        current().fail("it is lost")
        current().fail("it is lost again")

    async def start(sim: Simulation) -> None:
        await sim.client.continuous("often").start("a", 0)
        await sim.sleep("1 minute")

    with pytest.raises(Violation) as raised:
        run(start, make_jobs(fails_twice))

    assert (raised.value.invariant, raised.value.why) == ("scenario", "it is lost")


def test_a_failure_may_name_what_it_is_of() -> None:
    async def fails(sim: Simulation) -> None:
        sim.fail("I-1: it is lost")
        await sim.sleep("1 second")

    with pytest.raises(Violation) as raised:
        run(fails)

    again = pickle.loads(pickle.dumps(raised.value))
    for violation in (raised.value, again):
        assert (violation.invariant, violation.why) == ("I-1", "it is lost")
        assert violation.trace.violation == "I-1: it is lost"
        assert str(violation) == str(raised.value)


def test_what_the_scenario_says_is_in_its_lane() -> None:
    async def says(sim: Simulation) -> None:
        sim.say("now")

    (note,) = (event for event in run(says).events if event.what == "note")
    assert (note.lane, note.text) == ("client", "now")


# -- lists


def test_instances_are_listed_by_kind_job_and_status_in_pages() -> None:
    found = dict[str, Any]()

    async def lists(sim: Simulation) -> None:
        for job, id in (("often", "a"), ("often", "b"), ("other", "c")):
            await sim.client.continuous(job).start(id, 0)
        await sim.client.continuous("often").pause("b")
        await sim.client.debounce("box").add("d", 1)
        client = sim.client
        found["all"] = await client.list()
        found["kind"] = await client.list(kind="debounce")
        found["job"] = await client.continuous("often").list()
        found["status"] = await client.list(status="paused")
        found["first"] = await client.list(limit=2)
        found["next"] = await client.list(limit=2, after=found["first"].after)
        found["last"] = await client.list(limit=4)

    run(lists)

    ids = {name: "".join(one.key.id for one in page.instances) for name, page in found.items()}
    assert ids == {
        "all": "abcd", "kind": "d", "job": "ab", "status": "b", "first": "ab", "next": "cd", "last": "abcd"
    }  # fmt: skip
    assert [found[name].after is None for name in ("first", "next", "last")] == [False, True, True]
    (paused,) = found["status"].instances
    assert (paused.status, paused.alarm) == ("paused", None)
    assert found["job"].instances[0].alarm > datetime.fromtimestamp(EPOCH / 1_000, UTC)


def test_a_damaged_instance_is_listed_as_quarantined() -> None:
    found = list[Any]()

    async def lists(sim: Simulation) -> None:
        with suppress(DurableJobsError):
            await sim.client.continuous("often").start("a", 0)
        for _ in range(20):
            await sim.sleep("1 second")
            found.extend((await sim.client.list(status="quarantined")).instances)

    run(lists, faults=Faults(damage=1.0))

    assert {one.key.id for one in found} == {"a"}


# -- a node that shuts down


def test_a_node_that_shuts_down_takes_no_requests() -> None:
    told = set[str]()

    async def long(ctx: ContinuousContext[int]) -> None:
        await sleep("5 seconds")

    async def asks(sim: Simulation) -> None:
        for number in range(200):
            try:
                await sim.client_of("w1").continuous("often").start(f"{number}", 0)
            except DurableJobsError as error:
                told.add(str(error))
            await sim.sleep("100 ms")

    trace = run(asks, make_jobs(long), faults=Faults(redeploy=0.1), nodes=1, clients=0)

    assert "w1 is down (nothing was changed)" in told
    calls = [event.at for event in trace.events if event.what == "call"]
    stops = [event.at for event in trace.events if event.what == "stop"]
    starts = [event.at for event in trace.events if event.what == "start"][1:]
    down = list(zip(stops, starts, strict=False))
    assert not any(stop < at < start for at in calls for stop, start in down)


# -- the end


@pytest.mark.parametrize("nodes", [0, 1])
@pytest.mark.parametrize("lease", [3_000, 3_600_000])
def test_I_8_where_nothing_is_to_be_done_nothing_is_left_undone(nodes: int, lease: int) -> None:
    """Without workers nothing will happen, and a lease may be longer than what is due may be late."""

    async def nothing(sim: Simulation) -> None:
        await sim.sleep("1 second")

    limits = Limits(lease=lease, poll=600_000)
    simulate(make_jobs(), nothing, seed=1, faults=NONE, limits=limits, nodes=nodes)


def test_I_8_what_the_dead_have_held_for_long_is_waited_for() -> None:
    done = list[int]()

    async def work(ctx: ContinuousContext[int]) -> None:
        await sleep("30 seconds")
        done.append(current().elapsed_ms)

    async def dies(sim: Simulation) -> None:
        await sim.client.continuous("often").start("a", 0)
        await sim.sleep("10 seconds")
        sim._world.nodes[0].crash()

    limits = Limits(lease=1_800_000, poll=600_000)
    simulate(make_jobs(work), dies, seed=1, faults=Faults(crash=1e-9), limits=limits, nodes=1, clients=0)

    assert 1_800_000 < done[0] < 1_900_000


def test_a_case_hands_each_of_its_fields_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict[str, Any]()

    def note(jobs: Any, scenario: Any, **rest: Any) -> None:
        given.update(rest, jobs=jobs, scenario=scenario)

    monkeypatch.setattr(cases, "simulate", note)
    fields: dict[str, Any] = {name: object() for name in fields_dict(Case)}
    Case(**fields).run(7)

    assert given == {name: value for name, value in fields.items() if name != "name"} | {"seed": 7}
