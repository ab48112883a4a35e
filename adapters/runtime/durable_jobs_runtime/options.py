"""What `open_runtime` is given, checked whole before anything is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from durable_jobs_core.backend import Backend
from durable_jobs_core.durations import Duration
from durable_jobs_core.engine import Limits
from durable_jobs_core.jobs import Jobs
from durable_jobs_runtime.arguments import Arguments, shown
from durable_jobs_runtime.journal import FileJournal
from durable_jobs_runtime.trackers import Tracker

_COUNTS = {"concurrency": 0, "queued_requests": 1, "queued_bytes": 1, "cache_bytes": 0}
_SPANS = {"lease": 10, "hold": 1, "poll": 1, "exchange": 1, "settle": 0}
"""The least of each of the limits. A lease is looked at when a tenth of it is left, in whole milliseconds."""


@frozen(kw_only=True)
class Options:
    """The arguments of `open_runtime`, in the form in which they are used."""

    jobs: Jobs
    worker: bool
    limits: Limits
    trackers: tuple[Tracker, ...]
    journal: FileJournal | None
    grace_ms: int
    request_timeout_ms: int

    @classmethod
    def checked(
        cls,
        jobs: Jobs,
        backend: str | Backend,
        *,
        worker: bool,
        limits: Limits | None,
        trackers: Sequence[Tracker],
        journal: FileJournal | None,
        grace: Duration,
        request_timeout: Duration,
    ) -> Options:
        """The options, or `ValidationError` with all that is wrong; `backend` is looked at, not opened."""
        arguments = Arguments()
        arguments.kind("jobs", jobs, Jobs, "what create_durable_jobs returns")
        if not isinstance(backend, str):
            methods = "lane exchange scan wait health close"
            if arguments.methods("backend", backend, methods, "a URL or an open backend"):
                arguments.count("backend.lanes", getattr(backend, "lanes", None), 1)
        arguments.flag("worker", worker)
        limits = Limits() if limits is None else limits
        _check_limits(arguments, limits, jobs)
        options = cls(
            jobs=jobs,
            worker=worker,
            limits=limits,
            trackers=_checked_trackers(arguments, trackers),
            journal=journal,
            grace_ms=arguments.span("grace", grace, 0),
            request_timeout_ms=arguments.span("request_timeout", request_timeout, 1),
        )
        if journal is not None:
            arguments.kind("journal", journal, FileJournal, "a FileJournal or None")
        arguments.check("open_runtime opened nothing")
        return options


def _check_limits(arguments: Arguments, limits: Limits, jobs: Jobs) -> None:
    if not arguments.kind("limits", limits, Limits, "Limits or None"):
        return
    for name, least in _COUNTS.items():
        arguments.count(f"limits.{name}", getattr(limits, name), least)
    for name, least in _SPANS.items():
        arguments.ms(f"limits.{name}", getattr(limits, name), least)
    if not isinstance(jobs, Jobs) or not arguments.kind(
        "limits.per_job", limits.per_job, Mapping, "numbers by (kind, job)"
    ):
        return
    known = ", ".join(map(str, jobs.by_key)) or "none"
    for job, number in limits.per_job.items():
        expected = f"a registered job, one of {known}"
        if arguments.expect(job in jobs.by_key, "limits.per_job", expected, shown(job)):
            arguments.count(f"limits.per_job[{job}]", number, 0)


def _checked_trackers(arguments: Arguments, given: Iterable[Tracker]) -> tuple[Tracker, ...]:
    is_sequence = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    if not arguments.expect(is_sequence, "trackers", "a sequence of trackers", shown(given)):
        return ()
    trackers = tuple(given)
    for number, tracker in enumerate(trackers):
        arguments.methods(f"trackers[{number}]", tracker, "emit close", "a tracker")
    return trackers
