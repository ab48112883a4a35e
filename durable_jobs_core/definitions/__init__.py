"""What users register: `Continuous`, `Debounce` and `Task`, each made by `make` or by the decorator `job`.

A definition is checked whole where it is written: what can never work raises `DefinitionError` there.
Spans become milliseconds once, so that a step parses nothing.
"""

from typing import Any, TypeAlias

from durable_jobs_core.definitions._base import (
    DEFAULT_RETRY,
    Definition,
    EventOptions,
    HookFunction,
    JobOptions,
)
from durable_jobs_core.definitions.continuous import Continuous, ContinuousOptions
from durable_jobs_core.definitions.debounce import Debounce, DebounceOptions
from durable_jobs_core.definitions.task import Task, TaskOptions

AnyDefinition: TypeAlias = Continuous[Any] | Debounce[Any, Any] | Task[Any, Any]

__all__ = [
    "DEFAULT_RETRY",
    "AnyDefinition",
    "Continuous",
    "ContinuousOptions",
    "Debounce",
    "DebounceOptions",
    "Definition",
    "EventOptions",
    "HookFunction",
    "JobOptions",
    "Task",
    "TaskOptions",
]
