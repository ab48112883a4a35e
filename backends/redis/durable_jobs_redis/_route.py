"""The way to a store: to a server that the URL names, that Sentinels name, or to the nodes of a Cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from durable_jobs_redis._cluster import Cluster, Topology, slot_of
from durable_jobs_redis._names import Names
from durable_jobs_redis._sentinel import Sentinels
from durable_jobs_redis._url import Host, Location
from durable_jobs_redis._wire import Line, Wire


class Route:
    """Lines to a location, each with connections of its own; what they know of it they share."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._topology = Topology(location) if location.form == "cluster" else None
        self._sentinels = Sentinels(location) if location.form == "sentinel" else None

    def line(self) -> Line:
        """A new line."""
        location = self._location
        if self._topology is not None:
            return Cluster(self._topology)
        if self._sentinels is not None:
            return Wire(location.server, location.kind, self._sentinels.locate)
        return Wire(location.server, location.kind, lambda: location.options)

    def lanes(self, names: Names) -> list[Sequence[int]]:
        """The calls of each lane: one lane a node that has shards, unless the URL asks for another number."""
        calls = range(names.calls)
        if self._topology is None:
            return [calls]
        if self._location.lanes is not None:
            count = min(self._location.lanes, names.calls)
            return [calls[lane::count] for lane in range(count)]
        nodes: defaultdict[Host | None, list[int]] = defaultdict(list)
        for call in calls:
            (key,) = names.clocks(call)
            nodes[self._topology.owner(slot_of(key))].append(call)
        return list(nodes.values())
