"""Each fault does what the table of `faults` says, by itself, and is seen in the trace."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from attrs import fields_dict
from durable_jobs_simulation import (
    Dice,
    Event,
    Faults,
    Simulation,
    Trace,
    hooks,
    simulate,
    sleep,
    strikes,
    swarm,
)
from durable_jobs_simulation.faults import ALL, HIGHEST, draw_limits
from durable_jobs_simulation.node import Node
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.trace import Exchanged

from durable_jobs_core import (
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DurableJobsError,
    Jobs,
    Task,
    TaskContext,
    create_durable_jobs,
    every,
)
from durable_jobs_core.backend import Row
from durable_jobs_core.codec import Newer, decode
from durable_jobs_core.engine import Limits, Ticked
from durable_jobs_core.record import Record

HOOK_MS = 2_000


async def tick(ctx: ContinuousContext[int]) -> None:
    await sleep(f"{HOOK_MS} ms")
    ctx.set_state(ctx.state + 1)


def fold(ctx: DebounceEventContext[int, int]) -> int:
    return (ctx.state or 0) + 1


async def deliver(ctx: DebounceContext[int]) -> None: ...


def make_jobs(execute: Any = tick, **options: Any) -> Jobs:
    often = Continuous.make(state=int, schedule=every("10 seconds"), execute=execute, **options)
    box = Debounce.make(event=int, state=int, flush_after="5 seconds", on_event=fold, execute=deliver)
    return create_durable_jobs({"often": often, "box": box})


async def a_minute(sim: Simulation) -> None:
    for number in range(30):
        with suppress(DurableJobsError):
            await sim.client.continuous("often").start(f"{number % 3}", 0)
        with suppress(DurableJobsError):
            await sim.client.debounce("box").add("b", number)
        await sim.sleep("2 seconds")


LIMITS = Limits(poll=5_000, lease=10_000, cache_bytes=0)


def run(jobs: Jobs | None = None, scenario: Any = a_minute, **faults: float) -> Trace:
    """A run under these faults, each of which strikes, where it can, and no more once it is calm."""
    trace = simulate(jobs or make_jobs(), scenario, seed=1, faults=Faults(**faults), limits=LIMITS)
    assert {fault for fault, _, _ in trace.cells} == {*faults} == {*trace.hits}
    assert strikes.wrong(trace.cells) == []
    assert all(event.fault for event in told(trace, *STRUCK))
    assert all(event.key for event in told(trace, "unknown", "refused", "damage", "newer", "conflict"))
    (calm,) = told(trace, "calm")
    assert {one.lost for one in trace.exchanges if one.sent[0] > calm.step} <= {None}
    assert [event for event in told(trace, *STRUCK) if event.step > calm.step] == []
    return trace


STRUCK = (
    *("crash", "stall", "outage", "partition", "lost", "unknown", "refused", "full"),
    *("abandon", "damage", "newer"),
)


def told(trace: Trace, *what: str) -> list[Event]:
    return [event for event in trace.events if event.what in what]


def lost(trace: Trace, how: str) -> list[Exchanged]:
    return [one for one in trace.exchanges if one.lost == how]


def span_of(event: Event) -> int:
    return int(event.details[0].split()[0])


def took(trace: Trace, *ends: str) -> list[int]:
    """How long each hook took."""
    spans, began = list[int](), dict[Any, int]()
    for event in trace.events:
        if event.what == "invoke":
            began[event.lane, event.key] = event.at
        elif event.what in ends and (event.lane, event.key) in began:
            spans.append(event.at - began.pop((event.lane, event.key)))
    return spans


# -- nodes


def test_crash() -> None:
    trace = run(crash=0.02)

    for crash in told(trace, "crash"):
        lane = [event for event in trace.events if event.lane == crash.lane and event.step > crash.step]
        assert lane[0].what == "start", "nothing is done between"
        assert 0 < lane[0].at - crash.at <= 20_000
    assert len(trace.engines) == 3 + len(told(trace, "crash")) > 3, "each life has another identity"


def test_stall() -> None:
    trace = run(stall=0.02)

    (first, *_) = told(trace, "stall")
    assert 100 <= span_of(first) <= 30_000
    lane = [event for event in trace.events if event.lane == first.lane and event.step > first.step]
    done = [event for event in lane if event.what != "call"]  # requests come, and wait
    assert (done[0].what, done[0].at - first.at) == ("resume", span_of(first)), "nothing is done between"


def test_redeploy() -> None:
    trace = run(redeploy=0.1)

    assert {event.details for event in told(trace, "stop")} == {
        (f"grace {ms} ms",) for ms in (0, 1_000, 10_000)
    }
    for stop in told(trace, "stop"):
        lane = [event for event in trace.events if event.lane == stop.lane and event.step > stop.step]
        assert [event.what for event in lane if event.what in ("stop", "closed", "crash")][:1] == ["closed"]


def test_old_release() -> None:
    releases = [make_jobs(), make_jobs(), make_jobs()]
    trace = simulate(releases, a_minute, seed=1, faults=Faults(old_release=0.7), nodes=8)

    started = [event.details[1] for event in told(trace, "start") if len(event.details) > 1]
    assert set(started) == {"release 1", "release 2"}
    (calm,) = told(trace, "calm")
    late = [event for event in trace.events if event.step > calm.step]
    assert [event.details[1:] for event in late if event.what == "start"] == [()] * len(started), "replaced"


def test_drift() -> None:
    trace = run(drift=1.0, crash=0.05)

    (calm,) = told(trace, "calm")
    clocks = [event.details[1:] for event in told(trace, "start") if event.step < calm.step]
    speeds = [float(clock.split()[1]) for (clock,) in clocks]
    assert all(0.95 <= speed <= 1.05 for speed in speeds)
    assert min(speeds) < 0.98 < 1.02 < max(speeds)


def test_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    right, ticked = Node.feed, list[Any]()

    def feed(node: Node, input: Any) -> None:
        ticked.extend([node] * isinstance(input, Ticked))
        right(node, input)

    monkeypatch.setattr(Node, "feed", feed)
    run()
    by_themselves = len(ticked)
    trace = run(woken=0.5)

    assert len(ticked) - by_themselves > by_themselves + trace.hits["woken"] / 2


def test_poison() -> None:
    trace = run(poison=0.3)

    crashes = told(trace, "crash")
    assert crashes
    for crash in crashes:
        died_of = [event for event in trace.events if event.at == crash.at and event.what == "invoke"]
        assert any("run" in event.text for event in died_of), "a leased hook"
    again = [event for event in told(trace, "invoke") if "crashes 2" in event.text]
    assert again, "for a while it kills each node that runs it"


# -- the store


def test_outage() -> None:
    trace = run(outage=0.05)

    (first, *_) = told(trace, "outage")
    assert first.lane == "store"
    assert 1_000 <= span_of(first) <= 90_000
    sent = [one for one in trace.exchanges if first.at < one.sent[1] < min(first.at + span_of(first), 60_000)]
    assert {one.node for one in sent} >= {"w1", "w2"}
    assert {(one.lost, len(one.told)) for one in sent} == {("the store does not answer", 0)}


def test_partition() -> None:
    trace = run(partition=0.01)

    (first, *_) = told(trace, "partition")
    assert 1_000 <= span_of(first) <= 90_000
    of_others = [event for event in told(trace, "partition") if event.lane != first.lane]
    end = min([first.at + span_of(first), *(event.at for event in of_others)])
    sent = [one for one in trace.exchanges if first.at <= one.sent[1] < end]
    assert {one.lost for one in sent if one.node == first.lane} == {"the store does not answer"}
    assert {one.lost for one in sent if one.node != first.lane} == {None}


def test_lost_request() -> None:
    ones = [one for one in lost(run(lost_request=0.2), "the request is lost") if "writes" in one.carries]

    came = [one for one in ones if one.told]
    assert came
    assert len(came) < len(ones), "the others never arrive"
    for one in ones:
        assert one.heard is None or 0 < one.heard[1] - one.sent[1] <= 12_000
    assert all(1 <= one.told[0][1] - one.sent[1] <= 20_000 for one in came)
    assert any(one.heard is not None and one.told[0][1] > one.heard[1] for one in came), "after it gave up"


def test_lost_answer() -> None:
    ones = lost(run(lost_answer=0.2), "the answer is lost")

    assert all(one.heard is None or one.heard[1] > one.sent[1] + 3 for one in ones)
    landed = {len(one.told) - one.carries["writes"] for one in ones if "writes" in one.carries}
    assert min(landed) < max(landed) == 0, "wholly, or not"

    async def burst(sim: Simulation) -> None:
        for number in range(200):
            sim.spawn(start(sim, number % 20))
            await sim.sleep("2 seconds" if number % 20 == 19 else "0 seconds")

    async def start(sim: Simulation, number: int) -> None:
        with suppress(DurableJobsError):
            await sim.client.continuous("often").start(f"{number}", 0)
            await sim.client.continuous("often").terminate(f"{number}")

    several = lost(run(None, burst, lost_answer=0.3), "the answer is lost")
    assert any(0 < len(one.told) < one.carries.get("writes", 0) for one in several), "in part"


def test_unknown() -> None:
    trace = run(unknown=0.2)

    ones = [one for one in trace.exchanges if any(what == "unknown" for _, _, _, what in one.told)]
    kinds = {
        (what, at == told_at)
        for one in ones
        for step, told_at, key, said in one.told
        if said == "unknown"
        for _, at, of, what in [*one.told, (0, 0, key, "never")]
        if of == key and what != "unknown"
    }
    assert {("committed", True), ("never", False)} <= kinds
    assert any(what != "never" and not at_once for what, at_once in kinds), "it comes later"
    assert trace.hits["unknown"] == len(told(trace, "unknown"))


@pytest.mark.parametrize("fault", ["refused_transient", "refused_permanent"])
def test_refused(fault: str) -> None:
    trace = run(**{fault: 0.1})

    assert trace.hits[fault] == len(told(trace, "refused"))
    failed = [event for event in told(trace, "reply") if event.fault]
    assert bool(failed) == (fault == "refused_permanent"), "what is refused for now is tried again"


def test_slow() -> None:
    spans = [one.heard[1] - one.sent[1] for one in run(slow=0.2).exchanges if one.heard is not None]

    slowed = [span for span in spans if span > 6]
    assert all(500 <= span <= 30_006 for span in slowed)
    assert any(span > 15_006 for span in slowed), "there and back"
    assert len(slowed) < len(spans)


def test_what_an_exchange_carries_is_told() -> None:
    exchanges = run().exchanges

    assert {what for one in exchanges for what in one.carries} == {"writes", "loads", "claims"}
    assert {one.claimed for one in exchanges if "claims" in one.carries} >= {0, 1}
    assert {one.claimed for one in exchanges if "claims" not in one.carries} == {0}


def test_full() -> None:
    trace = run(full=0.05)

    (first, *_) = told(trace, "full")
    assert 1_000 <= span_of(first) <= 30_000
    end = first.at + span_of(first)
    within = [what for one in trace.exchanges for _, at, _, what in one.told if first.at + 3 < at < end]
    assert set(within) == {"refused"}
    assert any("claims" in one.carries for one in trace.exchanges if first.at < one.sent[1] < end)
    assert {one.lost for one in trace.exchanges} == {None}


# -- hints


async def start_elsewhere(sim: Simulation) -> None:
    await sim.sleep("2 seconds")
    await sim.client_of("c1").continuous("often").start("a", 0)
    await sim.sleep("30 seconds")


def first_run(**faults: float) -> int:
    limits = Limits(poll=20_000)
    trace = simulate(make_jobs(), start_elsewhere, seed=1, nodes=1, faults=Faults(**faults), limits=limits)
    (committed, *_), (invoked, *_) = told(trace, "commit"), told(trace, "invoke")
    return invoked.at - committed.at


def test_nudge_lost() -> None:
    assert first_run() < 50
    assert 10_000 < first_run(nudge_lost=1.0) < 20_000, "it is found when its worker looks"


def test_all_other_nodes_are_told_what_is_due() -> None:
    async def two(sim: Simulation) -> None:
        for id in "ab":
            await sim.client_of("w1").continuous("often").start(id, 0)
        await sim.sleep("10 seconds")

    limits = Limits(concurrency=1, poll=20_000)
    trace = simulate(make_jobs(), two, seed=1, nodes=2, faults=Faults(), limits=limits)

    first, second, *_ = told(trace, "invoke")
    assert {first.lane, second.lane} == {"w1", "w2"}
    assert second.at - first.at < 50


def test_nudge_late() -> None:
    assert 100 <= first_run(nudge_late=1.0) <= 10_050


# -- callers


def answers(trace: Trace) -> list[tuple[int, str]]:
    """What callers were answered, and after how long."""
    called = {(event.lane, event.details[0]): event.at for event in told(trace, "call")}
    return [
        (event.at - called[event.lane, event.details[0]], event.details[1]) for event in told(trace, "reply")
    ]


def test_impatient() -> None:
    waited = {ms for ms, said in answers(run(impatient=0.5, slow=0.5)) if said.endswith("Error")}

    assert {1, 500, 3_000} <= {ms - late for ms in waited for late in range(3)}


def test_abandoned() -> None:
    went = list[BaseException]()

    async def asks(sim: Simulation) -> None:
        for number in range(20):
            try:
                await sim.client.debounce("box").add("b", number)
            except DurableJobsError as error:
                went.append(error)
            await sim.sleep("1 second")

    trace = run(None, asks, abandoned=1.0, slow=1.0)

    assert len(told(trace, "abandon")) == len(went) > 0
    assert {str(error) for error in went} == {"the caller went away"}


# -- hooks


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("hook_failure", "InjectedFailure"),
        ("hook_exit", "SystemExit"),
        ("hook_unspeakable", "Unspeakable"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_a_hook_that_raises_has_done_its_work_or_nothing(fault: str, error: str, plain: bool) -> None:
    done = list[int]()

    def work(ctx: ContinuousContext[int]) -> None:
        done.append(1)

    async def async_work(ctx: ContinuousContext[int]) -> None:
        done.append(1)

    trace = run(make_jobs(work if plain else async_work), **{fault: 0.5})

    ends = [event.text for event in told(trace, "raised", "returned") if event.text.startswith("execute")]
    own = [event for event in told(trace, "raised", "returned") if event.key and event.key.job == "often"]
    before = [event for event in own if event.text == f"execute {error}, injected before its work"]
    after = [event for event in own if event.text == f"execute {error}, injected after its work"]
    assert before
    assert after
    assert len(done) == len(own) - len(before)
    assert any(text == "execute" for text in ends)


def test_hook_slow() -> None:
    spans = took(run(hook_slow=0.3), "returned")

    assert any(span > HOOK_MS + 1_000 for span in spans)
    assert all(span <= HOOK_MS + 40_010 for span in spans)


def test_a_thread_that_is_left_behind_returns_later() -> None:
    def plain(ctx: ContinuousContext[int]) -> None: ...

    trace = run(make_jobs(plain, timeout="1 second", retry=None), hook_slow=0.5)

    left = told(trace, "detached")
    back = [event for event in told(trace, "returned") if not event.text]
    assert left
    assert {event.key for event in back} == {event.key for event in left}


def test_hook_hang() -> None:
    assert any(span >= HOOK_MS + 120_000 for span in took(run(hook_hang=0.3), "returned"))

    trace = run(make_jobs(timeout="10 seconds"), hook_hang=0.3)
    assert {event.text for event in told(trace, "timedout")} == {"execute injected"}


def test_hook_deaf() -> None:
    async def endless(ctx: ContinuousContext[int]) -> None:
        await sleep("1 hour")

    jobs = make_jobs(endless, timeout="3 seconds", retry=None)
    spans = took(run(jobs, hook_deaf=0.5), "timedout")

    assert all(2_990 <= span <= 63_010 for span in spans)
    assert min(spans) < 3_010 < 10_000 < max(spans)


def test_a_hook_that_is_stopped_twice_has_ended_for_the_first_reason() -> None:
    """It is deaf for so long that its instance is terminated before it has ended."""

    async def endless(ctx: ContinuousContext[int]) -> None:
        await sleep("1 hour")

    async def terminates(sim: Simulation) -> None:
        await sim.client.continuous("often").start("a", 0)
        await sim.sleep("4 seconds")
        await sim.client.continuous("often").terminate("a")
        await sim.sleep("2 minutes")

    jobs = make_jobs(endless, timeout="3 seconds", retry=None)
    ends = told(run(jobs, terminates, hook_deaf=1.0), "timedout", "cancelled")

    assert {event.what for event in ends} == {"timedout"}


def test_a_thread_that_returns_before_it_is_left_behind_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shutdown waits for it: two seconds, and here longer, so that some return."""
    monkeypatch.setattr(hooks, "RETURN_MS", 10_000)

    def plain(ctx: ContinuousContext[int]) -> None:
        ctx.set_state(1)

    async def many(sim: Simulation) -> None:
        for number in range(30):
            with suppress(DurableJobsError):
                await sim.client.continuous("often").start(f"{number}", 0)
            await sim.sleep("2 seconds")

    trace = run(make_jobs(plain), many, redeploy=0.05, hook_slow=1.0)

    of_threads = [event for event in trace.events if event.key and event.key.job == "often"]
    stopped = [event for event in of_threads if event.what == "cancel"]
    ended = [event for event in of_threads if event.what in ("returned", "detached")]
    ends = [next(one for one in ended if one.key == event.key and one.step > event.step) for event in stopped]
    waited = [(one.what, one.at - event.at) for event, one in zip(stopped, ends, strict=True)]
    assert {what for what, _ in waited} == {"returned", "detached"}
    assert all((ms < 10_000) == (what == "returned") for what, ms in waited)


