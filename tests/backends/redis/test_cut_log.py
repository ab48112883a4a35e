"""A log that ends within a transaction.

Redis 6.2 and 7.0 cut it after the last whole command: they do without the transaction at the next start, and
do the beginning of it, with what was written since, at the one after.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_conformance import Port
from support.redis_proxy import read_message
from support.redis_servers import SAFE, Server, Space, launch

from durable_jobs_core.backend import Committed, Row, Write

SOON, LATE = 100, 5_000
CHANGES: dict[str, tuple[Any, Any]] = {
    "made": ("missing", SOON),
    "begun": (None, SOON),
    "sooner": (LATE, SOON),
    "later": (SOON, LATE),
    "ended": (SOON, None),
    "gone": (SOON, "deleted"),
}
"""When instances were due, and when they are after the transaction."""


@pytest.fixture
def own(program: str) -> Iterator[Server]:
    """A server of the test's own, for its log is cut."""
    server = launch(program, *SAFE)
    yield server
    server.discard()


def log_of(server: Server) -> Path:
    """The file of commands that it appends to."""
    return next(server.folder.glob("appendonlydir/*.incr.aof"), server.folder / "appendonly.aof")


def sizes(commands: bytes) -> list[int]:
    """The size of each command."""
    file, found = io.BytesIO(commands), list[int]()
    while file.tell() < len(commands):
        found.append(len(read_message(file)[0]))
    return found


def test_I_4_what_is_due_is_claimed_whatever_a_cut_log_does_again(own) -> None:
    port = Port(Space(own.url))
    held = port.create("held", wake=10)
    before = port.create(*(id for id, (wake, _) in CHANGES.items() if wake == SOON), wake=SOON)
    before += port.create("sooner", wake=LATE) + port.create("begun")
    assert port.claim(10, until=LATE) == ["held"]
    start = log_of(own).stat().st_size
    writes = [change(port, row) for row in (*before, *held)]
    writes.append(Write(port.key("made"), None, port.row("made", wake=SOON)))
    assert set(port.ask(*sorted(writes, key=lambda write: write.key)).outcomes) == {Committed()}
    log = log_of(own).read_bytes()
    ends = [start + size for size in accumulate(sizes(log[start:]))]
    assert log[start:].startswith(b"*1\r\n$5\r\nMULTI")
    assert ends[-1] == len(log)
    for end in ends[1:]:
        port.close_all()
        own.kill()
        log_of(own).write_bytes(log[: end - 1])
        own.start()
        port = Port(Space(own.url))
        port.create("more")
        own.restart()
        claimed = set(port.claim(SOON))
        rows = [row for id in (*CHANGES, "held") if (row := port.load(id)) is not None]
        due = {row.key.id for row in rows if row.wake is not None and row.wake <= SOON and row not in held}
        assert due <= claimed, f"cut after {end - start} bytes of it"
        assert port.load("more") is not None
    port.close_all()


def change(port: Port, row: Row) -> Write:
    """What the transaction does to a row."""
    _, after = CHANGES.get(row.key.id, (None, SOON))
    new = None if after == "deleted" else port.row(row.key.id, b"r1", wake=after)
    return Write(row.key, row.revision, new)
