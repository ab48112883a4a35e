"""A store under test, and shorthand for asking it.

`port` is a backend of each kind; `port.again()` is a second handle on the same store, as another process
would have. Instants in these tests are small numbers: a backend compares them as given (R-8).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_memory import MemoryBackend
from durable_jobs_sqlite import SQLiteBackend

from durable_jobs_core.backend import (
    Answer,
    Backend,
    Batch,
    Claim,
    Defer,
    Page,
    Query,
    Row,
    Write,
)
from durable_jobs_core.words import Key

FOREVER = 2**63 - 1
_names = itertools.count()


class Port:
    """One handle on a store."""

    JOB = ("task", "mail")

    def __init__(self, open: Callable[[], Backend], opened: list[Port]) -> None:
        self._open, self._opened = open, opened
        self.backend = open()
        opened.append(self)

    def again(self) -> Port:
        """Another handle on the same store."""
        return Port(self._open, self._opened)

    def ask(
        self,
        *writes: Write | Defer,
        loads: tuple[Key, ...] = (),
        claim: Claim | None = None,
        not_after: int = FOREVER,
        settle: bool = False,
    ) -> Answer:
        """One exchange."""
        batch = Batch(writes=writes, loads=loads, claim=claim, not_after=not_after, settle=settle)
        return self.backend.exchange(0, batch)

    def create(self, *ids: str, wake: int | None = None, blob: bytes = b"{}") -> list[Row]:
        """Rows of the job `mail`, revision `r0`."""
        rows = [self.row(id, wake=wake, blob=blob) for id in ids]
        answer = self.ask(*(Write(row.key, None, row) for row in rows))
        assert all(type(outcome).__name__ == "Committed" for outcome in answer.outcomes), answer
        return rows

    def load(self, id: str) -> Any:
        """What is stored in the job `mail`."""
        (row,) = self.ask(loads=(self.key(id),)).rows
        return row

    def claim(self, now: int, *, limit: int = 10, until: int | None = None, **more: Any) -> list[str]:
        """The ids claimed of the job `mail`; a hold of 1,000."""
        claim = Claim({self.JOB: limit}, now, now + 1_000 if until is None else until, **more)
        return [row.key.id for row in self.ask(claim=claim).claimed]

    def next_wake(self, *jobs: tuple[Any, str]) -> int | None:
        """The earliest entry, without claiming any."""
        return self.ask(claim=Claim(dict.fromkeys(jobs or (self.JOB,), 1), -(2**63), 0)).next_wake

    def scan(self, limit: int = 100, **query: Any) -> list[str]:
        """All ids listed, page by page."""
        return [row.key.id for page in self.pages(limit, **query) for row in page.rows]

    def pages(self, limit: int, **query: Any) -> Iterator[Page]:
        """All pages."""
        page = self.backend.scan(Query(**query), None, limit)
        yield page
        while page.after is not None:
            page = self.backend.scan(Query(**query), page.after, limit)
            yield page

    @staticmethod
    def key(id: str, job: str = "mail", kind: Any = "task") -> Key:
        return Key(kind, job, id)

    @classmethod
    def row(
        cls,
        id: str,
        revision: bytes = b"r0",
        wake: int | None = None,
        status: str = "idle",
        blob: bytes = b"{}",
        **key: Any,
    ) -> Row:
        return Row(cls.key(id, **key), revision, wake, status, blob)


@pytest.fixture
def opened() -> Iterator[list[Port]]:
    """The handles of a test, which are closed after it."""
    handles: list[Port] = []
    yield handles
    for handle in handles:
        handle.backend.close()


@pytest.fixture
def sqlite(tmp_path: Path, opened: list[Port]) -> Port:
    """A store in a file, `jobs.db` in `tmp_path`."""
    return Port(lambda: SQLiteBackend.open(f"sqlite:///{tmp_path}/jobs.db"), opened)


@pytest.fixture
def memory(opened: list[Port]) -> Port:
    """A store in memory."""
    name = f"test-{next(_names)}"
    return Port(lambda: MemoryBackend.open(f"memory://{name}"), opened)


@pytest.fixture(params=["memory", "sqlite"])
def port(request: pytest.FixtureRequest) -> Port:
    """A store of each kind."""
    return request.getfixturevalue(request.param)