# -- stored rows


def test_damage() -> None:
    seen = set[str]()

    def look(sim: Simulation) -> None:
        for key in sim._world.observer.histories:
            if sim.damaged(key):
                seen.add(sim.status(key))
            if sim.status(key) == "quarantined":
                assert sim.record(key) is None
                assert key not in sim.records()

    trace = simulate(make_jobs(), a_minute, seed=1, faults=Faults(damage=0.3), at_end=[look])

    assert told(trace, "damage")
    assert "quarantined" in seen


def test_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def note(event: int, ctx: TaskContext[int]) -> None:
        ctx.set_state(event)

    jobs = create_durable_jobs({"notes": Task.make(event=int, state=int, on_event=note, execute=deliver)})

    async def hours(sim: Simulation) -> None:
        for number in range(135):  # and a little after the faults
            with suppress(DurableJobsError):
                await sim.client.task("notes").send("a", number)
            await sim.sleep("1 minute")

    right, replaced = Store.replace, list[Row]()

    def replace(store: Store, row: Any, wake: int | None) -> None:
        replaced.append(row)
        right(store, row, wake)

    monkeypatch.setattr(Store, "replace", replace)
    limits = Limits(poll=600_000)
    trace = simulate(jobs, hours, seed=1, faults=Faults(newer=0.3), until="2 hours", limits=limits)

    assert {fault for fault, _, _ in trace.cells} == {"newer"}
    newer, older = told(trace, "newer"), told(trace, "older")
    assert len(newer) == len(older) > 2
    spans = [end.at - begin.at for begin, end in zip(newer, older, strict=True)]
    assert all(0 < span <= 3_600_000 for span in spans)
    assert max(spans) > 600_000
    within = [(begin.step, end.step) for begin, end in zip(newer, older, strict=True)]
    written = [event.step for event in told(trace, "commit")]
    assert not any(begin < step < end for begin, end in within for step in written)
    assert len({row.revision for row in replaced}) == len(replaced), "each is a write of its own"
    read = [decode(row) for row in replaced]
    assert {type(one) for one in read[::2]} == {Newer}
    assert all(isinstance(one, Record) and len(one.writers) > 1 for one in read[1::2])


