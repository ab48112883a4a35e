"""Sentinels: the primary they name is used, the new one after a failover, and no replica."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from durable_jobs_conformance import Port
from durable_jobs_redis import CallRefusedError, RedisBackend
from support.ports import PATIENCE_SECONDS, is_committed, refusal
from support.redis_clusters import wait_until
from support.redis_sentinels import Watched
from support.redis_servers import Space, silent_hosts


@pytest.fixture
def watched(program: str) -> Iterator[Watched]:
    """Servers and Sentinels of the test's own."""
    watched = Watched(program)
    yield watched
    watched.discard()


@pytest.fixture
def told(program: str) -> Iterator[Watched]:
    """A server, and a Sentinel that knows it."""
    told = Watched(program, replicas=0, sentinels=1)
    yield told
    told.discard()


@pytest.fixture
def port(watched: Watched) -> Iterator[Port]:
    """A store that Sentinels lead to."""
    port = Port(Space(f"{watched.url}?timeout={PATIENCE_SECONDS}"))
    yield port
    port.close_all()


def test_the_primary_is_asked_for_again_after_a_failover(watched, port) -> None:
    (row,) = port.create("a", wake=10)
    old = watched.primary
    with old.client() as client:
        assert client.wait(1, 10_000) == 1
    with watched.without(old):
        refused = refusal(port)
        assert refused.transient
        assert "cannot be connected to" in refused.reason
        watched.wait_for_failover(old)
        wait_until(lambda: is_committed(port))
        assert port.load("a") == row
        assert sorted(port.scan()) == ["a", "new"]
        assert port.claim(10) == ["a"]
    with old.client() as client:
        client.replicaof("127.0.0.1", watched.primary.port)  # as the Sentinels would, ten seconds later
    port.create("later")
    assert sorted(port.again().scan()) == ["a", "later", "new"]


def test_an_old_primary_refuses_as_a_replica_and_nothing_is_written(watched, port) -> None:
    port.create("a")
    old, new = watched.servers
    with old.client() as client:
        assert client.wait(1, 10_000) == 1
        for sentinel in watched.sentinels:
            sentinel.stop()  # they would kill its connections, and so hide it
        client.replicaof("127.0.0.1", new.port)
    refused = refusal(port)
    assert refused.transient
    assert "READONLY" in refused.reason
    for sentinel in watched.sentinels:
        sentinel.resume()
    with new.client() as client:
        assert client.hgetall("{durable-jobs:0}:row:task:mail:new") == {}


def test_a_failover_by_command_is_followed_without_a_refusal_for_good(watched, port) -> None:
    port.create("a")
    old = watched.primary
    with watched.sentinels[0].client() as client:
        client.execute_command("SENTINEL FAILOVER", "orders")
    watched.wait_for_failover(old)
    wait_until(lambda: is_committed(port))
    assert sorted(port.scan()) == ["a", "new"]


def test_what_no_sentinel_knows_is_said(told) -> None:
    with pytest.raises(CallRefusedError, match="knows no such service") as raised:
        RedisBackend.open(told.url.replace("/orders", "/other"))
    assert raised.value.changed is False
    assert "127.0.0.1:1:" in str(raised.value)


def test_sentinels_that_hang_cost_no_more_than_the_time_to_connect(told) -> None:
    with silent_hosts(2) as silent, ThreadPoolExecutor(1) as threads:
        url = told.url.replace("127.0.0.1:1,", ",".join([*silent, ""]))
        opened = threads.submit(RedisBackend.open, f"{url}?timeout=60&connect_timeout=0.5")
        opened.result(PATIENCE_SECONDS).close()
