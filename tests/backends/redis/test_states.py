"""Servers that refuse a call, do not answer, or end: each is told for what it is, and harms nothing."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis
from durable_jobs_conformance import Port
from durable_jobs_redis import CallRefusedError, RedisStoreError
from durable_jobs_redis._errors import code_of, refused
from redis.exceptions import NoPermissionError, ResponseError
from support.ports import PATIENCE_SECONDS, in_a_hurry, refusal
from support.redis_proxy import Proxy
from support.redis_servers import SAFE, Server, Space, free_port, launch

from durable_jobs_core.backend import Committed, Query, Refused, Write

DONE = Committed()


def refuses_all(port: Port, code: str, *, transient: bool = True) -> None:
    """Writes alone are refused; with loads, and claims, the whole call is, which is raised."""
    outcome = refusal(port)
    assert code in outcome.reason
    assert outcome.transient is transient
    write = Write(port.key("new"), None, port.row("new"))
    asks: list[Callable[[], Any]] = [
        lambda: port.ask(write, loads=(port.key("a"),)),
        lambda: port.load("a"),
        lambda: port.claim(10),
        port.backend.health,
    ]
    for ask in asks:
        with pytest.raises(CallRefusedError, match=code) as raised:
            ask()
        assert raised.value.changed is False
        assert raised.value.transient is transient


def goes_on(port: Port, *rows: Any) -> None:
    """What was there is there, what was refused is not, and writes are taken."""
    assert port.load("new") is None
    for row in rows:
        assert port.load(row.key.id) == row
    port.create("more")


# -- refused before anything was done


def test_r3_a_replica_refuses_everything_and_a_primary_goes_on(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        client.replicaof("127.0.0.1", free_port())
        refuses_all(port, "READONLY")
        with pytest.raises(RedisStoreError, match="it is a replica, and only a primary can be used"):
            port.again()
        client.replicaof("NO", "ONE")
    goes_on(port, row)


def test_r3_a_replica_that_may_not_answer_says_that_its_primary_is_down(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        client.config_set("replica-serve-stale-data", "no")
        client.replicaof("127.0.0.1", free_port())
        refuses_all(port, "MASTERDOWN")
        client.replicaof("NO", "ONE")
    goes_on(port, row)


def test_r3_a_server_that_reads_its_data_refuses_everything_until_it_has() -> None:
    """Not with Redis 6.2, which answers nobody meanwhile unless there is much to read."""
    server = launch("valkey-server", "--loading-process-events-interval-bytes", "1024")
    port = Port(Space(server.url))
    rows = port.create(*(f"{n}" for n in range(300)), blob=os.urandom(5_000))
    with server.client() as client:
        client.save()
    server.kill()
    server.spawn("--key-load-delay", "50000")  # microseconds; all of it would take fifteen seconds
    with server.client() as client:
        while not says(client, "BusyLoadingError"):
            pass
        refuses_all(port, "LOADING")
        client.config_set("key-load-delay", 0)
    server.wait()
    goes_on(port, *rows[:3])
    assert len(port.scan()) == 301
    port.close_all()
    server.discard()


def says(client: redis.Redis, what: str) -> bool:
    """Whether it answers with this error."""
    try:
        client.ping()
    except redis.RedisError as error:
        return what in f"{type(error).__name__}: {error}"
    return False


@contextmanager
def busy(server: Server) -> Iterator[None]:
    """A client whose script does not end, until the end of the block."""
    with server.client() as client:
        client.config_set("lua-time-limit", 20)

        def spin() -> None:
            with suppress(redis.RedisError), server.client() as other:
                other.eval("while true do end", 0)

        thread = threading.Thread(target=spin)
        thread.start()
        while not says(client, "BUSY"):
            pass
        try:
            yield
        finally:
            client.script_kill()
            thread.join()


def test_r3_a_server_whose_script_does_not_end_refuses_everything(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with busy(server):
        refuses_all(port, "BUSY")
    goes_on(port, row)


@contextmanager
def unable_to_save(server: Server) -> Iterator[None]:
    """A folder is where a snapshot would be put, until the end of the block."""
    dump = server.folder / "dump.rdb"
    dump.unlink(missing_ok=True)  # another test's
    dump.mkdir()
    try:
        yield
    finally:
        dump.rmdir()


def test_r3_a_server_that_cannot_save_refuses_writes_only(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with unable_to_save(server), server.client() as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
            pass
        writes = Write(row.key, b"r0", None), Write(port.key("new"), None, port.row("new"))
        answer = port.ask(*writes, loads=(row.key,))
        client.config_set("save", "")
    for outcome in answer.outcomes:
        assert isinstance(outcome, Refused)
        assert outcome.transient
        assert "MISCONF" in outcome.reason
    assert answer.rows == (row,)
    goes_on(port, row)


def test_r3_a_primary_without_the_replicas_it_is_to_have_takes_no_writes(server, port) -> None:
    (row,) = port.create("a", wake=10)
    set_back(server, port, -60_000)  # the mark, which cannot be set anew
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        outcome = refusal(port)
        assert outcome.transient
        assert "NOREPLICAS" in outcome.reason
        assert port.load("a") == row
        with pytest.raises(
            CallRefusedError, match="NOREPLICAS"
        ):  # a write on its way might still come in time
            port.ask(loads=(row.key,), settle=True)
        client.config_set("min-replicas-to-write", 0)
    goes_on(port, row)


@pytest.mark.parametrize("key", ["{durable-jobs:0}:jobs", "{durable-jobs:0}:ids:task:mail"])
def test_S_66_what_is_no_list_of_ids_is_named(server, port, key) -> None:
    port.create("a")
    with server.client() as client:
        client.set(key, "not a list")
    with pytest.raises(RedisStoreError, match=f"{re.escape(key)} cannot be listed: WRONGTYPE"):
        port.scan()


def test_S_66_a_page_that_is_full_loads_nothing_more(server, port) -> None:
    port.create(*(f"a{n}" for n in range(250)))
    with server.client() as client:
        client.config_resetstat()
        page = port.backend.scan(Query(), None, 200)
        assert (len(page.rows), page.after is None) == (200, False)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 2, "a hundred rows at a time"


def test_S_66_what_others_put_among_the_jobs_and_ids_hides_nothing(server, port) -> None:
    port.create("a", "b")
    with server.client() as client:
        client.sadd("{durable-jobs:0}:jobs", b"\xff")
        client.zadd("{durable-jobs:0}:ids:task:mail", {b"\x80%d" % n: 0 for n in range(300)} | {b"Z\xff": 0})
    assert port.scan() == ["a", "b"]
    assert port.backend.health().jobs == (port.JOB,)


def test_r3_a_password_that_is_wanted_now_is_no_passing_trouble(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        client.config_set("requirepass", "secret")
        client.client_kill_filter(_type="normal")
        refuses_all(port, "Authentication required", transient=False)
        client.config_set("requirepass", "")
    goes_on(port, row)


@pytest.mark.parametrize("length", ["multibulk length", "bulk length"])
def test_r3_a_call_too_large_for_who_gave_no_password_is_refused(length) -> None:
    """Redis 7 says so before it reads one of more than ten arguments, or with one of more than 16 KiB."""
    error = ResponseError(f"Protocol error: unauthenticated {length}")
    told = refused("redis://there", error, code_of(error) or "")
    assert (told.code, told.transient, told.changed) == ("NOAUTH", False, False)
    assert "Authentication required" in told.cause


@pytest.mark.parametrize("error", [NoPermissionError, ResponseError])
def test_r3_what_a_script_was_denied_on_its_way_is_no_refusal_of_the_call(error) -> None:
    """Redis 7 says where in the script, which may have written before."""
    code = "NOPERM " if error is ResponseError else ""
    denied = error(f"{code}No permissions to run 'hset' script: 5ae0, on @user_script:154.")
    assert code_of(denied) is None


def test_r3_a_script_that_the_server_has_forgotten_is_sent_again_as_text(server, proxy, cut) -> None:
    (row,) = cut.create("a")
    with server.client() as client:
        client.script_flush()
        before = client.info("commandstats")
        new = cut.row("a", b"r1")
        assert cut.ask(Write(row.key, b"r0", new)).outcomes == (DONE,)
        assert cut.load("a") == new
        after = client.info("commandstats")
    calls = [stats[f"cmdstat_{name}"]["calls"] for stats in (before, after) for name in ("eval", "hset")]
    assert [after - before for before, after in zip(calls[:2], calls[2:], strict=True)] == [1, 1]
    assert set(proxy.copies.values()) == {1}


def test_r3_a_script_that_is_forgotten_between_any_two_calls(server, port) -> None:
    (row,) = port.create("a", wake=10)
    with server.client() as client:
        for n in range(20):
            client.script_flush()
            new = port.row("a", b"r%d" % (n + 1), wake=10)
            assert port.ask(Write(row.key, row.revision, new)).outcomes == (DONE,)
            client.script_flush()
            assert port.load("a") == new
            row = new
            client.script_flush()
            assert port.claim(10, until=10) == ["a"]


# -- a clock that is set back


@pytest.mark.parametrize(("ahead", "is_told"), [(500, False), (60_000, True)])
def test_a_clock_that_was_set_back_is_told_for_nothing_falls_due(
    server, port, caplog, ahead, is_told
) -> None:
    """As after a step by an hour, or a failover to a server that is behind: it stands still."""
    port.create("a")
    set_back(server, port, ahead)
    port.ask()
    told = [text for text in port.backend.health().warnings if "its clock" in text]
    assert len(told) == is_told
    assert caplog.text.count("its clock is behind") == is_told


def test_r5_a_write_at_its_deadline_is_in_time(server, port) -> None:
    """By a clock that stands still."""
    set_back(server, port, 60_000)
    now = port.ask().clock
    assert "deadline" in refusal(port, not_after=now - 1).reason
    assert port.ask(Write(port.key("a"), None, port.row("a")), not_after=now).outcomes == (DONE,)


def test_r5_what_a_settled_load_has_not_seen_cannot_land_at_its_deadline(server, port) -> None:
    """By a clock that stands still."""
    set_back(server, port, 60_000)
    now = port.ask().clock
    assert port.ask(loads=(port.key("a"),), not_after=now, settle=True).rows == (None,)
    assert "deadline" in refusal(port, not_after=now).reason


def test_r8_a_settled_load_does_not_set_the_clock_back(server, port) -> None:
    """To the end of the deadline, which is over."""
    created = port.ask(Write(port.key("a"), None, port.row("a"))).clock
    while (now := port.ask().clock) <= created + 1:
        pass
    assert port.again().ask(not_after=created, settle=True).clock >= now


def set_back(server: Server, port: Port, ms: int) -> None:
    """The server's clock was so far ahead when it wrote last."""
    with server.client() as client:
        client.set("{durable-jobs:0}:clock", port.backend._names.identity + b" %d" % (port.ask().clock + ms))


