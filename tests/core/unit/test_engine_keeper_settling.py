"""`Keeper` and writes whose outcome is unknown: the cases (a) to (f) of D-6, and late landings."""

from __future__ import annotations

import pytest
from support.bench import NODE, Bench, add, answers, effects, error_types
from support.samples import FOLD, LATEST, START, TICK, folding, latest, tick

from durable_jobs_core.effects import CallHandler
from durable_jobs_core.engine.entries import Reading
from durable_jobs_core.errors import OutcomeUnknownError, StorageError
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
from durable_jobs_core.operations import Operations
from durable_jobs_core.record import WRITERS_MAX, DebounceBody
from durable_jobs_core.words import Key


def collecting() -> Bench:
    """A debounce that has taken one event, written by this engine."""
    bench = Bench(latest(), LATEST)
    bench.ask(add(0))
    bench.commit()
    return bench


def count(bench: Bench) -> int:
    """How many events the stored window has."""
    body = bench.record.body
    assert isinstance(body, DebounceBody)
    assert body.window is not None
    return body.window.count


def crowd(bench: Bench) -> None:
    """So many other engines write that none before them is remembered."""
    for engine in range(100, 100 + WRITERS_MAX):
        bench.other(AlarmMisfiled(None), engine)


# -- while it settles


def test_nothing_is_stepped_or_answered_while_a_key_settles() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.lose()

    bench.push(add(2))
    released = bench.advance()

    assert (released, bench.keeper.dirty, bench.keeper.reads) == ([], False, Reading.SETTLE)


def undone(definition: object, key: Key) -> Bench:
    """A write that did not land, and may yet: its input is to be stepped again."""
    bench = Bench(definition, key)
    bench.other(add(0))
    bench.ask(AlarmMisfiled(None), urgent=True)
    bench.lose()
    bench.load()
    assert bench.keeper.lost
    return bench


@pytest.mark.parametrize("urgent", [True, False])
def test_a_write_that_may_still_land_is_not_looked_for_while_its_input_waits(urgent: bool) -> None:
    bench = undone(latest(), LATEST)
    if not urgent:
        (entry,) = bench.keeper.urgent
        bench.keeper.forget(entry)
        bench.push(add(1))
    bench.keeper.resume_at = 5

    bench.advance()

    assert bench.keeper.reads is None


def test_a_write_that_may_still_land_is_not_looked_for_while_a_hook_runs() -> None:
    bench = undone(folding(), FOLD)
    (misfiled,) = bench.keeper.urgent
    request = bench.push(add(1))
    bench.keeper.forget(misfiled)
    bench.proceed()
    assert bench.keeper.calling
    bench.keeper.forget(request)

    bench.advance()

    assert bench.keeper.reads is None


# -- (a)


def test_a_record_that_names_the_write_says_it_is_committed() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.ask(StatusRequested())
    bench.lose(landed=True)

    released = bench.load()

    assert [answer.event_count for answer in answers(released)] == [2, 2]
    assert [item.committed for item in released] == [True, True]
    assert (bench.keeper.idle, bench.slots_taken) == (True, 0)


def test_an_end_of_an_attempt_that_landed_is_not_stepped_again_and_the_inputs_beside_it_are() -> None:
    bench = Bench(tick(), TICK)
    bench.other(START)
    bench.may_start = True
    bench.ask(TriggerRequested())
    bench.commit()
    run = bench.record.body.in_flight
    assert run is not None
    assert run.lease is not None
    bench.ask(HandlerSucceeded(run.lease.token, Operations()), urgent=True, brings_slot=True)
    bench.lose(landed=True)
    repair = bench.push(AlarmMisfiled(None), urgent=True)

    bench.load()

    assert (bench.keeper.urgent, bench.slots_taken) == ([repair], 0)


def test_a_hook_that_runs_is_still_wanted_when_another_input_landed() -> None:
    bench = Bench(folding(), FOLD)
    bench.other(add(0))
    bench.ask(add(1))
    bench.finish()
    lost = bench.lose()
    bench.load()
    bench.push(add(2))
    bench.advance()
    assert len(bench.calls) == 2
    bench.land(lost)
    bench.conflict()

    bench.finish()

    assert [answer.event_count for answer in answers(bench.commit())] == [3]
    assert len(bench.calls) == 2


