"""The Nth call of SQLite's fails, for every N and in every way: what an answer says is so, a refused write
did not happen, what is raised left all or nothing, and the next exchange works."""

from __future__ import annotations

import sqlite3
from itertools import count
from typing import Any

import pytest
from durable_jobs_sqlite import StoreError, _file
from support.files import spoil

from durable_jobs_core.backend import Answer, Claim, Committed, Conflicted, Defer, Refused, Row, Write

FOREVER = 2**63 - 1
FAILURES: dict[str, BaseException] = {
    name: sqlite3.OperationalError(name)
    for name in ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_READONLY", "SQLITE_BUSY", "SQLITE_TOOBIG")
}
for name, failure in FAILURES.items():
    vars(failure).update(sqlite_errorname=name, sqlite_errorcode=getattr(sqlite3, name))
FAILURES["interrupt"] = KeyboardInterrupt()


class Fault:
    """The call of this number fails, once. `armed`: calls are counted; `calls`: how many there were."""

    def __init__(self) -> None:
        self.armed, self.calls = False, 0
        self.number, self.failure = 0, FAILURES["interrupt"]

    def pass_by(self) -> None:
        self.calls += self.armed
        if self.armed and self.calls == self.number:
            raise self.failure


class Faulty(sqlite3.Connection):
    """A connection whose calls may fail."""

    fault: Fault

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.fault.pass_by()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self.fault.pass_by()
        return super().executemany(*args)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """The fault of every connection there will be."""
    fault = Fault()

    class Mine(Faulty):
        pass

    Mine.fault = fault
    connect = sqlite3.connect
    monkeypatch.setattr(_file.sqlite3, "connect", lambda *args, **more: connect(*args, factory=Mine, **more))
    return fault


class Batch:
    """Six writes of every sort, one of which conflicts, loads, and a claim."""

    def __init__(self, port: Any, tag: str) -> None:
        self.port = port
        self.ids = [f"{tag}{name}" for name in ("create", "defer", "delete", "meet", "more", "put")]
        create, defer, delete, meet, more, put = (port.key(id) for id in self.ids)
        rows = port.create(*self.ids[1:4], self.ids[5], wake=10)
        port.ask(Defer(meet, b"r0", None))  # so a load has to put it back
        self.before: dict[str, Row | None] = dict.fromkeys(self.ids) | {row.key.id: row for row in rows}
        self.writes = (
            Write(create, None, port.row(create.id, wake=10)),
            Defer(defer, b"r0", 20),
            Write(delete, b"r0", None),
            Write(meet, b"other", None),
            Write(more, None, port.row(more.id)),
            Write(put, b"r0", port.row(put.id, b"r1", blob=b"new")),
        )
        self.after = {write.key.id: write.row for write in self.writes if isinstance(write, Write)}
        self.after[self.ids[1]], self.after[self.ids[3]] = self.before[self.ids[1]], self.before[self.ids[3]]

    def ask(self, **more: Any) -> Answer:
        loads = tuple(write.key for write in self.writes)
        answer: Answer = self.port.ask(
            *self.writes, loads=loads, claim=Claim({self.port.JOB: 2}, 10, 30), **more
        )
        return answer

    def check(self, answer: Answer | None) -> None:
        loads = tuple(write.key for write in self.writes)
        stored = dict(zip(self.ids, self.port.ask(loads=loads).rows, strict=True))
        if answer is None:
            assert stored in (self.before, self.after)
            return
        for id, outcome in zip(self.ids, answer.outcomes, strict=True):
            assert isinstance(outcome, Committed | Conflicted | Refused)
            assert stored[id] == (self.after if isinstance(outcome, Committed) else self.before)[id]
        assert dict(zip(self.ids, answer.rows, strict=True)) == stored

    def clear(self) -> None:
        for revision in (b"r0", b"r1"):
            self.port.ask(*(Write(write.key, revision, None) for write in self.writes))


@pytest.mark.parametrize("settle", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_r3_whichever_call_fails_the_outcome_is_honest(fault, sqlite, name, settle) -> None:
    fault.failure = FAILURES[name]
    for fault.number in count(1):
        batch = Batch(sqlite, f"{fault.number:03}")
        fault.armed, fault.calls = True, 0
        try:
            answer = batch.ask(settle=settle)
        except (StoreError, KeyboardInterrupt):
            answer = None
        fault.armed = False
        batch.check(answer)
        batch.clear()
        if fault.calls < fault.number:
            break
    assert 10 < fault.number < 60
    warned = any("cannot be found when it is due" in text for text in sqlite.backend.health().warnings)
    assert warned == (name == "SQLITE_CORRUPT"), "what is not of this row is not said of it"


CALLS = {
    "open": lambda port: port.again().backend.close(),
    "scan": lambda port: port.scan(2),
    "status": lambda port: port.scan(status="idle"),
    "health": lambda port: port.backend.health(),
    "wait": lambda port: port.backend.wait(0),
    "load": lambda port: port.load("a"),
    "claim": lambda port: port.claim(30, until=20),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", [name for name in FAILURES if name != "interrupt"])
@pytest.mark.parametrize("damaged", [False, True])
def test_r10_whichever_call_fails_it_is_an_error_of_the_store(
    fault, sqlite, path, name, call, damaged
) -> None:
    sqlite.create("a", "b", "c", wake=10)
    if damaged:
        spoil(path, "UPDATE rows SET status = x'ff' WHERE id = 'b'")
    fault.failure = FAILURES[name]
    for fault.number in count(1):
        fault.armed, fault.calls = True, 0
        try:
            CALLS[call](sqlite)
        except StoreError as error:
            raised = str(error)
            assert raised.startswith(f"{sqlite.backend._file.path}: ")
        fault.armed = False
        assert sqlite.scan() == ["a", "b", "c"]
        if fault.calls < fault.number:
            return
        assert fault.number < 60
