"""The log as the checker wants it: requests, attempts, telemetry, in the order in which they happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from attrs import define, field
from crash.log import Line

TAKING = frozenset({"add", "send"})
NOT_BEGUN = frozenset({"ClosedError", "StorageError"})
"""Refusals that say nothing of an earlier request with the same event."""


@define(kw_only=True)
class Request:
    """One request. `pos`, `answer_pos`: where in the log it was asked and answered, `answer_at`: when; `how`:
    `answered`, `refused` or `unknown`, which it also is if the process was killed before."""

    name: str
    op: str
    key: str
    event: str | None
    pos: int
    round: int
    how: str = "unknown"
    answer_pos: int = -1
    answer_at: float = 0.0
    result: dict[str, Any] = field(factory=dict)
    error: str = ""


@define(kw_only=True)
class Attempt:
    """One call of a hook that told of itself.

    `by`: its process; `since`: when it was leased, by the store's clock; `shown`: what it was shown; `how`
    it ended, `""` if nobody knows; `life`, `run`: of its idempotency key, none for an inline hook.
    """

    key: str
    hook: str
    pos: int
    round: int
    at: float
    by: str
    since: float
    shown: Line
    life: str = ""
    run: int = 0
    attempt: int = 1
    crashes: int = 0
    how: str = ""
    end_pos: int | None = None
    end_at: float | None = None


@define(kw_only=True)
class Event:
    """One user event with all requests that carried it."""

    id: str
    key: str
    asks: list[Request] = field(factory=list)

    @property
    def pos(self) -> int:
        """Where it was first asked for."""
        return self.asks[0].pos

    @property
    def accepted_pos(self) -> int | None:
        """Where it was first said to be accepted."""
        said = (ask.answer_pos for ask in self.asks if _accepts(ask))
        return min(said, default=None)

    @property
    def is_refused(self) -> bool:
        """Whether it is certain that it was never taken."""
        refused = [ask.how == "refused" and not _accepts(ask) for ask in self.asks]
        return all(refused) or (
            refused[-1] and self.asks[-1].error not in NOT_BEGUN and not self.accepted_pos
        )


def _accepts(ask: Request) -> bool:
    return ask.how == "answered" or ask.error == "DuplicateEventError"


@define(kw_only=True)
class History:
    """Everything the log says.

    `opened`: processes by round; `told_to_stop`: rounds that got a signal to stop, `stopped`: and did.
    """

    requests: list[Request] = field(factory=list)
    attempts: list[Attempt] = field(factory=list)
    emitted: list[Line] = field(factory=list)
    probed: list[Line] = field(factory=list)
    settled: list[Line] = field(factory=list)
    opened: Counter[int] = field(factory=Counter)
    stopped: set[int] = field(factory=set)
    told_to_stop: set[int] = field(factory=set)
    last_round: int = 0

    @classmethod
    def of(cls, lines: Iterable[Line]) -> History:
        """Read a log."""
        history = cls()
        asked: dict[str, Request] = {}
        begun: dict[str, Attempt] = {}
        for pos, line in enumerate(lines):
            history.last_round = line["round"]
            match line["what"]:
                case "asked":
                    asked[line["n"]] = request = _request(pos, line)
                    history.requests.append(request)
                case "answered" | "refused" | "unknown" as how:
                    request = asked[line["n"]]
                    request.how, request.answer_pos, request.answer_at = how, pos, line["at"]
                    request.result, request.error = line.get("result", {}), line.get("error", "")
                case "began":
                    begun[line["call"]] = attempt = _attempt(pos, line)
                    history.attempts.append(attempt)
                case "ended":
                    attempt = begun[line["call"]]
                    attempt.how, attempt.end_pos, attempt.end_at = line["how"], pos, line["at"]
                case "emitted":
                    history.emitted.append(line)
                case "probed":
                    history.probed.append(line)
                case "settled":
                    history.settled.append(line)
                case "opened":
                    history.opened[line["round"]] += 1
                case "stopped":
                    history.stopped.add(line["round"])
                    history.told_to_stop.add(line["round"])
                case "killed" if line.get("how") == "stopping":
                    history.told_to_stop.add(line["round"])
        return history

    def of_key(self, key: str) -> KeyHistory:
        """What concerns one instance, of a log that was read to its end."""
        return self._by_key.get(key) or self._nothing_of(key)

    @cached_property
    def _by_key(self) -> dict[str, KeyHistory]:
        keys = [one.key for one in (*self.requests, *self.attempts)] + [line["key"] for line in self.emitted]
        found = {key: self._nothing_of(key) for key in dict.fromkeys(keys)}
        for request in self.requests:
            found[request.key].requests.append(request)
        for attempt in self.attempts:
            found[attempt.key].attempts.append(attempt)
        for line in self.emitted:
            found[line["key"]].emitted.append(line)
        return found

    def _nothing_of(self, key: str) -> KeyHistory:
        told = {"opened": self.opened, "stopped": self.stopped, "told_to_stop": self.told_to_stop}
        return KeyHistory(key=key, requests=[], attempts=[], emitted=[], **told)

    @property
    def keys(self) -> list[str]:
        """All instances that anything is said of."""
        return sorted({request.key for request in self.requests} | {attempt.key for attempt in self.attempts})


@define(kw_only=True)
class KeyHistory:
    """What the log says of one instance; each question is answered once, for there are many of each event."""

    key: str
    requests: list[Request]
    attempts: list[Attempt]
    emitted: list[Line]
    opened: Counter[int]
    stopped: set[int]
    told_to_stop: set[int]

    @cached_property
    def leased(self) -> list[Attempt]:
        """The attempts under a lease, in the order of the leases: who stalls may begin late."""
        return sorted((attempt for attempt in self.attempts if attempt.life), key=lambda one: one.since)

    @cached_property
    def handed_over(self) -> dict[str, list[Attempt]]:
        """The attempts under a lease that were shown an event in a batch, by event."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.leased:
            for event in dict.fromkeys(attempt.shown["events"]):
                found.setdefault(event, []).append(attempt)
        return found

    @cached_property
    def ended_with(self) -> dict[str, list[Attempt]]:
        """The attempts that ended a life of a task, by event they were shown: their own, or one before."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts:
            if attempt.how == "terminated":
                shown = attempt.shown
                events = *shown.get("seen", ()), *shown.get("handled", ()), shown.get("event")
                for event in dict.fromkeys(event for event in events if event is not None):
                    found.setdefault(event, []).append(attempt)
        return found

    @cached_property
    def events(self) -> list[Event]:
        """All user events, in the order in which they were first asked."""
        events: dict[str, Event] = {}
        for request in self.requests:
            if request.op in TAKING and request.event is not None:
                event = events.setdefault(request.event, Event(id=request.event, key=self.key))
                event.asks.append(request)
        return list(events.values())

    def runs(self, life: str) -> dict[int, list[Attempt]]:
        """The attempts of `execute` in a life, by run."""
        runs: dict[int, list[Attempt]] = {}
        for attempt in self.leased:
            if attempt.life == life and attempt.hook == "execute":
                runs.setdefault(attempt.run, []).append(attempt)
        return runs

    def asked(self, *ops: str) -> list[Request]:
        """The requests of these sorts that may have been carried out."""
        return [request for request in self.requests if request.op in ops and request.how != "refused"]


def _request(pos: int, line: Line) -> Request:
    return Request(
        name=line["n"],
        op=line["op"],
        key=line["key"],
        event=line.get("event"),
        pos=pos,
        round=line["round"],
    )


def _attempt(pos: int, line: Line) -> Attempt:
    attempt = Attempt(
        key=line["key"],
        hook=line["hook"],
        pos=pos,
        round=line["round"],
        at=line["at"],
        by=line["call"].partition(".")[0],
        since=line.get("since", line["at"]),
        shown=line,
    )
    if "idem" in line:
        _, attempt.life, run = line["idem"].split("-")
        attempt.run, attempt.attempt, attempt.crashes = int(run), line["attempt"], line["crashes"]
    return attempt
