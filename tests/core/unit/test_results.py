"""What the clients answer: plain values with the names of the original."""

from __future__ import annotations

from typing import get_args

import pytest

import durable_jobs_core
from durable_jobs_core import results
from durable_jobs_core.results import TriggerResult


@pytest.mark.parametrize("outcome", ["accepted", "succeeded", "parked", "pending", None])
def test_S_50_a_waiting_trigger_says_whether_the_life_ended(outcome: results.WaitOutcome | None) -> None:
    assert not TriggerResult(instance_id="task:a:b", triggered=True, outcome=outcome).terminated
    assert TriggerResult(instance_id="task:a:b", triggered=True, outcome="terminated").terminated


def test_the_statuses_are_one_list_of_words_to_whatever_reads_types() -> None:
    words = get_args(results.InstanceStatus)

    assert set(words) >= {"parked", "paused", "debouncing", "active"}
    assert len(set(words)) == len(words)


def test_what_the_clients_answer_can_be_named_by_users() -> None:
    answers = {
        name
        for name, value in vars(results).items()
        if isinstance(value, type) and value.__module__ == results.__name__
    }

    assert "TriggerResult" in answers
    assert answers <= set(durable_jobs_core.__all__)
