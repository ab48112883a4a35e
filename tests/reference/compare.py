"""What differs between a recorded step and ours, in the order the format asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Literal

from attrs import field, frozen

from durable_jobs_core.words import Key
from reference.original import Place, has_work, view_of
from reference.player import Seen

Facet = Literal["result", "error", "alarm", "event", "call", "state", "law"]
_NOT_SHOWN = {"executionStartedAt", "idleReason", "errorSource"}
_STATES = ("input", "preExecutionState")
_HEAD = {"timestamp", "source", "instanceId", "jobType", "jobName", "id"}


class Nothing:
    """What is only on one side."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING: Any = Nothing()


@frozen(kw_only=True)
class Step:
    """A recorded step beside ours. `before`, `after`: where the original stood, `None` in a nested step."""

    op: Mapping[str, Any]
    key: Key
    spec: Mapping[str, Any]
    out: Mapping[str, Any]
    seen: Seen
    before: Place
    after: Place
    now: int
    delivered: bool = True
    places: Mapping[Key, Place]
    """Where the other instances of the original stood before."""
    telemetry: str = "emitted"
    collides: bool = False
    """Another job's instance is printed alike."""
    refused: BaseException | None = None
    outer: Step | None = field(default=None, repr=False)

    @property
    def overlaps(self) -> Mapping[str, Any] | None:
        """What the original's leased hook met: a request to the same instance that arrived meanwhile."""
        for call in self.out["calls"] if self.outer is None else []:
            for seen in call["steps"]:
                nested = seen.get("nested", {})
                if call["handler"] == "execute" and (nested.get("job"), nested.get("id")) == self.key[1:]:
                    return nested  # type: ignore[no-any-return]
        return None

    @property
    def name(self) -> str:
        """The operation."""
        name: str = self.op["op"]
        return name

    def called(self, handler: str) -> bool:
        """Whether the original called a handler in it."""
        return any(call["handler"] == handler for call in self.out["calls"])

    def we_called(self, handler: str) -> bool:
        """Whether ours did."""
        return any(call["handler"] == handler for call in self.seen.calls)

    def sent(self, type_: str) -> list[Mapping[str, Any]]:
        """The telemetry of a type that the original sent."""
        return [event for event in self.out["events"] if event["type"] == type_]

    def we_sent(self, type_: str) -> list[Mapping[str, Any]]:
        """The telemetry of a type that ours sent."""
        return [event for event in self.seen.events if event["type"] == type_]


@frozen
class Difference:
    """One difference: in which facet, of what (a telemetry type, a handler), in which field."""

    step: Step
    facet: Facet
    of: str
    name: str
    original: Any
    ours: Any

    def __str__(self) -> str:
        what = " ".join(part for part in (self.facet, self.of, self.name) if part)
        if self.step.outer is not None:
            what = f"nested {self.step.name}: {what}"
        return f"{what}: {_short(self.original)} -> {_short(self.ours)}"

    @property
    def whole(self) -> bool:
        """A call or an event is on one side only."""
        return self.facet in ("call", "event") and (self.missing or self.extra) and not self.name

    @property
    def missing(self) -> bool:
        """It is only in the original."""
        return self.ours is NOTHING

    @property
    def extra(self) -> bool:
        """It is only in ours."""
        return self.original is NOTHING


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 70 else text[:67] + "..."


def compare(step: Step) -> Iterator[Difference]:
    """The differences of a step."""
    out, seen = step.out, step.seen
    if step.refused is not None:
        yield Difference(step, "error", "", "", _error(out), type(step.refused).__name__)
        return
    ours = NOTHING if seen.error is None else type(seen.error).__name__
    ours = "UnknownJobTypeError" if ours == "UnknownVerb" else ours
    result = NOTHING if seen.result is None else seen.result
    if _error(out) != ours:
        yield Difference(step, "error", "", "", _error(out), ours)
    if "error" not in out and seen.error is None:
        yield from _fields(step, "result", "", _result(step), result)
    if step.outer is None and seen.alarm is None and has_work(seen.body):
        yield Difference(step, "law", "", "I-4", "(work has an alarm)", None)
    if step.outer is None and out["alarm"] != seen.alarm:
        yield Difference(step, "alarm", "", "", out["alarm"], seen.alarm)
    sent = [] if step.telemetry == "off" else seen.events
    for theirs, mine in _paired(out["events"], sent, "type"):
        yield from _entry(step, "event", "type", _as_json(step, told(theirs)), told(mine))
    for theirs, mine in _paired(out["calls"], seen.calls, "handler"):
        yield from _calls(step, theirs, mine)
    if step.outer is None:
        yield from _fields(step, "state", "", step.after.view(), view_of(seen.body, seen.created_at))


