"""Callers: one reply each, when, and which; deadlines and limits (S-3, S-61)."""

from __future__ import annotations

from typing import Any

import pytest
from support.rig import EPOCH, Rig, added, client, greeted, start, ticking, writes
from support.samples import FOLD, LATEST, START, TICK, jobs, tick_key

from durable_jobs_core.engine import Answered, HookRaised
from durable_jobs_core.errors import (
    InvalidStateError,
    JobNotFoundError,
    OutcomeUnknownError,
    OverloadedError,
    StorageError,
)
from durable_jobs_core.events import (
    AddRequested,
    PauseRequested,
    ResumeRequested,
    StateRequested,
    StatusRequested,
    TerminateRequested,
)
from durable_jobs_core.journal import Journal
from durable_jobs_core.words import Key

# -- refused at once (S-61)


@pytest.mark.parametrize(
    ("kind", "name", "registered"),
    [
        ("continuous", "nobody", ("tick",)),
        ("task", "tick", ("chore",)),
        ("debounce", "tick", ("latest", "fold")),
    ],
)
def test_S_8_S_61_requests_for_an_unknown_name_or_a_wrong_kind_find_no_job(
    kind: Any, name: str, registered: tuple[str, ...]
) -> None:
    rig = greeted()

    error = rig.result(rig.call(Key(kind, name, "a"), StatusRequested()))

    assert isinstance(error, JobNotFoundError)
    assert (error.kind, error.name, error.registered) == (kind, name, registered)
    assert rig.exchanges == []


def test_S_61_OverloadedError_when_too_many_requests_wait_and_nothing_is_stored() -> None:
    rig = greeted(queued_requests=2)
    calls = [rig.call(tick_key(name), START) for name in range(4)]
    refused = [rig.result(call) for call in calls[2:]]
    rig.settle()

    assert [(type(error), error.limit, error.current) for error in refused] == [(OverloadedError, 2, 2)] * 2
    assert [rig.row(tick_key(name)) is not None for name in range(4)] == [True, True, False, False]


def test_S_61_OverloadedError_when_the_requests_that_wait_are_too_large() -> None:
    rig = greeted(queued_bytes=100)
    first = rig.call(tick_key(1), START, size=60)
    second = rig.call(tick_key(2), START, size=41)
    third = rig.call(tick_key(3), START, size=40)
    rig.settle()
    fourth = rig.ask(tick_key(2), START, size=100)

    error = rig.result(second)
    assert isinstance(error, OverloadedError)
    assert (error.limit, error.current) == (100, 60)
    assert rig.result(first).created
    assert rig.result(third).created
    assert fourth.created


@pytest.mark.parametrize("limits", [{"queued_requests": 3}, {"queued_bytes": 3}])
def test_rule_10_requests_whose_callers_went_are_counted_until_they_are_done(limits: dict[str, int]) -> None:
    rig = greeted(**limits)
    for name in range(3):
        rig.abandon(rig.call(tick_key(name), START, size=1))

    error = rig.result(rig.call(tick_key(3), START, size=1))
    rig.settle()

    assert isinstance(error, OverloadedError)
    assert rig.ask(tick_key(3), START, size=1).created


# -- one reply each (rule 5)


def test_rule_5_S_30_a_start_is_answered_after_its_creation_and_before_its_first_run() -> None:
    rig = greeted()
    call = rig.call(TICK, START)
    rig.tick()
    before = dict(rig.replies)

    rig.answer()

    assert before == {}
    assert (rig.result(call).created, len(rig.invokes)) == (True, 1)


def test_rule_5_a_caller_that_went_gets_no_reply_and_its_request_is_carried_out() -> None:
    rig = greeted()
    call = rig.call(TICK, START)

    rig.abandon(call)
    rig.settle()

    assert (rig.replies, rig.record(TICK).created_at) == ({}, EPOCH)


def test_rule_5_a_caller_may_go_before_after_and_twice() -> None:
    rig = greeted()
    call = rig.call(TICK, START)
    rig.abandon(call)
    rig.abandon(call)
    rig.abandon(99)
    rig.settle()
    other = rig.call(TICK, StatusRequested())
    rig.settle()
    rig.abandon(other)

    assert list(rig.replies) == [other]


def test_rule_5_a_caller_that_went_before_its_reply_is_taken_gets_none() -> None:
    rig = greeted()
    calls = [rig.call(TICK, START), rig.call(TICK, StatusRequested())]
    exchange = rig.exchanges.pop()

    rig.engine.feed(rig.t, Answered(exchange.id, rig.perform(exchange)))
    rig.abandon(calls[0])
    rig.settle()

    assert list(rig.replies) == calls[1:]


