"""The three kinds, one module or folder each, and what `step` needs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from attrs import frozen

from durable_jobs_core.kinds import continuous, debounce, task
from durable_jobs_core.kinds._draft import Draft
from durable_jobs_core.kinds._table import Table
from durable_jobs_core.words import Kind


@frozen
class KindRules:
    """`table`: the transitions; `phase_of`, `status_of`, `deadline`: derived from a body; `advance`:
    starts whatever is due."""

    table: Table
    phase_of: Callable[[Any], Enum]
    status_of: Callable[[Any], str]
    deadline: Callable[[Any], int | None]
    advance: Callable[[Draft[Any, Any]], None]


KINDS: Mapping[Kind, KindRules] = {
    "continuous": KindRules(
        continuous.TABLE,
        continuous.phase_of,
        continuous.status_of,
        continuous.deadline,
        continuous.advance,
    ),
    "debounce": KindRules(
        debounce.TABLE,
        debounce.phase_of,
        debounce.status_of,
        debounce.deadline,
        debounce.advance,
    ),
    "task": KindRules(task.TABLE, task.phase_of, task.status_of, task.deadline, task.advance),
}
