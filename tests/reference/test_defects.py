"""What the original does wrong, by number, and that ours does not: on the real engine.

The numbers are those of the list of the original's defects: 1 to 24, and 41.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from support import samples
from support.rig import EPOCH, Rig, greeted, writes
from support.samples import CHORE, FOLD, LATEST, RETRY, TICK, number

from durable_jobs_core import (
    Client,
    Continuous,
    Debounce,
    DefinitionError,
    ExecutionError,
    Jobs,
    StorageError,
    ValidationError,
    create_durable_jobs,
    cron,
    every,
)
from durable_jobs_core import events as asked
from durable_jobs_core.words import Key, from_datetime, to_datetime
from reference.player import drive

START = asked.StartRequested(number(0))
STATUS, STATE, TRIGGER = asked.StatusRequested(), asked.StateRequested(), asked.TriggerRequested()
FLUSH, TERMINATE = asked.FlushRequested(), asked.TerminateRequested()
SECOND, MINUTE = 1_000, 60_000


def add(event: int) -> asked.AddRequested:
    return asked.AddRequested(event=event)


def send(event: int) -> asked.SendRequested:
    return asked.SendRequested(event=event)


def done(rig: Rig) -> None:
    """Perform exchanges and hooks until there are none."""
    rig.settle()
    while rig.invokes:
        rig.finish()
        rig.settle()


def ask(rig: Rig, key: Key, request: Any, **fields: Any) -> Any:
    """A request, with all that it starts; its result, or its error."""
    call = rig.call(key, request, **fields)
    done(rig)
    return rig.result(call)


def later(rig: Rig, ms: int) -> None:
    """Time passes, and what falls due is done."""
    until = rig.t + ms
    done(rig)
    while rig.t < until:
        wakeup = rig.engine.next_wakeup
        rig.wait(min(until, until if wakeup is None else max(wakeup, rig.t + 1)) - rig.t)
        done(rig)


def restarted(rig: Rig, jobs: Any = None) -> Rig:
    """Another process on the store, at the same time; from now on the store's clock is its."""
    other = greeted(jobs, node=rig.engine._state.node + 1, stores=rig.stores, t=rig.t)
    other.stores[0]._store.clock = other.now
    return other


def told(rig: Rig, type_: str) -> list[Any]:
    """The telemetry values of a type."""
    return [event for event in rig.events if event.type == type_]


class Hook:
    """A hook that does one thing after another, then nothing; `seen`: the states it was shown."""

    def __init__(self, *steps: Callable[[Any], Any] | BaseException) -> None:
        self.steps = list(steps)
        self.seen: list[Any] = []

    def __call__(self, ctx: Any) -> Any:
        self.seen.append(ctx.state)
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, BaseException):
            raise step
        return None if step is None else step(ctx)


def no(times: int = 1) -> list[Exception]:
    return [ValueError("no") for _ in range(times)]


def client(rig: Rig) -> Client:
    """The real client, which checks what it is given."""

    class Caller:
        async def call(self, key: Key, request: Any, **_: Any) -> Any:
            result = ask(rig, key, request)
            if isinstance(result, BaseException):
                raise result
            return result

        async def page(self, *_: Any) -> Any:
            raise NotImplementedError

    definitions: Any = rig.engine._state.jobs
    jobs: Jobs = create_durable_jobs({name: job for (_, name), job in definitions.items()})
    return Client(jobs, Caller())


# -- the alarm is lost and nothing ever runs again


def test_defect_01_a_failing_continuous_without_retry_goes_on() -> None:
    """A1: a run that fails without retry leaves no alarm (S-24)."""
    hook = Hook(*no(2))
    rig = greeted(samples.jobs(tick=samples.tick(hook, retry=None)))
    ask(rig, TICK, START)

    assert ask(rig, TICK, STATUS).next_run_at == to_datetime(EPOCH + MINUTE)
    later(rig, 2 * MINUTE)

    status = ask(rig, TICK, STATUS)
    assert (status.status, status.run_count, len(hook.seen)) == ("running", 3, 3)
    assert rig.entry(TICK) == EPOCH + 3 * MINUTE


def test_defect_02_a_failed_batch_is_parked_and_tried_with_the_next_window() -> None:
    """A2: a flush that fails without retry keeps the batch, and later events are never flushed (S-25)."""
    hook = Hook(*no())
    rig = greeted(samples.jobs(fold=samples.folding(execute=hook, retry=None)))
    ask(rig, FOLD, add(1))
    later(rig, SECOND)
    assert ask(rig, FOLD, STATUS).status == "parked"

    added = ask(rig, FOLD, add(2))
    assert added.will_flush_at == to_datetime(rig.now() + SECOND)
    later(rig, SECOND)

    assert hook.seen == [[1], [1], [2]]
    assert rig.row(FOLD) is None