def test_rule_5_a_request_whose_caller_went_is_given_up_at_its_deadline_too() -> None:
    rig = greeted(poll=1_000_000)
    for _ in range(2):
        rig.nudge()
        rig.abandon(rig.call(TICK, START, deadline=1_000))
    rig.wait(1_000, settle=False)
    rig.settle()

    assert (rig.replies, rig.row(TICK)) == ({}, None)
    assert rig.engine._state.keepers == {}


def test_rule_10_of_requests_given_up_before_the_store_has_answered_nothing_is_kept() -> None:
    rig = Rig(jobs())
    asked = [rig.call(TICK, START, deadline=deadline) for deadline in (1_000, 1_000, 2_000)]
    rig.call(LATEST, StatusRequested(), deadline=1_000)

    rig.wait(1_000, settle=False)
    assert list(rig.engine._state.keepers) == [TICK]
    rig.wait(1_000, settle=False)

    assert (rig.engine._state.keepers, rig.engine._state.ready) == ({}, {})
    assert isinstance(rig.result(asked[-1]), StorageError)
    assert rig.ask(TICK, START).created


def test_I_7_a_request_whose_hook_fails_though_its_caller_went_changes_nothing() -> None:
    rig = greeted()
    rig.abandon(rig.call(FOLD, AddRequested(event=1)))
    rig.settle()

    rig.finish(HookRaised(ValueError()))
    rig.settle()

    assert (rig.replies, rig.row(FOLD), rig.engine.idle) == ({}, None, True)


# -- deadlines end in the truth (S-3, rule 5)


def test_S_3_a_request_not_sent_by_its_deadline_has_not_happened_and_never_will() -> None:
    rig = greeted()
    rig.nudge()
    call = rig.call(TICK, START, deadline=1_000)

    rig.wait(1_000, settle=False)
    rig.settle()

    assert isinstance(rig.result(call), StorageError)
    assert rig.row(TICK) is None


def test_S_61_a_request_not_done_in_time_is_told_what_the_backend_said_last() -> None:
    rig = greeted()
    fails = rig.call(TICK, StatusRequested(), deadline=1_000)
    rig.answer(StorageError("the server is gone"))

    rig.wait(1_000, settle=False)
    hangs = rig.call(LATEST, StatusRequested(), deadline=2_000)
    rig.answer()
    rig.wait(2_000, settle=False)

    told, later = str(rig.result(fails)), str(rig.result(hangs))
    assert told.endswith(
        "done in time; the backend fails: StorageError: the server is gone (nothing was changed)"
    )
    assert later.endswith("was not done in time (nothing was changed)")


@pytest.mark.parametrize("landed", [True, False])
def test_S_3_of_a_request_whose_write_was_sent_the_caller_is_told_that_no_one_knows(landed: bool) -> None:
    rig = greeted()
    call = rig.call(TICK, START, deadline=1_000)
    answer = rig.perform(rig.exchanges[0]) if landed else ConnectionError()

    rig.wait(1_000, settle=False)
    told = rig.result(call)
    rig.answer(answer)
    rig.wait(20_000)

    assert isinstance(told, OutcomeUnknownError)
    assert list(rig.replies) == [call]
    assert (rig.row(TICK) is not None) == landed


def test_rule_8_a_key_whose_request_was_given_up_while_it_was_written_is_known_until_that_has_ended() -> None:
    rig = greeted(worker=False)
    rig.call(LATEST, AddRequested(event=1), deadline=1_000)
    rig.wait(1_000, settle=False)
    call = rig.call(LATEST, AddRequested(event=2))
    rig.settle()

    assert rig.result(call).event_count == 2
    assert rig.engine._state.keepers == {}


def test_S_3_of_a_request_whose_outcome_is_unknown_at_its_deadline_the_caller_is_told_so() -> None:
    rig = greeted()
    call = rig.call(TICK, START, deadline=1_000)
    rig.fail()

    rig.wait(1_000, settle=False)

    assert isinstance(rig.result(call), OutcomeUnknownError)
    assert str(rig.result(call)).endswith("is not known; the backend fails: ConnectionError: lost")


def test_a_deadline_takes_only_its_own_request_from_the_ones_stepped_together() -> None:
    rig = greeted()
    rig.nudge()
    late = rig.call(LATEST, AddRequested(event=1), deadline=500)
    other = rig.call(LATEST, AddRequested(event=2))
    read = rig.call(LATEST, StatusRequested())

    rig.wait(500, settle=False)
    rig.settle()

    assert isinstance(rig.result(late), StorageError)
    assert (rig.result(other).event_count, rig.result(read).event_count) == (1, 1)