def test_a_conflict_with_the_very_row_it_was_based_on_tells_nothing_of_a_lost_write() -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    bench.lose()
    bench.load()
    bench.advance()
    bench.write()

    bench.keeper.conflicted(bench.stored, bench.stamp)

    assert (entry.exposed, bench.keeper.forget(entry)) == (True, False)


def test_a_write_that_others_wrote_over_is_committed_all_the_same() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.lose(landed=True)
    bench.other(add(2))

    released = bench.load()

    assert ([answer.event_count for answer in answers(released)], count(bench)) == ([2], 3)


def test_a_creation_that_is_named_is_committed() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    bench.lose(landed=True)

    assert [answer.created for answer in answers(bench.load())] == [True]


# -- (b)


def test_a_write_that_is_not_named_is_stepped_again() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.lose()

    told = bench.load()
    bench.advance()

    assert answers(told) == []
    assert [answer.event_count for answer in answers(bench.commit())] == [2]


def test_a_write_that_lands_late_is_seen_in_the_conflict_of_the_next() -> None:
    bench = collecting()
    bench.ask(add(1))
    lost = bench.lose()
    bench.load()
    bench.advance()
    bench.land(lost)

    released = bench.conflict()
    bench.advance()

    assert ([answer.event_count for answer in answers(released)], count(bench)) == ([2], 2)
    assert bench.keeper.idle


def test_the_next_commit_fences_a_write_that_did_not_land() -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    lost = bench.lose()
    bench.load()
    bench.advance()
    bench.commit()

    assert not bench.land(lost)
    assert (count(bench), entry.exposed, bench.keeper.idle) == (2, False, True)


def test_another_engines_commit_fences_a_write_that_did_not_land() -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    lost = bench.lose()
    bench.other(add(7))
    bench.load()

    assert not bench.land(lost)
    assert (entry.exposed, len(bench.keeper.lost)) == (False, 0)


def test_of_several_lost_writes_the_one_that_landed_is_found() -> None:
    bench = collecting()
    bench.ask(add(1))
    first = bench.lose()
    bench.load()
    bench.push(add(2))
    bench.advance()
    bench.lose()
    bench.land(first)

    released = bench.load()
    bench.advance()
    later = bench.commit()

    assert [answer.event_count for answer in answers(released)] == [2]
    assert [answer.event_count for answer in answers(later)] == [3]


def test_a_lease_that_lands_late_has_its_slot() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    bench.commit()
    bench.may_start = True
    bench.ask(AlarmFired(), urgent=True)
    lost = bench.lose()
    assert bench.slots_taken == 1
    bench.load()
    bench.advance()
    bench.land(lost)

    released = bench.conflict()

    assert [type(effect) for effect in effects(released)] == [CallHandler]
    assert bench.slots_taken == 1


def test_a_hook_whose_event_landed_late_is_not_wanted_any_more() -> None:
    bench = Bench(folding(), FOLD)
    bench.other(add(0))
    first = bench.push(add(1))
    bench.push(add(2))
    bench.proceed()
    bench.finish()
    bench.finish()
    lost = bench.lose()
    bench.load()
    bench.keeper.forget(first)
    bench.advance()  # the second event is shown another state now, so its hook is called again
    assert len(bench.calls) == 3
    bench.land(lost)

    landed = bench.load()
    assert answers(bench.ask(StatusRequested())) == []  # until the hook has ended

    assert [answer.event_count for answer in answers(bench.finish())] == [3]
    assert [answer.event_count for answer in answers(landed)] == [2, 3]
    assert (count(bench), bench.keeper.idle) == (3, True)


# -- (c)


def test_if_a_writer_was_forgotten_no_one_can_tell() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.lose()
    crowd(bench)

    released = bench.load()

    assert (error_types(released), bench.keeper.idle) == ([OutcomeUnknownError], True)
    assert [item.committed for item in released] == [False]


def test_if_a_writer_was_forgotten_before_the_late_landing_could_be_seen_no_one_can_tell() -> None:
    bench = collecting()
    bench.ask(add(1))
    lost = bench.lose()
    bench.load()
    bench.advance()
    bench.land(lost)
    crowd(bench)

    released = bench.conflict()
    bench.advance()

    assert (error_types(released), bench.keeper.dirty) == ([OutcomeUnknownError], False)


def test_a_read_in_a_write_of_which_no_one_can_tell_is_answered_all_the_same() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.ask(StatusRequested())
    bench.lose()
    crowd(bench)
    bench.load()

    assert [answer.event_count for answer in answers(bench.proceed())] == [1]


