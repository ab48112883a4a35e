"""An index of due work that is something else."""

from __future__ import annotations

import pytest
from attrs import evolve
from support.ports import refusal

from durable_jobs_core.backend import Claim, Committed, Defer, Write

DONE = Committed()


def test_r7_an_index_that_is_something_else_stops_its_own_job_only_and_is_told_in_the_log(
    server, port, caplog
) -> None:
    post = port.key("b", "post")
    port.create("a", wake=10)
    assert port.ask(Write(post, None, evolve(port.row("b", wake=20), key=post))).outcomes == (DONE,)
    with server.client() as client:
        client.set("{durable-jobs:0}:due:task:mail", "not an index")
    answer = port.ask(claim=Claim({port.JOB: 1, (post.kind, post.job): 1}, 30, 40))
    assert [row.key for row in answer.claimed] == [post]
    assert answer.next_wake == 40
    assert any("due work of task:mail is not" in text and "WRONGTYPE" in text for text in caplog.messages)


def test_r7_an_entry_without_a_row_is_removed_by_a_claim_and_holds_up_no_other(server, port) -> None:
    (row,) = port.create("a", wake=20)
    with server.client() as client:
        client.zadd("{durable-jobs:0}:due:task:mail", {"gone": 5})
    assert port.next_wake() == 5
    assert [id for _ in range(2) for id in port.claim(20, limit=1)] == [row.key.id]
    assert port.next_wake() == 1_020


@pytest.mark.parametrize("wake", [5, 20, None])
def test_r1_what_cannot_be_entered_in_the_index_is_refused_and_not_written(server, port, wake) -> None:
    port.create("a", "held", wake=10)
    port.ask(Defer(port.key("held"), b"r0", 15))
    with server.client() as client:
        client.set("{durable-jobs:0}:due:task:mail", "not an index")
        before = {id: client.hgetall(f"{{durable-jobs:0}}:row:task:mail:{id}") for id in ("a", "held")}
        for id in before:
            outcome = refusal(port, Write(port.key(id), b"r0", port.row(id, b"r1", wake=wake)))
            assert "WRONGTYPE" in outcome.reason
            assert client.hgetall(f"{{durable-jobs:0}}:row:task:mail:{id}") == before[id]
        assert "WRONGTYPE" in refusal(port, Write(port.key("n"), None, port.row("n", wake=wake))).reason
        assert not client.exists("{durable-jobs:0}:row:task:mail:n")
        for id in before:
            assert "WRONGTYPE" in refusal(port, Defer(port.key(id), b"r0", wake)).reason
            assert client.hgetall(f"{{durable-jobs:0}}:row:task:mail:{id}") == before[id]
    assert port.ask(Write(port.key("a"), b"r0", None)).outcomes == (DONE,)
    assert port.load("a") is None


def test_r3_a_deletion_is_done_whatever_is_in_the_place_of_the_lists_and_holds_up_no_other(
    server, port, caplog
) -> None:
    rows = port.create("a", "b", "c", wake=10)
    with server.client() as client:
        for list in ("due:task:mail", "ids:task:mail", "jobs"):
            client.set(f"{{durable-jobs:0}}:{list}", "something else")
    assert port.ask(*(Write(row.key, b"r0", None) for row in rows)).outcomes == (DONE,) * 3
    assert [port.load(row.key.id) for row in rows] == [None] * 3
    assert any("of task:mail stays listed" in text and "WRONGTYPE" in text for text in caplog.messages)
