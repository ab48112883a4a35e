"""What the trio and asyncio drivers share: all that is I/O or threads and needs no event loop.

arguments     what is wrong with an argument
backends      finding and opening a backend by URL
hints         the thread that hears of work which other processes made
lanes         the threads in which a backend is asked
loop          what a driver lends: its event loop
machine       an engine with its lanes, hooks and trackers
plain         plain `def` hooks
signals       being asked to end
threads       threads that nobody has to wait for
trackers      telemetry out: what a tracker is, logging, memory, and several as one
http_tracker  one that sends to a collector
journal       what happens to chosen instances in a file, for a replay
options       what `open_runtime` is given, checked
runtime       what `open_runtime` gives, but for the awaiting
"""

from durable_jobs_runtime.backends import open_backend
from durable_jobs_runtime.http_tracker import HttpTracker
from durable_jobs_runtime.journal import FileJournal
from durable_jobs_runtime.loop import Loop
from durable_jobs_runtime.machine import Machine
from durable_jobs_runtime.options import Options
from durable_jobs_runtime.runtime import BaseRuntime, RuntimeHealth, node_id, result_of
from durable_jobs_runtime.signals import interrupt_at_once, on_signals
from durable_jobs_runtime.threads import ThreadPool
from durable_jobs_runtime.trackers import LoggingTracker, MemoryTracker, Tracker

__all__ = [
    "BaseRuntime",
    "FileJournal",
    "HttpTracker",
    "LoggingTracker",
    "Loop",
    "Machine",
    "MemoryTracker",
    "Options",
    "RuntimeHealth",
    "ThreadPool",
    "Tracker",
    "interrupt_at_once",
    "node_id",
    "on_signals",
    "open_backend",
    "result_of",
]