# -- no answer


def test_r3_a_server_that_is_stopped_does_what_it_was_asked_when_it_goes_on(server, port) -> None:
    (row,) = port.create("a", wake=10)
    new = port.row("a", b"r1", wake=20)
    server.stop()
    with in_a_hurry(port), pytest.raises(RedisStoreError, match=r"[Tt]imeout") as raised:
        port.ask(Write(row.key, b"r0", new))
    assert raised.value.changed is None
    server.resume()
    assert port.ask(loads=(row.key,), settle=True).rows == (new,)
    assert port.next_wake() == 20


def test_r5_what_a_stopped_server_was_asked_is_late_when_it_goes_on_after_the_deadline(server, port) -> None:
    (row,) = port.create("a", wake=10)
    not_after = port.ask().clock + 100
    server.stop()
    with in_a_hurry(port), pytest.raises(RedisStoreError, match=r"[Tt]imeout"):
        port.ask(Write(row.key, b"r0", port.row("a", b"r1", wake=20)), not_after=not_after)
    server.resume()
    answer = port.ask(loads=(row.key,), not_after=not_after, settle=True)
    assert answer.rows == (row,)
    assert answer.clock > not_after
    assert port.next_wake() == 10


def test_r3_a_server_that_is_stopped_before_there_is_a_connection_has_done_nothing(server, port) -> None:
    port.create("a")
    with server.client() as client:
        client.client_kill_filter(_type="normal")
    server.stop()
    with in_a_hurry(port), pytest.raises(RedisStoreError):
        port.load("a")
    server.resume()
    goes_on(port)