def test_defect_03_a_failing_task_is_parked_not_active_for_ever() -> None:
    """A3: `execute` that fails without `on_error` leaves the task active, with no alarm (S-24, S-25)."""
    hook = Hook(lambda ctx: (ctx.schedule("7 seconds"), 1 / 0), None)  # type: ignore[arg-type]
    rig = greeted(samples.jobs(chore=samples.chore(execute=hook, retry=None)))
    ask(rig, CHORE, send(1))
    ask(rig, CHORE, TRIGGER)

    status = ask(rig, CHORE, STATUS)
    assert (status.status, status.parked_at, status.scheduled_at) == ("parked", "execute", None)
    assert status.last_error.type == "ZeroDivisionError"
    assert ask(rig, CHORE, TRIGGER, wait_ms=SECOND).outcome == "succeeded"


@pytest.mark.parametrize("error", [TypeError("x is not callable"), SystemExit(1)], ids=["TypeError", "exit"])
def test_defect_04_a_defect_of_a_hook_is_retried_and_told(error: BaseException) -> None:
    """A4: programming errors are not retried, not told, and lose the alarm (S-22)."""
    hook = Hook(error)
    rig = greeted(samples.jobs(tick=samples.tick(hook, retry=RETRY)))
    ask(rig, TICK, START)

    (failed,) = told(rig, "job.failed")
    assert (failed.will_retry, failed.failure.type) == (True, type(error).__name__)
    later(rig, SECOND)
    assert len(hook.seen) == 2
    assert told(rig, "job.executed")[0].attempt == 2


def test_defect_04_on_error_is_told_of_a_defect() -> None:
    """A4: `on_error` of a task is not called for programming errors (S-50)."""
    heard: list[Any] = []

    def dies(event: int, ctx: Any) -> None:
        raise TypeError("x is not callable")

    job = samples.chore(on_event=dies, on_error=lambda error, ctx: heard.append(error.type))
    rig = greeted(samples.jobs(chore=job))

    assert ask(rig, CHORE, send(1)).created
    assert heard == ["TypeError"]


def test_defect_05_a_state_that_does_not_fit_is_a_failure_like_others() -> None:
    """A5: a new state that fails the schema is told as executed, not retried, and loses the alarm (S-22)."""
    hook = Hook(lambda ctx: ctx.set_state("bad"), lambda ctx: ctx.set_state(1))
    rig = greeted(samples.jobs(tick=samples.tick(hook, retry=RETRY)))
    ask(rig, TICK, START)

    assert [event.type for event in rig.events] == ["job.started", "job.failed"]
    assert told(rig, "job.failed")[0].will_retry
    later(rig, SECOND)
    assert ask(rig, TICK, STATE).state == number(1)


def test_defect_06_a_state_that_no_longer_decodes_is_kept_and_the_schedule_goes_on() -> None:
    """A6: after a change of schema every alarm fails untold, and the last one is lost (S-6, S-22)."""
    old = greeted()
    ask(old, TICK, START)
    wants_text = Continuous.make(state=str, schedule=every("1 minute"), execute=samples.nothing, retry=None)
    rig = restarted(old, samples.jobs(tick=wants_text))
    later(rig, MINUTE)

    (failed,) = told(rig, "job.failed")
    assert "str" in failed.failure.message
    assert rig.entry(TICK) == EPOCH + 2 * MINUTE
    assert ask(rig, TICK, STATE).state == number(0)
    upcast = Continuous.make(
        state=str,
        schedule=every("1 minute"),
        execute=lambda ctx: ctx.set_state(ctx.state + "!"),
        state_version=2,
        upcasters={1: str},
    )
    newer = restarted(rig, samples.jobs(tick=upcast))
    later(newer, MINUTE)
    assert ask(newer, TICK, STATE).state.value == "0!"


def test_defect_07_instances_of_a_job_that_is_gone_wait_for_it() -> None:
    """A7: the alarm of a job that is not registered any more is lost (S-8)."""
    old = greeted()
    ask(old, TICK, START)
    without = {key: job for key, job in samples.jobs().items() if key != ("continuous", "tick")}
    rig = restarted(old, without)
    before = rig.row(TICK)
    later(rig, 10 * MINUTE)

    assert rig.row(TICK) == before
    assert rig.entry(TICK) == EPOCH + MINUTE
    again = restarted(rig)
    later(again, SECOND)
    assert ask(again, TICK, STATUS).run_count == 2


