"""A journal: every step and every write of chosen instances, a line of JSON each, to be stepped again.

    {"journal": 1, "key": ["task", "orders", "7"], "event": ["HandlerFailed", {...}], "env": {...},
     "before": {...}, "after": {...}, "alarm": 17..., "then": ["emit job.failed"]}
    {"journal": 1, "key": ["task", "orders", "7"], "write": "committed", "revision": "00..."}

`before` and `after` are whole records, so a journal may begin and end anywhere, and any line may be lost.
`step` is pure: what a line of it says is all that is needed to do the same again. A hook's outcome is in
the event that ended it. This module makes the lines and reads them; it opens no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from itertools import repeat
from typing import Any, get_args

from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from durable_jobs_core._values import value
from durable_jobs_core.backend import Answer, Committed, Conflicted, Defer, Write
from durable_jobs_core.codec import as_json, make_converter
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import CallHandler, EmitTelemetry, Reply, ReplyError, Transition
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.events import AddRequested, Event, SendRequested
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.record import Record
from durable_jobs_core.schema import to_json
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Json, Key, Token

VERSION = 1
_EVENTS: dict[str, type[Any]] = {type_.__name__: type_ for type_ in get_args(Event)}


@cache
def _converter() -> Any:
    """Made when it is first needed, which in most processes is never."""
    converter = make_converter()
    for pair in (Key, Token):
        converter.register_unstructure_hook(pair, list)
        converter.register_structure_hook(pair, lambda data, type_: type_(*data))
    as_is = override(unstruct_hook=lambda data: data, struct_hook=lambda data, _: data)
    fields: dict[type[Any], Any] = {
        Operations: {"size": override(omit=True)},
        HookCall: {"event": as_is},
        InlineOutcome: {"error": override(omit=True)},
        AddRequested: {"event": as_is},
        SendRequested: {"event": as_is},
    }
    for type_, overrides in fields.items():
        write = make_dict_unstructure_fn(type_, converter, True, **overrides)
        converter.register_unstructure_hook(type_, write)
        converter.register_structure_hook(type_, make_dict_structure_fn(type_, converter, **overrides))
    return converter


class Journal:
    """Tells of the steps and writes of the instances it `wants`: gives lines to `write`, which should not
    block. An `Engine` that is given one keeps it. What fails here fails no job: it counts as `dropped`.
    """

    def __init__(
        self, write: Callable[[bytes], object], wants: Callable[[Key], bool] = lambda key: True
    ) -> None:
        self._write, self._wants = write, wants
        self.dropped = 0

    def step(self, definition: AnyDefinition, record: Record | None, event: Event, env: Env) -> Transition:
        """`step`, and a line about it, also if it raises."""
        if not self._wants(env.key):
            return step(definition, record, event, env)
        try:
            came = step(definition, record, event, env)
        except Exception as error:
            self._say(_line, record, event, env, error)
            raise
        self._say(_line, record, event, env, came)
        return came

    def answered(self, writes: Iterable[Write | Defer], answer: Answer | BaseException) -> None:
        """A line for what became of each write."""
        outcomes: Iterable[object] = answer.outcomes if isinstance(answer, Answer) else repeat(answer)
        for write, outcome in zip(writes, outcomes, strict=False):
            if isinstance(write, Write) and self._wants(write.key):
                self._say(_written, write, outcome)

    def _say(self, make: Callable[..., dict[str, Any]], *args: Any) -> None:
        try:
            self._write(to_json({"journal": VERSION, **make(*args)}) + b"\n")
        except Exception:
            self.dropped += 1


def _line(record: Record | None, event: Event, env: Env, came: Transition | Exception) -> dict[str, Any]:
    known = _converter().unstructure(env)
    return {
        "key": list(known.pop("key")),
        "event": [type(event).__name__, _converter().unstructure(event)],
        "env": known,
        "before": None if record is None else as_json(env.key, record),
        **outcome_of(env.key, came),
    }


def outcome_of(key: Key, came: Transition | Exception) -> dict[str, Json]:
    """What a step came to, as a line has it. `after` and `alarm`: if it writes; `broke`: it has a bug."""
    if isinstance(came, Exception):
        refused = isinstance(came, DurableJobsError)
        return {"raised" if refused else "broke": f"{type(came).__name__}: {came}"}
    then: list[Json] = [_told(effect) for effect in came.then]
    if not came.writes:
        return {"then": then}
    return {
        "after": None if came.record is None else as_json(key, came.record),
        "alarm": came.alarm,
        "then": then,
    }


def _told(effect: object) -> str:
    match effect:
        case CallHandler():
            return f"call {effect.call.hook}"
        case Reply():
            return f"reply {type(effect.result).__name__}"
        case ReplyError():
            return f"reply {type(effect.error).__name__}"
        case EmitTelemetry():
            return "emit " + " ".join(event.type for event in effect.events)
        case _:
            return "cancel"


def _written(write: Write, outcome: object) -> dict[str, Any]:
    said = "conflicted" if isinstance(outcome, Conflicted) else repr(outcome)
    if isinstance(outcome, Committed):
        said = "committed"
    revision = None if write.row is None else write.row.revision.hex()
    return {"key": list(write.key), "write": said, "revision": revision}


@value(kw_only=True)
class Line:
    """A line about a step. `before`: as `codec.from_json` takes it; `came`: as `outcome_of` gives it;
    `number`: of the line."""

    number: int
    event: Event
    env: Env
    before: Json
    came: dict[str, Json]


@value(kw_only=True)
class Written:
    """A line about a write. `revision`: of the record it leaves, `None` if it deletes; `became`:
    `committed`, `conflicted`, or what was said instead."""

    key: Key
    revision: str | None
    became: str


def read(lines: Iterable[str]) -> tuple[list[Line], list[Written], int]:
    """The steps, the writes, and how many lines are torn: a process that is killed may leave one.

    Raises `ValueError` for a line of something else.
    """
    steps: list[Line] = []
    writes: list[Written] = []
    torn = 0
    for number, text in enumerate(lines, 1):
        try:
            data = json.loads(text)
        except ValueError:
            torn += 1
            continue
        if not isinstance(data, dict) or data.get("journal") != VERSION:
            raise ValueError(f"line {number} is not of a journal of version {VERSION}")
        if "write" in data:
            key, revision, became = data["key"], data["revision"], data["write"]
            writes.append(Written(key=Key(*key), revision=revision, became=became))
        else:
            steps.append(_read(number, data))
    return steps, writes, torn


def _read(number: int, data: dict[str, Any]) -> Line:
    name, fields = data["event"]
    return Line(
        number=number,
        event=_converter().structure(fields, _EVENTS[name]),
        env=_converter().structure({**data["env"], "key": data["key"]}, Env),
        before=data["before"],
        came={name: data[name] for name in ("raised", "broke", "after", "alarm", "then") if name in data},
    )
