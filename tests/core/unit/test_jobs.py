"""The registry: which definitions are known under which names (S-61, S-63, S-8)."""

from __future__ import annotations

from typing import Any

import pytest

from durable_jobs_core import Continuous, Debounce, create_durable_jobs, every
from durable_jobs_core.errors import DefinitionError, JobNotFoundError, ValidationError


def hook(*arguments: Any) -> None:
    """A hook that does nothing."""


TICK = Continuous.make(state=int, schedule=every("1s"), execute=hook)
OTHER = Continuous.make(state=int, schedule=every("1s"), execute=hook)
LATEST = Debounce.make(event=int, flush_after="1s", execute=hook)


def test_a_job_is_found_by_its_definition_or_its_name() -> None:
    jobs = create_durable_jobs({"tick": TICK, "latest": LATEST, "again": TICK})

    assert jobs.find("continuous", TICK) == ("tick", TICK)  # of several names the first
    assert jobs.find("continuous", "again") == ("again", TICK)
    assert jobs.find("debounce", "latest") == ("latest", LATEST)
    assert list(jobs) == ["tick", "latest", "again"]
    assert jobs.by_key["debounce", "latest"] is LATEST


def test_S_61_an_unknown_job_is_a_job_not_found_error() -> None:
    jobs = create_durable_jobs({"tick": TICK, "latest": LATEST})

    with pytest.raises(JobNotFoundError, match="no debounce job is registered as 'tick'; registered: latest"):
        jobs.find("debounce", "tick")
    with pytest.raises(JobNotFoundError, match=r"'nope'; registered: tick \(nothing was changed\)$"):
        jobs.find("continuous", "nope")
    with pytest.raises(
        JobNotFoundError, match=r"unregistered.*; give this definition to create_durable_jobs"
    ):
        jobs.find("continuous", OTHER)
    with pytest.raises(JobNotFoundError, match="no task job is registered as 'latest'; registered: none"):
        jobs.find("task", LATEST)


def test_the_registry_is_a_copy() -> None:
    definitions: dict[str, Any] = {"tick": TICK}
    jobs = create_durable_jobs(definitions)

    definitions["latest"] = LATEST

    assert list(jobs) == ["tick"]
    with pytest.raises(TypeError):
        jobs.by_key["continuous", "x"] = TICK  # type: ignore[index]


@pytest.mark.parametrize("name", ["", "a b", "9", "a:b", "constructor()", 5, None])
def test_S_63_another_name_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^job name: expected \[A-Za-z_\]"):
        create_durable_jobs({name: TICK})


def test_what_is_no_definition_is_refused() -> None:
    definitions: Any = {"tick": hook}
    with pytest.raises(
        DefinitionError, match=r"^job 'tick': expected a Continuous, Debounce or Task, got function$"
    ):
        create_durable_jobs(definitions)


def test_S_61_a_name_of_another_kind_is_told_apart_from_an_unknown_one() -> None:
    jobs = create_durable_jobs({"tick": TICK, "latest": LATEST})

    for asked in ("tick", TICK):
        with pytest.raises(JobNotFoundError, match=r"registered: latest; 'tick' is a continuous job") as info:
            jobs.find("debounce", asked)
        assert info.value.other_kind == "continuous"
    with pytest.raises(JobNotFoundError) as info:
        jobs.find("debounce", "nope")
    assert info.value.other_kind is None
    assert "nope' is a" not in str(info.value)


@pytest.mark.parametrize("asked", [None, hook, 5])
def test_S_61_what_is_neither_a_definition_nor_a_name_is_refused(asked: Any) -> None:
    expected = r"^continuous job: .*expected a definition, or the name it is registered under, got "
    with pytest.raises(ValidationError, match=expected):
        create_durable_jobs({"tick": TICK}).find("continuous", asked)


@pytest.mark.parametrize("given", [[TICK], None, TICK])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^create_durable_jobs: expected a dict of definitions"):
        create_durable_jobs(given)
