"""durable-jobs: durable state, one alarm and three kinds of jobs per entity, as a Sans-IO core.

To use it, begin with `help(Continuous)`, `help(Debounce)`, `help(Task)` and `help(create_durable_jobs)`, or
with docs/guide.md; `durable_jobs_asyncio` and `durable_jobs_trio` run jobs.

No module here does I/O, reads a clock or draws random numbers: time, ids and outcomes are inputs,
orders are outputs. From the bottom up, each importing only what stands before it:

    _values                the decorator of plain values
    words, errors          keys, revisions, instants; every error
    checks                 of what users write
    failures, durations, cron, schedule, retry, schema
                           values about time, failure and shape
    record, operations, results, telemetry, definitions
                           what is stored, asked for, answered, told, and registered
    events, effects        the inputs and outputs of a step
    context                what a hook is given
    kinds                  continuous, debounce, task (a folder), each a table
    step                   the one function that changes state
    backend, codec         the storage port, and records as bytes
    journal                steps and writes as lines, for a later replay
    engine                 the per-process coordinator: batches, leases, conflicts, limits, shutdown
    jobs, client           the registry, and typed requests
"""

from durable_jobs_core.client import (
    Client,
    ContinuousClient,
    DebounceClient,
    Instance,
    InstancePage,
    TaskClient,
)
from durable_jobs_core.context import (
    ContinuousContext,
    DebounceContext,
    DebounceEventContext,
    TaskContext,
    TerminateSignal,
)
from durable_jobs_core.definitions import Continuous, Debounce, Task
from durable_jobs_core.engine import Limits
from durable_jobs_core.errors import (
    ClosedError,
    DefinitionError,
    DriverError,
    DuplicateEventError,
    DurableJobsError,
    ExecutionError,
    InstanceNotFoundError,
    InvalidStateError,
    Issue,
    JobNotFoundError,
    NewerVersionError,
    OutcomeUnknownError,
    OverloadedError,
    SchedulerError,
    StorageError,
    ValidationError,
)
from durable_jobs_core.jobs import Jobs, create_durable_jobs
from durable_jobs_core.results import (
    AddResult,
    ClearResult,
    ContinuousStatus,
    DeadLetter,
    DeadLettersResult,
    DebounceStatus,
    DiscardResult,
    FlushResult,
    InstanceStatus,
    PauseResult,
    RedriveResult,
    RescheduleResult,
    ResumeResult,
    SendResult,
    StartResult,
    StateResult,
    TaskStateResult,
    TaskStatus,
    TerminateResult,
    TriggerResult,
)
from durable_jobs_core.retry import Backoff, NonRetryable, Retry
from durable_jobs_core.schedule import cron, every, skip
from durable_jobs_core.schema import Codec, StrictCodec
from durable_jobs_core.words import Failure, Key

__all__ = [
    "AddResult",
    "Backoff",
    "ClearResult",
    "Client",
    "ClosedError",
    "Codec",
    "Continuous",
    "ContinuousClient",
    "ContinuousContext",
    "ContinuousStatus",
    "DeadLetter",
    "DeadLettersResult",
    "Debounce",
    "DebounceClient",
    "DebounceContext",
    "DebounceEventContext",
    "DebounceStatus",
    "DefinitionError",
    "DiscardResult",
    "DriverError",
    "DuplicateEventError",
    "DurableJobsError",
    "ExecutionError",
    "Failure",
    "FlushResult",
    "Instance",
    "InstanceNotFoundError",
    "InstancePage",
    "InstanceStatus",
    "InvalidStateError",
    "Issue",
    "JobNotFoundError",
    "Jobs",
    "Key",
    "Limits",
    "NewerVersionError",
    "NonRetryable",
    "OutcomeUnknownError",
    "OverloadedError",
    "PauseResult",
    "RedriveResult",
    "RescheduleResult",
    "ResumeResult",
    "Retry",
    "SchedulerError",
    "SendResult",
    "StartResult",
    "StateResult",
    "StorageError",
    "StrictCodec",
    "Task",
    "TaskClient",
    "TaskContext",
    "TaskStateResult",
    "TaskStatus",
    "TerminateResult",
    "TerminateSignal",
    "TriggerResult",
    "ValidationError",
    "create_durable_jobs",
    "cron",
    "every",
    "skip",
]
