"""What `open_runtime` gives, but for the awaiting: the client, listing, health."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, TypeVar, get_args

from attrs import frozen

from durable_jobs_core.backend import Backend, Damaged, Health, Page, Query, Row
from durable_jobs_core.checks import shown
from durable_jobs_core.client import Client, Instance, InstancePage
from durable_jobs_core.codec import decode
from durable_jobs_core.engine import Attempt, Reply
from durable_jobs_core.errors import StorageError
from durable_jobs_core.results import InstanceStatus
from durable_jobs_core.telemetry import JobUnregistered
from durable_jobs_core.words import INSTANT_MAX, Job, Key, Kind, maybe_datetime
from durable_jobs_runtime.arguments import Arguments
from durable_jobs_runtime.loop import Loop
from durable_jobs_runtime.machine import Machine
from durable_jobs_runtime.options import Options
from durable_jobs_runtime.trackers import LoggingTracker, Trackers

T = TypeVar("T")
PAGE_MAX = 1_000


def node_id() -> int:
    """A new identity for an engine: 64 random bits, never a host name or a process id."""
    return secrets.randbits(64)


@frozen(kw_only=True)
class RuntimeHealth:
    """What a runtime knows of itself and its backend.

    `backend`: its own account; `failing`: why it could not do what this process asked last, or for how long
    it has not answered that, of each lane that fails; `attempts`: those that run here, the longest first:
    while they hold all slots, no other begins; `dropped_telemetry`: values that a tracker failed to take;
    what an `HttpTracker` took and could not send is in its own `dropped`; `dropped_returns`: plain hooks that
    returned after their time was up, or after they were cancelled, in vain (S-15). `regressions`: how often
    the store gave back an instance older than this process knew it committed, `regressed`: the latest of
    those instances.
    """

    backend: Health
    failing: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    dropped_telemetry: int
    dropped_returns: int
    regressions: int
    regressed: tuple[Key, ...]


class BaseRuntime:
    """The part of a runtime that needs no event loop. Made by the drivers' `open_runtime`."""

    def __init__(self, options: Options, backend: Backend, loop: Loop) -> None:
        self.jobs = options.jobs
        self._backend = backend
        self._trackers = Trackers((LoggingTracker(), *options.trackers))
        self._grace_ms = options.grace_ms
        self._timeout_ms = options.request_timeout_ms
        self._said: set[Job] = set()
        try:
            self._machine = Machine(
                options.jobs,
                backend,
                loop,
                node=node_id(),
                worker=options.worker,
                limits=options.limits,
                trackers=self._trackers,
                journal=options.journal,
            )
        except BaseException:  # as of a backend that is not what the port says: nobody else will close it
            backend.close()
            raise
        self.client = Client(options.jobs, self)
        """Typed requests to the instances of the registered jobs."""

    async def start(self) -> None:
        """Begin, as the beginning of the block does."""
        self._machine.start()
        await self.health()

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Call a blocking function in a thread; what each driver does its own way."""
        raise NotImplementedError

    async def call(self, *args: Any, **kwargs: Any) -> Any:
        """Send a request to the engine; what each driver does its own way."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise what broke the runtime: a bug of the library. What was committed is safe."""
        if self._machine.error is not None:
            raise RuntimeError("the durable-jobs runtime broke") from self._machine.error

    async def page(
        self, kind: Kind | None, job: str | None, status: str | None, after: str | None, limit: int
    ) -> InstancePage:
        """One page of instances, in the backend's order (S-66).

        A record tells that it is quarantined (S-6), its row does not: what is asked for by status is
        sifted here, and a page may be short.
        """
        self._machine.check_open()
        arguments = Arguments()
        arguments.choice("kind", kind, get_args(Kind))
        arguments.choice("status", status, get_args(InstanceStatus))
        arguments.count("limit", limit, 1, PAGE_MAX)
        for name, text in (("job", job), ("after", after)):
            arguments.expect(text is None or isinstance(text, str), name, "text or None", shown(text))
        arguments.check("list")
        query = Query(kind=kind, job=job, status=None if status == "quarantined" else status)
        page = _given(await self.in_thread(self._backend.scan, query, after, limit), Page, "scan")
        if after is not None and page.after == after:
            raise StorageError(f"the backend's listing does not go on: the page after {after!r} ends there")
        found = map(_instance, page.rows)
        return InstancePage(tuple(one for one in found if status in (None, one.status)), page.after)

    async def health(self) -> RuntimeHealth:
        """What an acknowledgement means here, warnings, and what was dropped.

        Also says, once a job, which jobs have instances in the store and are not registered (S-8). Raises
        `StorageError` if the backend cannot tell, and `ClosedError`.
        """
        self._machine.check_open()
        health = _given(await self.in_thread(self._backend.health), Health, "health")
        self._say_unregistered(health)
        return RuntimeHealth(
            backend=health,
            failing=self._machine.failing,
            attempts=self._machine.attempts,
            dropped_telemetry=self._trackers.dropped,
            dropped_returns=self._machine.dropped_returns,
            regressions=self._trackers.regressions,
            regressed=tuple(self._trackers.regressed),
        )

    def _say_unregistered(self, health: Health) -> None:
        for kind, name in health.jobs:
            if (kind, name) in self.jobs.by_key or (kind, name) in self._said:
                continue
            self._said.add((kind, name))
            event = JobUnregistered(key=Key(kind, name, ""), at=health.clock, life=0, seq=None)
            self._trackers.emit((event,))


def result_of(reply: Reply) -> Any:
    """What a caller is given; an error is raised.

    Neither the engine's frames nor this one are kept by it, which would keep it, and what a hook held that
    failed, until the garbage collector comes.
    """
    if reply.error is None:
        return reply.result
    try:
        raise reply.error.with_traceback(None) from reply.cause or reply.error.__cause__
    finally:
        del reply


def _given(value: object, type_: type[T], method: str) -> T:
    """What a method of the backend gave, which may be anybody's."""
    if not isinstance(value, type_):
        raise StorageError(f"the backend's {method}: expected a {type_.__name__}, got {shown(value)}")
    return value


def _instance(row: Row | Damaged) -> Instance:
    if isinstance(row, Damaged) or isinstance(decode(row), Damaged):
        return Instance(key=row.key, status="quarantined", alarm=None)
    wake = None if row.wake is None else min(max(row.wake, 0), INSTANT_MAX)  # damaged, or set by hand
    return Instance(key=row.key, status=row.status, alarm=maybe_datetime(wake))
