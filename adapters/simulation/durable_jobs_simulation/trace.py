"""What happened in a run, one line an event; as text, JSON lines, a sequence diagram, a page for a browser.

    step · virtual time since the beginning · lane · what · instance · details

A lane is a node, `store`, `world` (what the simulation does to them) or `client` (the scenario). Faults
are marked with `!`. Nothing in a trace depends on the interpreter: of exceptions only the type is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field

from durable_jobs_core.record import Record
from durable_jobs_core.words import Key, Kind, printable
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.page import page

EPOCH = 1_767_225_600_000
"""The first instant of 2026, at which every run begins."""


class Event(NamedTuple):
    """One event. `at`: ms since the beginning; `details`: what was told, made into text when it is read;
    `change`: the records before and after a commit."""

    step: int
    at: int
    lane: str
    what: str
    key: Key | None
    details: tuple[Any, ...]
    fault: bool
    change: tuple[Record | None, Record | None] | None = None

    @property
    def text(self) -> str:
        """The details."""
        return " ".join(map(str, self.details))

    def __str__(self) -> str:
        key = "-" if self.key is None else str(self.key)
        mark = "!" if self.fault else " "
        head = f"{self.step:>6} {clock(self.at)} {mark} {self.lane:<6} {self.what:<9}"
        return printable(f"{head} {key:<28} {self.text}".rstrip())


def clock(ms: int) -> str:
    """A span as `1d 02:03:04.005`."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}d ' if days else ''}{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"


@define
class Exchanged:
    """An exchange with the store, and what came of it; instants are (step, ms since the beginning).

    `sent`: when it left its node; `carries`: how many writes, loads and claims; `told`: what became of a
    write, and when: twice, if it was unknown and landed later; `claimed`: how many rows; `lost`: what of
    it, if anything; `heard`: when its node had an answer, or gave up on one.
    """

    node: str
    number: int
    carries: dict[str, int]
    sent: tuple[int, int]
    told: list[tuple[int, int, Key, str]] = field(factory=list[tuple[int, int, Key, str]])
    claimed: int = 0
    lost: str | None = None
    heard: tuple[int, int] | None = None


