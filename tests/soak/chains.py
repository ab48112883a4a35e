"""What became of every write of every process: the commits of an instance form one chain, or a fork is named.

No revision is ever used twice, so a commit over a base that is no longer stored would show as a revision
that two landed writes have replaced. A server that lost the end of its log leaves branches that end at its
kill: those are counted, and nothing may go on from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from attrs import define, field
from crash.log import Line, Log

from durable_jobs_core.backend import Answer, Backend, Batch, Committed, Refused, Write
from durable_jobs_core.record import WRITERS_MAX


class Recorded:
    """A backend that notes every write before it is sent, and then what came of it."""

    def __init__(self, backend: Backend, log: Log) -> None:
        self._backend = backend
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Perform a batch, and write down what it writes."""
        number = self._log.name()
        writes = [write for write in batch.writes if isinstance(write, Write)]
        if writes:
            self._log.write("sent", n=number, writes=[_plain(write) for write in writes])
        answer = self._backend.exchange(lane, batch)
        if writes:
            told = zip(batch.writes, answer.outcomes, strict=True)
            outcomes = [_word(outcome) for write, outcome in told if isinstance(write, Write)]
            self._log.write("heard", n=number, outcomes=outcomes)
        return answer


def _plain(write: Write) -> tuple[str, str | None, str | None]:
    expected = None if write.expected is None else write.expected.hex()
    return str(write.key), expected, None if write.row is None else write.row.revision.hex()


def _word(outcome: object) -> str:
    return type(outcome).__name__.lower()


LIFE_DIGITS = 16
"""Of a revision's hexadecimal text: eight bytes that all revisions of a life share."""

UNHEARD = "unheard"
LANDED = Committed.__name__.lower()
NOTHING = frozenset({Refused.__name__.lower(), "conflicted"})


@define(eq=False)
class Node:
    """One write. `sent`, `heard`: where in the log; `by`: its process; `revision`: `None`, a deletion."""

    key: str
    expected: str | None
    revision: str | None
    sent: int
    by: int
    outcome: str = UNHEARD
    heard: int | None = None
    is_proven: bool = False
    replaced_by: list[Node] = field(factory=list)

    @property
    def landed(self) -> bool:
        """Whether it certainly took effect."""
        return self.outcome == LANDED or self.is_proven


@define
class Kill:
    """A kill of the server: it happened between these places in the log."""

    before: int
    after: int


@define
class Chains:
    """What the log of writes comes to.

    `faults`: forks, and commits that are gone; `lost`: acknowledged commits that a kill of the server took
    back, if `may_lose`; `lost_of`: the same by key.
    """

    may_lose: bool
    commits: int = 0
    faults: list[str] = field(factory=list)
    lost_of: dict[str, list[Node]] = field(factory=dict)
    nodes: list[Node] = field(factory=list, repr=False)
    kills: list[Kill] = field(factory=list, repr=False)

    def returned_to(self, key: str, lost: list[Node]) -> set[int]:
        """The processes whose last commit of a life before a kill is lost, and that went on with the life
        while its record could still tell. Who may have met the next life has forgotten it."""
        found: set[int] = set()
        made = {node.revision: node for node in self.nodes if node.key == key and node.revision is not None}
        for by in {node.by for node in lost}:
            own = [
                node for node in self.nodes if node.key == key and node.by == by and node.outcome == LANDED
            ]
            for first, second in pairwise(own):
                between = [
                    kill for kill in self.kills if first.sent < kill.after and second.sent > kill.after
                ]
                if first not in lost or not between or not _same_life(first, second):
                    continue
                if _is_told(made, by, second) and not self._may_have_met_next_life(first, second):
                    found.add(by)
        return found

    def _may_have_met_next_life(self, first: Node, second: Node) -> bool:
        """Whether another life of the instance was written between two writes."""
        return any(
            node.key == first.key
            and node.revision is not None
            and _life(node.revision) != _life(first.revision)
            for node in self.nodes
            if first.sent < node.sent < second.sent and node.outcome not in NOTHING
        )

    @property
    def lost(self) -> int:
        """How many acknowledged commits are gone."""
        return sum(map(len, self.lost_of.values()))


