"""`Keeper` alone, without an engine: one key, its inputs, and the one write it may have in flight."""

from __future__ import annotations

import pytest
from support import keepers
from support.bench import Bench, add, answers, debounce, effects, error_types, running, send, succeeded
from support.samples import CHORE, FOLD, LATEST, START, TICK, chore, folding, latest, tick

from durable_jobs_core.backend import Damaged, Row
from durable_jobs_core.codec import Loaded, Newer
from durable_jobs_core.effects import CallHandler, EmitTelemetry, Reply
from durable_jobs_core.engine.entries import Reading
from durable_jobs_core.errors import (
    DuplicateEventError,
    NewerVersionError,
    OutcomeUnknownError,
    OverloadedError,
    SchedulerError,
    StorageError,
)
from durable_jobs_core.events import (
    AlarmFired,
    AlarmMisfiled,
    ClearRequested,
    Event,
    HandlerSucceeded,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.operations import Operations, Termination
from durable_jobs_core.words import INSTANT_MAX


def collecting(**options: int) -> Bench:
    """A debounce without a reducer that has taken one event."""
    bench = Bench(latest(**options), LATEST)
    bench.ask(add(0))
    bench.commit()
    return bench


# -- several steps, one write (D-5)


def test_inputs_stepped_together_form_one_write() -> None:
    bench = Bench(latest(), LATEST)
    for event in range(1_000):
        bench.push(add(event))
    bench.advance()

    released = bench.commit()

    assert debounce(bench).window is not None
    assert [answer.event_count for answer in answers(released)] == list(range(1, 1_001))


def test_all_steps_of_a_write_have_its_revision() -> None:
    bench = collecting()
    bench.ask(add(1))
    first = bench.keeper.number

    bench.ask(add(2))

    assert bench.keeper.number == first == bench.highest


def test_inputs_queue_while_a_write_is_in_flight() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.write()

    assert bench.ask(add(2)) == []
    assert not bench.keeper.dirty


def test_what_queued_during_a_write_is_stepped_on_its_result() -> None:
    bench = collecting()
    bench.ask(add(1))
    _, writing = bench.write()
    bench.push(add(2))
    bench.land(writing)
    bench.keeper.committed(bench.stamp)

    bench.advance()

    assert [answer.event_count for answer in answers(bench.commit())] == [3]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param(StatusRequested(), "debouncing", id="a read"),
        pytest.param(add(2, "known"), DuplicateEventError, id="an error"),
    ],
)
def test_I_7_a_reply_waits_for_the_write_of_the_copy_it_was_computed_on(
    later: object, expected: object
) -> None:
    bench = Bench(latest(), LATEST)
    bench.ask(add(1, "known"))

    before = bench.ask(later)
    after = answers(bench.commit())

    assert before == []
    assert len(after) == 2
    assert expected in (type(after[1]), getattr(after[1], "status", None))


def test_what_follows_a_commit_comes_in_the_order_of_the_steps() -> None:
    bench = Bench(tick(), TICK, may_start=True)
    bench.ask(START)

    released = bench.commit()

    assert [type(effect) for effect in effects(released)] == [EmitTelemetry, Reply, CallHandler]


def test_a_creation_and_an_end_of_its_life_are_two_writes() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    bench.ask(TerminateRequested())

    created = answers(bench.commit())
    bench.advance()
    ended = answers(bench.commit())

    assert (len(created), ended[0].terminated, bench.stored) == (1, True, None)


def test_a_step_that_ends_a_life_ends_its_write() -> None:
    bench = collecting()
    bench.ask(TerminateRequested())

    bench.ask(add(1))
    ended = bench.commit()
    bench.advance()
    begun = bench.commit()

    assert [answer.terminated for answer in answers(ended)] == [True]
    assert [(answer.created, answer.event_count) for answer in answers(begun)] == [(True, 1)]


def test_a_write_that_was_not_sent_after_all_is_as_before() -> None:
    bench = collecting()
    bench.ask(add(1))
    steps = list(bench.keeper.steps)
    bench.write()

    bench.keeper.cancel_write()

    assert (bench.keeper.steps, bench.keeper.blocked) == (steps, False)


