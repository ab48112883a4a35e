"""An observer of the simulation in the hands of a test, which tells it what happens one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from durable_jobs_simulation import Faults
from durable_jobs_simulation.history import Attempt
from durable_jobs_simulation.observer import Observer
from durable_jobs_simulation.store import Store
from durable_jobs_simulation.tasks import Ask
from durable_jobs_simulation.violation import Violated

from durable_jobs_core import Continuous, Debounce, Jobs, Retry, Task, create_durable_jobs, events, every
from durable_jobs_core.backend import Write
from durable_jobs_core.codec import encode
from durable_jobs_core.engine import HookOutcome, Reply
from durable_jobs_core.record import (
    Body,
    ContinuousBody,
    DebounceBody,
    Lease,
    Record,
    Run,
    Stored,
    TaskBody,
)
from durable_jobs_core.words import Key, Revision, Token

TICK, ORDER, BOX = Key("continuous", "tick", "a"), Key("task", "orders", "a"), Key("debounce", "box", "a")
ZERO, ONE, TWO = (Stored(1, value) for value in range(3))
BEGAN, LEASE_MS = 1_000_000, 30_000
UNTIL = BEGAN + LEASE_MS
W1, W2 = SimpleNamespace(name="w1", engine_id=1), SimpleNamespace(name="w2", engine_id=2)


async def nothing(*args: Any) -> None: ...


def make_jobs() -> Jobs:
    retry = Retry(max_attempts=2, delay="1 second")
    return create_durable_jobs(
        {
            "tick": Continuous.make(state=int, schedule=every("1 minute"), execute=nothing, retry=retry),
            "orders": Task.make(state=int, event=int, on_event=nothing, execute=nothing, retry=None),
            "box": Debounce.make(event=int, flush_after="1 minute", execute=nothing, remember_ids=3),
        }
    )


class World:
    """What an observer asks for, and what it is told, in the hands of a test."""

    def __init__(self, **faults: float) -> None:
        self.now = BEGAN
        self.faults = Faults(**faults)
        self.releases = (make_jobs(),)
        self.store = Store(lambda: self.now, SimpleNamespace(indexed=lambda key: None))  # type: ignore[arg-type]
        self.observer = Observer(self)
        self.number = 0
        for node in (W1, W2):
            node.stopping = False
            self.observer.started(node)

    def say(self, *args: Any, **kwargs: Any) -> None: ...

    def commit(self, key: Key, body: Body | None, node: Any = W1, *, wake: int = 0, **head: Any) -> None:
        """A node writes a record with that body, or deletes it."""
        self.number += 1
        if body is None:
            self.observer.committed(node.engine_id, Write(key, b"", None), None)
            return
        fields: dict[str, Any] = {
            "revision": Revision(1, self.number, node.engine_id),
            "at": self.now,
            "seq": 0,
            **head,
        }
        writers = ((fields["revision"].engine, fields["revision"].number),)
        record = Record(writers=writers, created_at=BEGAN, body=body, **fields)  # type: ignore[arg-type]
        row = encode(key, record, wake)
        self.store.rows[key] = row
        self.observer.committed(node.engine_id, Write(key, b"", row), None)

    def lease(self, *, until: int = UNTIL, token: Token | None = None, node: Any = W1, **changes: Any) -> Run:
        """A run whose lease is taken by the next write of a node."""
        token = token or Token(self.number + 1, node.engine_id)
        fields: dict[str, Any] = {"number": 1, "hook": "execute", "first_at": BEGAN, **changes}
        return Run(lease=Lease(token=token, since=self.now, until=until), **fields)

    def attempt(self, key: Key = TICK, node: Any = W1, *, called: bool = True, **changes: Any) -> Attempt:
        """A lease is taken, and its hook called."""
        self.commit(key, body_of(key, run=self.lease(node=node, **changes)), node)
        attempt = self.observer.history(key).latest
        assert attempt is not None
        if called:
            self.invoke(key, node)
        return attempt

    def invoke(
        self, key: Key = TICK, node: Any = W1, *, id: int = 1, leased: bool = True, **shown: Any
    ) -> None:
        latest = self.observer.history(key).latest
        names = ("life", "run", "hook", "attempt", "crashes", "state")
        call = SimpleNamespace(**{name: getattr(latest, name, None) for name in names} | shown)
        ctx = SimpleNamespace(_call=call)
        self.observer.invoked(node, SimpleNamespace(id=id, key=key, hook="execute", leased=leased, ctx=ctx))  # type: ignore[arg-type]

    def end(self, outcome: HookOutcome, key: Key = TICK, node: Any = W1, *, id: int = 1) -> None:
        invoke = SimpleNamespace(id=id, key=key, hook="execute", leased=True)
        self.observer.finished(node, invoke, outcome)  # type: ignore[arg-type]

    def call(self, request: events.Request, key: Key = TICK, node: Any = W1, *, id: int = 1) -> None:
        self.observer.called(node, id, Ask(None, key, request, None, 0))

    def reply(self, result: Any = None, node: Any = W1, *, id: int = 1, error: Any = None) -> None:
        self.observer.replied(node, Reply(id, result, error))

    def emit(self, *seqs: int | None, node: Any = W1, life: int = 1, type: str = "job.started") -> None:
        values = (SimpleNamespace(key=TICK, seq=seq, life=life, type=type) for seq in seqs)
        self.observer.emitted(node, tuple(values))  # type: ignore[arg-type]


def body_of(key: Key, **changes: Any) -> Any:
    fields: dict[str, Any] = {"runs": 2, **changes}
    if key == TICK:
        return ContinuousBody(**{"state": ZERO, "next_at": 0, **fields})
    return TaskBody(**{"state": ZERO, **fields}) if key == ORDER else DebounceBody(**fields)


def waits(**changes: Any) -> Run:
    """A run that waits for its next attempt."""
    return Run(**{"number": 1, "hook": "execute", "attempt": 2, "due": 0, "first_at": BEGAN, **changes})


def violates(name: str, why: str) -> Any:
    return pytest.raises(Violated, match=f"^{name}: .*{why}")