def test_requests_that_run_out_of_time_one_by_one_have_the_others_stepped_again_once() -> None:
    lines: list[bytes] = []
    rig = greeted(journal=Journal(lines.append))
    late = [rig.call(LATEST, AddRequested(event=n), deadline=1 + n) for n in range(10)]
    rest = [rig.call(LATEST, AddRequested(event=n), deadline=5_000) for n in range(10)]
    rig.refuse(transient=True)
    assert not rig.exchanges, "it waits before it tries again"
    lines.clear()

    for _ in late:
        rig.t += 1
        rig.tick()
    rig.wait(1_000)

    assert [type(rig.result(call)) for call in late] == [StorageError] * 10
    assert [rig.result(call).event_count for call in rest] == list(range(1, 11))
    stepped = [line for line in lines if b"AddRequested" in line]
    assert len(stepped) == 10


def test_requests_that_run_out_of_time_while_the_backend_hangs_likewise() -> None:
    lines: list[bytes] = []
    rig = greeted(journal=Journal(lines.append))
    rig.nudge()
    late = [rig.call(LATEST, AddRequested(event=n), deadline=1 + n) for n in range(10)]
    rest = [rig.call(LATEST, AddRequested(event=n), deadline=5_000) for n in range(10)]
    lines.clear()

    for _ in late:
        rig.t += 1
        rig.tick()
    assert len(rig.exchanges) == 1, "it is not answered"
    rig.settle()

    assert [type(rig.result(call)) for call in late] == [StorageError] * 10
    assert [rig.result(call).event_count for call in rest] == list(range(1, 11))
    stepped = [line for line in lines if b"AddRequested" in line]
    assert len(stepped) == 10


def test_a_request_that_runs_out_of_time_behind_a_hook_does_not_hold_up_what_is_to_be_written() -> None:
    rig = greeted()
    rig.ask_inline(FOLD, AddRequested(event=0))
    rig.nudge()
    done = rig.call(FOLD, AddRequested(event=1))
    rig.finish()
    rig.call(FOLD, AddRequested(event=2))
    late = rig.call(FOLD, AddRequested(event=3), deadline=500)

    rig.wait(500, settle=False)
    assert (len(rig.exchanges), len(rig.invokes)) == (1, 1), "neither has ended"
    rig.answer()
    (written,) = writes(rig.exchanges[0])
    rig.answer()

    assert (written.key, rig.result(done).event_count) == (FOLD, 2)
    assert isinstance(rig.result(late), StorageError)


def test_a_request_before_the_backends_first_answer_waits_for_it_until_its_deadline() -> None:
    rig = Rig()
    short, long = rig.call(TICK, START, deadline=100), rig.call(TICK, START)
    rig.wait(100, settle=False)
    assert list(rig.replies) == [short]

    rig.settle()

    assert isinstance(rig.result(short), StorageError)
    assert rig.result(long).created


# -- reads (D-7, I-9)


def test_I_9_a_rejected_request_leaves_the_stored_bytes_unchanged() -> None:
    rig = added(1)
    row, entry = rig.row(LATEST), rig.entry(LATEST)

    errors = [rig.ask(LATEST, request) for request in (PauseRequested(), ResumeRequested(), START)]

    assert [type(error) for error in errors] == [InvalidStateError] * 3
    assert (rig.row(LATEST), rig.entry(LATEST)) == (row, entry)


@pytest.mark.parametrize("request_", [StatusRequested(), StateRequested()])
def test_S_36_after_terminate_by_another_nothing_of_that_life_is_read(request_: Any) -> None:
    rig = ticking()
    client(rig).ask(TICK, TerminateRequested())

    result = rig.ask(TICK, request_)

    assert getattr(result, "status", None) in {"not_found", None}
    assert getattr(result, "state", None) is None


def test_a_read_sees_what_another_engine_committed_before_it_was_asked() -> None:
    rig = ticking()
    client(rig).ask(TICK, PauseRequested())

    assert rig.ask(TICK, StatusRequested()).status == "paused"


def test_rule_6_replies_of_one_key_come_in_the_order_of_its_requests() -> None:
    rig = greeted()
    rig.nudge()
    calls = [rig.call(LATEST, AddRequested(event=n)) for n in range(20)]
    rig.settle()

    assert list(rig.replies) == calls
    assert [rig.result(call).event_count for call in calls] == list(range(1, 21))


def test_rule_8_a_key_has_at_most_one_write_in_flight() -> None:
    rig = greeted()
    for n in range(10):
        rig.call(LATEST, AddRequested(event=n))
    (exchange,) = rig.exchanges
    assert [write.key for write in writes(exchange)] == [LATEST]

    rig.answer()

    assert [len(writes(exchange)) for exchange in rig.exchanges] == [1]


def test_instances_started_by_another_run_here_and_answer_who_waits_there() -> None:
    rig = greeted()
    start(rig, "tick", 1, 2)
    rig.nudge()
    rig.settle()

    assert sorted(invoke.key.id for invoke in rig.invokes) == ["1", "2"]
