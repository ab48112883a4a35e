"""What `open_runtime` is given, checked whole before anything is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from durable_jobs_core.backend import Backend
from durable_jobs_core.checks import shown
from durable_jobs_core.durations import Duration
from durable_jobs_core.engine import Limits
from durable_jobs_core.jobs import Jobs
from durable_jobs_runtime.arguments import Arguments
from durable_jobs_runtime.journal import FileJournal
from durable_jobs_runtime.trackers import Tracker


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
        if arguments.kind("limits", limits, Limits, "Limits or None") and isinstance(jobs, Jobs):
            known = f"a registered job, one of {', '.join(map(str, jobs.by_key)) or 'none'}"
            for job in limits.per_job:
                arguments.expect(job in jobs.by_key, "limits.per_job", known, shown(job))
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


def _checked_trackers(arguments: Arguments, given: Iterable[Tracker]) -> tuple[Tracker, ...]:
    is_sequence = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    if not arguments.expect(is_sequence, "trackers", "a sequence of trackers", shown(given)):
        return ()
    trackers = tuple(given)
    for number, tracker in enumerate(trackers):
        arguments.methods(f"trackers[{number}]", tracker, "emit close", "a tracker")
    return trackers
