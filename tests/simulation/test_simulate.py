"""`simulate`: what a user sees of it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import zlib
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve, fields, fields_dict
from durable_jobs_simulation import (
    Commit,
    Dice,
    Faults,
    Simulation,
    SimulationError,
    Trace,
    Violation,
    current,
    simulate,
    sleep,
    swarm,
)
from durable_jobs_simulation.case import Case
from durable_jobs_simulation.cli import main
from durable_jobs_simulation.scenarios import CASES

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Debounce,
    DurableJobsError,
    Jobs,
    Retry,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Limits
from durable_jobs_core.words import Key

NONE = Faults()
LIMITS = Limits()
SHORT = Limits(lease=100)


def ticking(execute: Any, **options: Any) -> Jobs:
    job = Continuous.make(state=int, schedule=every("10 seconds"), execute=execute, **options)
    return create_durable_jobs({"tick": job})


async def one_minute(sim: Simulation) -> None:
    await sim.client.continuous("tick").start("a", 0)
    await sim.sleep("1 minute")


def run(execute: Any, scenario: Any = one_minute, *, faults: Faults = NONE, **options: Any) -> Trace:
    return simulate(ticking(execute, **options), scenario, seed=1, faults=faults, limits=LIMITS)


async def count(ctx: ContinuousContext[int]) -> None:
    await sleep("2 seconds")
    ctx.set_state(ctx.state + 1)


def what(trace: Trace, *names: str) -> list[str]:
    return [event.what for event in trace.events if event.what in names]


def test_I_7_an_answer_that_is_on_its_way_at_the_end_is_waited_for() -> None:
    async def often(sim: Simulation) -> None:
        for number in range(9):
            await sim.client.continuous("tick").start(f"{number}", 0)

    async def step(ctx: ContinuousContext[int]) -> None:
        ctx.set_state(ctx.state + 1)

    job = Continuous.make(state=int, schedule=every("20 ms"), execute=step)
    jobs = create_durable_jobs({"tick": job})
    assert what(simulate(jobs, often, seed=0, faults=NONE, limits=SHORT), "emit")


# -- hooks on virtual time


def test_an_async_hook_sleeps_on_virtual_time() -> None:
    trace = run(count)

    invoked = [event.at for event in trace.events if event.what == "invoke"]
    returned = [event.at for event in trace.events if event.what == "returned"]
    assert len(returned) >= 5
    assert all(2_000 <= end - begin < 2_100 for begin, end in zip(invoked, returned, strict=False))


def test_S_15_a_hook_that_takes_too_long_is_cancelled() -> None:
    swallowed: list[int] = []

    async def hang(ctx: ContinuousContext[int]) -> None:
        try:
            await sleep("1 hour")
        finally:
            swallowed.append(current().elapsed_ms)  # not of the one that the end of the run puts to rest

    trace = run(hang, timeout="3 seconds", retry=None)

    assert what(trace, "timedout")[:2] == ["timedout", "timedout"]
    assert len(swallowed) == len(what(trace, "timedout"))


def test_S_15_a_plain_hook_that_takes_too_long_is_left_behind_and_returns_later() -> None:
    def slow(ctx: ContinuousContext[int]) -> None:
        ctx.set_state(1)

    trace = run(slow, faults=Faults(hook_slow=1.0), timeout="1 second", retry=None)

    assert what(trace, "detached", "returned")[0] == "detached"
    assert what(trace, "returned")


def test_a_hook_asks_the_simulation_for_time_and_randomness() -> None:
    seen: list[tuple[int, int]] = []

    async def look(ctx: ContinuousContext[int]) -> None:
        seen.append((current().elapsed_ms, current().dice.below(1_000)))

    first, seen_first = run(look).digest, list(seen)
    seen.clear()
    assert (run(look).digest, seen) == (first, seen_first)


def test_a_hook_asks_for_failures_which_are_faults_of_the_run_and_end_with_the_others() -> None:
    asked: list[tuple[int, bool]] = []

    async def shaky(ctx: ContinuousContext[int]) -> None:
        fails = current().mishap("the bank is down", 0.5)
        asked.append((current().elapsed_ms, fails))
        if fails:
            raise ConnectionError

    trace = run(shaky)

    (calm,) = (event.at for event in trace.events if event.what == "calm")
    assert {fails for at, fails in asked if at < calm} == {True, False}
    assert {fails for at, fails in asked if at >= calm} == {False}
    failed = [event.text for event in trace.events if event.what == "mishap" and event.fault]
    assert failed == ["the bank is down"] * trace.hits["the bank is down"]
    assert len(failed) == sum(fails for _, fails in asked)


def test_a_mishap_may_last_until_a_run_gives_up() -> None:
    asked: list[tuple[int, bool]] = []

    async def shaky(ctx: ContinuousContext[int]) -> None:
        fails = current().mishap("the bank is down", 0.5, lasts="25 seconds")
        asked.append((current().elapsed_ms, fails))
        if fails:
            raise ConnectionError

    trace = run(shaky, retry=Retry(max_attempts=3, delay="5 seconds"))

    began = [event for event in trace.events if event.what == "mishap"]
    assert {event.text for event in began} == {"the bank is down for 25000 ms"}
    (calm,) = (event.at for event in trace.events if event.what == "calm")
    for event in began:
        assert all(fails for at, fails in asked if event.at <= at < min(event.at + 25_000, calm))
    assert any("job.retryExhausted" in event.text for event in trace.events)
    assert len(began) < sum(fails for _, fails in asked)


def test_the_status_of_an_instance_is_at_hand_for_invariants() -> None:
    seen: list[str] = []

    def look(sim: Simulation) -> None:
        seen.append(sim.status(Key("continuous", "tick", "a")))

    simulate(ticking(count), one_minute, seed=1, faults=NONE, limits=LIMITS, invariants=[look])

    assert (seen[0], seen[-1]) == ("not_found", "running")


def test_a_hook_that_dies_with_its_node_runs_none_of_its_code_any_more() -> None:
    ended: list[int] = []

    async def guarded(ctx: ContinuousContext[int]) -> None:
        try:
            await sleep("5 seconds")
        finally:
            ended.append(current().elapsed_ms)

    trace = run(guarded, faults=Faults(crash=0.05))

    died = {event.at for event in trace.events if event.what == "crash"}
    assert died
    assert not died & set(ended)


def test_hooks_that_await_in_a_finally_are_put_to_rest_with_their_run() -> None:
    began, left = list[int](), list[int]()

    async def guarded(ctx: ContinuousContext[int]) -> None:
        began.append(ctx.run_count)
        try:
            await sleep("5 seconds")
        finally:
            try:
                await sleep("1 second")
            finally:
                left.append(ctx.run_count)

    def it_ends_while_one_runs(sim: Simulation) -> None:
        assert len(began) < 3

    with pytest.raises(Violation) as violated:
        simulate(
            ticking(guarded),
            one_minute,
            seed=1,
            faults=Faults(crash=0.05),
            invariants=[it_ends_while_one_runs],
        )

    assert what(violated.value.trace, "crash")
    assert sorted(left) == began
    del violated
    gc.collect()  # what is not at rest would say so now, and warnings are errors here


@pytest.mark.parametrize("foreign", [asyncio.sleep, trio.sleep])
def test_a_hook_that_awaits_something_foreign_is_told_what_to_await(foreign: Any) -> None:
    async def lost(ctx: ContinuousContext[int]) -> None:
        await foreign(1)

    with pytest.raises(SimulationError, match=r"execute of tick .*durable_jobs_simulation\.sleep"):
        run(lost)


def test_a_coroutine_that_yields_something_unknown_is_told_what_to_await() -> None:
    async def lost(ctx: ContinuousContext[int]) -> None:
        await asyncio.sleep(0)

    with pytest.raises(SimulationError, match=r"awaited .* which the simulation does not have"):
        run(lost)


def test_a_hook_calls_a_client() -> None:
    box = Debounce.make(event=int, flush_after="1 second", execute=lambda ctx: None)

    async def pass_on(ctx: ContinuousContext[int]) -> None:
        await current().client.debounce(box).add("b", ctx.run_count)

    tick = Continuous.make(state=int, schedule=every("10 seconds"), execute=pass_on)
    jobs = create_durable_jobs({"tick": tick, "box": box})

    trace = simulate(jobs, one_minute, seed=1, faults=NONE, limits=LIMITS)

    assert "AddResult" in {event.details[1] for event in trace.events if event.what == "reply"}


# -- invariants of the user


def test_an_invariant_of_the_user_ends_the_run_and_is_named() -> None:
    def at_most_two(sim: Simulation) -> None:
        record = sim.record(Key("continuous", "tick", "a"))
        assert record is None or record.body.runs <= 2, f"{record.body.runs} runs"

    with pytest.raises(Violation) as caught:
        simulate(ticking(count), one_minute, seed=1, faults=NONE, invariants=[at_most_two])

    assert (caught.value.invariant, caught.value.why) == ("at_most_two", "3 runs")
    assert caught.value.trace.violation == "at_most_two: 3 runs"


def test_what_a_watcher_of_commits_asserts_is_a_violation_and_named() -> None:
    async def nothing(ctx: ContinuousContext[int]) -> None: ...

    def never_written(commit: Commit) -> None:
        raise AssertionError(f"{commit.key} was")

    async def scenario(sim: Simulation) -> None:
        sim.watch(never_written)
        await one_minute(sim)

    with pytest.raises(Violation, match="never_written: continuous:tick:a was"):
        run(nothing, scenario)


def test_an_invariant_at_the_end_is_checked_once_all_is_done() -> None:
    def never(sim: Simulation) -> None:
        assert not sim.records(), "something is left"

    with pytest.raises(Violation, match="something is left"):
        simulate(ticking(count), one_minute, seed=1, faults=NONE, at_end=[never])


def test_an_assertion_of_the_scenario_is_a_violation() -> None:
    async def doubtful(sim: Simulation) -> None:
        result = await sim.client.continuous("tick").start("a", 0)
        assert not result.created, "it was new"

    with pytest.raises(Violation, match="it was new"):
        run(count, doubtful)


def test_I_8_a_job_that_can_never_run_is_found() -> None:
    async def start(sim: Simulation) -> None:
        await sim.client.continuous("tick").start("a", 0)

    with pytest.raises(Violation) as caught:
        simulate(ticking(count), start, seed=1, faults=NONE, nodes=0)

    assert caught.value.invariant == "I-8"
    assert caught.value.why == (
        "continuous:tick:a and 0 others are due and were not run, and nothing will happen any more"
    )


def test_workers_that_seldom_look_for_work_are_told_what_is_due_before_they_look() -> None:
    began: list[int] = []

    async def note(ctx: ContinuousContext[int]) -> None:
        began.append(current().elapsed_ms // 1_000)

    async def start(sim: Simulation) -> None:
        await sim.sleep("5 seconds")
        await sim.client_of("c1").continuous("tick").start("a", 0)
        await sim.sleep("40 seconds")

    jobs = ticking(note, start_immediately=False)
    simulate(jobs, start, seed=1, faults=NONE, limits=Limits(poll=600_000))

    assert began[:4] == [15, 25, 35, 45]


# -- determinism


def test_the_same_seed_is_the_same_run_in_another_process_with_other_hashes() -> None:
    code = (
        "from durable_jobs_simulation.scenarios import CASES\n"
        "print([CASES[name]().run(5).digest for name in CASES])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert runs[0] == runs[1]
    assert runs[0].strip() == str([CASES[name]().run(5).digest for name in CASES])


def test_streams_of_a_seed_do_not_disturb_each_other() -> None:
    one, other = Dice(7), Dice(7)
    one.bits()

    assert one.split("a").bits() == other.split("a").bits()
    assert one.split("a").bits() != one.split("b").bits()
    assert one.bits() != other.bits()


def test_a_swarm_is_a_subset_of_the_faults_and_follows_from_the_seed() -> None:
    drawn = [swarm(Dice(seed)) for seed in range(50)]

    assert drawn == [swarm(Dice(seed)) for seed in range(50)]
    assert len({frozenset(faults.rates()) for faults in drawn}) > 40
    assert set().union(*(faults.rates() for faults in drawn)) == {field.name for field in fields(Faults)}


# -- traces and the command line


def test_a_case_has_all_the_arguments_of_a_simulation() -> None:
    assert {*signature(simulate).parameters} - {"seed"} == {*fields_dict(Case)} - {"name"}

    case = Case(
        name="tick", jobs=ticking(count), scenario=one_minute, faults=Faults(slow=0.1), limits=SHORT, nodes=1
    )
    assert case.run(1).digest == (
        simulate(case.jobs, one_minute, seed=1, faults=Faults(slow=0.1), limits=SHORT, nodes=1).digest
    )
    assert case.run(1, NONE).faults == NONE, "those of a trace, or of a smaller run"


def test_a_trace_is_written_and_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"

    assert main(["run", "tokens", "--seed", "3", "--trace", str(path)]) == 0
    assert main(["replay", str(path)]) == 0
    assert "the same, line by line" in capsys.readouterr().out

    lines = path.read_text().splitlines()
    lines[5] = lines[5].replace("step", "stop")
    path.write_text("\n".join(lines))
    assert main(["replay", str(path)]) == 1


def test_a_trace_that_was_shrunk_to_fewer_nodes_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.jsonl"

    assert main(["run", "charging:wrong", "--seed", "4", "--trace", str(path)]) == 1
    head = json.loads(path.read_text().splitlines()[0])
    assert (head["nodes"], head["clients"]) != (2, 1), "it is to be smaller than the case"
    assert main(["replay", str(path)]) == 0
    assert "the same, line by line" in capsys.readouterr().out


def test_a_trace_of_texts_with_other_ends_of_lines_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
from durable_jobs_core import Task, create_durable_jobs

async def hook(*args): ...

jobs = create_durable_jobs({"orders": Task.make(event=int, state=int, on_event=hook, execute=hook)})

async def scenario(sim):
    await sim.client.task("orders").send("a\\u2028b\\x85c", 5)
"""
    (tmp_path / "separators.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "trace.jsonl"

    assert main(["run", "separators:scenario", "--seed", "1", "--trace", str(path)]) == 0
    assert main(["replay", str(path)]) == 0
    assert "the same, line by line" in capsys.readouterr().out


def test_a_trace_has_one_line_an_event_in_every_form() -> None:
    trace = run(count)

    assert len(trace.text().splitlines()) == len(trace.events) + 3
    assert len([json.loads(line) for line in trace.json_lines()]) == len(trace.events) + 1
    diagram = trace.mermaid(last=50).splitlines()
    assert diagram[0] == "sequenceDiagram"
    assert sum("participant" not in line for line in diagram[1:]) == 50
    assert any("invoke continuous:tick:a execute run" in line for line in diagram)


def test_what_users_say_stays_in_its_line() -> None:
    async def say(sim: Simulation) -> None:
        sim.say("one; two #3\nfour: \x1b[2Jfive")

    trace = simulate(ticking(count), say, seed=1, faults=NONE)
    ends = [line.rpartition("note")[2].strip() for line in (trace.text() + trace.mermaid()).splitlines()]

    assert r"-                            one; two #3\nfour: \x1b[2Jfive" in ends
    assert r"one  two  3\nfour: \x1b[2Jfive" in ends


def test_many_seeds_are_run_and_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tokens", "--seeds", "2"]) == 0
    assert capsys.readouterr().out.startswith("2 runs, ")


@pytest.mark.parametrize(
    ("case", "seed", "lanes", "damage"),
    [
        ("orders", 100_451, 1, 0.0),
        ("orders", 105_789, 1, 0.00054),
        ("webhooks", 108_121, 1, 0.0),
        ("tokens", 684, 2, 0.0),
        ("orders", 367, 2, 0.0),
        ("tokens", 1_031, 1, 0.0097),
    ],
)
def test_seeds_that_failed_once_hold(case: str, seed: int, lanes: int, damage: float) -> None:
    """With the rate of damage and the lanes that they had: both may be drawn otherwise now."""
    evolve(CASES[case](), lanes=lanes).run(seed, evolve(swarm(Dice(seed).split("swarm")), damage=damage))


@pytest.mark.parametrize("limits", [Limits(lease=50), Limits(exchange=1)])
def test_limits_that_leave_no_time_for_an_exchange_are_no_violation(limits: Limits) -> None:
    """A renewal is later than a tenth of the lease; no write is in time."""

    async def begun(sim: Simulation) -> None:
        sim._world.prompt.judges = True
        for id in "abcdef":
            with suppress(DurableJobsError):
                await sim.client.continuous("tick").start(id, 0)
        await sim.sleep("20 seconds")

    simulate(ticking(count), begun, seed=1, faults=NONE, limits=limits)


def test_many_leases_that_are_to_be_renewed_while_the_store_is_slow_are_no_violation() -> None:
    """The engine is woken for each, and can ask for nothing until the store has answered."""

    async def minutes(ctx: ContinuousContext[int]) -> None:
        await sleep("2 minutes")

    async def begun(sim: Simulation) -> None:
        sim._world.prompt.judges = True
        for number in range(90):
            sim.spawn(sim.client.continuous("tick").start(f"{number}", 0))
            await sim.sleep("100 milliseconds")
        await sim.sleep("1 minute")

    simulate(ticking(minutes), begun, seed=1, faults=Faults(slow=0.003), nodes=1, clients=0, limits=LIMITS)


def test_I_7_without_faults_telemetry_is_complete_and_in_order() -> None:
    for case in CASES.values():
        case().run(0, NONE)


def test_a_lane_of_the_store_is_out_while_the_others_go_on() -> None:
    async def many(sim: Simulation) -> None:
        for number in range(12):
            sim.spawn(start(sim, f"{number}"))
        await sim.sleep("1 minute")

    async def start(sim: Simulation, id: str) -> None:
        with suppress(DurableJobsError):
            await sim.client.continuous("tick").start(id, 0)

    trace = simulate(ticking(count), many, seed=4, faults=Faults(outage=0.02), limits=LIMITS, lanes=3)

    assert trace.setup.endswith(", 3 lanes")
    began, span = next(
        (event.at, int(event.details[0].split()[0])) for event in trace.events if event.lane == "lane 0"
    )
    lanes = [
        zlib.crc32(str(event.key).encode()) % 3
        for event in trace.events
        if event.what == "commit" and began + 10 < event.at < min(began + span, 60_000)
    ]
    assert set(lanes) == {1, 2}, "lane 0 is out, until the faults are over"


def test_the_lanes_of_our_own_scenarios_are_drawn_from_the_seed() -> None:
    setups = [CASES["tokens"]().run(seed, NONE).setup for seed in (6, 7, 8)]

    assert [setup.rpartition(", ")[2] for setup in setups[1:]] == ["2 lanes", "3 lanes"]
    assert "lanes" not in setups[0], "as most stores are"


def test_retries_follow_the_policy_under_failures() -> None:
    async def fail(ctx: ContinuousContext[int]) -> None:
        raise ValueError("always")

    trace = run(fail, retry=Retry(max_attempts=3, delay="1 second"), on_exhausted="park")

    assert len(what(trace, "raised")) == 3
