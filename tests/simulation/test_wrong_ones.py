"""The simulation is tested: faults of the core and the engine are found, by the check that names them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from attrs import evolve
from durable_jobs_simulation import Faults, Violation
from durable_jobs_simulation.scenarios import CASES

from durable_jobs_core.effects import EmitTelemetry
from durable_jobs_core.engine import callers, exchanges, hooks, keeper, turn
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import Lane
from durable_jobs_core.engine.settling import Settled
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.engine.state import State
from durable_jobs_core.events import AlarmFired, HandlerSucceeded, SendRequested, TerminateRequested
from durable_jobs_core.kinds import KINDS, _draft
from durable_jobs_core.kinds import debounce as debounce_kind
from durable_jobs_core.kinds._table import Cell
from durable_jobs_core.results import SendResult, TerminateResult

Patch = pytest.MonkeyPatch
SEEDS = 80


DEAF = Faults(hook_deaf=0.5, hook_hang=0.2, partition=0.02)
"""What some plants need to show, and a swarm seldom draws together."""


def found(case: str, faults: Faults | None) -> str | None:
    """The invariant that the first failing seed violates; the first run is one without faults."""
    for seed in range(SEEDS):
        try:
            CASES[case]().run(seed, faults if seed else Faults())
        except Violation as violation:
            return violation.invariant
    return None


def after(patch: Patch, kind: Any, event: type, wrong: Callable[[Any], None]) -> None:
    """`wrong` is done to the draft after every handler of `event`."""
    row: Any = KINDS[kind].table[event]
    for phase, cell in tuple(row.items()):

        def handler(d: Any, event: Any, right: Any = cell.handler) -> None:
            right(d, event)
            wrong(d)

        patch.setitem(row, phase, Cell(handler, frozenset(type(phase))))


def instead(patch: Patch, kind: Any, event: type, wrong: Callable[[Any, Any], None]) -> None:
    """`wrong` is done in the place of every handler of `event`."""
    row: Any = KINDS[kind].table[event]
    for phase in tuple(row):
        patch.setitem(row, phase, Cell(wrong, frozenset(type(phase))))


# -- the core


def forgets_the_alarm_of_a_retry(patch: Patch) -> None:
    module = import_module("durable_jobs_core.step")
    right = module.alarm_of

    def wrong(kind: Any, record: Any) -> int | None:
        run = record.body.run
        return None if run is not None and run.attempt > 1 and run.lease is None else right(kind, record)

    patch.setattr(module, "alarm_of", wrong)


def never_counts_a_failed_attempt(patch: Patch) -> None:
    right = _draft.Draft.failed

    def wrong(self: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = right(self, run, *args, **kwargs)
        return evolve(outcome, attempt=run.attempt) if hasattr(outcome, "attempt") else outcome

    patch.setattr(_draft.Draft, "failed", wrong)


def drops_the_window_with_the_batch(patch: Patch) -> None:
    after(patch, "debounce", HandlerSucceeded, lambda d: d.maybe_body and d.change(window=None))


def closes_a_window_and_loses_an_event(patch: Patch) -> None:
    right: Any = debounce_kind._close

    def wrong(d: Any, window: Any, reason: Any) -> Any:
        run = right(d, window, reason)
        batch = d.body.batch
        d.change(batch=evolve(batch, state=evolve(batch.state, value=batch.state.value[:-1])))
        return run

    patch.setattr(debounce_kind, "_close", wrong)


def answers_a_send_and_forgets_it(patch: Patch) -> None:
    def wrong(d: Any, event: Any) -> None:
        d.reply(SendResult(instance_id=str(d.key), created=False, queued=True))

    instead(patch, "task", SendRequested, wrong)


def terminates_without_deleting(patch: Patch) -> None:
    def wrong(d: Any, event: Any) -> None:
        d.touched = d.maybe_body is not None
        d.reply(TerminateResult(instance_id=str(d.key), terminated=d.touched))

    instead(patch, "continuous", TerminateRequested, wrong)


def counts_a_crash_before_the_lease_has_ended(patch: Patch) -> None:
    def wrong(d: Any, event: Any) -> None:
        run = d.body.in_flight
        if run is not None and d.env.may_start:
            d.keep(evolve(run, crashes=0, due=d.now, lease=None))

    row: Any = KINDS["continuous"].table[AlarmFired]
    phase = next(phase for phase in row if phase.name == "RUNNING")
    patch.setitem(row, phase, Cell(wrong, frozenset(type(phase))))
    patch.setattr(Lane, "note_wake", lambda self, instant: setattr(self, "next_wake", 0))


def commits_for_whoever_holds_the_lease_now(patch: Patch) -> None:
    row: Any = KINDS["continuous"].table[HandlerSucceeded]
    phase = next(phase for phase in row if phase.name == "RUNNING")
    right: Any = row[phase]

    def wrong(d: Any, event: Any) -> None:
        right.handler(d, evolve(event, token=d.body.in_flight.lease.token))

    patch.setitem(row, phase, Cell(wrong, right.to))


def keeps_the_key_of_no_run(patch: Patch) -> None:
    right = _draft.Draft.call_of

    def wrong(self: Any, hook: Any, run: Any, **shown: Any) -> Any:
        call = right(self, hook, run, **shown)
        return evolve(call, run=call.run * 100 + call.attempt)

    patch.setattr(_draft.Draft, "call_of", wrong)


# -- the engine


def takes_an_unknown_write_for_committed(patch: Patch) -> None:
    patch.setattr(keeper, "settle", lambda lost, found, **_: Settled(lost[-1] if lost else None))


def never_finds_a_lost_write(patch: Patch) -> None:
    patch.setattr(keeper, "settle", lambda lost, found, **_: Settled())


def does_what_a_step_orders_at_once(patch: Patch) -> None:
    right = Keeper._step

    def wrong(self: Keeper, queue: Any, make_env: Any, released: Any) -> bool:
        before = len(self.steps)
        more = right(self, queue, make_env, released)
        for index, stepped in enumerate(self.steps[before:], before):
            if stepped.then and stepped.writes:
                released.append(keeper.Released(stepped.entry, stepped.then, committed=True))
                self.steps[index] = evolve(stepped, then=())
        return more

    patch.setattr(Keeper, "_step", wrong)


def forgets_inputs_after_a_conflict(patch: Patch) -> None:
    right = Keeper.conflicted

    def wrong(self: Keeper, found: Any, stamp: int) -> Any:
        lost = () if self.writing is None else self.writing.steps
        released = right(self, found, stamp)
        self._remove({stepped.entry for stepped in lost})
        return released

    patch.setattr(Keeper, "conflicted", wrong)


def reads_from_its_cache(patch: Patch) -> None:
    right = Keeper._answer

    def wrong(self: Keeper, queue: Any, then: Any, released: Any) -> bool:
        queue[0].arrived = -1
        return right(self, queue, then, released)

    patch.setattr(Keeper, "_answer", wrong)


def says_nothing_happened_while_it_may(patch: Patch) -> None:
    right = Keeper.forget

    def wrong(self: Keeper, entry: Any) -> bool:
        right(self, entry)
        return True

    patch.setattr(Keeper, "forget", wrong)


def uses_the_outcome_of_a_hook_that_saw_something_else(patch: Patch) -> None:
    patch.setattr(debounce_kind, "answered", lambda outcomes, call: outcomes[-1] if outcomes else None)


def never_renews_a_lease(patch: Patch) -> None:
    patch.setattr(hooks, "renew", lambda state: None)
    patch.setattr(hooks, "next_renewal", lambda state: None)


def starts_while_its_own_handler_runs(patch: Patch) -> None:
    right = State._may_start

    def wrong(self: State, keeper: Any, entry: Any) -> bool:
        leased, self.handlers.leased = self.handlers.leased, {}
        try:
            return right(self, keeper, entry)
        finally:
            self.handlers.leased = leased

    patch.setattr(State, "_may_start", wrong)


def never_gives_a_slot_back(patch: Patch) -> None:
    patch.setattr(Slots, "give", lambda self, job, count=1: None)


def forgets_deadlines(patch: Patch) -> None:
    patch.setattr(callers, "_expire", lambda state, call: None)


def loses_sight_of_due_work(patch: Patch) -> None:
    patch.setattr(Lane, "look_again", lambda self, jobs, poll_at: setattr(self, "poll_at", poll_at))


def tells_telemetry_twice(patch: Patch) -> None:
    right = turn.perform

    def wrong(state: State, keeper: Any, entry: Any, then: tuple[Any, ...], *, committed: bool) -> None:
        right(state, keeper, entry, then, committed=committed)
        told = tuple(effect for effect in then if isinstance(effect, EmitTelemetry))
        right(state, keeper, entry, told, committed=True)

    patch.setattr(turn, "perform", wrong)
    patch.setattr(exchanges, "perform", wrong)


def answers_waiters_too_early(patch: Patch) -> None:
    patch.setattr(callers, "observe", lambda watch, record, result: evolve(result, outcome="succeeded"))


SHELF: tuple[tuple[str, Callable[[Patch], None], str], ...] = (
    ("tokens", forgets_the_alarm_of_a_retry, "I-4"),
    ("tokens", never_counts_a_failed_attempt, "I-6"),
    ("webhooks", drops_the_window_with_the_batch, "I-1 S-44"),
    ("webhooks", closes_a_window_and_loses_an_event, "I-2"),
    ("orders", answers_a_send_and_forgets_it, "I-7 I-1"),
    ("tokens", terminates_without_deleting, "I-5"),
    ("tokens", counts_a_crash_before_the_lease_has_ended, "I-3 I-6"),
    ("tokens", keeps_the_key_of_no_run, "I-7 S-18"),
    ("webhooks", takes_an_unknown_write_for_committed, "I-1 I-7"),
    ("webhooks", never_finds_a_lost_write, "I-1 I-2 I-9"),
    ("tokens", does_what_a_step_orders_at_once, "I-7"),
    ("webhooks", forgets_inputs_after_a_conflict, "I-8 engine"),
    ("tokens", reads_from_its_cache, "S-3"),
    ("webhooks", says_nothing_happened_while_it_may, "I-9"),
    ("webhooks", uses_the_outcome_of_a_hook_that_saw_something_else, "I-1 I-2"),
    ("tokens", commits_for_whoever_holds_the_lease_now, "I-3"),
    ("tokens", never_renews_a_lease, "S-14"),
    ("tokens", starts_while_its_own_handler_runs, "engine"),
    ("tokens", never_gives_a_slot_back, "I-8"),
    ("tokens", forgets_deadlines, "S-3 I-8"),
    ("tokens", loses_sight_of_due_work, "I-8"),
    ("tokens", tells_telemetry_twice, "I-7 engine"),
    ("tokens", answers_waiters_too_early, "S-38"),
)


@pytest.mark.parametrize(
    ("case", "plant", "invariants"), SHELF, ids=[plant.__name__ for _, plant, _ in SHELF]
)
def test_a_planted_fault_is_found(
    monkeypatch: Patch, case: str, plant: Callable[[Patch], None], invariants: str
) -> None:
    plant(monkeypatch)

    faults = DEAF if plant is starts_while_its_own_handler_runs else None
    assert found(case, faults) in invariants.split()