# -- (d)


def test_a_deletion_that_left_nothing_is_committed() -> None:
    bench = collecting()
    bench.ask(TerminateRequested())
    bench.lose(landed=True)

    released = bench.load()

    assert ([answer.terminated for answer in answers(released)], bench.keeper.idle) == ([True], True)


def test_S_3_what_was_read_before_a_deletion_that_may_be_anothers_is_read_again() -> None:
    bench = collecting()
    bench.ask(StatusRequested())
    bench.push(AlarmMisfiled(None))
    bench.ask(StatusRequested())
    bench.ask(TerminateRequested())
    bench.lose()
    bench.other(TerminateRequested())

    released = bench.load()
    assert [answer.terminated for answer in answers(released)] == [True]

    assert [answer.status for answer in answers(bench.advance())] == ["not_found"]


def test_a_deletion_that_did_not_land_is_stepped_again() -> None:
    bench = collecting()
    bench.ask(TerminateRequested())
    bench.lose()
    bench.load()
    bench.advance()

    assert [answer.terminated for answer in answers(bench.commit())] == [True]
    assert bench.stored is None


def test_a_lost_deletion_says_nothing_of_a_later_lost_write() -> None:
    bench = collecting()
    ending = bench.push(TerminateRequested())
    bench.advance()
    bench.lose()
    bench.load()
    bench.keeper.forget(ending)
    bench.push(add(1))
    bench.advance()
    bench.lose()
    bench.stored = None

    released = bench.load()

    assert [getattr(answer, "terminated", type(answer)) for answer in answers(released)] == [
        True,
        OutcomeUnknownError,
    ]


# -- (e)


def test_if_the_life_is_gone_no_one_can_tell() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.lose(landed=True)
    bench.other(TerminateRequested())

    assert error_types(bench.load()) == [OutcomeUnknownError]


def test_if_another_life_began_in_its_place_no_one_can_tell() -> None:
    bench = collecting()
    bench.ask(add(1))
    bench.lose()
    bench.other(TerminateRequested())
    bench.other(add(5))

    released = bench.load()

    assert (error_types(released), count(bench)) == ([OutcomeUnknownError], 1)


def test_if_the_life_ended_before_the_late_landing_could_be_seen_no_one_can_tell() -> None:
    bench = collecting()
    bench.ask(add(1))
    lost = bench.lose()
    bench.load()
    bench.advance()
    bench.land(lost)
    bench.other(TerminateRequested())

    released = bench.conflict()
    bench.advance()

    assert (error_types(released), bench.keeper.dirty) == ([OutcomeUnknownError], False)


def test_an_absent_creation_waits_until_it_cannot_land() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    lost = bench.lose()

    released = bench.load()

    assert released == []
    assert (bench.keeper.settle_after, bench.keeper.reads) == (lost.not_after, Reading.SETTLE_LATE)

    bench.push(StatusRequested())  # while a key settles nothing of it is stepped
    assert (bench.keeper.settle_after, bench.keeper.reads) == (lost.not_after, Reading.SETTLE_LATE)


def test_a_creation_still_absent_when_it_cannot_land_any_more_is_unknown() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    bench.lose()
    bench.load()

    released = bench.load(final=True)

    assert (error_types(released), bench.keeper.idle) == ([OutcomeUnknownError], True)


def test_a_creation_that_landed_while_it_was_waited_for_is_committed() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    lost = bench.lose()
    bench.load()
    bench.land(lost)

    assert [answer.created for answer in answers(bench.load(final=True))] == [True]


def test_another_engines_creation_leaves_a_lost_one_unknown() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    bench.lose()
    bench.other(START)

    assert error_types(bench.load()) == [OutcomeUnknownError]


# -- (f)


def test_an_older_row_shows_that_the_write_did_not_land() -> None:
    bench = collecting()
    older = bench.record
    bench.ask(add(1))
    bench.commit()
    bench.ask(add(2))
    bench.lose()
    bench.stored = older
    bench.load()
    bench.advance()

    assert [answer.event_count for answer in answers(bench.commit())] == [2]


# -- until a lost write is fenced, its inputs are exposed


def test_an_exposed_input_that_is_given_up_may_have_happened() -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    bench.lose()
    bench.load()

    assert not bench.keeper.forget(entry)


