"""`step`: what it is, its alarm, time and writers (SPEC §2)."""

from __future__ import annotations

from typing import Any

import pytest
from support.steps import HOUR, MINUTE, Bench, T, asked, continuous, debounce, returns, task

from durable_jobs_core.effects import CallHandler, ClearAlarm, Delete, EmitTelemetry, Persist, Reply, SetAlarm
from durable_jobs_core.errors import InvalidStateError
from durable_jobs_core.events import (
    AddRequested,
    AlarmFired,
    AlarmMisfiled,
    FlushRequested,
    HandlerFailed,
    PauseRequested,
    SendRequested,
    StartRequested,
    TriggerRequested,
)
from durable_jobs_core.record import Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.step import alarm_of, step
from durable_jobs_core.telemetry import AlarmRepaired
from durable_jobs_core.words import INSTANT_MAX, Failure

# -- S-1, S-2: what a step is


def test_S_1_equal_arguments_give_equal_results() -> None:
    bench = Bench(continuous())
    bench.start()
    env = bench.env()

    first = step(bench.definition, bench.record, TriggerRequested(), env)
    second = step(bench.definition, bench.record, TriggerRequested(), env)

    assert first == second


def test_S_1_all_that_a_step_knows_of_the_world_is_in_env() -> None:
    bench = Bench(continuous())
    env = bench.env(entropy=77, number=5, engine=6)

    record = step(bench.definition, None, StartRequested(Stored(1, 0)), env).record

    assert record is not None
    assert tuple(record.revision) == (77, 5, 6)
    assert (record.created_at, record.at) == (T, T)


def test_S_1_jitter_comes_from_entropy() -> None:
    bench = Bench(continuous(retry=Retry(max_attempts=3, delay="10 seconds")))
    bench.start()
    failed = HandlerFailed(bench.lease.token, Failure("Error", "no"))

    alarms = {
        alarm_of("continuous", record)
        for entropy in (0, 2**62, 2**63)
        if (record := step(bench.definition, bench.record, failed, bench.env(entropy=entropy)).record)
    }

    assert alarms == {T + 9_000, T + 9_500, T + 10_000}


def test_S_1_whether_a_run_may_start_is_told() -> None:
    bench = Bench(continuous(), worker=False)

    bench.start()

    assert bench.calls == []


def test_S_2_a_commit_is_one_write_of_the_record_and_its_alarm() -> None:
    bench = Bench(task())
    bench.send()
    idle = bench.transition
    bench.inline["on_event"] = returns(asked(after=MINUTE))
    bench.send()
    scheduled = bench.transition

    assert idle.record is not None
    assert scheduled.record is not None
    assert idle.commit == (Persist(idle.record), ClearAlarm())
    assert scheduled.commit == (Persist(scheduled.record), SetAlarm(T + MINUTE))


def test_S_2_or_one_deletion() -> None:
    bench = Bench(task())
    bench.send()

    bench.terminate()

    assert bench.transition.commit == (Delete(), ClearAlarm())
    assert bench.transition.record is None


def test_S_2_or_nothing() -> None:
    bench = Bench(task())
    bench.send()
    record = bench.record

    bench.status()

    assert (bench.transition.commit, bench.transition.record) == ((), record)


def test_S_2_I_7_reply_telemetry_and_leased_hook_come_after_the_commit_in_this_order() -> None:
    bench = Bench(continuous())

    bench.start()

    assert [type(effect) for effect in bench.transition.commit] == [Persist, SetAlarm]
    assert [type(effect) for effect in bench.transition.then] == [EmitTelemetry, Reply, CallHandler]


# -- S-4: the alarm


@pytest.mark.parametrize("job", [continuous(), debounce(), task()], ids=lambda job: job.kind)
def test_S_4_the_alarm_written_is_derived_from_the_record(job: Any) -> None:
    bench = Bench(job)
    request = {
        "continuous": StartRequested(Stored(1, 0)),
        "debounce": AddRequested(event=1),
        "task": SendRequested(event="e"),
    }
    bench.request(request[job.kind])

    written = bench.transition.commit[1]

    assert (written.at if isinstance(written, SetAlarm) else None) == bench.alarm


