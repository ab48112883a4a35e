"""`step`, and what a caller that waits is told (SPEC §2, S-38)."""

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
from durable_jobs_core.words import INSTANT_MAX, Failure, to_datetime

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


# -- S-38: what a caller that waits is told


def test_S_38_a_request_is_answered_after_the_commit_that_makes_the_run_due() -> None:
    bench = Bench(debounce())
    bench.add()

    reply = bench.flush()

    assert (reply.outcome, reply.flushed, reply.event_count) == ("accepted", False, 1)


@pytest.mark.parametrize(
    ("happen", "options", "outcome"),
    [
        ("succeed", {}, "succeeded"),
        ("fail", {}, "retrying"),
        ("fail_for_good", {}, "parked"),
        ("fail_for_good", {"on_exhausted": "terminate"}, "terminated"),
        ("terminate", {}, "terminated"),
    ],
)
def test_S_38_a_waiting_flush_is_told_what_came_of_it(
    happen: str, options: dict[str, Any], outcome: str
) -> None:
    bench = Bench(debounce(**options))
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    before = waiting()

    getattr(bench, happen)()

    told = waiting()
    assert (before, told.outcome, told.flushed) == (None, outcome, outcome == "succeeded")
    assert told.error == (Failure("Error", "boom") if happen.startswith("fail") else None)
    assert told.retry_at == (to_datetime(T + 10_000) if outcome == "retrying" else None)


def test_S_38_a_waiting_flush_is_told_that_it_was_cleared() -> None:
    bench = Bench(debounce(), worker=False)
    bench.add()
    bench.flush()
    waiting = bench.waiting()

    bench.clear()

    assert waiting().outcome == "cleared"


def test_S_38_a_waiting_flush_is_told_of_the_first_that_does_not_succeed() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.add()
    bench.flush()
    waiting = bench.waiting()

    bench.fail("no")

    told = waiting()
    assert (told.outcome, told.error, told.flushed) == ("retrying", Failure("Error", "no"), False)
    assert told.retry_at is not None


def test_S_38_a_flush_commits_a_mark_also_on_a_batch_in_flight() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()

    bench.flush()
    marked = bench.transition.commit
    bench.succeed()

    assert marked
    assert (bench.phase, bench.alarm) == ("idle", bench.now + MINUTE)


def test_S_38_the_attempts_that_have_ended_are_counted() -> None:
    bench = Bench(continuous())
    bench.start()
    counts = [bench.body.ended]
    for happen in (bench.fail, bench.wake, bench.crash, bench.release, bench.succeed):
        happen()
        counts.append(bench.body.ended)

    assert counts == [0, 1, 1, 1, 1, 2]


def test_S_38_looking_changes_nothing() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    waiting, before = bench.waiting(), bench.record

    waiting()

    assert bench.record is before


def test_S_38_a_flush_is_not_answered_by_the_clear_of_a_later_window() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.add()  # the next window, none of the flush's business

    bench.clear()

    assert waiting() is None


def test_S_44_a_flush_whose_window_was_cleared_has_not_flushed_whatever_was_added_since() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    bench.add()
    bench.flush()  # the batch in flight, then the window
    waiting = bench.waiting()
    bench.clear()  # the window is gone; nobody has looked
    bench.succeed()
    bench.add()
    bench.flush()

    bench.succeed()

    assert (waiting().flushed, waiting().outcome) == (False, "cleared")


def test_S_44_a_flush_whose_batch_was_dropped_has_not_flushed_though_the_window_behind_it_was() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add()
    bench.flush()
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.fail()

    bench.succeed()

    assert (waiting().flushed, waiting().outcome) == (False, "terminated")


def test_S_38_a_flush_whose_batch_was_dropped_has_not_flushed_though_a_later_one_was_dropped_too() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.fail("first")
    bench.add()
    bench.flush()

    bench.fail("second")  # nobody has looked

    assert (waiting().flushed, waiting().outcome, str(waiting().error)) == (
        False,
        "terminated",
        "Error: first",
    )


def test_S_38_a_flush_is_not_told_of_a_batch_that_was_dropped_before_it() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add(id="kept")
    bench.flush()
    bench.fail()
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    before = waiting()

    bench.succeed()

    assert (before, waiting().outcome) == (None, "succeeded")


