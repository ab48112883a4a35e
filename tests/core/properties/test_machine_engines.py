"""Random histories of two engines on one store: answers late or lost, late writes, hooks of every end.

After each rule the contract of the engine is checked (rules 3 to 8, 11, 12); at the end, faults stop, and
all that was asked must have been answered, once and with the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import define, evolve
from durable_jobs_memory import MemoryBackend
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.machines import SETTINGS
from support.rig import EPOCH, Rig, run
from support.samples import CHORE, FOLD, TICK, chore, folding, jobs, number, tick

from durable_jobs_core import Retry
from durable_jobs_core.backend import Answer, Batch, Committed, Refused, Write
from durable_jobs_core.codec import decode
from durable_jobs_core.engine import (
    Exchange,
    HookCancelled,
    HookDetached,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Input,
    Invoke,
    Need,
)
from durable_jobs_core.errors import DurableJobsError, OutcomeUnknownError
from durable_jobs_core.events import (
    AddRequested,
    FlushRequested,
    Request,
    SendRequested,
    StartRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.record import DebounceBody, Record, TaskBody
from durable_jobs_core.words import Key

LIMITS: dict[str, Any] = {
    "concurrency": 3,
    "queued_requests": 12,
    "lease": 3_000,
    "hold": 500,
    "poll": 500,
    "exchange": 1_000,
    "settle": 2_000,
    "cache_bytes": 2_000,
}
RETRY = Retry(max_attempts=2, delay="1 second", jitter=0)
JOBS = jobs(
    tick=tick(retry=RETRY),
    fold=folding(retry=RETRY),
    chore=chore(retry=RETRY, on_idle=lambda ctx: ctx.schedule("1 second"), inbox_limit=3),
)
KEYS = [TICK, FOLD, CHORE, Key("task", "chore", "b")]
ENGINES = st.integers(0, 1)
PICKS = st.integers(0, 99)
FATES = st.sampled_from(
    ["answer"] * 8
    + ["perform", "landed", "landed", "never", "later", "later", "later", "refuse", "busy", "land"]
)


def begins(key: Key, event: int) -> Request:
    """A request that makes an instance, or gives it an event."""
    if key.kind == "continuous":
        return StartRequested(number(event))
    return AddRequested(event=event) if key.kind == "debounce" else SendRequested(event=event)


def hurries(key: Key, event: int) -> Request:
    """A request that makes a run due."""
    return FlushRequested() if key.kind == "debounce" else TriggerRequested()


def reads(key: Key, event: int) -> Request:
    """A request that changes nothing."""
    return StatusRequested()


def ends(key: Key, event: int) -> Request:
    """A request that ends the instance."""
    return TerminateRequested()


REQUESTS: list[Callable[[Key, int], Request]] = [
    *[begins] * 5,
    *[hurries] * 2,
    reads,
    ends,
]


class Store(MemoryBackend):
    """A store that remembers what was ever committed."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.tokens: set[tuple[Key, int, int]] = set()
        self.seqs: Counter[tuple[Key, int]] = Counter()
        self.events: set[int] = set()
        self.deletions: Counter[Key] = Counter()
        self.ended: set[int] = set()

    def exchange(self, lane: int, batch: Batch) -> Answer:
        before = dict(self._store.rows)
        answer = super().exchange(lane, batch)
        for write, outcome in zip(batch.writes, answer.outcomes, strict=True):
            if isinstance(write, Write) and isinstance(outcome, Committed):
                old = decode(before[write.key]) if write.key in before else None
                new = None if write.row is None else decode(write.row)
                self._note(write.key, old, new)
        return answer

    def _note(self, key: Key, old: Any, new: Any) -> None:
        if isinstance(old, Record) and (new is None or new.revision.life != old.revision.life):
            self.deletions[key] += 1
            self.ended.add(old.revision.life)
        if isinstance(new, Record):
            revision = new.revision
            self.tokens.add((key, revision.number, revision.engine))
            self.seqs[key, revision.life] = max(new.seq, self.seqs[key, revision.life])
            events = events_of(new)
            assert len(events) == len(set(events)), "an event is applied once"
            self.events.update(events)


def events_of(record: Record) -> list[int]:
    """The events that a record holds, applied or waiting."""
    body = record.body
    found: list[Any] = []
    if isinstance(body, DebounceBody):
        held = [piece.state.value for piece in (body.batch, body.window) if piece is not None]
        found = [event for state in held for event in state]
    elif isinstance(body, TaskBody):
        found = [*(body.state.value if body.state else ()), *(queued.event for queued in body.inbox)]
    return found


