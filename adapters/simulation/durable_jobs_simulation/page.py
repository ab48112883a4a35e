"""A run as one page for a browser: what is in the trace as JSON, in a template that draws it.

The template is the folder `template`. All that depends on the run goes into it as escaped text: an id may
look like HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from durable_jobs_core.record import Record
    from durable_jobs_core.words import Key
    from durable_jobs_simulation.trace import Event, Exchanged, Trace

_CENTURY_MS = 100 * 365 * 86_400_000
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_NO_MARKUP = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_BANDS = {
    "crash": "down",
    "closed": "down",
    "stall": "stalled",
    "stop": "stopping",
    "start": None,
    "resume": None,
}
"""What a node is from an event on, until the next of them."""
_SILENCES = ("outage", "partition")
_ENDS = ("returned", "raised", "timedout", "cancelled", "detached")


def page(trace: Trace, epoch: int, last: int) -> str:
    """The page of the last events; `epoch`: the instant at which the run began."""
    events = trace.events[-last:]
    found = _found(trace, events)
    said = "" if trace.violation is None else escape(trace.violation)
    values = {
        "css": _file("page.css"),
        "chart": _file("chart.js"),
        "page": _file("page.js"),
        "title": escape(f"{trace.case or 'run'}, seed {trace.seed}"),
        "setup": escape(trace.setup),
        "faults": escape(str(trace.faults)),
        "verdict": "no invariant was violated"
        if found is None
        else f'<strong>VIOLATED</strong> <a id="violation" href="#e{found}">{said}</a>',
        "data": json.dumps(_data(trace, events, found, epoch), ensure_ascii=False).translate(_NO_MARKUP),
    }
    return _PLACE.sub(lambda place: values[place[1]], _file("page.html"))


def _file(name: str) -> str:
    return files("durable_jobs_simulation").joinpath("template", name).read_text(encoding="utf-8")


def _found(trace: Trace, events: list[Event]) -> int | None:
    """Where the violation was found: the last event of the instances it names, or of the only one there is;
    else the last of all."""
    if trace.violation is None or not events:
        return None
    keys = {event.key for event in events if event.key is not None}
    named = keys & trace.named() or (keys if len(keys) == 1 else None)
    if not named:
        return len(events) - 1
    return max(index for index, event in enumerate(events) if event.key in named)


def _data(trace: Trace, events: list[Event], found: int | None, epoch: int) -> dict[str, Any]:
    lanes = list(dict.fromkeys(sorted((event.lane for event in events), key=_place)))
    keys = sorted({event.key for event in events if event.key is not None})
    first = events[0].step if events else 0
    shown = [one for one in trace.exchanges if one.sent[0] >= first and _tells(one)]
    records = _Records(epoch, trace.engines)
    return {
        "lanes": lanes,
        "keys": list(map(str, keys)),
        "dropped": len(trace.events) - len(events),
        "events": [_event(event, lanes, keys, records) for event in events],
        "records": records.flat,
        "hooks": list(_hooks(events)),
        "bands": list(_bands(events)),
        "exchanges": [_exchange(one, lanes, keys) for one in shown if one.node in lanes],
        "end": [trace.steps, trace.ms],
        "violation": trace.violation,
        "found": found,
    }


def _place(lane: str) -> tuple[int, str]:
    """Callers on the left, then nodes, then the store, then what the world does."""
    return {"client": 0, "store": 2, "world": 3}.get(lane, 1), lane


def _event(event: Event, lanes: list[str], keys: list[Key], records: _Records) -> dict[str, Any]:
    told: dict[str, Any] = {
        "step": event.step,
        "at": event.at,
        "lane": lanes.index(event.lane),
        "what": event.what,
        "text": event.text,
    }
    if event.key is not None:
        told["key"] = keys.index(event.key)
    if event.fault:
        told["fault"] = True
    if event.change is not None:
        told["change"] = [records.add(record) for record in event.change]
    if event.what in ("commit", "conflict"):
        told["by"] = str(event.details[0])
    return told


# -- what takes time: from one event to another


def _hooks(events: list[Event]) -> Iterator[list[Any]]:
    """[from, to, what it ended as]: to the event after which it no longer runs, if there is one."""
    running: dict[tuple[str, Key, str], int] = {}
    for index, event in enumerate(events):
        if event.what == "invoke" and event.key is not None:
            running[event.lane, event.key, str(event.details[0])] = index
        elif event.what in _ENDS and event.key is not None and event.details:
            began = running.pop((event.lane, event.key, str(event.details[0])), None)
            if began is not None:
                yield [began, index, event.what]
        elif event.what in ("crash", "closed"):
            for hook in [hook for hook in running if hook[0] == event.lane]:
                yield [running.pop(hook), index, "died"]
    yield from ([began, None, "running"] for began in running.values())


def _bands(events: list[Event]) -> Iterator[list[Any]]:
    """[from, to, what]: a node is down, stalled or stopping, or the store is silent."""
    since: dict[str, int] = {}
    for index, event in enumerate(events):
        if event.what in _SILENCES:
            until = event.at + int(str(event.details[0]).split()[0])
            later = range(index + 1, len(events))
            yield [
                index,
                next((n for n in later if events[n].at >= until or events[n].what == "calm"), None),
                event.what,
            ]
        elif event.what in _BANDS:
            began = since.pop(event.lane, None)
            if began is not None:
                yield [began, index, _BANDS[events[began].what]]
            if _BANDS[event.what] is not None:
                since[event.lane] = index
    yield from ([began, None, _BANDS[events[began].what]] for began in since.values())


# -- exchanges


def _tells(one: Exchanged) -> bool:
    """Whether there is anything to see: not so of a poll that found nothing."""
    return bool(one.told or one.claimed or one.lost) or set(one.carries) != {"claims"}


def _exchange(one: Exchanged, lanes: list[str], keys: list[Key]) -> dict[str, Any]:
    """A write lands late if its node has given up on it, or will, for the request seemed lost."""
    told: list[dict[str, Any]] = []
    for step, at, key, outcome in one.told:
        given_up = one.heard is not None and one.heard[0] < step
        late = outcome == "committed" and (given_up or one.lost == "the request is lost")
        place = keys.index(key) if key in keys else None
        told.append({"step": step, "at": at, "key": place, "outcome": "landed late" if late else outcome})
    return {
        "lane": lanes.index(one.node),
        "number": one.number,
        "carries": one.carries,
        "sent": one.sent,
        "told": told,
        "claimed": one.claimed,
        "lost": one.lost,
        "heard": one.heard,
    }


# -- records


class _Records:
    """The records of commits, each once, as fields by their path: a number is an instant of the run."""

    def __init__(self, epoch: int, engines: Mapping[int, str]) -> None:
        self._epoch, self._engines = epoch, engines
        self._places: dict[int, int] = {}
        self.flat: list[dict[str, str | int]] = []

    def add(self, record: Record | None) -> int | None:
        """Its place in `flat`."""
        if record is None:
            return None
        place = self._places.get(id(record))
        if place is None:
            place = self._places[id(record)] = len(self.flat)
            self.flat.append(dict(self._fields("", record)))
        return place

    def _fields(self, path: str, value: Any) -> Iterator[tuple[str, str | int]]:
        if attrs.has(type(value)):
            parts: Mapping[str, Any] = {
                one.name: getattr(value, one.name) for one in attrs.fields(type(value))
            }
        elif isinstance(value, tuple):
            items: tuple[Any, ...] = value
            names: Iterable[str] = getattr(items, "_fields", None) or map(str, range(len(items)))
            parts = dict(zip(names, items, strict=True))
        else:
            yield path, self._scalar(value)
            return
        for name, part in parts.items():
            if name != "stack":  # of the interpreter
                yield from self._fields(f"{path}.{name}" if path else name, part)

    def _scalar(self, value: Any) -> str | int:
        if type(value) is int and self._epoch <= value < self._epoch + _CENTURY_MS:
            return value - self._epoch
        if type(value) is int and value >= 1 << 32:
            return self._engines.get(value, f"{value:x}")
        return (
            value if isinstance(value, str) and not value.isdigit() else json.dumps(value, ensure_ascii=False)
        )