def test_defect_08_an_impossible_cron_is_refused_where_it_is_written() -> None:
    """A8: a cron expression that never matches is taken, and dies after the first run (S-32)."""
    with pytest.raises(DefinitionError):
        cron("0 0 0 30 2 *")


def test_defect_09_a_run_whose_worker_died_is_found_again() -> None:
    """A9: an instance that lost its alarm between run and rescheduling is never found (S-14, I-4)."""
    dead = greeted()
    dead.ask(TICK, START)
    assert dead.invokes, "it was killed in the middle of its run"

    rig = restarted(dead)
    later(rig, 31 * SECOND)

    assert told(rig, "job.crashed")
    assert ask(rig, TICK, STATUS).last_run_at is not None
    assert rig.entry(TICK) is not None


# -- orphans and partial creation


def test_defect_10_a_refused_first_event_leaves_nothing() -> None:
    """A10: an invalid first event leaves a window without an alarm, whose events are lost (S-40)."""
    reducer = Hook(ValueError("no"), samples.fold)
    rig = greeted(samples.jobs(fold=samples.folding(reducer)))
    with pytest.raises(ValidationError):
        drive(client(rig).debounce("fold").add("a", "x"))
    assert isinstance(ask(rig, FOLD, add(1)), ExecutionError)
    assert rig.row(FOLD) is None

    added = ask(rig, FOLD, add(2))

    assert (added.created, added.event_count) == (True, 1)
    assert rig.entry(FOLD) == EPOCH + SECOND
    assert reducer.seen == [None, None], "the first call sees no state, not the event"


def test_defect_11_a_refused_start_leaves_nothing() -> None:
    """A11: an invalid input leaves an instance that can neither start nor run (S-30)."""
    rig = greeted()
    jobs = client(rig).continuous("tick")
    with pytest.raises(ValidationError):
        drive(jobs.start("a", "x"))
    assert rig.row(TICK) is None
    assert rig.events == []

    assert drive(jobs.start("a", 1)).created
    assert ask(rig, TICK, STATUS).run_count == 1


def test_defect_12_a_refused_first_event_of_a_task_is_not_counted() -> None:
    """B12: an invalid first event creates the task and counts (S-50)."""
    rig = greeted()
    tasks = client(rig).task("chore")
    with pytest.raises(ValidationError):
        drive(tasks.send("a", "x"))
    assert drive(tasks.status("a")).status == "not_found"

    assert drive(tasks.send("a", 1)).created
    assert drive(tasks.status("a")).event_count == 1


@pytest.mark.parametrize(
    ("key", "request_", "created"),
    [(TICK, START, True), (FOLD, add(1), True), (LATEST, add(1), True), (CHORE, send(1), True)],
    ids=["start", "add", "add without a reducer", "send"],
)
def test_defect_13_an_operation_is_one_write_that_happens_or_does_not(
    key: Key, request_: Any, created: bool
) -> None:
    """A13: an operation is a sequence of writes, and a failure between two leaves a part of it (S-2)."""
    rig = greeted(worker=False)
    call = rig.call(key, request_)
    while not (rig.exchanges and writes(rig.exchanges[0])):
        rig.answer() if rig.exchanges else rig.finish()
    assert len(writes(rig.exchanges[0])) == 1
    rig.refuse(transient=False)
    done(rig)
    assert isinstance(rig.result(call), StorageError)
    assert rig.row(key) is None

    assert ask(rig, key, request_).created is created
    assert rig.entry(key) is not None or key == CHORE
    assert ask(rig, key, TERMINATE).terminated
    assert (rig.row(key), rig.entry(key)) == (None, None)


# -- data loss


def test_defect_14_giving_up_deletes_nothing_and_tells_why() -> None:
    """A14: when retries are exhausted, state and events are deleted and the error is told nowhere (S-24)."""
    hooks = [Hook(*no(3)) for _ in range(3)]
    rig = greeted(
        samples.jobs(
            tick=samples.tick(hooks[0], retry=RETRY),
            fold=samples.folding(execute=hooks[1], retry=RETRY),
            chore=samples.chore(execute=hooks[2], retry=RETRY),
        )
    )
    ask(rig, TICK, START)
    ask(rig, FOLD, add(1))
    ask(rig, CHORE, send(1))
    ask(rig, CHORE, TRIGGER)
    later(rig, 30 * SECOND)

    assert [len(hook.seen) for hook in hooks] == [3, 3, 3]
    statuses = [ask(rig, key, STATUS) for key in (TICK, FOLD, CHORE)]
    assert [status.status for status in statuses] == ["running", "parked", "parked"]
    assert {status.last_error.message for status in statuses} == {"no"}
    states = [ask(rig, key, STATE).state for key in (TICK, FOLD, CHORE)]
    assert [state.value for state in states] == [0, [1], [1]]
    assert {event.failure.message for event in told(rig, "job.failed")} == {"no"}
    assert len(told(rig, "job.retryExhausted")) == 3


