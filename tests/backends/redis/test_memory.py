"""A server whose memory is full: what would need more of it is refused, whole; the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from durable_jobs_redis import CallRefusedError, RedisBackend, _warnings
from support.drivers import again
from support.one_job import BOOK

from durable_jobs_core import create_durable_jobs
from durable_jobs_core.backend import Claim, Committed, Defer, Refused, Write
from durable_jobs_core.errors import OutcomeUnknownError, StorageError

DONE = Committed()


@pytest.fixture
def full(server, port) -> Iterator[Callable[[], None]]:
    """Makes the server's memory full; so it is until the end of the test."""

    def fill() -> None:
        with server.client() as client:
            client.config_set("maxmemory", 1)

    yield fill
    with server.client() as client:
        client.config_set("maxmemory", 0)


def image(server) -> dict[bytes, Any]:
    """Every key there is, and what it holds."""
    with server.client() as client:
        return {key: client.dump(key) for key in client.scan_iter() if not key.endswith(b"clock")}


def test_r3_a_full_memory_refuses_writes_and_nothing_happened(server, port, full) -> None:
    old, held = port.create("a", "held", wake=10)
    before = image(server)
    full()
    answer = port.ask(
        Write(old.key, b"r0", port.row("a", b"r1", wake=20, blob=b"x" * 100_000)),
        Defer(held.key, b"r0", 30),
        Write(port.key("new"), None, port.row("new", wake=5)),
        loads=(old.key,),
    )
    for outcome in answer.outcomes:
        assert isinstance(outcome, Refused)
        assert outcome.transient
        assert "OOM" in outcome.reason
    assert answer.rows == (old,)
    assert image(server) == before


@pytest.mark.parametrize("first", [True, False])
def test_r3_a_deletion_goes_on_and_lets_nothing_else_in(server, port, full, first) -> None:
    """The server lets everything through once a script has written: a deletion may come before or after."""
    gone, row = port.create("b", "c", wake=10)
    full()
    deletion = Write(gone.key, b"r0", None)
    new = Write(port.key("a" if not first else "d"), None, port.row("a" if not first else "d"))
    answer = port.ask(*(sorted((deletion, new), key=lambda write: write.key)), loads=(gone.key, row.key))
    outcomes = dict(
        zip(((first and "deleted") or "new", (first and "new") or "deleted"), answer.outcomes, strict=True)
    )
    assert outcomes["deleted"] == DONE
    assert isinstance(outcomes["new"], Refused)
    assert answer.rows == (None, row)
    assert port.scan() == ["c"]


def test_r7_a_full_memory_lets_no_claim_begin_what_cannot_be_ended(server, port, full) -> None:
    (row,) = port.create("a", wake=10)
    before = image(server)
    full()
    answer = port.ask(claim=Claim({port.JOB: 1}, 10, 20))
    assert (answer.claimed, answer.next_wake) == ((), 10)
    assert image(server) == before
    assert any("OOM" in text for text in port.backend.health().warnings)
    assert port.load("a") == row


def test_a_full_memory_is_told_in_the_log_once_and_by_health_until_a_minute_after_it(
    server, port, full, caplog, monkeypatch
) -> None:
    port.create("a", wake=10)
    full()
    for _ in range(3):
        port.claim(10)
    (told,) = [text for text in caplog.messages if "no writes are taken: " in text]
    assert told.endswith("maxmemory'.")
    assert {record.name for record in caplog.records} == {"durable_jobs"}
    with server.client() as client:
        client.config_set("maxmemory", 0)
    later = time.monotonic() + _warnings.PASSING_SECONDS + 1
    monkeypatch.setattr(_warnings.time, "monotonic", lambda: later)
    assert port.claim(10) == ["a"]
    assert not any("no writes" in text for text in port.backend.health().warnings)


def test_warnings_are_few_and_the_latest() -> None:
    warnings = _warnings.Warnings("redis://host")
    for n in range(20):
        warnings.tell(f"warning {n % 12}")
    assert warnings.now() == [f"warning {n % 12}" for n in range(12, 20)]


def test_r5_a_full_memory_does_not_hold_up_what_settles(server, port, full) -> None:
    (row,) = port.create("a")
    full()
    assert port.ask(loads=(row.key,), settle=True).rows == (row,)


def test_r6_a_load_with_a_full_memory_mends_nothing_and_mends_it_later(server, port, full) -> None:
    row, gone = port.create("a", "b", wake=10)
    with server.client() as client:
        client.delete("{durable-jobs:0}:due:task:mail")
    full()
    assert port.load("a") == row
    assert port.ask(Write(gone.key, b"r0", None), loads=(row.key,)).rows == (row,)  # which would let it in
    assert port.next_wake() is None
    with server.client() as client:
        client.config_set("maxmemory", 0)
    assert port.load("a") == row
    assert port.next_wake() == 10


def test_r3_when_there_is_memory_again_writes_go_on(server, port, full) -> None:
    full()
    write = Write(port.key("a"), None, port.row("a"))
    assert isinstance(port.ask(write).outcomes[0], Refused)
    with server.client() as client:
        client.config_set("maxmemory", 0)
    assert port.ask(write).outcomes == (DONE,)


def test_a_store_cannot_be_made_where_memory_is_full(server, port, full) -> None:
    full()
    with pytest.raises(CallRefusedError, match="OOM"):
        RedisBackend.open(f"{server.url}?namespace=another")
    with server.client() as client:
        assert client.keys("{another*") == []


def test_I_9_requests_that_a_full_memory_refuses_changed_nothing_and_terminate_makes_room(
    server, full, driver
) -> None:
    async def main() -> None:
        jobs = create_durable_jobs({"book": BOOK})
        async with (
            driver.open(jobs, server.url) as patient,
            driver.open(jobs, server.url, request_timeout="500 ms") as runtime,
        ):
            for id in ("a", "b"):
                await patient.client.task("book").send(id, "one")
            books = runtime.client.task("book")
            full()
            with pytest.raises((StorageError, OutcomeUnknownError)):  # at its deadline it may be on its way
                await books.send("a", "two")
            assert (await again(lambda: books.get_state("a"))).state == ["one"]
            await again(lambda: books.terminate("b"))
            assert (await again(lambda: books.get_state("b"))).state is None
            assert any("OOM" in text for text in (await runtime.health()).backend.warnings)

    driver.run(main)
