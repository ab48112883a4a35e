"""What is under way in a node: where a fault that befalls the node strikes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from durable_jobs_core.engine import Exchange, Invoke, Need
from durable_jobs_core.words import Key
from durable_jobs_simulation import stages
from durable_jobs_simulation.stages import Place

if TYPE_CHECKING:
    from durable_jobs_simulation.node import Node


class UnderWay:
    """Of one life of a node. `exchange`: the one in flight; `calls`: the requests without an answer;
    `waiting`: what the engine was told and has not acted on, requests and ends of hooks; `lasting`: the
    faults that the node acts under."""

    def __init__(self, node: Node, lasting: list[str]) -> None:
        self._node = node
        self.exchange: Exchange | None = None
        self.calls: dict[int, Key] = {}
        self.waiting: dict[Key, str] = {}
        self.lasting = lasting

    def told(self, key: Key, stage: str) -> None:
        """The engine is told of a request, or of the end of a leased hook."""
        self.waiting[key] = stage
        for fault in self.lasting:
            self._node.world.fate.struck(fault, [(stage, key.kind)])

    def acts(self, need: Need) -> None:
        """The engine acts."""
        if isinstance(need, Exchange):
            for write in need.batch.writes:
                self.waiting.pop(write.key, None)
            for key in need.batch.loads:
                self.waiting.pop(key, None)
        elif isinstance(need, Invoke):
            self.waiting.pop(need.key, None)
        for fault in self.lasting:
            self._node.world.fate.struck(fault, self._places(need))

    def strike(self, fault: str, need: Need | None = None) -> None:
        """A fault strikes all that is under way, and the need that is in hand."""
        places = list(self._all())
        if need is not None:
            places += self._places(need)
        node = self._node
        node.world.fate.struck(fault, places or [("claim", kind) for kind in node.kinds])

    def strike_call(self, fault: str, number: int) -> None:
        """It strikes one request, wherever that is."""
        key = self.calls[number]
        places = [place for place, owner in self._owned() if owner == key]
        self._node.world.fate.struck(fault, places or [("claim", key.kind)])

    def _places(self, need: Need) -> Iterator[Place]:
        return stages.of_need(need, self._node.world.observer.stored, self.calls.get)

    def _all(self) -> Iterator[Place]:
        if self.exchange is not None and self.exchange.batch.claim is not None:
            for kind in self._node.kinds:
                yield "claim", kind
        yield from (place for place, _ in self._owned())

    def _owned(self) -> Iterator[tuple[Place, Key]]:
        """What is under way for one instance, claims apart."""
        if self.exchange is not None:
            yield from stages.of_instances(self.exchange.batch, self._node.world.observer.stored)
        for run in self._node.hooks:
            if not run.ended:
                yield stages.of_hook(run.invoke), run.invoke.key
        for key, stage in self.waiting.items():
            yield (stage, key.kind), key