# -- all of them


def test_each_fault_has_its_test() -> None:
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    shared = {"refused_transient", "refused_permanent", "hook_failure", "hook_exit", "hook_unspeakable"}

    assert set(ALL) - shared <= tests


def test_what_is_drawn_is_never_more_than_a_run_can_bear() -> None:
    drawn = [swarm(Dice(seed)) for seed in range(200)]

    for name in ALL:
        rates = [faults.rates()[name] for faults in drawn if name in faults.rates()]
        most = HIGHEST.get(name, 0.25)
        assert 0 < min(rates) < 0.2 * most
        assert 0.9 * most < max(rates) <= most
    shares = [len(faults.rates()) / len(ALL) for faults in drawn]
    assert min(shares) < 0.15 < 0.5 < max(shares) < 0.85


def test_limits_are_drawn_of_all_sorts() -> None:
    drawn = [draw_limits(Dice(seed)) for seed in range(200)]

    sorts: dict[str, set[Any]] = {
        "concurrency": {1, 2, 5, 100},
        "lease": {3_000, 10_000, 30_000},
        "hold": {500, 5_000},
        "poll": {500, 1_000, 5_000},
        "exchange": {2_000, 10_000},
        "cache_bytes": {0, 4_000, 8 * 1024 * 1024},
    }
    assert {name: {getattr(limits, name) for limits in drawn} for name in sorts} == sorts


def test_once_it_is_calm_nothing_strikes_any_more() -> None:
    faults = Faults(**{name: HIGHEST.get(name, 0.25) for name in fields_dict(Faults)}).without("damage")
    trace = simulate(make_jobs(), a_minute, seed=1, faults=faults)

    (calm,) = told(trace, "calm")
    late = {event.what for event in trace.events if event.step > calm.step and event.fault}
    ends = {"cancelled", "raised", "timedout", "detached", "reply"}
    assert late <= {"stop", *ends}, "what was under way ends, and an old release is replaced"
