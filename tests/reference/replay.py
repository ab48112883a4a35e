"""Replaying recorded runs: each step is done, compared, and explained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from durable_jobs_core.words import Key
from reference.compare import Difference, Step, compare
from reference.original import Place
from reference.player import Player, Seen, key_of
from reference.rules import RULES, Rule

FORMAT = "recorded-run/1"
_POKES = ("put_raw", "delete_raw")
_OBEYED = {
    ("continuous", "start"),
    ("continuous", "trigger"),
    ("continuous", "status"),
    ("continuous", "fire_alarm"),
    ("debounce", "fire_alarm"),
}
"""What the original does not do, or tells, of an instance that a poke has stopped."""
_QUIET = ("reset", "advance_time", "set_time", "alarms", "dump")
"""They move the clock, or only look: every other step compares what they show."""


@frozen
class Explained:
    """A difference and the rule that wants it, if any does."""

    run: str
    at: int
    difference: Difference
    rule: Rule | None

    def __str__(self) -> str:
        why = "UNEXPLAINED" if self.rule is None else f"{self.rule.sentence}: {self.rule.says}"
        step = self.difference.step
        return f"{self.run} {self.at} {step.name} {step.key.job}/{step.key.id}: {self.difference} | {why}"


@define
class Report:
    """What came of replaying. `passed`: why steps were passed over, and how many."""

    runs: int = 0
    steps: int = 0
    passed: Counter[str] = field(factory=Counter)
    found: list[Explained] = field(factory=list)
    as_bad: list[str] = field(factory=list)
    """Runs of a defect in which ours did all that the original did."""

    @property
    def unexplained(self) -> list[Explained]:
        """What no rule wants."""
        return [explained for explained in self.found if explained.rule is None]


class Replay:
    """One run."""

    def __init__(self, run: Mapping[str, Any], specs: Mapping[str, Any], report: Report) -> None:
        self.run, self.specs, self.report = run, specs, report
        self.player = Player(specs)
        self.places: dict[Key, Place] = {}
        self.config: Mapping[str, Any] = {}
        self.clock: float = 0

    def steps(self) -> None:
        """Replay all of its steps."""
        before = len(self.report.found), self.report.passed.total()
        for at, step in enumerate(self.run["steps"]):
            op, out = step["op"], step["out"]
            self.report.steps += 1
            self._begin(op, out)
            why = self._why_passed(op, out)
            if why is not None:
                self.report.passed[why] += 1
                self._follow(op, out)
            elif op["op"] not in _QUIET:
                self._step(at, op, out)
            self._set_clock(out["now"])
        unchanged = before == (len(self.report.found), self.report.passed.total())
        if "defect" in self.run["tags"] and unchanged:
            self.report.as_bad.append(self.run["name"])

    def _set_clock(self, now: float) -> None:
        self.clock = now
        self.player.set_time(now)

    def _begin(self, op: Mapping[str, Any], out: Mapping[str, Any]) -> None:
        if op["op"] == "reset":
            self.config = {**out.get("config", {}), **op.get("config", {})}
            self.player = Player(self.specs)
            self.places = {}
        if op.get("now") is not None:
            self._set_clock(op["now"])

    def _why_passed(self, op: Mapping[str, Any], out: Mapping[str, Any]) -> str | None:
        """Why a step is passed over: it pokes the original's own storage, or is nothing that both have."""
        if self.config.get("mode") == "do":
            return "mode do"
        if op["op"] in _POKES:
            return "put_raw, delete_raw"
        if "fault" in op:
            return "fault"
        key = key_of(op, self.specs) if "job" in op else None
        if key is not None and (key.kind, op["op"]) in _OBEYED and self._place(key).stopped:
            return "a status that only put_raw writes"
        if out.get("result") == {"$undefined": True}:
            return "no such request in the original"
        return None

    def _place(self, key: Key) -> Place:
        return self.places.setdefault(key, Place(kind=key.kind, job=key.job))

    def _follow(self, op: Mapping[str, Any], out: Mapping[str, Any]) -> None:
        """A step was passed over: stand where the original stands after it."""
        if "storage" not in out or self.config.get("mode") == "do":
            return
        key = key_of(op, self.specs)
        self.places[key] = self._place(key).after(out)
        self._stand(key)

    def _stand(self, key: Key) -> None:
        definition = self.player.jobs.by_name.get(key.job)
        if definition is not None:
            place = self._place(key)
            created = place.storage.get("task:createdAt", place.storage.get("meta", {}).get("createdAt", 0))
            self.player.put(key, place.body(definition, self.player.now), created)

    def _step(self, at: int, op: Mapping[str, Any], out: Mapping[str, Any]) -> None:
        key = key_of(op, self.specs)
        before = self._place(key)
        if before.stuck and self.player.overdue(key):  # of an alarm that is lost, none is ever late
            self._stand(key)
        delivers = bool(op.get("force")) or before.alarm is not None
        if op["op"] == "fire_alarm" and before.alarm is not None and op.get("advance", True):
            self._set_clock(max(self.clock, before.alarm))
        refused = self.player.refused.get(key.job)
        now = self.player.now
        seen = Seen(key=key, script={})
        if refused is None:
            seen = self.player.play(op, key, out, delivers=delivers, registered=not before.unregistered)
        places = dict(self.places)
        touched = {key, *self._nested(out), *_asked(seen)}
        self.places[key] = self._place(key).after(out)
        step = Step(
            op=op,
            key=key,
            spec=self.specs.get(key.job, {}),
            out=out,
            seen=seen,
            before=before,
            places=places,
            after=self.places[key],
            now=now,
            delivered=delivers,
            telemetry=self.config.get("telemetry", "emitted"),
            collides=any(other != key and str(other) == str(key) for other in self.places),
            refused=refused,
        )
        differences = list(compare(step))
        for difference in differences:
            rule = next((rule for rule in RULES if rule.wants(difference)), None)
            self.report.found.append(Explained(self.run["name"], at, difference, rule))
        lasting = {"alarm", "state"} if step.refused is None else set()
        ahead = self.player.now > out["now"]  # by a hook that only ours has called
        if ahead or any(each.facet in lasting or each.step.outer is not None for each in differences):
            self.player.set_time(out["now"])
            for each in touched:
                self._stand(each)

    def _nested(self, out: Mapping[str, Any]) -> Iterator[Key]:
        """The instances that requests from within handlers were about."""
        for call in out["calls"]:
            for seen in call["steps"]:
                if "nested" in seen:
                    nested = seen["nested"]
                    key = key_of(nested, self.specs)
                    self.places[key] = self._place(key).after(nested)
                    yield key
                    yield from self._nested(nested)


def _asked(seen: Seen) -> Iterator[Key]:
    """The instances that ours made requests to from within handlers."""
    for call in seen.calls:
        for step in call["steps"]:
            if "nested" in step:
                yield step["nested"][1]
                yield from _asked(step["nested"][2])


def load(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The jobs and the runs of a folder."""
    specs: dict[str, Any] = json.loads((folder / "jobs.json").read_text())
    paths = sorted(path for path in folder.glob("*.json") if path.name != "jobs.json")
    runs = [json.loads(path.read_text()) for path in paths]
    unknown = {run["format"] for run in runs} - {FORMAT}
    if unknown:
        raise ValueError(f"{folder} has runs of an unknown format: {', '.join(sorted(unknown))}")
    return specs, runs


def replay(folder: Path) -> Report:
    """Replay every run of a folder."""
    specs, runs = load(folder)
    report = Report(runs=len(runs))
    for run in runs:
        Replay(run, specs, report).steps()
    return report