def test_a_step_is_held_until_its_time() -> None:
    bench = collecting()
    bench.keeper.resume_at = 1

    assert bench.ask(add(1)) == []
    assert not bench.keeper.dirty


def test_requests_are_stepped_in_the_order_they_came_terminate_too() -> None:
    bench = collecting()
    bench.push(add(1))
    bench.push(TerminateRequested())
    bench.advance()

    assert [type(answer).__name__ for answer in answers(bench.commit())] == ["AddResult", "TerminateResult"]


def test_S_24_a_step_that_carries_the_inbox_into_a_new_life_ends_its_write_too() -> None:
    bench = running(chore(), CHORE, send(1), TriggerRequested())
    bench.ask(send(2))
    bench.commit()
    life = bench.record.revision.life
    ended = HandlerSucceeded(succeeded(bench).token, Operations(terminate=Termination("enough")))
    bench.may_start = False
    bench.push(ended, urgent=True, brings_slot=True)
    bench.push(StatusRequested())
    bench.advance()

    told = answers(bench.commit())
    later = answers(bench.proceed())

    assert (told, [answer.status for answer in later]) == ([], ["active"])
    assert bench.record.revision.life != life


def test_an_input_that_comes_while_a_key_is_to_be_read_changes_nothing_of_that() -> None:
    bench = collecting()
    bench.push(StatusRequested())
    bench.advance()
    assert bench.keeper.reads is Reading.LOAD

    bench.push(add(1))

    assert bench.keeper.reads is Reading.LOAD


# -- freshness of reads, and unread creations (D-7)


def test_S_3_a_read_is_answered_from_what_was_read_after_it_came() -> None:
    bench = collecting()
    bench.other(add(1))
    bench.push(StatusRequested())

    at_once = bench.advance()
    fresh = bench.proceed()

    assert (at_once, answers(fresh)[0].event_count) == ([], 2)


def test_a_read_is_answered_at_once_from_what_was_read_since_it_came() -> None:
    bench = collecting()
    bench.push(StatusRequested())
    bench.push(StatusRequested())
    bench.proceed()
    bench.keeper.stamp = 10

    released = bench.ask(StatusRequested())

    assert len(answers(released)) == 1
    assert bench.keeper.reads is None


def test_an_error_is_answered_from_what_was_read_after_its_request_came() -> None:
    bench = collecting(max_pending=1)
    bench.other(ClearRequested())

    released = bench.ask(add(1))

    assert (error_types(released), bench.keeper.dirty) == ([], True)


def test_an_error_of_an_unread_creation_is_answered_when_it_has_been_read_that_nothing_is_there() -> None:
    bench = Bench(tick(start_immediately=False), TICK)
    bench.now = INSTANT_MAX
    bench.push(START)

    at_once = bench.advance()

    assert (at_once, bench.keeper.reads) == ([], Reading.LOAD)
    assert error_types(bench.proceed()) == [SchedulerError]


def test_an_input_that_says_nothing_needs_no_reading() -> None:
    bench = collecting()
    bench.push(AlarmFired())

    released = bench.advance()

    assert (effects(released), bench.keeper.reads, bench.keeper.idle) == ([], None, True)


@pytest.mark.parametrize(
    ("definition", "key", "request_", "unread"),
    [
        pytest.param(tick(), TICK, START, True, id="start"),
        pytest.param(latest(), LATEST, add(1), True, id="the default reducer"),
        pytest.param(folding(), FOLD, add(1), False, id="a reducer"),
        pytest.param(chore(), CHORE, send(1), False, id="send"),
        pytest.param(tick(), TICK, TriggerRequested(), False, id="trigger"),
    ],
)
def test_only_what_calls_no_user_code_is_created_unread(
    definition: object, key: object, request_: object, unread: bool
) -> None:
    bench = Bench(definition, key)  # type: ignore[arg-type]
    bench.push(request_)

    bench.advance()

    assert (bench.keeper.dirty, bench.keeper.reads) == (unread, None if unread else Reading.LOAD)


def test_an_unread_creation_expects_no_row() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)

    write, _ = bench.write()

    assert write.expected is None


def test_an_unread_creation_of_what_exists_conflicts_and_answers_from_it() -> None:
    bench = Bench(tick(), TICK)
    bench.other(START)
    bench.ask(START)

    bench.conflict()

    assert [answer.created for answer in answers(bench.advance())] == [False]


