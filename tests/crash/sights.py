"""What a campaign has seen: a test of crashes that never met one of these has not tested it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from crash.history import Attempt, Event, History, Request


def _attempts(wanted: Callable[[Attempt], bool]) -> Callable[[History], int]:
    return lambda history: sum(map(wanted, history.attempts))


def _requests(wanted: Callable[[Request], object]) -> Callable[[History], int]:
    return lambda history: sum(bool(wanted(request)) for request in history.requests)


def _events(wanted: Callable[[Event], bool]) -> Callable[[History], int]:
    return lambda history: sum(wanted(event) for key in history.keys for event in history.of_key(key).events)


def _pairs(wanted: Callable[[Attempt, Attempt], bool]) -> Callable[[History], int]:
    """Counts attempts of a hook that follow one another in a run."""
    return lambda history: sum(wanted(*pair) for pair in _following(history))


def _handed_back(history: History) -> int:
    pairs = _following(history)
    return sum(
        a.round in history.stopped and a.how == "cancelled" and a.crashes == b.crashes for a, b in pairs
    )


def _following(history: History) -> list[tuple[Attempt, Attempt]]:
    groups: dict[tuple[str, str, int, str], list[Attempt]] = {}
    for one in history.attempts:
        if one.life:
            groups.setdefault((one.key, one.life, one.run, one.hook), []).append(one)
    return [pair for attempts in groups.values() for pair in pairwise(attempts)]


def _emitted(type_: str) -> Callable[[History], int]:
    return lambda history: sum(line["type"] == type_ for line in history.emitted)


def _answers(op: str, field: str) -> Callable[[History], int]:
    return _requests(lambda request: request.op == op and request.result.get(field))


def _refusals(error: str) -> Callable[[History], int]:
    return _requests(lambda request: request.error == error)


SIGHTS: dict[str, Callable[[History], int]] = {
    "attempts killed": _attempts(lambda one: one.how == ""),
    "attempts taken over": _pairs(lambda first, second: second.crashes > first.crashes),
    "attempts taken over by a living process": _pairs(
        lambda first, second: second.crashes > first.crashes and second.round == first.round
    ),
    "attempts handed back": _handed_back,
    "retries": _attempts(lambda one: one.attempt > 1),
    "retries after a kill": _pairs(lambda a, b: b.attempt > a.attempt and b.round > a.round),
    "successes lost with their process": _pairs(lambda a, b: a.how == "returned" and b.round > a.round),
    "parked runs revived": _pairs(lambda a, b: a.attempt > 1 and b.attempt == 1),
    "runs that crashed too often": lambda history: sum(
        line.get("reason") == "crashed" for line in history.emitted
    ),
    "requests killed": _requests(lambda request: request.how == "unknown"),
    "events killed that had landed": _events(
        lambda event: event.asks[0].how == "unknown" and event.asks[-1].error == "DuplicateEventError"
    ),
    "events killed that had not": _events(
        lambda event: event.asks[0].how == "unknown" and event.asks[-1].how == "answered"
    ),
    "terminated while running": _answers("terminate", "was_running"),
    "windows or batches cleared": _answers("clear", "discarded_events"),
    "clears beside a batch in flight": _answers("clear", "in_flight"),
    "flushes that succeeded": _answers("flush", "flushed"),
    "triggers that joined": _answers("trigger", "joined"),
    "events queued": _answers("send", "queued"),
    "dead letters redriven": _answers("redrive", "redriven"),
    "dead letters discarded": _answers("discard", "discarded"),
    "lives ended by a hook": _attempts(lambda one: one.how == "terminated"),
    "errors mended": _attempts(lambda one: one.hook == "on_error" and one.how == "returned"),
    "duplicates refused": _refusals("DuplicateEventError"),
    "full windows": _refusals("OverloadedError"),
    "failing inline hooks": _refusals("ExecutionError"),
    "illegal requests": _refusals("InvalidStateError"),
    "refusals compared byte by byte": lambda history: len(history.probed),
    "crashes told": _emitted("job.crashed"),
    "completions that came too late": _emitted("job.stale"),
}


def sights(history: History) -> Counter[str]:
    """How often each was seen."""
    return Counter({name: count(history) for name, count in SIGHTS.items()})