@define(eq=False)
class Asked:
    """What a caller wanted."""

    key: Key
    request: Request
    event: int
    gone: bool = False


class Watched(Rig):
    """An engine whose every need is held against the contract. `lazy`: inputs are fed, needs not taken."""

    lazy = False

    def __init__(self, store: list[Store], node: int, t: int) -> None:
        self.asked: dict[int, Asked] = {}
        self.threads: list[Invoke] = []
        self.told = 0
        super().__init__(JOBS, node=node, stores=store, lane=lane_of, t=t, **LIMITS)

    def feed(self, input: Input) -> None:
        """Rule 12: nothing that is legal makes it raise."""
        self.engine.feed(self.t, input)
        if not self.lazy:
            self.drain()

    def drain(self) -> None:
        before = set(self.replies)
        assert not self.closed or self.engine.next_wakeup is None
        super().drain()
        for need in self.drains[-1]:
            self._check(need)
        for call in self.replies.keys() - before:
            self._check_reply(call)
        self.drains.clear()

    def _check(self, need: Need) -> None:
        if isinstance(need, Exchange):
            lanes = [exchange.lane for exchange in self.exchanges]
            assert len(lanes) == len(set(lanes)), "rule 3: one exchange a lane"
            keys = [write.key for write in need.batch.writes]
            assert len(keys) == len(set(keys)), "a key at most once"
            assert need.batch.claim is None or self.engine._state.stop_at is None, "rule 11: no claim"
        elif isinstance(need, Invoke):
            alike = [i for i in self.invokes if (i.key, i.leased) == (need.key, need.leased)]
            assert len(alike) == 1, "rule 8: one hook of a sort"
            if need.leased:
                token = self.engine._state.handlers.leased[need.key].token
                assert token is not None
                assert (need.key, token.number, token.engine) in self.store(need.key).tokens, "rule 6"
        for event in getattr(need, "events", ()):
            store = self.store(event.key)
            if event.seq is not None:
                committed = store.seqs[event.key, event.life] >= event.seq
                assert committed or event.life in store.ended, "rule 6: telemetry follows its commit"

    def _check_reply(self, call: int) -> None:
        asked, result = self.asked[call], self.result(call)
        assert not asked.gone, "rule 5: who went is not answered"
        kept = isinstance(asked.request, AddRequested | SendRequested)
        if kept and not isinstance(result, DurableJobsError):
            store = self.store(asked.key)  # one write may take an event and end its life
            assert asked.event in store.events or store.deletions[asked.key], (
                "rule 6: a reply follows its commit"
            )
        if getattr(result, "terminated", False) and isinstance(asked.request, TerminateRequested):
            assert self.store(asked.key).deletions[asked.key] > 0, "rule 6: a reply follows its commit"

    def store(self, key: Key) -> Store:
        """The store of a key."""
        store = self.stores[lane_of(key)]
        assert isinstance(store, Store)
        return store

    def ask_for(self, asked: Asked, deadline: int, wait_ms: int | None) -> None:
        """A caller's request."""
        self.asked[self.calls + 1] = asked
        self.call(asked.key, asked.request, deadline=deadline, wait_ms=wait_ms, size=1)


def lane_of(key: Key) -> int:
    """Two lanes: continuous jobs have one of their own."""
    return int(key.kind == "continuous")


