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
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from durable_jobs_redis._errors import CallRefusedError, RedisStoreError
from durable_jobs_redis._url import Host, Location, address
from durable_jobs_redis._wire import Command, Line, Told, Wire

HOPS_MAX = 5
"""A call is sent to so many nodes at most, before it is refused."""

MOMENT_SECONDS = 0.1
"""After so long another node is asked, too, who has which slots."""

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
        self._looks = 0
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

    def wire(self, host: Host, **others: Any) -> Wire:
        """A connection to a node; `others`: options of its own."""
        name, port = host
        options = {**self._location.options, "host": name, "port": port, **others}
        return Wire(f"{self._location.kind}://{address(name, port)}", self._location.kind, lambda: options)

    def refresh(self, suspects: Collection[Host | None] = ()) -> None:
        """Ask who has which slots, suspects last. Raises `RedisStoreError` if nobody says.

        Who comes while another asks waits for what that one is told, and asks no more.
        """
        looks = self._looks
        with self._lock:
            if self._looks != looks:
                return
            try:
                self._owners = self._look(suspects)
            finally:
                self._looks += 1

    def _look(self, suspects: Collection[Host | None]) -> list[Host | None]:
        known = dict.fromkeys((*self.masters, *self._location.hosts))
        errors: list[str] = []
        for host, told in self._answers(sorted(known, key=lambda host: host in suspects)):
            if told and not isinstance(told, Exception):
                return _owners(told, host)
            errors.append(str(told or f"{address(*host)} is in no Cluster"))  # not yet, or it was emptied
        raise RedisStoreError(self.server, f"no node says who has which slots: {'; '.join(errors)}")

    def _answers(self, hosts: Sequence[Host]) -> Iterator[tuple[Host, Any]]:
        """What nodes say, as it comes: the next is asked when one has failed, or says nothing for a moment.

        So nodes that hang hold nobody up while another answers.
        """
        told: SimpleQueue[tuple[Host, Any]] = SimpleQueue()
        left, asked = deque(hosts), 0
        while left or asked:
            if left:
                threading.Thread(target=self._ask, args=(left.popleft(), told), daemon=True).start()
                asked += 1
            with suppress(Empty):
                answer = told.get(timeout=MOMENT_SECONDS if left else None)
                asked -= 1
                yield answer

    def _ask(self, host: Host, told: SimpleQueue[tuple[Host, Any]]) -> None:
        wire = self.wire(host, socket_timeout=self._location.options["socket_connect_timeout"])
        answer: Any
        try:
            (answer,) = wire.call(("CLUSTER", "SLOTS"))
        except Exception as error:
            answer = error
        wire.close()
        told.put((host, answer))


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
        """Ask once who has the slots now that nodes seem to have lost."""
        suspects = {
            host
            for n, host in asked.items()
            if getattr(told[n].answer, "code", None) in _ASK_AROUND and self._topology.owner(slots[n]) == host
        }
        if suspects:
            with suppress(RedisStoreError):
                self._topology.refresh(suspects)

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
            for gone in self._wires.keys() - set(self._topology.masters):  # nobody would close it
                self._wires.pop(gone).close()
            self._wires[host] = self._topology.wire(host)
        return self._wires[host]


def slot_of(key: str | bytes) -> int:
    """The slot of a key."""
    return key_slot(key if isinstance(key, bytes) else key.encode())


def _slot(command: Command) -> int:
    """The slot of the first key of a command."""
    key = command[3] if command[0] in ("EVAL", "EVALSHA") else command[1]
    return slot_of(key if isinstance(key, bytes) else str(key))
