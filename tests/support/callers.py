"""A client over benches: each request is stepped by the real core, without an engine or a driver."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from support.steps import Bench

from durable_jobs_core import events
from durable_jobs_core.client import Client, Instance, InstancePage
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.kinds import KINDS
from durable_jobs_core.words import Key, Kind, maybe_datetime

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits for something")


@define
class Benches:
    """The `Caller` of a client: a bench for each key. `asked`: every request with its `wait_ms` and size."""

    jobs: Jobs
    page_size: int = 2
    benches: dict[Key, Bench] = field(factory=dict)
    asked: list[tuple[Key, events.Request, int | None, int]] = field(factory=list)

    @property
    def client(self) -> Client:
        """A client whose requests come here."""
        return Client(self.jobs, self)

    def bench(self, key: Key) -> Bench:
        """The bench of a key."""
        if key not in self.benches:
            self.benches[key] = Bench(self.jobs.by_key[key.kind, key.job], id=key.id, job=key.job)
        return self.benches[key]

    async def call(
        self, key: Key, request: events.Request, *, wait_ms: int | None = None, size: int = 0
    ) -> Any:
        """One step, or as many as its inline hooks want."""
        self.asked.append((key, request, wait_ms, size))
        return self.bench(key).request(request)

    async def page(
        self, kind: Kind | None, job: str | None, status: str | None, after: str | None, limit: int
    ) -> InstancePage:
        """The instances there are, by their printed key, at most `page_size` a page."""
        found: list[Instance] = []
        for key, bench in sorted(self.benches.items(), key=lambda item: str(item[0])):
            if bench.record is None:
                continue
            state = KINDS[key.kind].status_of(bench.body)
            wanted = kind in (None, key.kind) and job in (None, key.job) and status in (None, state)
            if wanted and (after is None or str(key) > after):
                found.append(Instance(key=key, status=state, alarm=maybe_datetime(bench.alarm)))
        size = min(limit, self.page_size)
        more = len(found) > size
        return InstancePage(tuple(found[:size]), str(found[size - 1].key) if more else None)
