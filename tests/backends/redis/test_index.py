"""The index of due work: where it is something else; what is put right, what is written, who is told."""

from __future__ import annotations

import pytest
import redis
from attrs import evolve
from support.ports import refusal
from support.redis_clusters import wait_until

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


def test_r6_a_row_whose_index_cannot_be_put_right_is_loaded_all_the_same(server, port, caplog) -> None:
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        client.set("{durable-jobs:0}:due:task:mail", "not an index")
    assert port.load("a") == row
    assert any("of task:mail cannot be mended" in text and "WRONGTYPE" in text for text in caplog.messages)


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


@pytest.mark.parametrize("list", ["ids:task:mail", "jobs"])
def test_S_66_what_cannot_be_listed_is_refused_and_not_written(server, port, list) -> None:
    with server.client() as client:
        client.set(f"{{durable-jobs:0}}:{list}", "something else")
        assert "WRONGTYPE" in refusal(port).reason
        assert not client.exists("{durable-jobs:0}:row:task:mail:new")


@pytest.mark.parametrize("lists", [("due:task:mail", "ids:task:mail", "jobs"), ("jobs",)])
def test_r3_a_deletion_is_done_whatever_is_in_the_place_of_the_lists_and_holds_up_no_other(
    server, port, caplog, lists
) -> None:
    rows = port.create("a", "b", "c", wake=10)
    with server.client() as client:
        for list in lists:
            client.set(f"{{durable-jobs:0}}:{list}", "something else")
    assert port.ask(*(Write(row.key, b"r0", None) for row in rows)).outcomes == (DONE,) * 3
    assert [port.load(row.key.id) for row in rows] == [None] * 3
    assert any("of task:mail stays listed" in text and "WRONGTYPE" in text for text in caplog.messages)


# -- what the index and the lists have lost


def test_r6_a_load_puts_back_what_is_later_than_its_row_or_its_hold(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        for wake in (10, 1_010):
            client.zadd("{durable-jobs:0}:due:task:mail", {"a": 5_000})
            assert port.load("a") == row
            assert port.next_wake() == wake
            port.claim(10)


def test_r6_what_a_load_has_put_back_is_where_its_row_says(server, port) -> None:
    """As one that was never moved: what had moved it is forgotten."""
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        before = client.hgetall("{durable-jobs:0}:row:task:mail:a")
        port.ask(Defer(row.key, b"r0", None))
        port.load("a")
        assert client.hgetall("{durable-jobs:0}:row:task:mail:a") == before


def test_S_66_a_load_lists_what_the_lists_have_lost(server, port) -> None:
    (row,) = port.create("a")
    with server.client() as client:
        client.delete("{durable-jobs:0}:ids:task:mail", "{durable-jobs:0}:jobs")
    assert port.scan() == []
    assert port.load("a") == row
    assert port.scan() == ["a"]
    assert port.backend.health().jobs == (port.JOB,)


# -- what is written

WRITES = ("zadd", "zrem", "hset", "hdel", "sadd", "srem", "publish", "set", "del")


def calls(client: redis.Redis) -> dict[str, int]:
    """How often each command that writes, or tells of due work, was called since the last time."""
    stats = client.info("commandstats")
    client.config_resetstat()
    return {name: one["calls"] for name in WRITES if (one := stats.get(f"cmdstat_{name}")) is not None}


def test_what_finds_all_as_it_should_be_writes_the_mark_once_a_second_and_nothing_else(server, port) -> None:
    """Or each look for due work would make the log longer, and a disk be waited for."""
    keys = [row.key for row in port.create("a", "held", "found", wake=10) + port.create("asleep")]
    port.ask(Defer(port.key("found"), b"r0", None), Defer(port.key("held"), b"r0", 15))
    port.ask(loads=(port.key("found"),))
    before = port.ask().clock
    with server.client() as client:
        calls(client)
        clocks = [
            port.ask(loads=(*keys, port.key("none")), claim=Claim({port.JOB: 1}, 5, 6)).clock
            for _ in range(20)
        ]
        seconds = len({clock // 1_000 for clock in clocks} - {before // 1_000})
        assert calls(client) == ({"set": seconds, "del": seconds} if seconds else {})
    assert port.backend.health().warnings == ()


def test_what_changes_anything_leaves_its_clock_in_the_mark(server, port) -> None:
    """By which a loss is noticed, and behind which the clock never goes back."""
    key, clock = port.key("a"), 0
    steps: list[tuple[list[Write | Defer], Claim | None]] = [
        ([Write(key, None, port.row("a", wake=10))], None),
        ([], Claim({port.JOB: 1}, 10, 20)),
        ([Defer(key, b"r0", 30)], None),
        ([Write(key, b"r0", None)], None),
    ]
    with server.client() as client:
        for writes, claim in steps:
            while port.ask().clock <= clock:
                pass
            clock = port.ask(*writes, claim=claim).clock
            mark = client.get("{durable-jobs:0}:clock")
            assert mark == port.backend._names.identity + b" %d" % clock
    assert port.backend.health().warnings == ()


def test_a_look_in_another_second_leaves_its_clock_in_the_mark(server, port) -> None:
    """Behind which the clock does not go back either."""
    with server.client() as client:
        client.set("{durable-jobs:0}:clock", port.backend._names.identity + b" 5")
        clock = port.ask().clock
        assert client.get("{durable-jobs:0}:clock") == port.backend._names.identity + b" %d" % clock


@pytest.mark.parametrize("wake", [5, 20])
def test_a_write_files_its_entry_once_and_tells_of_it_once(server, port, wake) -> None:
    port.create("a", wake=10)
    with server.client() as client:
        calls(client)
        assert port.ask(Write(port.key("a"), b"r0", port.row("a", b"r1", wake=wake))).outcomes == (DONE,)
        once = dict.fromkeys(("sadd", "hset", "publish", "set", "del"), 1)
        assert calls(client) == {"zadd": 2, **once}  # among the ids, too


# -- who is told


def test_r10_due_work_is_told_to_others_and_understood(server, port, monkeypatch) -> None:
    hints, other = port.backend._hints, port.again()
    told, missed = list[tuple[bytes, bytes, int]](), list[Exception]()
    monkeypatch.setattr(hints, "_is_news", lambda *news: told.append(news) or True)
    monkeypatch.setattr(hints, "_miss", missed.append)
    port.backend.wait(0)
    with server.client() as client:
        wait_until(lambda: client.pubsub_numsub("{durable-jobs}:hints:0")[0][1] == 1)
    port.create("own", wake=20)
    other.create("a", wake=10)
    port.backend.wait(20)
    assert (told, missed) == ([(b"{durable-jobs:0}:", b"task:mail", 10)], [])