def test_a_read_behind_an_unread_creation_waits_for_its_write() -> None:
    bench = Bench(tick(), TICK)
    bench.push(START)
    bench.push(StatusRequested())
    bench.advance()
    bench.load()
    assert bench.keeper.dirty  # nothing was there: what was stepped stands

    bench.proceed()

    assert [type(answer).__name__ for answer in answers(bench.commit())] == [
        "StartResult",
        "ContinuousStatus",
    ]


def test_a_row_that_is_read_behind_an_unread_creation_is_what_both_are_stepped_on() -> None:
    bench = Bench(tick(), TICK)
    bench.other(START)
    bench.push(START)
    bench.push(StatusRequested())

    released = bench.proceed()

    assert [getattr(answer, "created", None) for answer in answers(released)] == [False, None]
    assert not bench.keeper.dirty


# -- conflicts


def test_S_3_a_conflict_steps_the_same_inputs_in_their_order_on_what_is_there() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.ask(add(2))
    bench.other(add(9))

    told = bench.conflict()
    bench.advance()

    assert answers(told) == []
    assert [answer.event_count for answer in answers(bench.commit())] == [3, 4]
    window = debounce(bench).window
    assert window is not None
    assert window.state.value == 2


def test_a_conflict_is_counted_on_every_input_of_the_write() -> None:
    bench = collecting()
    entries = [bench.push(add(1)), bench.push(add(2))]
    bench.advance()
    bench.other(add(9))

    bench.conflict()

    assert [entry.conflicts for entry in entries] == [1, 1]


def test_what_came_during_a_write_stays_behind_what_conflicted() -> None:
    bench = collecting()
    bench.ask(add(1))
    _, writing = bench.write()
    bench.push(add(2))
    bench.other(add(9))
    bench.keeper.conflicted(bench.stored, bench.stamp)
    bench.advance()

    released = bench.commit()

    assert [answer.event_count for answer in answers(released)] == [3, 4]
    assert writing.base is not bench.stored


def test_inputs_of_the_engine_that_came_during_a_write_stay_behind_what_conflicted() -> None:
    bench = running(tick(), TICK, START)
    completion = succeeded(bench)
    bench.ask(completion, urgent=True, brings_slot=True)
    bench.write()
    bench.push(AlarmMisfiled(None), urgent=True)
    bench.other(AlarmMisfiled(None))

    bench.keeper.conflicted(bench.stored, bench.stamp)

    assert [entry.event for entry in bench.keeper.urgent] == [completion, AlarmMisfiled(None)]


def test_a_request_that_is_refused_by_the_fresh_record_is_answered_from_it() -> None:
    bench = collecting(max_pending=2)
    bench.ask(add(1))
    bench.other(add(9))

    bench.conflict()

    assert error_types(bench.proceed()) == [OverloadedError]


# -- refusals


def test_S_3_after_a_refusal_the_inputs_are_stepped_again() -> None:
    bench = Bench(tick(), TICK, may_start=True)
    bench.ask(START)
    bench.write()

    steps = bench.keeper.refused()
    taken = bench.slots_taken
    bench.advance()

    assert ([stepped.entry.event for stepped in steps], taken) == ([START], 0)
    assert answers(bench.commit())[0].created


# -- giving up


def test_an_input_that_waits_is_given_up_for_certain() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.write()
    entry = bench.push(add(2))

    assert bench.keeper.forget(entry)
    assert not bench.keeper.requests


def test_an_input_that_was_stepped_is_given_up_without_the_others() -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.push(add(2))
    bench.advance()

    certain = bench.keeper.forget(entry)
    bench.advance()

    assert certain
    assert [answer.event_count for answer in answers(bench.commit())] == [2]


def test_giving_up_an_input_that_waits_leaves_what_was_stepped() -> None:
    bench = Bench(folding(), FOLD)
    bench.ask(add(1))
    entry = bench.push(add(2))
    bench.finish()
    assert bench.keeper.dirty

    assert bench.keeper.forget(entry)

    assert bench.keeper.dirty


def test_of_an_input_whose_write_is_in_flight_nothing_is_certain() -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    bench.write()

    assert not bench.keeper.forget(entry)