def test_defect_15_an_event_added_during_a_flush_is_in_the_next_window() -> None:
    """A15: events added while a flush waits are acknowledged, then deleted (S-42)."""
    hook = Hook()
    rig = greeted(samples.jobs(fold=samples.folding(execute=hook)))
    ask(rig, FOLD, add(1))
    rig.wait(SECOND)
    assert len(rig.invokes) == 1

    call = rig.call(FOLD, add(2))
    rig.settle()
    rig.finish(invoke=rig.invokes[1])
    rig.settle()
    assert rig.result(call).event_count == 1
    later(rig, SECOND)

    assert hook.seen == [[1], [2]]


def test_defect_16_events_beyond_the_maximum_use_up_no_attempts() -> None:
    """A16: each event beyond `max_events` burns an attempt of the batch that waits for its retry (S-42)."""
    hook = Hook(*no())
    rig = greeted(samples.jobs(fold=samples.folding(execute=hook, max_events=2, retry=RETRY)))
    for event in range(5):
        ask(rig, FOLD, add(event))

    assert hook.seen == [[0, 1]]
    assert ask(rig, FOLD, STATUS).attempt == 2
    later(rig, SECOND)
    assert hook.seen == [[0, 1], [0, 1], [2, 3, 4]]


def test_defect_17_no_update_is_lost_between_a_run_and_an_event() -> None:
    """A17: what a request changes while a hook waits is overwritten (S-11, S-51)."""
    rig = greeted(samples.jobs(chore=samples.chore(execute=lambda ctx: ctx.set_state([*ctx.state, 100]))))
    ask(rig, CHORE, send(1))
    rig.ask(CHORE, TRIGGER)
    assert len(rig.invokes) == 1
    queued = rig.ask(CHORE, send(2))
    assert queued.queued
    done(rig)

    assert ask(rig, CHORE, STATE).state.value == [1, 100, 2]


def test_defect_17_a_trigger_joins_the_run_in_flight() -> None:
    """A17, A20: a trigger during a run runs a second time beside it (S-34)."""
    rig = greeted(samples.jobs(tick=samples.tick(lambda ctx: ctx.set_state(ctx.state + 1))))
    rig.ask(TICK, START)
    assert rig.ask(TICK, TRIGGER).joined
    assert len(rig.invokes) == 1
    done(rig)

    assert ask(rig, TICK, STATE).state == number(1)


def test_defect_18_an_event_that_was_stored_is_never_answered_with_an_error() -> None:
    """B18: the event that fills a window is stored, and its `add` fails with the flush (S-45)."""
    rig = greeted(samples.jobs(fold=samples.folding(execute=Hook(*no()), max_events=2, retry=None)))
    ask(rig, FOLD, add(1))

    added = ask(rig, FOLD, add(2))

    assert (added.event_count, added.will_flush_at) == (2, to_datetime(EPOCH))
    assert ask(rig, FOLD, STATUS).batch_event_count == 2


def test_defect_19_none_is_a_state_or_a_failure_never_ignored() -> None:
    """B19: `set_state(None)` is silently ignored (S-16, S-22)."""
    job = Continuous.make(
        state=int | None, schedule=every("1 minute"), execute=lambda ctx: ctx.set_state(None)
    )
    none: Any = None
    strict = samples.tick(lambda ctx: ctx.set_state(none), retry=None)
    rig = greeted(samples.jobs(maybe=job, tick=strict))
    key = Key("continuous", "maybe", "a")
    ask(rig, key, START)
    ask(rig, TICK, START)

    assert ask(rig, key, STATE).state == number(none)
    assert told(rig, "job.failed")[0].key == TICK


# -- double runs and zombies


def test_defect_20_a_flush_during_a_flush_runs_nothing_twice() -> None:
    """A20: a flush during a flush executes the same batch twice (S-11)."""
    hook = Hook()
    rig = greeted(samples.jobs(fold=samples.folding(execute=hook)))
    ask(rig, FOLD, add(1))
    rig.wait(SECOND)
    call = rig.call(FOLD, FLUSH, wait_ms=SECOND)
    rig.settle()
    assert len(rig.invokes) == 1
    done(rig)

    assert rig.result(call).flushed
    assert hook.seen == [[1]]
    assert len(told(rig, "debounce.flushed")) == 1


