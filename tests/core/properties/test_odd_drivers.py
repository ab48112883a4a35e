"""Drivers of odd habits that the contract allows: they look early, late or twice, answer in any order, hold
answers back for longer than a lease, sleep for hours, and stop at any moment; under limits of any size.

After each turn nothing is left to be needed at that instant, and nothing before `next_wakeup`. At the end all
is calm for a while: then every caller is answered with the truth, and what was due has run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import SETTINGS
from support.rig import Rig, client, run
from support.samples import CHORE, FOLD, LATEST, TICK, chore, folding, jobs, number, tick

from durable_jobs_core import Retry
from durable_jobs_core.codec import decode
from durable_jobs_core.engine import (
    HookCancelled,
    HookDetached,
    HookRaised,
    HookTimedOut,
    Input,
    Invoke,
    Ticked,
)
from durable_jobs_core.errors import DurableJobsError, OutcomeUnknownError
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    Request,
    SendRequested,
    StartRequested,
    StatusRequested,
    TriggerRequested,
)
from durable_jobs_core.record import Record, TaskBody
from durable_jobs_core.words import YEAR_MS, Key

RETRY = Retry(max_attempts=3, delay="1 second", jitter=0)
JOBS = jobs(
    tick=tick(retry=RETRY),
    fold=folding(retry=RETRY, concurrency=1),
    chore=chore(retry=RETRY, on_idle=lambda ctx: ctx.schedule("1 second"), inbox_limit=3),
)
KEYS = [key._replace(id=name) for key in (TICK, FOLD, LATEST, CHORE) for name in "ab"]
SPANS = [0, 1, 9, 50, 700, 1_000, 2_800, 10_000, 3_600_000]
LIMITS = st.fixed_dictionaries(
    {
        "concurrency": st.sampled_from([1, 2, 100]),
        "per_job": st.sampled_from([{}, {}, {("task", "chore"): 0}, {("continuous", "tick"): 1}]),
        "queued_requests": st.sampled_from([1, 100, 100]),
        "lease": st.sampled_from([10, 3_000, 3_000, YEAR_MS]),
        "hold": st.sampled_from([1, 500]),
        "poll": st.sampled_from([10, 1_000, YEAR_MS, YEAR_MS]),
        "exchange": st.sampled_from([1, 1_000, 1_000, YEAR_MS]),
        "settle": st.sampled_from([0, 20, 2_000]),
        "cache_bytes": st.sampled_from([0, 1_000_000]),
    }
)


class Odd(Rig):
    """A driver, and what it is held against.

    `late`: it has fed what it has not looked after yet; `cut_at`: when the grace of its shutdown is over.
    """

    def __init__(self, lanes: int, limits: dict[str, Any]) -> None:
        self.late, self.cut_at = False, math.inf
        self.threads: list[Invoke] = []
        self.sent: dict[int, tuple[Key, int]] = {}
        self.gone: set[int] = set()
        super().__init__(JOBS, lanes=lanes, lane=lambda key: ord(key.id) % lanes, **limits)

    def feed(self, input: Input) -> None:
        self.engine.feed(self.t, input)
        if not self.late:
            self.drain()

    def drain(self) -> None:
        super().drain()
        begun = [need for need in self.drains.pop() if isinstance(need, Invoke)]
        assert self.t < self.cut_at or not begun, "rule 11: after the grace nothing begins"
        assert not self.gone & self.replies.keys(), "rule 5: who went is not answered"
        wakeup = self.engine.next_wakeup
        assert wakeup is None or wakeup > self.t, "rule 2: it does not wake for ever"
        self.look_in_vain()

    def look_in_vain(self) -> None:
        """Rule 1: a spurious look changes nothing."""
        if not self.closed:
            self.engine.feed(self.t, Ticked())
        assert self.engine.needs() == ()

    # -- what it may do; `pick` says to what, and how

    def asks(self, pick: int) -> None:
        key = KEYS[pick % len(KEYS)]
        request = request_of(key, pick, self.calls + 1)
        if isinstance(request, SendRequested):
            self.sent[self.calls + 1] = (key, self.calls + 1)
        deadline, wait = SPANS[pick % len(SPANS)], SPANS[pick // 7 % len(SPANS)]
        self.call(key, request, deadline=deadline, wait_ms=wait if pick % 3 else None, size=1)

    def abandons(self, pick: int) -> None:
        if self.calls and self.calls not in self.replies:
            self.gone.add(self.calls)
            self.abandon(self.calls)

    def answers(self, pick: int) -> None:
        if self.exchanges:
            lane = self.exchanges[pick % len(self.exchanges)].lane
            if pick % 3:
                self.answer(lane=lane)
            else:
                self.fail(lane=lane, landed=bool(pick % 2))

    def ends(self, pick: int) -> None:
        if self.threads and pick % 3 == 0:
            self.returned(self.threads.pop())
        elif self.invokes:
            invoke = self.invokes[pick % len(self.invokes)]
            cut = HookCancelled() if invoke.id in self.cancels else HookTimedOut()
            detached = cut if invoke.inline_def else HookDetached()
            outcomes = [run(invoke), run(invoke), HookRaised(SystemExit()), cut, detached]
            outcome = outcomes[pick % len(outcomes)]
            if isinstance(outcome, HookDetached):
                self.threads.append(invoke)
            self.finish(outcome, invoke=invoke)

    def hurries(self, pick: int) -> None:
        self.nudge()

    def stops(self, pick: int) -> None:
        if pick % 4 == 0:
            grace = SPANS[pick // 4 % len(SPANS)]
            self.cut_at = min(self.cut_at, self.t + grace)
            self.stop(grace)

    def is_interfered_with(self, pick: int) -> None:
        """Another process asks for something, and has it."""
        key = KEYS[pick % len(KEYS)]
        if key.kind != "task":
            client(self).ask(key, StartRequested(number(0)) if key.kind == "continuous" else FlushRequested())
        else:
            client(self).ask(key, TriggerRequested())

    def works(self, pick: int) -> None:
        """For a while all goes well; how long, `pick` says."""
        for _ in range(pick % 4 + 1):
            for exchange in tuple(self.exchanges):
                self.answer(lane=exchange.lane)
            for invoke in self.invokes[pick % 3 :]:
                self.finish(invoke=invoke)

    def sleeps(self, pick: int) -> None:
        """Until it is called or for as long as it likes, and looks in vain while it need not look."""
        self.catches_up()
        wakeup, until = self.engine.next_wakeup, self.t + SPANS[pick % len(SPANS)]
        if wakeup is not None and pick % 2:
            until = min(wakeup, self.t + YEAR_MS)
        self.t = max(self.t, until - 1 if wakeup is None else min(until, wakeup) - 1)
        self.look_in_vain()
        self.t = until
        self.tick()

    def dawdles(self, pick: int) -> None:
        self.late = True

    def catches_up(self) -> None:
        self.late = False
        self.drain()

    # -- the end

    def calms_down(self) -> None:
        """All that is in flight ends well."""
        for _ in range(200):
            self.settle()
            while self.threads:
                self.returned(self.threads.pop())
            while self.invokes:
                self.finish()
            if not self.exchanges:
                return
        raise AssertionError("it asks for ever")


def request_of(key: Key, pick: int, event: int) -> Request:
    """What is asked of an instance."""
    if pick % 11 == 0:
        return StatusRequested()
    if key.kind == "continuous":
        return TriggerRequested() if pick % 5 == 0 else StartRequested(number(0))
    if key.kind == "debounce":
        return FlushRequested() if pick % 5 == 0 else AddRequested(event=event)
    return TriggerRequested() if pick % 5 == 0 else SendRequested(event=event)


MOVES: list[Callable[[Odd, int], None]] = [
    *[Odd.asks] * 4,
    *[Odd.answers] * 4,
    *[Odd.ends] * 3,
    *[Odd.sleeps] * 4,
    *[Odd.works] * 4,
    *[Odd.is_interfered_with] * 2,
    Odd.abandons,
    Odd.hurries,
    Odd.stops,
    Odd.dawdles,
]


@settings(SETTINGS, max_examples=100)
@given(
    lanes=st.sampled_from([1, 2, 7]),
    limits=LIMITS,
    length=st.integers(1, 120),
    chance=st.randoms(use_true_random=True),
)
def test_rules_1_to_12_hold_for_drivers_of_odd_habits(
    lanes: int, limits: dict[str, Any], length: int, chance: Random
) -> None:
    rig = Odd(lanes, limits)
    for _ in range(length):
        move, pick = chance.choice(MOVES), chance.randrange(1_000)
        if not rig.closed:
            move(rig, pick)
        if pick % 3:
            rig.catches_up()

    rig.catches_up()
    stops = rig.engine._state.stop_at is not None
    for _ in range(4):
        rig.calms_down()
        rig.t += 0 if rig.closed else 2 * YEAR_MS
        rig.tick()
    rig.calms_down()

    assert len(rig.replies) == rig.calls - len(rig.gone), "rule 5: every caller is answered"
    assert rig.closed == stops, "rule 11"
    assert stops or (overdue(rig), rig.slots_taken) == ([], 0), "I-4, I-8: what was due has run"
    rig.stop()
    rig.calms_down()
    assert rig.closed, "rule 11"
    for call, (key, event) in rig.sent.items():
        assert is_true(rig, call, event in events_of(rig, key)), "S-3, I-1, I-9"


def overdue(rig: Odd) -> list[Record]:
    """What should run and does not, of the jobs that the engine runs."""
    rows = [row for store in rig.stores for row in store._store.rows.values()]
    due = [row for row in rows if row.wake is not None and row.wake <= rig.now()]
    return [decode(row) for row in due if row.key[:2] in rig.engine._state.runnable]  # type: ignore[misc]


def events_of(rig: Odd, key: Key) -> list[int]:
    """The events that a task has applied, or keeps."""
    if rig.row(key) is None:
        return []
    body = rig.record(key).body
    assert isinstance(body, TaskBody)
    kept = [queued.event for queued in (*body.inbox, *body.dead)]
    return [*(body.state.value if body.state else ()), *kept]  # type: ignore[misc, list-item]


def is_true(rig: Odd, call: int, happened: bool) -> bool:
    """Whether what a caller was told is what happened."""
    if call in rig.gone:
        return True
    told = rig.result(call)
    if isinstance(told, OutcomeUnknownError):
        return True
    return happened is not isinstance(told, DurableJobsError)
