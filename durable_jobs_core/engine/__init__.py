"""The engine: one pure, public object per process. Docs follow."""

from durable_jobs_core.engine._engine import Engine
from durable_jobs_core.engine.protocol import (
    Abandoned,
    Answered,
    Called,
    Cancel,
    Closed,
    Emit,
    Exchange,
    Finished,
    HookCancelled,
    HookDetached,
    HookOutcome,
    HookRaised,
    HookReturned,
    HookTimedOut,
    Input,
    Invoke,
    Limits,
    Need,
    Nudged,
    Reply,
    Returned,
    Stopping,
    Ticked,
)