class Engines(RuleBasedStateMachine):
    """`limbo`: exchanges whose answer was lost, and that may land yet; `answers`: performed, not told."""

    @initialize()
    def begin(self) -> None:
        self.t, self.nodes, self.event = 0, 2, 0
        self.stores = [Store(lambda: EPOCH + self.t) for _ in range(2)]
        self.rigs = [Watched(self.stores, node, 0) for node in (1, 2)]
        self.all = list(self.rigs)
        self.limbo: list[tuple[Watched, Exchange]] = []
        self.answers: dict[tuple[int, int], Answer] = {}
        for rig in self.rigs:
            rig.settle()

    # -- callers

    @rule(
        i=ENGINES,
        key=st.sampled_from(KEYS),
        make=st.sampled_from(REQUESTS),
        deadline=st.sampled_from([100, 1_500, 20_000, 20_000]),
        wait=st.sampled_from([None, None, 50, 5_000]),
        fates=st.lists(FATES, max_size=5),
    )
    def call(
        self,
        i: int,
        key: Key,
        make: Callable[[Key, int], Request],
        deadline: int,
        wait: Any,
        fates: list[str],
    ) -> None:
        """A request, and what becomes of that which it makes the engine ask."""
        if self.rigs[i].closed:
            self.replace(i)
        self.event += 1
        self.rigs[i].ask_for(Asked(key, make(key, self.event), self.event), deadline, wait)
        for fate in fates:
            if fate == "answer":
                self.finish(i, self.event, "runs")
            self.meddle(i, 0, fate)

    @rule(i=ENGINES, pick=PICKS)
    def abandon(self, i: int, pick: int) -> None:
        rig = self.rigs[i]
        waiting = [call for call in rig.asked if call not in rig.replies]
        if waiting:
            call = waiting[pick % len(waiting)]
            rig.asked[call].gone = True
            rig.abandon(call)

    @rule(i=ENGINES, picks=st.lists(st.tuples(st.integers(0, 3), PICKS), min_size=2, max_size=6))
    def burst(self, i: int, picks: list[tuple[int, int]]) -> None:
        """Several inputs are fed before their needs are taken."""
        rig = self.rigs[i]
        rig.lazy = True
        for which, pick in picks:
            if which == 0:
                key = KEYS[pick % len(KEYS)]
                make = REQUESTS[pick // 4 % len(REQUESTS)]
                self.event += 1
                rig.ask_for(Asked(key, make(key, self.event), self.event), 20_000, None)
            elif which == 1:
                rig.nudge()
            elif which == 2:
                self.answer(i, pick)
            else:
                self.finish(i, pick, "runs")
        rig.lazy = False
        rig.drain()

    # -- exchanges

    def pick(self, i: int, pick: int) -> tuple[Watched, Exchange] | None:
        rig = self.rigs[i]
        return (rig, rig.exchanges[pick % len(rig.exchanges)]) if rig.exchanges else None

    @rule(i=ENGINES, pick=PICKS, how=FATES)
    def meddle(self, i: int, pick: int, how: str) -> None:
        """Something becomes of an exchange."""
        if how in {"answer", "perform", "land"}:
            {"answer": self.answer, "perform": self.perform, "land": self.land}[how](i, pick)
        elif how in {"refuse", "busy"}:
            self.refuse(i, pick, how == "busy")
        else:
            self.lose(i, pick, how)

    def perform(self, i: int, pick: int) -> None:
        """It takes effect; the answer is on its way."""
        found = self.pick(i, pick)
        if found is not None:
            rig, exchange = found
            key = (id(rig), exchange.id)
            if key not in self.answers:
                self.answers[key] = rig.perform(exchange)

    def answer(self, i: int, pick: int) -> None:
        found = self.pick(i, pick)
        if found is not None:
            rig, exchange = found
            rig.answer(self.answers.pop((id(rig), exchange.id), None), lane=exchange.lane)

    def lose(self, i: int, pick: int, what: str) -> None:
        """No answer comes. What has not taken effect may do so later."""
        found = self.pick(i, pick)
        if found is not None:
            rig, exchange = found
            if self.answers.pop((id(rig), exchange.id), None) is None:
                if what == "landed":
                    rig.perform(exchange)
                elif what == "later":
                    self.limbo.append((rig, exchange))
            rig.answer(ConnectionError("lost"), lane=exchange.lane)

    @rule(i=ENGINES, rounds=st.integers(1, 6))
    def proceed(self, i: int, rounds: int) -> None:
        """For a while all is answered."""
        for _ in range(rounds):
            self.answer(i, 0)

    def refuse(self, i: int, pick: int, transient: bool) -> None:
        found = self.pick(i, pick)
        if found is not None and (id(found[0]), found[1].id) not in self.answers:
            rig, exchange = found
            done = rig.perform(evolve(exchange, batch=evolve(exchange.batch, writes=(), claim=None)))
            outcomes = tuple(Refused("no", transient) for _ in exchange.batch.writes)
            rig.answer(Answer(outcomes=outcomes, rows=done.rows, clock=done.clock), lane=exchange.lane)

    def land(self, i: int, pick: int) -> None:
        """What was lost takes effect after all, if its deadline lets it."""
        if self.limbo:
            rig, exchange = self.limbo.pop(pick % len(self.limbo))
            rig.perform(exchange)

    # -- hooks

    @rule(
        i=ENGINES,
        pick=PICKS,
        how=st.sampled_from(["runs", "runs", "raises", "times out", "detached", "returns"]),
    )
    def finish(self, i: int, pick: int, how: str) -> None:
        rig = self.rigs[i]
        if how == "returns" and rig.threads:
            rig.returned(rig.threads.pop(0))
        elif rig.invokes:
            self.end(rig, rig.invokes[pick % len(rig.invokes)], how)

    def end(self, rig: Watched, invoke: Invoke, how: str) -> None:
        if how == "detached" and not invoke.inline_def:
            rig.threads.append(invoke)
            rig.finish(HookDetached(), invoke=invoke)
        elif how == "times out":
            cancelled = invoke.id in rig.cancels
            rig.finish(HookCancelled() if cancelled else HookTimedOut(), invoke=invoke)
        elif how == "raises":
            rig.finish(HookRaised(ValueError("no")), invoke=invoke)
        else:
            outcome = run(invoke)
            assert isinstance(outcome, HookReturned)
            rig.finish(outcome, invoke=invoke)

    @rule(i=ENGINES, rounds=st.integers(1, 4))
    def work(self, i: int, rounds: int) -> None:
        """For a while all is answered, and hooks end."""
        for _ in range(rounds):
            self.answer(i, 0)
            self.answer(i, 1)
            self.finish(i, 0, "runs")

    # -- time, hints, processes

    @rule(ms=st.sampled_from([1, 60, 500, 1_001, 3_000]), ticks=st.sampled_from([(), (0,), (0, 1), (0, 1)]))
    def pass_time(self, ms: int, ticks: tuple[int, ...]) -> None:
        self.t += ms
        for rig in self.rigs:
            rig.t = self.t
        for i in ticks:
            self.rigs[i].nudge() if ms % 3 else self.rigs[i].tick()

    @rule(i=ENGINES, grace=st.sampled_from([None, None, None, 0, 700]), kill=st.booleans())
    def stop(self, i: int, grace: int | None, kill: bool) -> None:
        """Now and then a process is told to stop, or killed."""
        if grace is not None:
            self.replace(i) if kill else self.rigs[i].stop(grace)

    def replace(self, i: int) -> None:
        """The process is killed, or has closed; another takes its place."""
        rig = self.rigs[i]
        self.limbo += [
            (rig, exchange) for exchange in rig.exchanges if (id(rig), exchange.id) not in self.answers
        ]
        self.nodes += 1
        self.rigs[i] = Watched(self.stores, self.nodes, self.t)
        self.all.append(self.rigs[i])

    # -- what must hold

    @invariant()
    def bounds(self) -> None:
        for rig in getattr(self, "rigs", ()):
            state = rig.engine._state
            leased = sum(invoke.leased for invoke in rig.invokes)
            threads = sum(invoke.leased for invoke in rig.threads)
            assert leased + threads <= LIMITS["concurrency"], "S-15, S-69"
            assert len(state.calls.by_id) <= LIMITS["queued_requests"], "rule 10"

    def teardown(self) -> None:
        """Faults stop: all is answered, ends, and leaves nothing behind (rules 5, 10, 11, I-8, I-9)."""
        if not hasattr(self, "rigs"):
            return
        self.limbo.clear()
        stayed = [
            rig for rig in self.rigs if rig.engine._state.stop_at is None
        ]  # others leave things undecided
        for _ in range(160):
            self.calm()
            self.pass_time(250, (0, 1))
        for rig in self.rigs:
            open_ = [call for call, asked in rig.asked.items() if not asked.gone and call not in rig.replies]
            assert open_ == [], "rule 5: every call is answered"
            rig.stop()
        for _ in range(20):
            self.calm()
            self.pass_time(250, (0, 1))
        for rig in self.rigs:
            state = rig.engine._state
            assert rig.closed, "rule 11"
            assert (state.calls.by_id, state.handlers.running) == ({}, {}), "rule 11"
            assert rig not in stayed or (state.keepers, rig.slots_taken) == ({}, 0), "rule 10"
        self.truth()

    def calm(self) -> None:
        """All that is in flight ends well."""
        for _ in range(100):
            busy = False
            for rig in self.rigs:
                while rig.threads:
                    rig.returned(rig.threads.pop())
                for invoke in list(rig.invokes):
                    self.end(rig, invoke, "runs")
                for exchange in list(rig.exchanges):
                    busy = True
                    rig.answer(self.answers.pop((id(rig), exchange.id), None), lane=exchange.lane)
            if not busy:
                return
        raise AssertionError("it asks for ever")

    def truth(self) -> None:
        """A request that was refused has not happened, and never will."""
        for rig in self.all:
            for call in rig.replies:
                asked, result = rig.asked[call], rig.result(call)
                refused = isinstance(result, DurableJobsError) and not isinstance(result, OutcomeUnknownError)
                if refused and isinstance(asked.request, AddRequested | SendRequested):
                    assert asked.event not in rig.store(asked.key).events, "I-9, S-3: nothing happened"


def test_rules_3_to_12_two_engines_on_one_store_keep_the_contract_whatever_is_late_or_lost() -> None:
    run_state_machine_as_test(Engines, settings=settings(SETTINGS, max_examples=120, stateful_step_count=50))