def chains(lines: Iterable[Line], stored: dict[str, str], *, may_lose: bool) -> Chains:
    """Hold the log against the stored revisions, by key."""
    nodes, kills = _read(lines)
    found = Chains(may_lose, nodes=nodes, kills=kills)
    by_key: dict[str, list[Node]] = {}
    for node in nodes:
        by_key.setdefault(node.key, []).append(node)
    for key in sorted({*by_key, *stored}):
        _judge(found, key, by_key.get(key, []), stored.get(key), kills)
    found.commits = sum(node.landed for node in nodes)
    return found


def _read(lines: Iterable[Line]) -> tuple[list[Node], list[Kill]]:
    nodes: list[Node] = []
    sent: dict[str, list[Node]] = {}
    kills: list[Kill] = []
    for pos, line in enumerate(lines):
        match line["what"]:
            case "sent":
                made = [Node(*write, sent=pos, by=line["round"]) for write in line["writes"]]
                sent[line["n"]] = made
                nodes += made
            case "heard":
                for node, outcome in zip(sent[line["n"]], line["outcomes"], strict=True):
                    node.outcome, node.heard = outcome, pos
            case "killing":
                kills.append(Kill(pos, pos))
            case "killed":
                kills[-1].after = pos
    return nodes, kills


def _judge(found: Chains, key: str, nodes: list[Node], stored: str | None, kills: list[Kill]) -> None:
    """Judge one instance, with all its lives."""
    made = {node.revision: node for node in nodes if node.revision is not None}
    if stored is not None and stored not in made:
        found.faults.append(f"{key}: {stored} is stored, and nobody wrote it")
        return
    for node in nodes:
        if node.expected is not None and node.expected in made and node.outcome not in NOTHING:
            made[node.expected].replaced_by.append(node)
    _prove(made, nodes, stored)
    lost: list[Node] = []
    for node in made.values():
        landed = [child for child in node.replaced_by if child.landed]
        for first in landed[:-1]:
            _branch(found, first, landed[-1], kills)
            lost += [first] if first.revision is None else []
    ends = [stored, *(node.expected for node in nodes if _ends_a_life(node) and node not in lost)]
    kept = {revision for end in ends for revision in _ancestors(made, end)}
    for node in made.values():
        if node.outcome == LANDED and node.revision not in kept:
            lost.append(node)
            if not found.may_lose or not any(node.sent < kill.after for kill in kills):
                found.faults.append(f"{key}: {node.revision} was committed, and is gone")
    if lost:
        found.lost_of[key] = sorted(lost, key=lambda node: node.sent)


def _prove(made: dict[str | None, Node], nodes: list[Node], stored: str | None) -> None:
    """What is stored, and what a landed write replaced, has landed too."""
    proven = [node.expected for node in nodes if node.landed]
    proven.append(stored)
    while proven:
        node = made.get(proven.pop())
        if node is not None and not node.is_proven:
            node.is_proven = True
            proven.append(node.expected)


def _ends_a_life(node: Node) -> bool:
    """Whether it is a deletion that may have landed."""
    return node.revision is None and node.outcome not in NOTHING


def _ancestors(made: dict[str | None, Node], end: str | None) -> Iterator[str]:
    """A revision, and what it was made from."""
    while end is not None and end in made:
        yield end
        end = made[end].expected


def _branch(found: Chains, first: Node, last: Node, kills: list[Kill]) -> None:
    """Two landed writes over one base: a kill took the first back, or history forks."""
    between = [kill for kill in kills if first.sent < kill.after and (last.heard or kill.after) > kill.before]
    if not found.may_lose or not between:
        found.faults.append(f"{first.key}: history forks, two commits replaced {first.expected}")
        return
    for node in _landed_from(first):
        if node.sent > between[-1].after:
            found.faults.append(f"{node.key}: history goes on from {node.expected}, which was lost")


def _same_life(first: Node, second: Node) -> bool:
    """Whether the second write went on with the life that the first one wrote."""
    known = _life(first.revision)
    return known is not None and known == _life(second.expected)


def _life(revision: str | None) -> str | None:
    return revision and revision[:LIFE_DIGITS]


def _is_told(made: dict[str | None, Node], by: int, second: Node) -> bool:
    """Whether the record that was written over had not forgotten that process: it names so many writers."""
    writers: set[int] = set()
    for revision in _ancestors(made, second.expected):
        writers.add(made[revision].by)
        if by in writers or len(writers) == WRITERS_MAX:
            return by in writers
    return True


def _landed_from(first: Node) -> Iterator[Node]:
    waiting = [first]
    while waiting:
        node = waiting.pop()
        if node.landed:
            yield node
        waiting += node.replaced_by
