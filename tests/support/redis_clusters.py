"""Real Clusters of a test's own: a few nodes, which share the slots, and slots that move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot
from support.redis_servers import SAFE, Server, launch

NODE_TIMEOUT_MS = 15_000
"""A node that a slow disk holds up for so long is not given up, and the slots of all with it."""

HASTY_TIMEOUT_MS = 1_000
PATIENCE_SECONDS = 60
"""A sentinel that the machine has stopped for two seconds does nothing for thirty."""


class RedisCluster:
    """Running nodes. `options`: of each."""

    def __init__(self, name: str, *options: str, nodes: int = 3) -> None:
        enabled = "--cluster-enabled", "yes", "--cluster-node-timeout", f"{NODE_TIMEOUT_MS}"
        self.options = *enabled, *options
        self.moving: dict[int, tuple[Server, Server]] = {}
        self._homes: dict[int, Server] = {}
        self.nodes = [launch(name, *self.options) for _ in range(nodes)]
        for n, node in enumerate(self.nodes):
            with node.client() as client:
                slots = range(SLOTS * n // nodes, SLOTS * (n + 1) // nodes)
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
                for other in self.nodes[:n]:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
        self.wait_until_whole()

    def add_replica(self, primary: Server, name: str) -> Server:
        """One more node, which has what a node has, and takes over when it ends."""
        ready = "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"
        replica = launch(name, *self.options, *ready)
        with replica.client() as client, primary.client() as other:
            for node in self.nodes:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
            self.nodes.append(replica)
            self.wait_until_whole()
            client.execute_command("CLUSTER", "REPLICATE", _id(other))
            wait_until(lambda: client.info("replication").get("master_link_status") == "up")
        return replica

    @property
    def url(self) -> str:
        """It names one node; the others are found."""
        return self._url(self.nodes[:1])

    @property
    def url_of_all(self) -> str:
        """It names all nodes, for one may be away."""
        return self._url(self.nodes)

    def _url(self, nodes: list[Server]) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)

    def wait_until_whole(self) -> None:
        """Until all nodes serve all slots."""
        wait_until(lambda: all(self._is_whole(node) for node in self.nodes))

    def _is_whole(self, node: Server) -> bool:
        with node.client() as client:
            info = client.execute_command("CLUSTER INFO")
            known = int(info["cluster_known_nodes"])
            return info["cluster_state"] == "ok" and known >= len(self.nodes)

    def _is_agreed(self) -> bool:
        """Whether all nodes say the same of all: which slots each has, and its epoch."""
        told: list[dict[str, tuple[str, list[list[str]]]]] = []
        for node in self.nodes:
            with node.client() as client:
                known = client.execute_command("CLUSTER NODES")
            told.append({name: (one["epoch"], one["slots"]) for name, one in known.items()})
        return all(one == told[0] for one in told)

    @contextmanager
    def without(self, node: Server) -> Iterator[None]:
        """Within the block a node is not there, which the others find out soon; then all is whole again."""
        others = [one for one in self.nodes if one is not node]
        node.kill()
        _set_all(others, HASTY_TIMEOUT_MS)
        try:
            yield
        finally:
            _set_all(others, NODE_TIMEOUT_MS)
            node.start()
        self.wait_until_whole()

    def owner(self, slot: int) -> Server:
        """The node that has a slot."""
        with self.nodes[0].client() as client:
            (port,) = [
                told[2][1] for told in client.execute_command("CLUSTER SLOTS") if told[0] <= slot <= told[1]
            ]
        return next(node for node in self.nodes if node.port == port)

    def begin_move(self, slot: int, target: Server) -> Server:
        """A slot is to be moved to a node; the node that has it now."""
        source = self.owner(slot)
        with source.client() as old, target.client() as new:
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(old))
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(new))
        self.moving[slot] = source, target
        self._homes.setdefault(slot, source)
        return source

    def move_keys(self, slot: int, source: Server, target: Server, count: int = 10) -> int:
        """Move some keys of a slot; how many."""
        with source.client() as old:
            keys: list[bytes] = old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                where = "127.0.0.1", target.port, "", 0, 10_000
                old.execute_command("MIGRATE", *where, "KEYS", *keys)
            return len(keys)

    def end_move(self, slot: int, source: Server, target: Server) -> None:
        """All keys of a slot have been moved; every node is told, the new one first.

        Then they have to agree: the new node takes an epoch that it believes to be the latest. One that takes
        the same for the next slot, or hears of this one later, gives the slot to a node that has left it.
        """
        with target.client() as new:
            id = _id(new)
        for node in sorted(self.nodes, key=lambda node: (node is not target, node is not source)):
            with node.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", id)
        del self.moving[slot]
        wait_until(self._is_agreed)

    def move(self, slot: int, target: Server) -> None:
        """Move a slot with all its keys, as `redis-cli --cluster reshard` does."""
        source = self.begin_move(slot, target)
        while self.move_keys(slot, source, target):
            pass
        self.end_move(slot, source, target)

    def end_moves(self) -> None:
        """End those that a test has begun."""
        for slot, (source, target) in tuple(self.moving.items()):
            while self.move_keys(slot, source, target):
                pass
            self.end_move(slot, source, target)

    def put_right(self) -> None:
        """Empty, and each slot on the node that had it at first."""
        self.end_moves()
        self.empty()
        for slot, home in self._homes.items():
            if self.owner(slot) is not home:
                self.move(slot, home)
        self._homes.clear()

    def keys(self, pattern: str) -> list[str]:
        """The names of keys, on all nodes."""
        found: list[str] = []
        for node in self.nodes:
            with node.client() as client:
                found += [key.decode() for key in client.scan_iter(pattern, 10_000)]
        return found

    def restart(self) -> None:
        """Kill all nodes and start them again on their data."""
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            node.start()
        self.wait_until_whole()

    def empty(self) -> None:
        """Remove all there is."""
        for node in self.nodes:
            with node.client() as client, suppress(redis.ReadOnlyError):
                client.flushall()

    def discard(self) -> None:
        """End it, and remove its data."""
        for node in self.nodes:
            node.discard()


def _set_all(nodes: list[Server], timeout_ms: int) -> None:
    for node in nodes:
        with node.client() as client:
            client.config_set("cluster-node-timeout", timeout_ms)


def role_of(server: Server) -> str:
    """Its role; none while it disconnects its clients, for it is being told another, or is not there."""
    try:
        with server.client() as client:
            role: str = client.info("replication")["role"]
            return role
    except redis.exceptions.ConnectionError:
        return "none"


def slot_of(name: str) -> int:
    """The slot of a key."""
    return key_slot(name.encode())


def wait_until(is_so: Callable[[], bool]) -> None:
    """Until something is so, which a server has to come to by itself."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until, f"not so after {PATIENCE_SECONDS} s"
        time.sleep(0.05)


def _id(client: redis.Redis) -> str:
    told: bytes = client.execute_command("CLUSTER", "MYID")
    return told.decode()


@cache
def shared_cluster(name: str) -> RedisCluster:
    """A Cluster that all tests of this process share, each in a namespace of its own."""
    return RedisCluster(name, *SAFE)