def test_S_38_a_flush_is_not_told_of_a_window_that_was_cleared_before_it_behind_the_batch_in_flight() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    bench.add()
    bench.clear()  # the window; the batch goes on
    bench.add()
    bench.flush()  # the batch, then another window
    waiting = bench.waiting()
    before = waiting()
    bench.succeed()

    bench.succeed()

    assert (before, waiting().outcome) == (None, "succeeded")


def test_S_38_a_flush_is_not_told_of_a_window_that_was_cleared_before_it() -> None:
    bench = Bench(debounce())
    bench.add(id="kept")
    bench.clear()
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    before = waiting()

    bench.succeed()

    assert (before, waiting().outcome) == (None, "succeeded")


def test_S_38_a_flush_that_looks_too_late_to_tell_claims_nothing() -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    for _ in range(20):
        bench.fail()
        bench.add()
        bench.flush()

    assert waiting() is None


@pytest.mark.parametrize(
    ("before", "since", "told"),
    [(4, 0, "succeeded"), (1, 3, "succeeded"), (0, 4, None)],  # four dropped batches are remembered
)
def test_S_38_a_flush_that_succeeded_is_told_so_while_the_batches_dropped_since_are_remembered(
    before: int, since: int, told: str | None
) -> None:
    bench = Bench(debounce(retry=None, on_exhausted="terminate"))

    def flushed() -> None:
        bench.add()
        bench.flush()

    for _ in range(before):
        flushed()
        bench.fail()
    flushed()
    waiting = bench.waiting()
    bench.succeed()
    for _ in range(since):
        flushed()
        bench.fail()

    found = waiting()

    assert (found and found.outcome) == told


def test_S_38_a_flush_has_succeeded_though_a_later_batch_has_failed_since() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.flush()
    waiting = bench.waiting()
    bench.succeed()
    bench.add()
    bench.wake()

    bench.fail()

    assert waiting().flushed


def test_S_38_a_flush_after_a_clear_waits_for_the_batch_that_is_in_flight() -> None:
    bench = Bench(debounce())
    bench.add()
    bench.wake()
    bench.add()
    bench.clear()  # the window only
    bench.flush()
    waiting = bench.waiting()

    bench.succeed()

    assert waiting().flushed


@pytest.mark.parametrize("make", [continuous, task])
@pytest.mark.parametrize(
    ("happen", "on_exhausted", "outcome", "retried"),
    [
        ("succeed", "park", "succeeded", False),
        ("fail", "park", "retrying", True),
        ("fail_for_good", "park", "parked", False),
        ("fail_for_good", "continue", "failed", False),
        ("fail_for_good", "terminate", "terminated", False),
    ],
)
def test_S_38_a_waiting_trigger_is_told_what_came_of_its_attempt(
    make: Any, happen: str, on_exhausted: str, outcome: str, retried: bool
) -> None:
    bench = Bench(make(on_exhausted=on_exhausted))
    bench.request(StartRequested(Stored(1, 0)) if make is continuous else SendRequested(event="e"))
    bench.trigger()
    waiting = bench.waiting()

    getattr(bench, happen)()

    told = waiting()
    failed = outcome in ("retrying", "parked", "failed")  # `terminated` has left nothing
    assert (told.outcome, told.error) == (outcome, Failure("Error", "boom") if failed else None)
    assert told.retry_at == (to_datetime(T + 10_000) if retried else None)


def test_S_38_a_waiting_trigger_is_not_told_of_an_event_that_is_tried_again() -> None:
    bench = Bench(task())
    bench.send()
    bench.trigger()
    bench.send("queued")
    bench.succeed()
    bench.trigger()  # behind the event
    waiting = bench.waiting()

    bench.fail()

    assert waiting() is None


def test_S_38_a_trigger_behind_events_that_park_the_instance_is_told_so() -> None:
    bench = Bench(task(retry=None, inbox_limit=1))
    bench.send()
    bench.trigger()
    bench.send("dead")
    bench.succeed()
    bench.fail()  # the dead letters are full
    bench.trigger()
    bench.send("stuck")
    bench.succeed()
    bench.trigger()  # a new run, behind the event
    waiting = bench.waiting()

    bench.fail("stuck")

    assert (waiting().outcome, waiting().error) == ("parked", Failure("Error", "stuck"))
