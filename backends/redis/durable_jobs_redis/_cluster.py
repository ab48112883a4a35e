"""A Redis Cluster: each command goes to the node that has its key, those of one node together.

MOVED ─▶ done nothing; sent to the node it names
no way to a node, or one that is out of its Cluster ─▶ done nothing; sent on if another has its slots
ASK, TRYAGAIN ─▶ done nothing; the slot is being moved, and the call is refused until it is: a script needs
                 all keys of a shard, which are on two nodes meanwhile
anything else ─▶ as with one server; never sent again
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from durable_jobs_redis._errors import CallRefusedError, RedisStoreError
from durable_jobs_redis._url import Host, Location
from durable_jobs_redis._wire import Command, Line, Told, Wire

HOPS_MAX = 5
"""A call is sent to so many nodes at most, before it is refused."""

_ASK_AROUND = ("CONNECT", "CLUSTERDOWN", "LOADING", "READONLY")
"""Refusals that may mean that a slot has another owner by now."""

_HAS_MOVED = ("MOVED", *_ASK_AROUND)


class Topology:
    """Which node has which slots, as far as known; shared by all lines to a Cluster.

    Making one asks the nodes that the URL names, and raises `RedisStoreError` if none answers.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._owners: list[Host | None] = []
        self.refresh()

    @property
    def masters(self) -> list[Host]:
        """The nodes that have slots, in order."""
        return sorted({host for host in self._owners if host is not None})

    @property
    def server(self) -> str:
        """The Cluster, for people."""
        return self._location.server

    def owner(self, slot: int) -> Host | None:
        """The node that has a slot."""
        return self._owners[slot]

    def moved(self, slot: int, host: Host) -> None:
        """A slot has gone to another node."""
        owners = self._owners.copy()
        owners[slot] = host
        self._owners = owners

    def wire(self, host: Host) -> Wire:
        """A connection to a node."""
        name, port = host
        options = {**self._location.options, "host": name, "port": port}
        return Wire(f"{self._location.kind}://{name}:{port}", self._location.kind, lambda: options)

    def refresh(self, suspect: Host | None = None) -> None:
        """Ask who has which slots, a suspect last. Raises `RedisStoreError` if nobody says."""
        with self._lock:
            known = dict.fromkeys((*self.masters, *self._location.hosts))
            errors: list[str] = []
            for host in sorted(known, key=lambda host: host == suspect):
                wire = self.wire(host)
                try:
                    (told,) = wire.call(("CLUSTER", "SLOTS"))
                except RedisStoreError as error:
                    errors.append(str(error))
                    continue
                finally:
                    wire.close()
                self._owners = _owners(told, host)
                return
            raise RedisStoreError(self.server, f"no node says who has which slots: {'; '.join(errors)}")


def _owners(told: Sequence[Sequence[Any]], asked: Host) -> list[Host | None]:
    """The node of each slot; a node without a name is the one that was asked."""
    found: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (name, port, *_), *_ in told:
        host = (name or b"").decode() or asked[0]
        if host != "?":
            found[first : last + 1] = [(host, port)] * (last + 1 - first)
    return found


class Cluster(Line):
    """A line to all nodes; its connections are its own."""

    def __init__(self, topology: Topology) -> None:
        self.server = topology.server
        self._topology = topology
        self._wires: dict[Host, Wire] = {}
        self._lock = threading.Lock()
        self._turns = itertools.count()

    def ask(self, commands: Sequence[Command], behind: Sequence[Command] = ()) -> list[Told]:
        told: dict[int, Told] = {}
        slots = [_slot(command) for command in commands]
        pending = list(range(len(commands)))
        with self._lock:
            for _ in range(HOPS_MAX):
                asked = {n: self._topology.owner(slots[n]) for n in pending}
                told |= self._send(commands, behind, asked)
                self._look_around(slots, asked, told)
                pending = [n for n in asked if self._is_elsewhere(slots[n], asked[n], told[n].answer)]
                if not pending:
                    break
        return [told[n] for n in range(len(commands))]

    def _send(
        self, commands: Sequence[Command], behind: Sequence[Command], asked: dict[int, Host | None]
    ) -> dict[int, Told]:
        """One round trip to each node, all at once."""
        nodes: defaultdict[Host | None, list[int]] = defaultdict(list)
        for n, host in asked.items():
            nodes[host].append(n)
        homeless = CallRefusedError(self.server, "no node has the slot of this key", "CLUSTERDOWN")
        told = {n: Told(homeless) for n in nodes.pop(None, ())}
        flights = [
            (self._wire(host), numbers, [commands[n] for n in numbers])
            for host, numbers in nodes.items()
            if host is not None
        ]
        with ExitStack() as held:
            for wire, _, _ in flights:
                held.enter_context(wire.lock)
            sent = [wire.send(mine, behind) for wire, _, mine in flights]
            for (wire, numbers, _), mine in zip(flights, sent, strict=True):
                told |= zip(numbers, wire.receive(mine), strict=True)
        return told

    def _look_around(
        self, slots: Sequence[int], asked: Mapping[int, Host | None], told: Mapping[int, Told]
    ) -> None:
        """Ask once for each node that seems to have lost its slots who has them now."""
        suspects = {
            host: None
            for n, host in asked.items()
            if getattr(told[n].answer, "code", None) in _ASK_AROUND and self._topology.owner(slots[n]) == host
        }
        for host in suspects:
            with suppress(RedisStoreError):
                self._topology.refresh(host)

    def _is_elsewhere(self, slot: int, asked: Host | None, answer: Any) -> bool:
        """Whether a call was refused by a node, and another is known by now to have its slot."""
        if not isinstance(answer, CallRefusedError):
            return False
        if answer.code == "MOVED" and asked is not None:
            name, _, port = answer.cause.split()[-1].rpartition(":")
            self._topology.moved(slot, (name or asked[0], int(port)))
        return answer.code in _HAS_MOVED and self._topology.owner(slot) not in (None, asked)

    def wires(self) -> Sequence[Wire]:
        with self._lock:
            return [self._wire(host) for host in self._topology.masters]

    def listen(self, channel: str) -> Any:
        """As of any line: what is published reaches every node. Another node is listened to each time."""
        masters = self._topology.masters
        return self._topology.wire(masters[next(self._turns) % len(masters)]).listen(channel)

    def close(self) -> None:
        with self._lock:
            for wire in self._wires.values():
                wire.close()

    def _wire(self, host: Host) -> Wire:
        if host not in self._wires:
            self._wires[host] = self._topology.wire(host)
        return self._wires[host]


def slot_of(key: str | bytes) -> int:
    """The slot of a key."""
    return key_slot(key if isinstance(key, bytes) else key.encode())


def _slot(command: Command) -> int:
    """The slot of the first key of a command."""
    key = command[3] if command[0] in ("EVAL", "EVALSHA") else command[1]
    return slot_of(key if isinstance(key, bytes) else str(key))
