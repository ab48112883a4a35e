"""What is late, and what comes in vain: each bound, from both sides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from durable_jobs_simulation import Faults
from durable_jobs_simulation.pace import (
    IN_VAIN_MAX,
    MAKES_LATE,
    RECOVERS_MS,
    SLACK_MS,
    TURN_MS,
    Pace,
    Promptness,
)
from support.watching import BEGAN, TICK, body_of, make_jobs, violates

from durable_jobs_core.backend import Answer, Batch, Claim, Committed, Refused
from durable_jobs_core.engine import Answered, Exchange, Limits
from durable_jobs_core.record import Lease, Record, Run
from durable_jobs_core.words import Key, Revision, Token

LIMITS = Limits(poll=5_000, lease=30_000, exchange=10_000, concurrency=2)
JOBS = make_jobs()
OTHER = Key("task", "orders", "b")
POLLS = SLACK_MS + TURN_MS * len(JOBS.by_key) + LIMITS.poll
"""How late what is due may be seen by who has to look for it."""


class World:
    """Two workers, as far as their pace goes."""

    def __init__(self, **faults: float) -> None:
        self.now, self.faults, self.limits = BEGAN, Faults(**faults), LIMITS
        self.store = SimpleNamespace(entries=dict[Key, int](), lanes=1)
        self.nodes: tuple[Any, ...] = ()
        self.prompt = Promptness(self)  # type: ignore[arg-type]
        self.prompt.judges = True
        self.nodes = tuple(self.node(number) for number in (1, 2))
        self.node_1, self.node_2 = self.nodes
        self.node_2.worker = False

    def node(self, number: int) -> Any:
        node: Any = SimpleNamespace(
            world=self,
            name=f"w{number}",
            engine_id=number,
            worker=True,
            up=True,
            stopping=False,
            stalled=False,
        )
        node.jobs, node.hooks, node.open_calls = JOBS, (), 0
        node.pace = Pace(node)
        return node

    def file(self, entry: int | None, key: Key = TICK) -> None:
        """The index entry of a key is set, or taken out."""
        self.store.entries = {} if entry is None else {key: entry}
        self.prompt.indexed(key)

    def hears(self, *outcomes: Any, claims: bool = False, claimed: int = 0) -> None:
        """A worker asks the store, and has its answer."""
        claim = Claim(limits={("continuous", "tick"): 1}, now=0, until=0, max_bytes=1) if claims else None
        batch = Batch(writes=(), loads=(), claim=claim, not_after=0)
        self.node_1.pace.asks(Exchange(id=1, lane=0, batch=batch))
        self.node_1.pace.hears(Answered(1, answered(*outcomes, claimed=claimed)))


def answered(*outcomes: Any, claimed: int = 0) -> Answer:
    return Answer(outcomes=outcomes, rows=(), claimed=(None,) * claimed, next_wake=None, clock=0)  # type: ignore[arg-type]


def hook(key: Key, *, leased: bool = True) -> Any:
    return SimpleNamespace(invoke=SimpleNamespace(key=key, leased=leased))


@pytest.fixture
def world() -> World:
    return World()


# -- S-69: due work is claimed


def seen(world: World, late: int, *, by: int | None = None) -> None:
    """What is due, or was filed `by` an engine, is seen to so late."""
    world.file(world.now)
    if by is not None:
        world.prompt.committed(TICK, by, None, None)
    world.now += late
    world.file(None)


def test_S_69_what_is_due_is_claimed_at_the_next_look(world: World) -> None:
    seen(world, POLLS)

    with violates("S-69", f"{TICK} was due for {POLLS + 1} ms, and w1 had a slot for it"):
        seen(world, POLLS + 1)


def test_S_69_who_wrote_the_alarm_need_not_look(world: World) -> None:
    seen(world, POLLS - LIMITS.poll, by=1)
    seen(world, POLLS, by=2)

    with violates("S-69", "w1 had a slot for it"):
        seen(world, POLLS - LIMITS.poll + 1, by=1)


def test_S_69_it_is_late_from_when_it_is_due(world: World) -> None:
    world.file(BEGAN + 1_000)
    world.now += 1_000 + POLLS
    world.file(None)


@pytest.mark.parametrize(
    "changes",
    [
        {"up": False},
        {"worker": False},
        {"stopping": True},
        {"stalled": True},
        {"hooks": (hook(TICK), hook(OTHER))},
        {"jobs": SimpleNamespace(by_key={})},
    ],
)
def test_S_69_who_cannot_run_it_is_not_late(world: World, changes: dict[str, Any]) -> None:
    vars(world.node_1).update(changes)

    seen(world, 10 * POLLS)


def test_S_69_a_hook_without_a_lease_takes_no_slot(world: World) -> None:
    world.node_1.hooks = (hook(TICK, leased=False), hook(OTHER, leased=False))

    with violates("S-69", "w1 had a slot for it"):
        seen(world, POLLS + 1)


def test_S_69_who_had_no_slot_is_late_from_when_it_has_one(world: World) -> None:
    for late, fine in ((POLLS, True), (POLLS + 1, False)):
        world.file(world.now)
        world.node_1.hooks = (hook(OTHER), hook(OTHER))
        world.now += 60_000
        world.node_1.pace.frees(OTHER)
        world.node_1.hooks = ()
        world.now += late
        if fine:
            world.file(None)
        else:
            with violates("S-69", "had a slot"):
                world.file(None)


def test_S_69_who_was_refused_a_write_recovers_first(world: World) -> None:
    world.file(BEGAN)
    world.hears(Refused("too late", transient=True))
    world.now += RECOVERS_MS + LIMITS.exchange + POLLS
    world.file(None)

    world.file(world.now)
    world.hears(Committed())
    world.now += POLLS + 1
    with violates("S-69", "had a slot"):
        world.file(None)


def test_only_our_own_scenarios_are_judged(world: World) -> None:
    world.prompt.judges = False

    seen(world, 10 * POLLS)


@pytest.mark.parametrize("fault", sorted(MAKES_LATE))
def test_under_what_makes_late_nobody_is_until_all_have_recovered(fault: str) -> None:
    world = World(**{fault: 0.1})
    batch = Batch(writes=(), loads=(), claim=None, not_after=0)
    world.node_1.pace.asks(Exchange(id=1, lane=0, batch=batch))
    seen(world, 10 * POLLS)

    world.node_1.pace.hears(Answered(1, answered()))
    world.prompt.calm()
    world.file(world.now)
    world.now += RECOVERS_MS + LIMITS.exchange + POLLS
    world.file(None)
    with violates("S-69", "had a slot"):
        seen(world, POLLS + 1)


# -- D-4: what is claimed is run, or put back


def let_go(world: World, after: int) -> None:
    world.prompt.claimed(world.node_1, [TICK])
    world.now += after
    world.file(world.now)


def test_D_4_what_is_claimed_is_let_go(world: World) -> None:
    let_go(world, SLACK_MS)

    with violates("D-4", f"claimed by w1, and neither run nor put back in {SLACK_MS + 1} ms"):
        let_go(world, SLACK_MS + 1)


@pytest.mark.parametrize(
    "changes", [{"hooks": (hook(TICK),)}, {"stalled": True}, {"up": False}, {"pace": None}]
)
def test_D_4_who_runs_it_or_cannot_holds_nothing_in_vain(world: World, changes: dict[str, Any]) -> None:
    """The last has another life now."""
    world.prompt.claimed(world.node_1, [TICK])
    pace = Pace(world.node_1)
    vars(world.node_1).update({**changes, **({"pace": pace} if "pace" in changes else {})})
    world.now += 10 * SLACK_MS

    world.prompt._let_go(TICK)


@pytest.mark.parametrize("other", [hook(OTHER), hook(TICK, leased=False)])
def test_D_4_another_hook_is_no_reason_to_hold_it(world: World, other: Any) -> None:
    world.node_1.hooks = (other,)

    with violates("D-4", "neither run nor put back"):
        let_go(world, SLACK_MS + 1)


def test_D_4_it_is_held_in_vain_from_when_its_handler_has_ended(world: World) -> None:
    world.prompt.claimed(world.node_1, [TICK])
    world.now += 60_000
    world.node_1.pace.frees(TICK)
    world.now += SLACK_MS

    world.file(world.now)


def test_D_4_who_closes_holds_nothing(world: World) -> None:
    world.prompt.claimed(world.node_1, [TICK])
    world.now += 1

    world.prompt.closes(world.node_2)
    with violates("D-4", "which has closed and holds it"):
        world.prompt.closes(world.node_1)


# -- D-4: nobody asks in vain


def test_D_4_what_nobody_has_filed_is_asked_for_by_polls_alone(world: World) -> None:
    most = IN_VAIN_MAX + len(JOBS.by_key)
    for _ in range(most):
        world.hears(claims=True)
    world.hears()

    world.now += LIMITS.poll
    for _ in range(2 * len(JOBS.by_key)):
        world.hears(claims=True)
    with violates("D-4", rf"w1 asked {most + 7} times in {LIMITS.poll} ms for due work, and there was none"):
        world.hears(claims=True)


@pytest.mark.parametrize("brought", [True, False])
def test_D_4_what_is_filed_or_found_may_be_asked_for(world: World, brought: bool) -> None:
    for _ in range(10 * IN_VAIN_MAX):
        world.hears(claims=True, claimed=int(brought))
        if not brought:
            world.file(BEGAN)


# -- nobody is woken in vain


def test_an_engine_is_woken_for_something(world: World) -> None:
    pace = world.node_1.pace
    for needs in (*[False] * IN_VAIN_MAX, True, *[False] * IN_VAIN_MAX):
        pace.ticks()
        pace.acts(needs)
    pace.acts(False)  # by something else

    for _ in range(IN_VAIN_MAX):
        pace.ticks()
        pace.acts(False)
    pace.ticks()
    with violates("engine", f"w1 was woken {IN_VAIN_MAX + 1} times in a row for nothing"):
        pace.acts(False)


def test_an_engine_is_woken_for_the_timers_of_calls_and_hooks(world: World) -> None:
    world.node_1.open_calls, world.node_1.hooks = 1, (hook(TICK),)
    for _ in range(3 * IN_VAIN_MAX):
        world.node_1.pace.ticks()
        world.node_1.pace.acts(False)

    world.node_1.pace.ticks()
    with violates("engine", "for nothing"):
        world.node_1.pace.acts(False)


# -- S-13: renewals


THIRD = LIMITS.lease // 3


def renewed(world: World, at: int, **changes: Any) -> None:
    """A lease that was taken at the beginning is renewed so much later, or something else is done with it."""
    span = world.limits.lease
    took = {"token": Token(1, 1), "until": BEGAN + span, **changes}
    gave = {"token": Token(1, 1), "until": BEGAN + at + span, **changes}
    world.now = BEGAN + at
    world.prompt.committed(TICK, 1, record(took), record(gave))


def record(lease: dict[str, Any]) -> Record:
    run = Run(number=1, hook="execute", lease=Lease(since=BEGAN, **lease))
    return Record(Revision(1, 2, 1), (), BEGAN, BEGAN, 0, body_of(TICK, run=run))


def test_S_13_a_lease_is_renewed_when_a_third_of_it_is_over(world: World) -> None:
    renewed(world, THIRD)
    renewed(world, THIRD + LIMITS.lease // 10)

    with violates("S-13", f"{TICK}: w1 renewed its lease 1 ms early"):
        renewed(world, THIRD - 1)
    with violates("S-13", f"{TICK}: w1 renewed its lease {LIMITS.lease // 10 + 1} ms late"):
        renewed(world, THIRD + LIMITS.lease // 10 + 1)


def test_S_13_a_short_lease_has_the_slack(world: World) -> None:
    world.limits = evolve(LIMITS, lease=3_000)
    renewed(world, 1_000 + SLACK_MS)

    with violates("S-13", f"{SLACK_MS + 1} ms late"):
        renewed(world, 1_000 + SLACK_MS + 1)


def test_S_13_who_was_not_well_when_it_was_time_may_be_late(world: World) -> None:
    world.now = BEGAN + THIRD
    world.hears(Refused("too late", transient=True))

    renewed(world, 2 * THIRD)


def test_S_13_what_is_not_renewed_is_not_late(world: World) -> None:
    renewed(world, THIRD - 1, until=BEGAN + LIMITS.lease)
    renewed(world, 3 * THIRD, token=Token(1, 3))  # of a node that lives no more
    world.prompt.committed(TICK, 1, None, record({"token": Token(1, 1), "until": BEGAN}))


def test_S_13_by_a_clock_that_drifts_it_may_be_early() -> None:
    renewed(World(drift=0.1), THIRD - 1)
