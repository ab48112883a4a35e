"""Every error carries its fields, renders the whole cause, and says whether anything changed (S-61)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from durable_jobs_core import errors
from durable_jobs_core.errors import DurableJobsError, Issue
from durable_jobs_core.words import Failure, Key

KEY = Key("task", "orders", "7")

CASES: list[tuple[DurableJobsError, dict[str, object], str]] = [
    (
        errors.JobNotFoundError("task", "nope", ("orders", "mails")),
        {"kind": "task", "name": "nope", "registered": ("orders", "mails")},
        "no task job is registered as 'nope'; registered: orders, mails (nothing was changed)",
    ),
    (
        errors.JobNotFoundError("task", "nope"),
        {"registered": ()},
        "no task job is registered as 'nope'; registered: none (nothing was changed)",
    ),
    (
        errors.InstanceNotFoundError(KEY),
        {"key": KEY},
        "task:orders:7 does not exist (nothing was changed)",
    ),
    (
        errors.InvalidStateError(KEY, "parked", "pause", "trigger it first"),
        {"key": KEY, "state": "parked", "request": "pause"},
        "pause is not possible while task:orders:7 is parked; trigger it first (nothing was changed)",
    ),
    (
        errors.InvalidStateError(KEY, "parked", "pause"),
        {},
        "pause is not possible while task:orders:7 is parked (nothing was changed)",
    ),
    (
        errors.ValidationError("event", (Issue("$.n", "int", "str '5'"), Issue("$.m", "int", "null"))),
        {"subject": "event", "issues": (Issue("$.n", "int", "str '5'"), Issue("$.m", "int", "null"))},
        "event: $.n: expected int, got str '5'; $.m: expected int, got null (nothing was changed)",
    ),
    (
        errors.ExecutionError(KEY, "on_event", Failure("ValueError", "no stock")),
        {"key": KEY, "hook": "on_event", "failure": Failure("ValueError", "no stock")},
        "on_event of task:orders:7 failed: ValueError: no stock (nothing was changed)",
    ),
    (
        errors.DuplicateEventError(KEY, "e1"),
        {"key": KEY, "event_id": "e1"},
        "task:orders:7 has already taken an event with the id 'e1' (nothing was changed)",
    ),
    (
        errors.OverloadedError("the inbox", 100, 100),
        {"what": "the inbox", "limit": 100, "current": 100},
        "the inbox is full: 100 of at most 100 (nothing was changed)",
    ),
    (
        errors.NewerVersionError(KEY, "schema", 3, 2),
        {"key": KEY, "what": "schema", "found": 3, "known": 2},
        "task:orders:7 is stored with schema 3; this release knows 2, and only newer code may touch it"
        " (nothing was changed)",
    ),
    (errors.StorageError("disk full"), {"changed": False}, "disk full (nothing was changed)"),
    (errors.SchedulerError("no next instant"), {}, "no next instant (nothing was changed)"),
    (errors.ClosedError("closing"), {}, "closing (nothing was changed)"),
    (errors.DriverError("twice"), {}, "twice (nothing was changed)"),
    (errors.OutcomeUnknownError("lost"), {"changed": None}, "lost"),
    (errors.DefinitionError("every(span): expected more"), {}, "every(span): expected more"),
]


@pytest.mark.parametrize(("error", "fields", "text"), CASES, ids=lambda case: type(case).__name__)
def test_S_61_an_error_carries_its_fields_and_says_whether_anything_changed(
    error: DurableJobsError, fields: dict[str, object], text: str
) -> None:
    assert str(error) == text
    assert {name: getattr(error, name) for name in fields} == fields


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda error: type(error).__name__)
def test_S_61_an_error_is_the_same_in_another_process(
    error: DurableJobsError, again: Callable[[DurableJobsError], DurableJobsError]
) -> None:
    there = again(error)

    assert type(there) is type(error)
    assert (str(there), vars(there)) == (str(error), vars(error))


def test_S_61_all_errors_are_under_one_base_and_each_was_shown_above() -> None:
    public = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    }

    assert {type(error) for error, _, _ in CASES} == public - {DurableJobsError}
    assert all(issubclass(error, DurableJobsError) for error in public)


def test_a_definition_error_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="never"):
        raise errors.DefinitionError("never")


def test_S_62_what_is_wrong_with_all_of_a_value_names_no_path() -> None:
    assert str(Issue("$", "int", "null")) == "expected int, got null"
    assert str(Issue("$.n", "int", "null")) == "$.n: expected int, got null"


def test_S_62_a_validation_error_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="got null"):
        raise errors.ValidationError("event", (Issue("$", "int", "null"),))


@pytest.mark.parametrize(("count", "end"), [(20, "$[19]: expected int, got null"), (22, "; and 2 more")])
def test_S_61_of_very_many_mistakes_the_text_names_the_first(count: int, end: str) -> None:
    issues = tuple(Issue(f"$[{n}]", "int", "null") for n in range(count))

    error = errors.ValidationError("event", issues)

    assert error.issues == issues
    assert str(error).removesuffix(errors.UNCHANGED) == error.plain
    assert error.plain.endswith(end)
    assert error.plain.count("expected int") == 20
