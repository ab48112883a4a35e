"""A primary of a Cluster ends, and its replica takes over with what it confirmed; what is lost is told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from durable_jobs_conformance import Port
from durable_jobs_redis._names import Names
from support.ports import PATIENCE_SECONDS, is_committed, refusal
from support.redis_clusters import RedisCluster, role_of, slot_of, wait_until
from support.redis_servers import SAFE, Server, Space

from durable_jobs_core.backend import Committed, Write

SHARDS = 7


class Replicated(RedisCluster):
    """Three primaries, of which the first has a replica."""

    def __init__(self, name: str) -> None:
        super().__init__(name, *SAFE)
        self.pair = [self.nodes[0], self.add_replica(self.nodes[0], name)]

    @property
    def primary(self) -> Server:
        """Which of the two is the primary."""
        (primary,) = [node for node in self.pair if role_of(node) == "master"]
        return primary

    @property
    def replica(self) -> Server:
        """The other of the two, once it has what the primary has."""
        (replica,) = [node for node in self.pair if node is not self.primary]
        with replica.client() as client:
            wait_until(lambda: client.info("replication").get("master_link_status") == "up")
        return replica

    def ids(self) -> list[str]:
        """Some ids that the primary of the two has."""
        names = Names("durable-jobs", SHARDS, apart=True)
        calls = {call for call in range(SHARDS) if self.owner(slot_of(names.clocks(call)[0])) is self.primary}
        places = {id: names.place(Port.key(id)) for id in map(str, range(60))}
        return [id for id, place in places.items() if place is not None and place.call in calls][:6]


@cache
def _of_these_tests(name: str) -> Replicated:
    return Replicated(name)


@pytest.fixture
def replicated(program: str) -> Iterator[Replicated]:
    """A Cluster with a replica, which is emptied after the test."""
    cluster = _of_these_tests(program)
    yield cluster
    wait_until(lambda: sorted(map(role_of, cluster.pair)) == ["master", "slave"])
    cluster.wait_until_whole()
    cluster.empty()


@pytest.fixture
def port(replicated: Replicated) -> Iterator[Port]:
    """A store whose writes a replica has to confirm; its handles are closed after the test."""
    port = Port(Space(f"{replicated.url_of_all}?shards={SHARDS}&wait_replicas=1&wait_ms=20000&timeout=30"))
    yield port
    port.close_all()


def test_a_replica_that_takes_over_has_what_it_confirmed(replicated, port) -> None:
    *ids, new = replicated.ids()
    rows = port.create(*ids, wake=10)
    old, replica = replicated.primary, replicated.replica
    with replicated.without(old):
        refused = refusal(port, Write(port.key(new), None, port.row(new)))
        assert refused.transient
        wait_until(lambda: role_of(replica) == "master")
    wait_until(lambda: role_of(old) == "slave")  # and confirms
    wait_until(lambda: is_committed(port, new))
    assert [port.load(id) for id in ids] == rows
    assert sorted(port.scan()) == sorted([*ids, new])
    assert sorted(port.claim(10)) == sorted(ids)
    assert "1 replicas have to confirm each write" in port.backend.health().durability
    assert not any("went back" in text for text in port.backend.health().warnings)


def test_what_a_replica_that_takes_over_has_not_is_said(replicated, port) -> None:
    *ids, lost, new = replicated.ids()
    hasty = Port(Space(f"{replicated.url_of_all}?shards={SHARDS}&timeout={PATIENCE_SECONDS}"))
    assert any("a failover may take back" in text for text in hasty.backend.health().warnings)
    rows = port.create(*ids)
    old, replica = replicated.primary, replicated.replica
    with old.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
        client.execute_command("CLIENT KILL", "TYPE", "replica")  # redis-py 5 takes no such type
    hasty.create(lost)  # acknowledged, and on its way to nobody
    with replicated.without(old):
        wait_until(lambda: role_of(replica) == "master")
    wait_until(lambda: is_committed(hasty, new))
    assert hasty.load(lost) is None
    assert [hasty.load(id) for id in ids] == rows
    assert any("went back" in text for text in hasty.backend.health().warnings)
    assert hasty.ask(Write(port.key(lost), None, port.row(lost))).outcomes == (Committed(),)
    hasty.close_all()