# -- the end of a server


@pytest.mark.parametrize("round", range(4))
def test_r3_what_was_acknowledged_survives_a_kill_and_the_rest_is_whole(server, port, round) -> None:
    """A chain of commits: at its end is the last one that was acknowledged, or the one in flight."""
    row = port.row("a")
    port.ask(Write(row.key, None, row))
    enough = threading.Event()

    def kill() -> None:
        enough.wait(20)
        server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    n, last = 0, None
    while last is None:
        n += 1
        new = port.row("a", b"r%d" % n, wake=n, blob=b"%d" % n * 2_000)
        if n == 30 + 7 * round:
            enough.set()
        try:
            (outcome,) = port.ask(Write(row.key, row.revision, new)).outcomes
        except RedisStoreError:
            last = (row, new)
        else:
            if outcome != DONE:
                assert isinstance(outcome, Refused)
                assert outcome.transient
                last = (row,)
            row = new if outcome == DONE else row
    killer.join()
    server.start()
    found = port.load("a")
    assert found in last
    assert port.next_wake() == found.wake
    assert port.claim(10_000) == ["a"]


def test_r3_after_a_failover_the_store_goes_on_where_the_replica_was(program) -> None:
    """What the replica had not heard of is gone, and that it is so is told."""
    first, second = (launch(program, *SAFE, "--repl-diskless-sync-delay", "0") for _ in range(2))
    proxy = Proxy(first.port, lambda asked: "fine")
    port = Port(Space(f"{proxy.url}?timeout={PATIENCE_SECONDS}"))
    with first.client() as primary, second.client() as replica:
        replica.replicaof("127.0.0.1", first.port)
        (row,) = port.create("a", wake=10)
        while replica.info("replication")["master_link_status"] != "up" or not primary.wait(1, 1_000):
            pass
        proxy.turn_to(second.port)
        refuses_all(port, "READONLY")
        replica.replicaof("NO", "ONE")
        proxy.turn_to(first.port)
        port.create("b")
        first.kill()
        proxy.turn_to(second.port)
    assert port.load("a") == row
    assert port.load("b") is None
    assert port.claim(10) == ["a"]
    assert any("went back" in text for text in port.backend.health().warnings)
    port.close_all()
    proxy.close()
    for server in (first, second):
        server.discard()