@pytest.mark.parametrize("key", [TICK, FOLD, CHORE], ids=lambda key: key.kind)
def test_defect_21_nothing_is_left_of_what_was_terminated_while_it_ran(key: Key) -> None:
    """A21: a handler that goes on after a `terminate` writes state, retries and alarms (S-36, I-5)."""
    rig = greeted(
        samples.jobs(
            tick=samples.tick(lambda ctx: ctx.set_state(9)),
            chore=samples.chore(execute=lambda ctx: (ctx.set_state([9]), ctx.schedule("1 second"))),
        )
    )
    if key == TICK:
        rig.ask(key, START)
    elif key == FOLD:
        ask(rig, key, add(1))
        rig.wait(SECOND)
    else:
        ask(rig, key, send(1))
        rig.ask(key, TRIGGER)
    assert len(rig.invokes) == 1

    assert rig.ask(key, TERMINATE).was_running
    done(rig)

    assert (rig.row(key), rig.entry(key)) == (None, None)
    later(rig, MINUTE)
    assert rig.row(key) is None


@pytest.mark.parametrize("key", [TICK, FOLD, CHORE], ids=lambda key: key.kind)
def test_defect_22_an_early_or_second_alarm_changes_nothing(key: Key) -> None:
    """A22: an alarm that comes early or twice runs once more, or burns an attempt (S-4)."""
    waits = Hook(lambda ctx: ctx.schedule("1 minute"))
    chore = samples.chore(on_event=lambda event, ctx: waits(ctx))
    rig = greeted(samples.jobs(tick=samples.tick(start_immediately=False), chore=chore))
    ask(rig, key, {TICK: START, FOLD: add(1), CHORE: send(1)}[key])
    row, due, seen = rig.row(key), rig.entry(key), len(rig.events)
    assert due is not None

    with rig.stores[0]._store.lock:
        rig.stores[0]._store._index(key, rig.now())
    rig.nudge()
    later(rig, 500)

    assert rig.row(key) == row
    assert rig.entry(key) == due
    assert len(rig.events) == seen
    assert rig.invokes == []


def test_defect_23_a_bare_number_is_not_a_time() -> None:
    """A23: a number as a duration is an instant in 1970, due for ever (S-52, S-62)."""
    bare: Any = 60_000
    with pytest.raises(DefinitionError):
        every(bare)
    with pytest.raises(DefinitionError):
        Debounce.make(event=int, flush_after=bare, execute=samples.nothing)
    rig = greeted(samples.jobs(chore=samples.chore(lambda event, ctx: ctx.schedule(bare))))
    assert isinstance(ask(rig, CHORE, send(1)), ExecutionError)


def test_defect_24_cron_never_goes_back_in_the_hour_that_comes_twice() -> None:
    """A24: in the repeated hour the next tick is in the past, and the second pass is skipped (S-33)."""
    job = Continuous.make(
        state=int, schedule=cron("0 */30 * * * *", tz="America/New_York"), execute=samples.nothing
    )
    began = from_datetime(datetime(2024, 11, 3, 5, 10, tzinfo=UTC))  # 01:10, for the first time
    rig = greeted(samples.jobs(half=job), t=began - EPOCH)
    key = Key("continuous", "half", "a")
    ask(rig, key, START)
    ticks = []
    for _ in range(4):
        due = rig.entry(key)
        assert due is not None
        assert due > rig.now()
        ticks.append(to_datetime(due).strftime("%H:%M"))
        later(rig, due - rig.now())

    assert ticks == ["05:30", "06:00", "06:30", "07:00"]


# -- telemetry


def test_defect_41_what_a_failing_request_has_to_tell_is_told() -> None:
    """A41: the events of a call that ends in an error are never delivered (S-65)."""

    def fails(event: int, ctx: Any) -> None:
        raise ValueError("boom")

    rig = greeted(
        samples.jobs(tick=samples.tick(Hook(*no()), retry=None), chore=samples.chore(on_event=fails))
    )
    assert isinstance(ask(rig, CHORE, send(1)), ExecutionError)
    ask(rig, TICK, START)

    assert [(event.type, event.key.job) for event in rig.events] == [
        ("job.failed", "chore"),
        ("job.started", "tick"),
        ("job.failed", "tick"),
    ]
    assert rig.events[0].failure.message == "boom"  # type: ignore[attr-defined]