def test_S_4_a_misfiled_alarm_is_put_right_and_said() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    body = bench.body

    bench.feed(AlarmMisfiled(5))

    assert bench.transition.commit == (Persist(bench.record), SetAlarm(T + MINUTE))  # type: ignore[arg-type]
    assert (bench.last(AlarmRepaired).found, bench.body) == (5, body)


def test_S_4_a_late_alarm_runs_what_is_due_and_a_duplicate_one_nothing_more() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.wait(HOUR)

    bench.fire()
    calls = len(bench.calls)
    bench.fire()

    assert (calls, len(bench.calls), bench.transition.commit) == (2, 2, ())


def test_S_4_an_early_alarm_changes_nothing() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.wait(MINUTE - 1)

    bench.fire()

    assert bench.transition.commit == ()


def test_S_4_a_spurious_alarm_of_no_instance_changes_nothing() -> None:
    bench = Bench(task())

    bench.fire()

    assert (bench.record, bench.transition.commit, bench.transition.then) == (None, (), ())


@pytest.mark.parametrize(
    ("due", "alarm"),
    [(-HOUR, 0), (0, 0), (1, 1), (INSTANT_MAX, INSTANT_MAX)],
)
def test_S_4_an_alarm_is_an_instant_of_the_calendar_also_for_a_schedule_before_it(
    due: int, alarm: int
) -> None:
    bench = Bench(task(), worker=False, inline={"on_event": returns(asked(at=due))})

    bench.send()

    assert bench.alarm == alarm


def test_S_4_an_alarm_is_an_instant_of_the_calendar_also_for_a_lease_that_ends_after_it() -> None:
    bench = Bench(continuous(), now=INSTANT_MAX - 1)

    bench.start()

    assert (bench.lease.until, bench.alarm) == (INSTANT_MAX - 1 + 30_000, INSTANT_MAX)


# -- S-5, I-9: what is illegal


@pytest.mark.parametrize(
    ("job", "request_"),
    [
        (continuous(), AddRequested(event=1)),
        (continuous(), SendRequested(event="e")),
        (continuous(), FlushRequested()),
        (debounce(), TriggerRequested()),
        (debounce(), StartRequested(Stored(1, 0))),
        (task(), PauseRequested()),
        (task(), AddRequested(event=1)),
    ],
)
def test_S_5_I_9_a_request_of_another_kind_is_an_invalid_state_and_changes_nothing(
    job: Any, request_: Any
) -> None:
    bench = Bench(job)

    with pytest.raises(InvalidStateError) as caught:
        bench.request(request_)

    assert caught.value.key == bench.key
    assert (caught.value.state, caught.value.request) == (f"a {job.kind}", type(request_).__name__)
    assert bench.record is None


def test_S_5_a_failing_hook_is_an_event_not_an_exception() -> None:
    bench = Bench(continuous())
    bench.start()

    bench.fail()

    assert (bench.phase, bench.emitted) == ("pending", ["job.failed"])


# -- S-7: time


@pytest.mark.parametrize("event", [AlarmFired(), TriggerRequested()])
def test_S_7_time_along_one_history_never_goes_back(event: Any) -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.now -= HOUR

    bench.feed(event)

    assert bench.record is not None
    assert bench.record.at == T


def test_S_7_a_lease_is_counted_from_the_last_commit_if_that_is_later() -> None:
    bench = Bench(continuous())
    bench.start()
    bench.succeed()
    bench.now -= HOUR

    bench.trigger()

    assert (bench.lease.since, bench.alarm) == (T, T + 30_000)


# -- D-6: who wrote


def test_D_6_a_record_names_the_last_write_of_each_of_the_last_eight_engines() -> None:
    bench = Bench(continuous(), engine=101)
    bench.start()
    for engine in (*range(102, 111), 104):
        bench.engine = engine
        bench.feed(AlarmMisfiled(None))  # one write

    assert bench.record is not None
    assert bench.record.writers == (
        (104, 11), (110, 10), (109, 9), (108, 8), (107, 7), (106, 6), (105, 5), (103, 3),
    )  # fmt: skip