def test_an_input_of_the_engine_is_given_up() -> None:
    bench = collecting()
    bench.keeper.resume_at = 1
    entry = bench.push(AlarmFired(), urgent=True)

    assert bench.keeper.forget(entry)
    assert bench.keeper.idle


# -- records that cannot be read (S-6)


def newer() -> Newer:
    return Newer(Row(TICK, b"r", 5, "running", b""), "schema", 2, 1)


def damaged() -> Damaged:
    return Damaged(TICK, b"r", b"raw", "checksum")


def unreadable(found: Loaded) -> Bench:
    bench = Bench(tick(), TICK)
    bench.stored = found
    return bench


@pytest.mark.parametrize(
    "event", [START, StatusRequested(), TerminateRequested()], ids=lambda e: type(e).__name__
)
def test_S_6_requests_to_a_newer_record_are_refused_and_leave_it(event: Event) -> None:
    bench = unreadable(newer())
    bench.push(StatusRequested())
    bench.proceed()

    released = bench.ask(event)

    assert (error_types(released), bench.keeper.dirty) == ([NewerVersionError], False)


@pytest.mark.parametrize("event", [START, TriggerRequested()], ids=lambda e: type(e).__name__)
def test_S_6_requests_to_a_quarantined_record_are_refused_and_leave_it(event: Event) -> None:
    bench = unreadable(damaged())
    bench.push(StatusRequested())
    bench.proceed()

    released = bench.ask(event)

    assert (error_types(released), bench.keeper.dirty) == ([StorageError], False)


def test_S_6_terminate_deletes_a_quarantined_record() -> None:
    bench = unreadable(damaged())
    bench.ask(TerminateRequested())

    write, _ = bench.write()
    released = bench.keeper.committed(bench.stamp)

    assert (write.expected, write.row) == (b"r", None)
    assert [answer.terminated for answer in answers(released)] == [True]
    assert (bench.advance(), bench.keeper.idle) == ([], True)


def test_the_deletion_of_a_quarantined_record_has_a_number_that_no_other_write_has() -> None:
    bench = unreadable(damaged())
    bench.highest = 41
    bench.ask(TerminateRequested())

    _, writing = bench.write()

    assert writing.number == 42


def test_S_3_S_6_if_a_quarantined_record_was_overwritten_no_one_can_tell_whether_it_was_deleted() -> None:
    bench = unreadable(damaged())
    bench.ask(TerminateRequested())
    bench.lose()
    bench.stored = Newer(Row(TICK, b"another", 5, "running", b""), "schema", 2, 1)

    assert error_types(bench.load()) == [OutcomeUnknownError]


def test_what_comes_behind_the_deletion_of_a_quarantined_record_waits_for_it() -> None:
    bench = unreadable(damaged())
    bench.ask(TerminateRequested())
    bench.ask(START)
    bench.commit()

    bench.advance()

    assert answers(bench.commit())[0].created


def test_a_slot_is_given_back_though_the_record_cannot_be_read_any_more() -> None:
    bench = running(tick(), TICK, START)
    completion = succeeded(bench)
    bench.stored = newer()
    bench.ask(StatusRequested())

    bench.ask(completion, urgent=True, brings_slot=True)

    assert bench.slots_taken == 0


# -- idleness


def test_a_keeper_is_idle_until_it_has_something_to_do() -> None:
    bench = Bench(folding(), FOLD)
    seen = [bench.keeper.idle]
    bench.push(add(1))
    seen.append(bench.keeper.idle)
    bench.advance()
    seen.append(bench.keeper.idle)
    bench.proceed()
    seen.append(bench.keeper.idle)
    bench.finish()
    seen.append(bench.keeper.idle)
    bench.commit()
    seen.append(bench.keeper.idle)

    assert seen == [True, False, False, False, False, True]


def test_a_keeper_whose_only_request_was_given_up_waits_for_what_it_reads() -> None:
    bench = Bench(latest(), LATEST)
    entry = bench.push(StatusRequested())
    bench.advance()
    bench.keeper.forget(entry)
    waiting = bench.keeper.idle
    bench.load()

    assert (waiting, bench.keeper.idle) == (False, True)


def test_the_table_of_a_keeper_has_all_it_may_wait_for() -> None:
    assert keepers.table().keys() == {None, *Reading}