def test_an_exposed_input_that_would_write_nothing_now_may_have_happened() -> None:
    bench = Bench(latest(max_pending=1), LATEST)
    bench.other(add(0, "kept for its id"))
    clearing = bench.push(ClearRequested())
    bench.push(add(1))
    bench.proceed()
    bench.lose()
    bench.load()
    bench.keeper.forget(clearing)

    released = bench.proceed()

    assert error_types(released) == [OutcomeUnknownError]


def test_a_read_is_never_exposed() -> None:
    bench = collecting()
    bench.ask(add(1))
    entry = bench.push(StatusRequested())
    bench.advance()
    bench.lose()
    bench.load()

    assert bench.keeper.forget(entry)


def test_an_input_stays_exposed_though_it_would_write_nothing_the_next_time() -> None:
    bench = Bench(latest(max_pending=1), LATEST)
    bench.other(add(0, "kept for its id"))
    clearing = bench.push(ClearRequested())
    entry = bench.push(add(1))
    bench.proceed()
    bench.lose()
    bench.load()
    bench.keeper.forget(clearing)
    bench.push(AlarmMisfiled(None), urgent=True)
    bench.advance()
    bench.lose()

    bench.load()

    assert entry.exposed


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "lost again"])
def test_an_input_stays_exposed_until_a_commit(refused: bool) -> None:
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    bench.lose()
    bench.load()
    bench.advance()
    if refused:
        bench.write()
        bench.keeper.refused()
    else:
        bench.lose()
        bench.load()

    assert entry.exposed


# -- lost writes that nobody asks about any more


def forgotten() -> Bench:
    """A write was lost, and its caller has given up."""
    bench = collecting()
    entry = bench.push(add(1))
    bench.advance()
    bench.lose()
    bench.load()
    bench.keeper.forget(entry)
    bench.advance()
    return bench


def test_a_lost_write_nobody_asks_about_is_looked_for_once_it_cannot_land() -> None:
    bench = forgotten()

    assert (bench.keeper.settle_after, bench.keeper.idle) == (bench.keeper.lost[0].not_after, False)


def test_a_keeper_is_idle_when_no_lost_write_can_land_any_more() -> None:
    bench = forgotten()
    bench.load(final=True)
    bench.advance()

    assert bench.keeper.idle


def test_inputs_do_not_wait_for_a_lost_write_nobody_asks_about() -> None:
    bench = forgotten()

    bench.ask(add(2))

    assert [answer.event_count for answer in answers(bench.commit())] == [2]
    assert bench.keeper.idle


def test_a_lease_that_landed_though_nobody_waited_for_it_is_used() -> None:
    bench = Bench(tick(), TICK)
    bench.ask(START)
    bench.commit()
    bench.may_start = True
    bench.ask(AlarmFired(), urgent=True)
    lost = bench.lose()
    bench.load()
    bench.may_start = False
    bench.advance()
    bench.land(lost)

    released = bench.load(final=True)

    assert [type(effect) for effect in effects(released)] == [CallHandler]
    assert bench.slots_taken == 1


# -- a write that is lost again and again


def test_after_many_lost_writes_a_key_waits_until_none_can_land() -> None:
    bench = collecting()
    bench.ask(add(1))
    for _ in range(4):
        assert bench.keeper.dirty
        bench.lose()
        bench.load()
        bench.now += 100
        bench.advance()

    assert bench.keeper.settle_after == bench.keeper.lost[-1].not_after
    assert not bench.keeper.dirty


def test_when_none_of_many_lost_writes_can_land_the_input_is_stepped_again() -> None:
    bench = collecting()
    bench.ask(add(1))
    for _ in range(4):
        bench.lose()
        bench.load()
        bench.advance()
    bench.load(final=True)
    bench.advance()

    assert not bench.keeper.lost
    assert [answer.event_count for answer in answers(bench.commit())] == [2]


# -- the others


def test_no_two_writes_have_the_same_number() -> None:
    bench = collecting()
    bench.ask(add(1))
    first = bench.lose()
    bench.load()
    bench.advance()
    second = bench.lose()

    assert first.number < second.number
    assert bench.record.wrote(NODE) == first.number - 1


@pytest.mark.parametrize("event", [add(1), TerminateRequested()], ids=["write", "deletion"])
def test_a_refused_write_is_not_a_lost_one(event: Event) -> None:
    bench = collecting()
    entry = bench.push(event)
    bench.advance()
    bench.write()
    bench.keeper.refused()

    assert bench.keeper.forget(entry)
    assert StorageError.changed is False