def _error(out: Mapping[str, Any]) -> Any:
    return out["error"].get("tag") if "error" in out else NOTHING


def _result(step: Step) -> Any:
    result = step.out.get("result", NOTHING)
    if result is NOTHING:
        return result
    shown = {name: value for name, value in result.items() if name not in ("_type", "instanceId")}
    if "executeCount" in shown:  # a task was created when its `meta` was, be it told or not
        shown.setdefault("createdAt", step.after.view()["createdAt"])
    return shown


def _paired(theirs: list[Any], mine: list[Any], by: str) -> Iterator[tuple[Any, Any]]:
    """Entries of two lists side by side, aligned by what they are."""
    matcher = SequenceMatcher(None, [e[by] for e in theirs], [e[by] for e in mine], autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(theirs[i:i_end], mine[j:j_end], strict=True)
        else:
            yield from ((entry, None) for entry in theirs[i:i_end])
            yield from ((None, entry) for entry in mine[j:j_end])


def told(event: Mapping[str, Any] | None) -> Any:
    """A telemetry event as it is compared."""
    if event is None:
        return None
    fields = {name: value for name, value in event.items() if name not in _HEAD - {"timestamp"}}
    if "error" in fields:
        fields["error"] = fields["error"]["message"]
    return fields


def as_json(step: Step, state: Any) -> Any:
    """A state in the JSON that both store: that of a job with a codec looks otherwise."""
    coded = step.spec.get("state") == "Codec" and isinstance(state, dict) and "n" in state
    return {"n": str(state["n"])} if coded else state


def _as_json(step: Step, event: Any) -> Any:
    """What the original tells, with its states in JSON."""
    return event and {**event, **{name: as_json(step, event[name]) for name in _STATES if name in event}}


def _entry(step: Step, facet: Facet, by: str, theirs: Any, mine: Any) -> Iterator[Difference]:
    if theirs is None or mine is None:
        of = (theirs or mine)[by]
        yield Difference(step, facet, of, "", theirs or NOTHING, mine or NOTHING)
        return
    yield from _fields(step, facet, theirs[by], theirs, mine)


def _calls(step: Step, theirs: Any, mine: Any) -> Iterator[Difference]:
    if theirs is None or mine is None:
        given, made = ([call] if call else [] for call in (theirs, mine))
        of = (given or made)[0]["handler"]
        left = given[0]["ctx"] if given else NOTHING
        yield Difference(step, "call", of, "", left, made[0]["ctx"] if made else NOTHING)
        return
    of = theirs["handler"]
    yield from _fields(step, "call", of, _ctx(theirs["ctx"]), mine["ctx"])
    for left, right in zip(theirs["steps"], mine["steps"], strict=False):
        if "nested" in left and "nested" in right:
            yield from compare(_nested(step, left["nested"], right["nested"]))
        elif "nested" not in left and "nested" not in right:
            yield from _fields(step, "call", f"{of} read", _ctx(left), right)
    if len(theirs["steps"]) != len(mine["steps"]):
        yield Difference(step, "call", of, "steps", len(theirs["steps"]), len(mine["steps"]))


def _ctx(ctx: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in ctx.items() if name not in _NOT_SHOWN}
    if isinstance(shown.get("error"), dict):
        shown["error"] = shown["error"].get("message", str(shown["error"]))
    return shown


def _nested(step: Step, out: Mapping[str, Any], seen: tuple[Mapping[str, Any], Key, Seen]) -> Step:
    op, key, mine = seen
    place = step.places.get(key, Place(kind=key.kind, job=key.job))
    return Step(
        op=op,
        key=key,
        spec=step.spec,
        out=out,
        seen=mine,
        before=step.before if key == step.key else place,
        places=step.places,
        after=place.after(out),
        now=step.now,
        telemetry=step.telemetry,
        outer=step,
    )


def _fields(step: Step, facet: Facet, of: str, theirs: Any, mine: Any) -> Iterator[Difference]:
    """Field by field, or the whole where one side has no fields."""
    if not isinstance(theirs, Mapping) or not isinstance(mine, Mapping):
        if theirs != mine:
            yield Difference(step, facet, of, "", theirs, mine)
        return
    if theirs.get("exists", True) != mine.get("exists", True):
        yield Difference(step, facet, of, "exists", theirs["exists"], mine["exists"])
        return
    for name in dict.fromkeys((*theirs, *mine)):
        left, right = theirs.get(name, NOTHING), mine.get(name, NOTHING)
        if left != right:
            yield Difference(step, facet, of, name, left, right)
