"""A state machine over a simulation: a bug in a user's handler shrinks to the few steps it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from charging import Bank, Context, Order, key_of_the_run, make_jobs, own_key
from durable_jobs_simulation import Violation, current
from durable_jobs_simulation.machine import JobsMachine
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from durable_jobs_core import (
    ClosedError,
    Continuous,
    ContinuousContext,
    Debounce,
    DebounceContext,
    DebounceEventContext,
    DuplicateEventError,
    InstanceNotFoundError,
    Jobs,
    Key,
    OutcomeUnknownError,
    Task,
    TaskContext,
    create_durable_jobs,
    every,
)
from durable_jobs_core.engine import Limits

KEY = Key("continuous", "tick", "a")
FEW = settings(max_examples=25, stateful_step_count=15, phases=[Phase.generate])
MANY = settings(FEW, max_examples=200, phases=[Phase.generate, Phase.shrink])


def shrunk(machine: type[JobsMachine]) -> tuple[BaseException, list[str], str]:
    """How a machine fails, the steps of the shortest run in which it does, and all that is shown of it."""
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine, settings=MANY)
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    steps: list[str] = re.findall(r"^state\.(\w+\(.*\))$", notes, re.MULTILINE)
    return caught.value, [step for step in steps if not step.startswith(("teardown", "nobody"))], notes


# -- a handler that charges twice


class Ordering(JobsMachine):
    """Orders are charged to cards (`examples/charging.py`)."""

    key_for: Callable[[Context], str | None] = staticmethod(key_of_the_run)

    def make_jobs(self) -> Jobs:
        self.bank = Bank()
        return make_jobs(self.bank, self.key_for)

    @rule(id=st.sampled_from("ab"))
    def order(self, id: str) -> None:
        with suppress(DuplicateEventError):
            self.ask(self.client.task("orders").send(id, Order(100), event_id="once"))

    @invariant()
    def nobody_pays_twice(self) -> None:
        assert not self.bank.doubled, f"{self.bank.doubled} paid twice"

    def at_end(self) -> None:
        self.nobody_pays_twice()


class OwnKeys(Ordering):
    key_for = staticmethod(own_key)


def test_S_18_a_handler_that_makes_its_own_key_shrinks_to_an_order_and_a_crash() -> None:
    error, steps, trace = shrunk(OwnKeys)

    assert str(error).startswith("['task:orders:a'] paid twice")
    assert steps[0] == "order(id='a')"
    assert "node_crashes(node='w1', when='a hook has ended')" in steps
    assert len(steps) <= 3
    assert "execute run 1 attempt 1 crashes 1" in trace


def test_S_18_the_key_of_the_run_charges_once_however_the_rules_fall() -> None:
    run_state_machine_as_test(Ordering, settings=FEW)


# -- a reducer that forgets


class Collecting(JobsMachine):
    """Numbers are collected in windows, and delivered."""

    kept: int = 1_000
    clients = 0

    def make_jobs(self) -> Jobs:
        self.added: list[int] = []
        self.delivered: list[int] = []

        def collect(ctx: DebounceEventContext[int, list[int]]) -> list[int]:
            return [*(ctx.state or ()), ctx.event][-self.kept :]

        async def deliver(ctx: DebounceContext[list[int]]) -> None:
            self.delivered.extend(ctx.state)

        box = Debounce.make(
            event=int, state=list[int], flush_after="5 seconds", on_event=collect, execute=deliver
        )
        return create_durable_jobs({"box": box})

    @rule()
    def add(self) -> None:
        number = len(self.added)
        with suppress(ClosedError):  # the only node is down
            self.ask(self.client.debounce("box").add("a", number))
            self.added.append(number)

    def at_end(self) -> None:
        assert set(self.delivered) >= set(self.added), "something was not delivered"


class Forgetful(Collecting):
    kept = 2


def test_I_2_a_reducer_that_keeps_two_events_shrinks_to_three_in_a_window() -> None:
    error, steps, _ = shrunk(Forgetful)

    assert str(error).startswith("something was not delivered")
    assert steps == ["add()", "add()", "add()"]


def test_I_1_a_reducer_that_keeps_all_loses_none_however_the_rules_fall() -> None:
    run_state_machine_as_test(Collecting, settings=FEW)


# -- what the base does


class Ticking(JobsMachine):
    """By hand: no Hypothesis."""

    def make_jobs(self) -> Jobs:
        self.ran_at: list[int] = []

        async def execute(ctx: ContinuousContext[int]) -> None:
            self.ran_at.append(current().elapsed_ms)

        tick = Continuous.make(state=int, schedule=every("10 seconds"), execute=execute)
        return create_durable_jobs({"tick": tick})


def test_the_world_stands_still_between_rules_and_moves_for_as_long_as_it_is_told() -> None:
    machine = Ticking()
    machine.ask(machine.client.continuous("tick").start("a", 0))
    began = machine.sim.elapsed_ms

    machine.time_passes("35 seconds")

    assert machine.sim.elapsed_ms == began + 35_000
    assert len(machine.ran_at) == 4
    machine.teardown()


def test_a_rule_gets_the_error_of_its_request() -> None:
    machine = Ticking()

    with pytest.raises(InstanceNotFoundError):
        machine.ask(machine.client.continuous("tick").reschedule("a"))
    machine.teardown()


def test_what_a_rule_spawns_goes_on_beside_the_others() -> None:
    machine = Ticking()

    async def start() -> None:
        await machine.sim.sleep("5 seconds")
        await machine.client.continuous("tick").start("a", 0)

    machine.spawn(start())
    assert machine.sim.status(KEY) == "not_found"
    machine.time_passes("6 seconds")

    assert machine.sim.status(KEY) == "running"
    machine.teardown()


def test_a_node_that_is_to_crash_in_a_hook_lives_if_none_runs() -> None:
    machine = Ticking()

    machine.node_crashes("w1", "a hook runs")

    assert machine.sim.elapsed_ms > 60_000
    assert [event.what for event in machine.trace.events if event.fault] == []
    machine.teardown()


def test_I_8_at_the_end_all_that_is_due_is_done_before_it_is_looked_at() -> None:
    runs: list[int] = []

    class Late(Ticking):
        def at_end(self) -> None:
            runs.extend(self.ran_at)

    machine = Late()
    machine.ask(machine.client.continuous("tick").start("a", 0))
    machine.node_crashes("w1")
    assert runs == []
    machine.teardown()

    assert runs


def test_a_run_that_has_failed_is_not_looked_at_again_at_its_end() -> None:
    class Failing(Ticking):
        @rule()
        def fail(self) -> None:
            raise AssertionError("the first")

        def at_end(self) -> None:
            raise AssertionError("the second")

    with pytest.raises(AssertionError, match="the first"):
        run_state_machine_as_test(Failing, settings=FEW)


def test_a_violation_in_a_rule_is_raised_with_its_trace() -> None:
    machine = Ticking()

    async def see() -> None:
        current().fail("I-1: it is lost")

    machine.spawn(see())
    with pytest.raises(Violation) as caught:
        machine.time_passes("1 second")

    assert (caught.value.invariant, caught.value.why) == ("I-1", "it is lost")
    machine.teardown()


# -- timers of any length


class Reminding(JobsMachine):
    """Who has not paid in three days is reminded; who pays must not be."""

    def make_jobs(self) -> Jobs:
        self.reminded: list[str] = []

        async def on_event(event: str, ctx: TaskContext[str]) -> None:
            ctx.set_state(event)
            if event == "placed":
                ctx.schedule("3 days")

        async def execute(ctx: TaskContext[str]) -> None:
            if ctx.state == "paid":
                self.reminded.append(ctx.instance_id)

        orders = Task.make(event=str, state=str, on_event=on_event, execute=execute)
        return create_durable_jobs({"orders": orders})

    @rule(event=st.sampled_from(["placed", "paid"]))
    def send(self, event: str) -> None:
        with suppress(ClosedError, OutcomeUnknownError):
            self.ask(self.client.task("orders").send("a", event))

    @invariant()
    def nobody_who_has_paid_is_reminded(self) -> None:
        assert not self.reminded, f"{self.reminded} have paid"


def test_a_timer_that_is_not_cancelled_shrinks_to_its_alarm_however_late_it_is() -> None:
    error, steps, _ = shrunk(Reminding)

    assert "have paid" in str(error)
    assert steps == ["send(event='placed')", "send(event='paid')", "next_alarm_comes()"]


def test_the_next_alarm_is_none_if_nothing_is_due_or_not_for_longer_than_can_be_simulated() -> None:
    class Hasty(Reminding):
        limits = Limits(poll=1_000)

    for machine, there in ((Reminding(), True), (Hasty(), False)):
        assert machine.next_alarm is None
        machine.send("placed")
        assert (machine.next_alarm is not None) == there
        machine.teardown()
