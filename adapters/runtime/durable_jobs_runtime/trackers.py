"""Telemetry out (S-65): never in the way of a job, and counted where it is dropped.

A tracker is called from the event loop with values that are committed already; it must not block.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from durable_jobs_core.telemetry import (
    AlarmRepaired,
    HistoryRegressed,
    JobCrashed,
    JobFailed,
    JobNewer,
    JobQuarantined,
    JobStale,
    JobUnregistered,
    RetryExhausted,
    TelemetryEvent,
)
from durable_jobs_core.words import Job, Key, job_of, printable
from durable_jobs_runtime.log import LOGGER, TELL_SECONDS, Seldom, say

REGRESSED_MAX = 100
CLOSE_MARGIN = 1.0
NEWER_SECONDS = 60.0
"""How seldom it is said that a job has newer records: each is held for others for so long at most."""


class Tracker(Protocol):
    """Where telemetry goes."""

    def emit(self, events: Sequence[TelemetryEvent], /) -> None:
        """Take values; must not block. What it raises counts as dropped, and is logged, if seldom."""
        ...

    def close(self, timeout: float, /) -> None:
        """Send what is held, for at most `timeout` seconds. Blocks; called from a thread."""
        ...


class MemoryTracker:
    """Keeps everything, for tests."""

    def __init__(self) -> None:
        self.events: list[TelemetryEvent] = []

    def emit(self, events: Sequence[TelemetryEvent]) -> None:
        """Append."""
        self.events.extend(events)

    def close(self, timeout: float) -> None:
        """Nothing is held."""

    def types(self) -> list[str]:
        """The wire names, in order."""
        return [event.type for event in self.events]


_LEVELS: dict[type[TelemetryEvent], int] = {
    JobFailed: logging.WARNING,
    RetryExhausted: logging.ERROR,
    JobCrashed: logging.WARNING,
    JobStale: logging.WARNING,
    AlarmRepaired: logging.WARNING,
    JobQuarantined: logging.ERROR,
    JobNewer: logging.WARNING,
    JobUnregistered: logging.WARNING,
    HistoryRegressed: logging.ERROR,
}


def _told(event: TelemetryEvent) -> str:
    """The fields of a value for a reader; an error last, with its stack on lines of their own."""
    fields = event.fields(with_state=False)
    error = ""
    if isinstance(event, JobFailed):
        del fields["error"]
        lines = [*str(event.failure).splitlines(), *(event.failure.stack or "").splitlines()]
        error = ": " + "\n  ".join(map(printable, lines))
    return "".join(f" {name}={value!r}" for name, value in fields.items()) + error


class LoggingTracker:
    """Writes to the standard logger `durable_jobs`; the values are in `record.durable_jobs`.

    Failures are warnings, what needs a person is an error, everything else is DEBUG. The text of a failure
    ends with the error and, on lines of its own, where it was raised. Of newer records, which come again
    every minute, one of a job is told of in that time.
    """

    def __init__(self) -> None:
        self._newer: dict[Job, Seldom] = {}

    def emit(self, events: Sequence[TelemetryEvent]) -> None:
        """One record a value, if its level is wanted."""
        if not LOGGER.isEnabledFor(logging.DEBUG):  # as nearly always
            events = [event for event in events if type(event) in _LEVELS]
        for event in events:
            level = self._level_of(event)
            if LOGGER.isEnabledFor(level):
                extra = {"durable_jobs": event.wire()}
                name = str(event.key) if event.key.id else ":".join(job_of(event.key))
                LOGGER.log(level, "%s %s%s", event.type, printable(name), _told(event), extra=extra)

    def _level_of(self, event: TelemetryEvent) -> int:
        if isinstance(event, JobNewer):
            of_job = self._newer.setdefault(job_of(event.key), Seldom(NEWER_SECONDS))
            if not of_job.tells():
                return logging.DEBUG
        return _LEVELS.get(type(event), logging.DEBUG)

    def close(self, timeout: float) -> None:
        """Nothing is held."""


class Trackers:
    """Several trackers as one that never raises. It counts, and keeps the latest of, the instances that
    the store gave back older than they were."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._tells_failures = [Seldom(TELL_SECONDS) for _ in self._trackers]
        self.dropped = 0
        self.regressions = 0
        self.regressed: deque[Key] = deque(maxlen=REGRESSED_MAX)

    def emit(self, events: Sequence[TelemetryEvent]) -> None:
        """Give the values to each."""
        regressed = [event.key for event in events if isinstance(event, HistoryRegressed)]
        self.regressions += len(regressed)
        self.regressed += regressed
        for tracker, seldom in zip(self._trackers, self._tells_failures, strict=True):
            if not _guarded(tracker, partial(tracker.emit, events), seldom):
                self.dropped += len(events)

    def close(self, timeout: float) -> None:
        """Close all at a time; one that takes longer than it may is left behind."""
        closing = [(tracker, self._closing(tracker, timeout)) for tracker in self._trackers]
        deadline = time.monotonic() + timeout + CLOSE_MARGIN
        for tracker, thread in closing:
            if thread is None:
                continue
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                say(
                    logging.ERROR,
                    "the tracker %r did not close in %s s, and is left behind",
                    tracker,
                    timeout,
                )

    def _closing(self, tracker: Tracker, timeout: float) -> threading.Thread | None:
        call = partial(tracker.close, timeout)
        thread = threading.Thread(target=_guarded, args=(tracker, call), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # in an `atexit` of Python 3.12 and later no thread starts any more
            _guarded(tracker, call)
            return None
        return thread


def _guarded(tracker: Tracker, call: Callable[[], None], seldom: Seldom | None = None) -> bool:
    """Whether a call of a tracker went well; what it raises is logged, if not too often."""
    try:
        call()
    except KeyboardInterrupt:
        raise
    except BaseException:  # also an exit or a cancellation of its own, as of a hook (S-14)
        if seldom is None or seldom.tells():
            say(logging.ERROR, "the tracker %r failed", tracker, with_error=True)
        return False
    return True
