"""Servers of two generations that a test may spoil, and stores on them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from durable_jobs_conformance import Port
from support.ports import PATIENCE_SECONDS
from support.redis_clusters import RedisCluster
from support.redis_proxy import Proxy
from support.redis_servers import PROGRAMS, SAFE, Server, Space, launch


@cache
def _of_these_tests(name: str) -> Server:
    return launch(name, *SAFE)


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """Each server in turn."""
    name: str = request.param
    return name


@pytest.fixture
def server(program: str) -> Iterator[Server]:
    """A server that is empty, and is put right after the test, whatever the test has done to it."""
    server = _of_these_tests(program)
    before = server.settings()
    yield server
    server.resume()
    if not server.is_set_as(before):
        server.restart()
    with server.client() as client:
        client.flushall()


@pytest.fixture
def forgetful(program: str) -> Iterator[Server]:
    """A server of the test's own that keeps no log: what it has when it ends is what was last saved."""
    server = launch(program)
    yield server
    server.discard()


@cache
def _cluster_of_these_tests(name: str) -> RedisCluster:
    return RedisCluster(name, *SAFE)


@pytest.fixture
def cluster(program: str) -> Iterator[RedisCluster]:
    """Three nodes, which are put right after the test; it leaves them running."""
    cluster = _cluster_of_these_tests(program)
    yield cluster
    cluster.put_right()


@pytest.fixture
def port(server: Server) -> Iterator[Port]:
    """A store on the server; its handles are closed after the test."""
    port = Port(Space(f"{server.url}?timeout={PATIENCE_SECONDS}"))
    yield port
    port.close_all()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy in front of the server, through which everything passes at first."""
    proxy = Proxy(server.port, lambda asked: "fine")
    yield proxy
    proxy.close()


@pytest.fixture
def cut(proxy: Proxy) -> Iterator[Port]:
    """A store on the server, through the proxy."""
    port = Port(Space(f"{proxy.url}?timeout={PATIENCE_SECONDS}"))
    yield port
    port.close_all()
