"""Our own backends, as the author of any other would show them to the conformance kit."""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path

from durable_jobs_conformance import Harness, Store
from durable_jobs_memory import MemoryBackend
from durable_jobs_redis import RedisBackend
from durable_jobs_sqlite import SQLiteBackend
from durable_jobs_sqlite._rows import cell_of
from support.files import spoil
from support.redis_clusters import shared_cluster, slot_of
from support.redis_servers import find, shared

from durable_jobs_core.words import Key

_names = itertools.count()


class Memory(Store):
    """A store of a name of its own."""

    def __init__(self) -> None:
        self.name = f"store-{next(_names)}"

    def open(self) -> MemoryBackend:
        return MemoryBackend.open(f"memory://{self.name}")


class SQLite(Store):
    """A store in a folder of its own."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.db"

    def open(self) -> SQLiteBackend:
        return SQLiteBackend.open(f"sqlite:///{self.path}?synchronous=normal")

    def damage(self, key: Key) -> None:
        spoil(self.path, "UPDATE rows SET blob = 'x' WHERE job = ? AND id = ?", cell_of(key[:2]), key.id)

    def discard(self) -> None:
        self.folder.cleanup()


class Redis(Store):
    """A store in a namespace of its own, on a server that all of them share."""

    def __init__(self, program: str, shards: int) -> None:
        self.server = shared(program)
        self.namespace = f"store-{next(_names)}"
        self.url = f"{self.server.url}/0?namespace={self.namespace}&shards={shards}"

    def open(self) -> RedisBackend:
        return RedisBackend.open(self.url)

    def crash(self) -> None:
        self.server.restart()

    def damage(self, key: Key) -> None:
        with self.server.client() as client:
            (row,) = client.scan_iter(f"{{{self.namespace}:*}}:row:{key.kind}:{key.job}:{key.id}", 10_000)
            client.set(row, "x")

    def discard(self) -> None:
        with self.server.client() as client:
            client.flushall()


class Cluster(Store):
    """A store in a namespace of its own, on a Cluster that all of them share; it has a lane a node."""

    def __init__(self, program: str) -> None:
        self.cluster = shared_cluster(program)
        self.namespace = f"store-{next(_names)}"

    def open(self) -> RedisBackend:
        return RedisBackend.open(f"{self.cluster.url}?namespace={self.namespace}")

    def crash(self) -> None:
        self.cluster.restart()

    def damage(self, key: Key) -> None:
        (row,) = self.cluster.keys(f"{{{self.namespace}:*}}:row:{key.kind}:{key.job}:{key.id}")
        with self.cluster.owner(slot_of(row)).client() as client:
            client.set(row, "x")

    def discard(self) -> None:
        self.cluster.empty()


def on_cluster(name: str, program: str) -> Harness:
    """A harness of stores on a Cluster of such servers, if there is one."""
    missing = None if find(program) else f"{program} is not installed"
    return Harness(name, partial(Cluster, program), frozenset({"durable", "damage"}), missing)


def on_server(name: str, program: str, shards: int = 1) -> Harness:
    """A harness of stores on a server, if there is one."""
    missing = None if find(program) else f"{program} is not installed"
    return Harness(name, partial(Redis, program, shards), frozenset({"durable", "damage"}), missing)


MEMORY = Harness("memory", Memory)
SQLITE = Harness("sqlite", SQLite, frozenset({"durable", "damage"}))
REDIS = on_server("redis", "redis-server")
REDIS_SHARDED = on_server("redis-sharded", "redis-server", shards=7)
VALKEY = on_server("valkey", "valkey-server")
REDIS_CLUSTER = on_cluster("redis-cluster", "redis-server")
VALKEY_CLUSTER = on_cluster("valkey-cluster", "valkey-server")
