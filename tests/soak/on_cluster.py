"""A Cluster as the server of a fleet: its slots move, and its nodes are killed, one at a time.

A node that begins again on its log serves nothing for two seconds, so that it may hear of its slots; the
others answer meanwhile. It may be killed with a slot half moved, and goes on with that as it was.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import redis
from support.redis_clusters import RedisCluster, slot_of
from support.redis_servers import PROGRAMS

SHARDS = 16
KEYS_AT_ONCE = 2


class Moving:
    """A new Cluster; `options`: of each node. The seed decides which slot moves, and which node is killed."""

    def __init__(self, seed: int, *options: str) -> None:
        self._cluster = RedisCluster(PROGRAMS[0], *options)
        self._chance = random.Random(f"{seed} nodes")
        self._killed = self._cluster.nodes[0]

    @property
    def url(self) -> str:
        """It names all nodes."""
        return self._cluster.url_of_all

    def client(self) -> Any:
        """A client of all nodes, once they serve all slots and none is on its way."""
        self._cluster.wait_until_whole()
        self._cluster.end_moves()
        return redis.RedisCluster("127.0.0.1", self._cluster.nodes[0].port)

    def kill(self) -> None:
        """SIGKILL to a node."""
        self._killed = self._chance.choice(self._cluster.nodes)
        self._killed.kill()

    def start(self) -> None:
        """Start it again, and wait until it has read its log."""
        self._killed.start()

    def step(self) -> int:
        """Begin to move a slot, move a few of its keys, or end that; how many slots have been moved."""
        ended = 0
        with suppress(redis.RedisError):  # a node has begun again, and serves nothing yet
            if not self._cluster.moving:
                self._begin(f"{{fleet:{self._chance.randrange(SHARDS)}}}:")
            for slot, (source, target) in tuple(self._cluster.moving.items()):
                if not self._cluster.move_keys(slot, source, target, KEYS_AT_ONCE):
                    self._cluster.end_move(slot, source, target)
                    ended += 1
        return ended

    def _begin(self, tag: str) -> None:
        slot = slot_of(tag)
        owner = self._cluster.owner(slot)
        target = self._chance.choice([node for node in self._cluster.nodes if node is not owner])
        self._cluster.begin_move(slot, target)

    def discard(self) -> None:
        """End it, and remove its data."""
        self._cluster.discard()
