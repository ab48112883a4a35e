"""What happened, on the wire: the original's names and envelope (S-65)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from durable_jobs_core import telemetry as t
from durable_jobs_core.record import Stored
from durable_jobs_core.words import Failure, Key

T = 1_700_000_000_000
ISO = "2023-11-14T22:13:20.000Z"
HEAD: dict[str, Any] = {"key": Key("task", "orders", "user:1"), "at": T, "life": 0xAB, "seq": 3}
STATE = Stored(2, {"secret": "s"})
FAILURE = Failure("ValueError", "boom", "a stack")

VALUES: list[tuple[t.TelemetryEvent, str, dict[str, Any]]] = [
    (t.JobStarted(**HEAD, input={"secret": "s"}), "job.started", {}),
    (
        t.JobExecuted(**HEAD, hook="execute", run=4, run_count=5, attempt=2, duration_ms=7, state=STATE),
        "job.executed",
        {"runCount": 5, "durationMs": 7, "attempt": 2, "run": 4, "hook": "execute"},
    ),
    (
        t.JobFailed(
            **HEAD,
            hook="on_event",
            run=4,
            run_count=5,
            attempt=2,
            will_retry=True,
            failure=FAILURE,
            state=STATE,
        ),
        "job.failed",
        {
            "error": {"message": "boom", "name": "ValueError", "stack": "a stack"},
            "runCount": 5,
            "attempt": 2,
            "willRetry": True,
            "run": 4,
            "hook": "on_event",
        },
    ),
    (
        t.RetryExhausted(**HEAD, attempts=3, reason="max_attempts"),
        "job.retryExhausted",
        {"attempts": 3, "reason": "max_attempts"},
    ),
    (t.JobTerminated(**HEAD, reason="bye", run_count=1), "job.terminated", {"reason": "bye", "runCount": 1}),
    (t.JobTerminated(**HEAD, reason=None, run_count=1), "job.terminated", {"runCount": 1}),
    (t.DebounceStarted(**HEAD, flush_at=T), "debounce.started", {"flushAt": ISO}),
    (
        t.DebounceFlushed(**HEAD, event_count=3, reason="flushAfter", duration_ms=9),
        "debounce.flushed",
        {"eventCount": 3, "reason": "timeout", "durationMs": 9},
    ),
    (
        t.DebounceFlushed(**HEAD, event_count=3, reason="maxEvents", duration_ms=9),
        "debounce.flushed",
        {"eventCount": 3, "reason": "maxEvents", "durationMs": 9},
    ),
    (
        t.TaskScheduled(**HEAD, scheduled_at=T, trigger="idle"),
        "task.scheduled",
        {"scheduledAt": ISO, "trigger": "idle"},
    ),
    (
        t.JobCrashed(**HEAD, hook="execute", attempt=2, crashes=1),
        "job.crashed",
        {"attempt": 2, "crashes": 1, "hook": "execute"},
    ),
    (t.JobStale(**HEAD), "job.stale", {}),
    (t.AlarmRepaired(**HEAD, found=None), "alarm.repaired", {"found": None}),
    (t.AlarmRepaired(**HEAD, found=T), "alarm.repaired", {"found": ISO}),
    (t.JobQuarantined(**HEAD, why="checksum"), "job.quarantined", {"why": "checksum"}),
    (
        t.JobNewer(**HEAD, what="schema", found=2, known=1),
        "job.newer",
        {"what": "schema", "found": 2, "known": 1},
    ),
    (t.JobUnregistered(**HEAD), "job.unregistered", {}),
    (t.HistoryRegressed(**HEAD, found=1, expected=2), "history.regressed", {"found": 1, "expected": 2}),
]


@pytest.mark.parametrize(("value", "type_", "fields"), VALUES, ids=lambda part: type(part).__name__)
def test_S_65_on_the_wire_names_and_envelope_are_the_originals(
    value: t.TelemetryEvent, type_: str, fields: dict[str, Any]
) -> None:
    wire = value.wire()

    assert list(wire)[:8] == [
        "eventId",
        "timestamp",
        "source",
        "instanceId",
        "jobType",
        "jobName",
        "id",
        "type",
    ]
    assert wire == {
        "eventId": wire["eventId"],
        "timestamp": ISO,
        "source": "job",
        "instanceId": "task:orders:user:1",
        "jobType": "task",
        "jobName": "orders",
        "id": "user:1",
        "type": type_,
        **fields,
        "life": "00000000000000ab",
        "seq": 3,
    }


def test_every_type_is_shown_above_and_in_the_table_of_the_module() -> None:
    types = {cls for cls in vars(t).values() if isinstance(cls, type) and issubclass(cls, t.TelemetryEvent)}

    assert {type(value) for value, _, _ in VALUES} == types - {t.TelemetryEvent}
    assert t.__doc__ is not None
    assert all(f"\n    {value.type} " in t.__doc__ for value, _, _ in VALUES)


def test_S_65_without_state_and_input_all_else_is_the_same() -> None:
    for value, _, _ in VALUES:
        held = value.without_state()

        assert held.wire() == value.wire()
        assert "secret" not in repr(held)


def test_S_65_state_and_input_are_sent_only_if_asked_for() -> None:
    by_name = {type(value).__name__: value for value, _, _ in VALUES}

    assert "secret" not in str([value.wire() for value, _, _ in VALUES])
    assert by_name["JobStarted"].wire(with_state=True)["input"] == {"secret": "s"}
    assert by_name["JobExecuted"].wire(with_state=True)["preExecutionState"] == {"secret": "s"}
    stateless = t.JobExecuted(
        **HEAD, hook="execute", run=1, run_count=0, attempt=1, duration_ms=0, state=None
    )
    assert stateless.wire(with_state=True)["preExecutionState"] is None


def test_S_65_job_failed_has_the_real_error_and_no_stack_where_there_is_none() -> None:
    failed = next(value for value, _, _ in VALUES if isinstance(value, t.JobFailed))

    error = evolve(failed, failure=Failure("KeyError", "'a'")).wire()["error"]

    assert error == {"message": "'a'", "name": "KeyError"}


def test_S_65_what_was_not_committed_has_no_seq() -> None:
    assert "seq" not in t.JobStale(**{**HEAD, "seq": None}).wire()


def test_S_65_an_event_id_is_a_time_ordered_uuid_and_the_same_when_it_is_sent_again() -> None:
    ids = [UUID(value.wire()["eventId"]) for value, _, _ in VALUES]

    assert {(id.version, id.variant) for id in ids} == {(7, "specified in RFC 4122")}
    assert {id.int >> 80 for id in ids} == {T}
    value = t.JobStale(**HEAD)
    assert t.JobStale(**HEAD).wire() == value.wire()
    assert value.wire()["eventId"] == "018bcfe5-6800-7b2e-8f5e-44a9a40bf3b8"  # whichever process sends it
    others = [
        evolve(value, at=T + 1),
        evolve(value, seq=4),
        evolve(value, life=1),
        evolve(value, key=value.key._replace(id="other")),  # of what cannot be read no life is known
        t.JobUnregistered(**HEAD),
    ]
    assert len({other.wire()["eventId"] for other in [value, *others]}) == 6


def test_a_type_of_ones_own_says_its_fields() -> None:
    with pytest.raises(NotImplementedError):
        t.TelemetryEvent(**HEAD).fields(with_state=False)
