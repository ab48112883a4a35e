"""A key of a row that holds something else: it is told as damaged, and disturbs no other (R-9)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1

import pytest
import redis
from support.ports import refusal

from durable_jobs_core.backend import Committed, Conflicted, Damaged, Write

ROW = "{durable-jobs:0}:row:task:mail:a"


def put_something_else(client: redis.Redis) -> None:
    client.delete(ROW)
    client.hset(ROW, "name", "something else")


SPOILED: dict[str, Callable[[redis.Redis], object]] = {
    "no revision": lambda client: client.hdel(ROW, "rev"),
    "no alarm": lambda client: client.hdel(ROW, "wake"),
    "no status": lambda client: client.hdel(ROW, "status"),
    "no blob": lambda client: client.hdel(ROW, "blob"),
    "an alarm that is no instant": lambda client: client.hset(ROW, "wake", "soon"),
    "an alarm with a sign alone": lambda client: client.hset(ROW, "wake", "-"),
    "an alarm after a text": lambda client: client.hset(ROW, "wake", "at 5"),
    "an alarm before a text": lambda client: client.hset(ROW, "wake", "5 o'clock"),
    "a hold that is no instant": lambda client: client.hset(ROW, "held", "soon"),
    "something else": put_something_else,
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_r9_a_hash_that_is_no_row_is_told_as_damaged_and_can_only_be_deleted(server, port, spoil) -> None:
    _, sound = port.create("a", "b", wake=10)
    with server.client() as client:
        SPOILED[spoil](client)
        image = client.dump(ROW)
        damaged = port.load("a")
        assert isinstance(damaged, Damaged)
        assert damaged.why == "it is no hash with the fields rev, wake, status and blob"
        assert damaged.raw == image
        assert damaged.revision == (client.hget(ROW, "rev") or sha1(image).hexdigest().encode())
        new = port.row("a", b"r1")
        assert "it can only be deleted" in refusal(port, Write(new.key, damaged.revision, new)).reason
        assert client.dump(ROW) == image
    assert port.claim(10) == ["a", "b"]
    assert port.listed(5) == [damaged, sound]
    assert port.ask(Write(new.key, damaged.revision, None)).outcomes == (Committed(),)
    assert port.load("a") is None
    assert port.scan() == ["b"]


def test_r2_what_was_damaged_anew_is_another_revision(server, port) -> None:
    port.create("a")
    with server.client() as client:
        client.set(ROW, "something else")
        damaged = port.load("a")
        client.set(ROW, "another")
    (outcome,) = port.ask(Write(damaged.key, damaged.revision, None)).outcomes
    assert outcome == Conflicted(port.load("a"))
    assert outcome.row.revision != damaged.revision


def test_r8_a_damaged_row_that_is_due_in_ages_is_told_so(server, port) -> None:
    """A score of so many digits is not exact, and the row does not tell it."""
    port.create("a", wake=2**60)
    with server.client() as client:
        client.set(ROW, "something else")
    assert port.next_wake() == 2**60