@define(kw_only=True)
class Trace:
    """One run. `faults`: what was drawn for it; `nodes`, `clients`: workers, and who only serves callers;
    `lanes`: of the store; `hits`: how often each fault was drawn; `cells`: where it struck, by fault, stage
    and kind; `steps`, `ms`: how far it went; `counts`: of commits, attempts and replies; `ends`: of the
    instances at the end, by job and status, and those with dead letters; `violation`: the invariant that
    failed, and why; `exchanges`: with the store, in the order in which they were sent; `engines`: whose
    they were, by id."""

    seed: int
    faults: Faults
    case: str | None = None
    nodes: int = 0
    clients: int = 0
    lanes: int = 1
    setup: str = ""
    events: list[Event] = field(factory=list, repr=False)
    exchanges: list[Exchanged] = field(factory=list, repr=False)
    engines: dict[int, str] = field(factory=dict, repr=False)
    hits: dict[str, int] = field(factory=dict)
    cells: Counter[tuple[str, str, Kind]] = field(factory=Counter, repr=False)
    counts: dict[str, int] = field(factory=dict)
    ends: Counter[tuple[str, str]] = field(factory=Counter, repr=False)
    steps: int = 0
    ms: int = 0
    violation: str | None = None

    def lines(self) -> Iterator[str]:
        """The head, and the events."""
        return self._lines(self.events)

    def _lines(self, shown: list[Event], left_out: str | None = None) -> Iterator[str]:
        yield f"seed {self.seed}"
        yield f"setup {self.setup}"
        yield f"faults {self.faults}"
        if left_out is not None:
            yield left_out
        yield from map(str, shown)
        if self.violation is not None:
            yield f"VIOLATED {self.violation}"

    def text(self) -> str:
        """All of the run, as text."""
        return "\n".join(self.lines()) + "\n"

    def named(self) -> set[Key]:
        """The instances that the violation names: where ids begin alike, the longest that stands there."""
        keys = {str(event.key): event.key for event in self.events if event.key is not None}
        longest_first = "|".join(map(re.escape, sorted(keys, key=len, reverse=True)))
        found = set(re.findall(longest_first, self.violation or ""))
        return {key for name, key in keys.items() if name in found}

    def story(self, *, last: int | None = None) -> str:
        """For a terminal: what befell the nodes, and of the instances those that the violation names, if it
        names any; all of it, or only the last so many events."""
        named = self.named()
        told = [event for event in self.events if not named or event.key is None or event.key in named]
        shown = told if last is None else told[-last:]
        parts = {"before": len(told) - len(shown), "of other instances": len(self.events) - len(told)}
        left_out = ", ".join(f"{count} events {where}" for where, count in parts.items() if count)
        return "\n".join(self._lines(shown, f"... {left_out}" if left_out else None)) + "\n"

    @property
    def digest(self) -> str:
        """The same for two runs that went the same way."""
        return hashlib.blake2b(self.text().encode(), digest_size=16).hexdigest()

    def json_lines(self) -> Iterator[str]:
        """The head, then one JSON object an event."""
        head: dict[str, Any] = {
            "case": self.case,
            "seed": self.seed,
            "nodes": self.nodes,
            "clients": self.clients,
            "lanes": self.lanes,
            "setup": self.setup,
            "faults": self.faults.rates(),
            "hits": self.hits,
            "violation": self.violation,
        }
        yield json.dumps(head, ensure_ascii=False)
        for event in self.events:
            line = event._asdict()
            del line["change"]
            line["key"] = None if event.key is None else list(event.key)
            line["details"] = event.text
            yield json.dumps(line, ensure_ascii=False)

    def write(self, path: str | Path) -> None:
        """Write it: a page for `.html`, Mermaid for `.mmd`, plain text for `.txt`, else JSON lines."""
        path = Path(path)
        forms = {".html": self.html, ".mmd": self.mermaid, ".txt": self.text}
        text = forms[path.suffix]() if path.suffix in forms else "\n".join(self.json_lines()) + "\n"
        path.write_text(text, encoding="utf-8")

    def html(self, *, last: int = 4000) -> str:
        """The last events as one page that needs nothing else."""
        return page(self, EPOCH, last)

    def mermaid(self, *, key: Key | None = None, last: int = 200) -> str:
        """A sequence diagram of the last events, of one instance if given."""
        chosen = [event for event in self.events if key is None or event.key in (None, key)][-last:]
        return "\n".join(_mermaid(chosen, self.violation)) + "\n"


WHY = (
    "something draws from `random`, looks at the clock of the machine, goes through a set, or finds what an "
    "earlier run has left"
)
"""Why a seed may not repeat its run."""


def parting(then: Iterable[str], now: Iterable[str]) -> str | None:
    """The first lines in which two runs differ, if they do."""
    for was, came in zip_longest(then, now, fillvalue="nothing more"):
        if was != came:
            return f"  then {was}\n  now  {came}"
    return None


def written(lines: Iterable[str]) -> Iterator[str]:
    """The events of a trace in JSON, as its text has them; what is none, for it is torn, as it is."""
    for line in lines:
        try:
            told: dict[str, Any] = json.loads(line)
            if "step" in told:
                told |= {"key": told["key"] and Key(*told["key"]), "details": (told["details"],)}
                yield str(Event(**told))
        except (ValueError, KeyError, TypeError, RecursionError):
            yield printable(line)


def _mermaid(events: list[Event], violation: str | None) -> Iterable[str]:
    lanes = dict.fromkeys(event.lane for event in events)
    yield "sequenceDiagram"
    for lane in lanes:
        yield f"    participant {lane}"
    for event in events:
        label = _label(f"{clock(event.at)} {event.what} {event.key or ''} {event.text}")
        arrow = _ARROWS.get(event.what)
        if arrow is None or arrow[1] not in lanes or event.lane == arrow[1]:
            yield f"    Note over {event.lane}: {'💥 ' if event.fault else ''}{label}"
        else:
            yield f"    {event.lane}{arrow[0]}{arrow[1]}: {label}"
    if violation is not None:
        yield f"    Note over {next(iter(lanes), 'world')}: VIOLATED {_label(violation)}"


def _label(text: str) -> str:
    """A text without what ends a line or a label."""
    return "".join(" " if char in ";#" else char for char in printable(text)).strip()


_ARROWS = {"ask": ("->>", "store"), "lost": ("-x", "store"), "reply": ("-->>", "client")}
"""How an event is drawn that goes from its lane to another."""
