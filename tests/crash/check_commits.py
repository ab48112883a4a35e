"""Checks of what follows a commit, and of what is stored: lives, hooks, telemetry, alarms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from crash.case import Case, Found
from crash.jobs import LIMITS

OUTCOME_KEPT_MS = 60_000


def lives_end(case: Case) -> Found:
    """I-5: after a terminate nothing of what was there appears; I-7: what was started is there.

    Who stalled for longer than its lease before the terminate may begin afterwards: it can commit nothing.
    """
    leased, over = case.log.leased, set[str]()
    ahead = min((attempt.at - attempt.since for attempt in leased), default=0.0)  # of the store's clock
    for end in case.terminations:
        dead = {attempt.life for attempt in leased if attempt.pos < end.pos} - over
        over |= dead  # what may still begin of them was in flight at their own end, not at a later one
        if case.held is not None and case.held.life in dead:
            yield "I-5", "a life is stored that was terminated"
        own = [attempt for attempt in leased if attempt.life in dead]
        late = [a for a in own if a.pos > end.answer_pos and a.since + LIMITS.lease > end.answer_at - ahead]
        in_flight = 1 if end.result.get("was_running") else 0
        if len(late) > in_flight:
            yield "I-5", f"run {late[-1].run} of a terminated life began"
    created = case.log.asked("start", "add", "send")
    ended = case.terminations
    if ended and case.held is not None and all(request.pos < ended[-1].pos for request in created):
        yield "I-5", "it was terminated, and is there"
    started = [request for request in case.log.asked("start") if request.how == "answered"]
    gone = any(end.pos > started[-1].pos for end in case.log.asked("terminate")) if started else True
    if case.held is None and not gone:
        yield "I-7", "it was started, and is not there"


def lives_end_with_the_round(case: Case) -> Found:
    """I-5: a process that was not there at the end of a life begins nothing of it."""
    for end in case.terminations:
        dead = {attempt.life for attempt in case.log.leased if attempt.pos < end.pos}
        for attempt in case.log.leased:
            if attempt.life in dead and attempt.pos > end.answer_pos and attempt.round != end.round:
                yield "I-5", f"run {attempt.run} of a terminated life began in a later round"


# -- what follows a commit


def hooks_follow_their_commit(case: Case) -> Found:
    """I-7: what a leased hook was shown, and its run, are on the file."""
    state = case.body["state"][1] if case.body.get("state") else {}
    for attempt in case.log.leased:
        if case.held is None or attempt.life != case.held.life:
            continue
        if attempt.run > case.body.get("runs", 0):
            yield "I-7", f"run {attempt.run} was executed, and was not committed"
        if attempt.shown.get("n", 0) > state.get("n", 0):
            yield "I-7", f"run {attempt.run} was shown a state that is not committed"
        seen = attempt.shown.get("seen", [])
        if attempt.shown.get("mark") == state.get("mark", "") and state["seen"][: len(seen)] != seen:
            yield "I-7", f"{attempt.hook} of run {attempt.run} was shown events that are not committed"


def telemetry_is_in_order(case: Case) -> Found:
    """I-7: telemetry follows its commit, once; of a process that is alone it is complete and in order."""
    lives: dict[str, dict[int, list[int]]] = {}
    for line in case.log.emitted:
        if line["seq"] is not None:
            lives.setdefault(line["life"], {}).setdefault(line["round"], []).append(line["seq"])
    for life, rounds in lives.items():
        last = 0
        for round, given in rounds.items():
            ordered = given if case.log.opened[round] == 1 else sorted(given)
            if ordered[0] <= last or any(second <= first for first, second in pairwise(ordered)):
                yield "I-7", f"telemetry of life {life} after {last} is {given}"
            elif ordered is given and given != [*range(given[0], given[0] + len(given))]:
                yield "I-7", f"some telemetry of life {life} is missing: {given}"
            last = ordered[-1]
        if case.held is not None and case.held.life == life and last > case.held.seq:
            yield "I-7", f"telemetry {last} was given, and the file has come to {case.held.seq}"


NEVER = {
    "alarm.repaired": "I-4",
    "history.regressed": "file",
    "job.quarantined": "file",
    "job.newer": "file",
}
"""Telemetry that says that something is wrong with the file, and by which invariant it ought not to be."""


def nothing_is_wrong_with_the_file(case: Case) -> Found:
    """The product found nothing to repair."""
    for line in case.log.emitted:
        if line["type"] in NEVER:
            yield NEVER[line["type"]], f"{line['type']} in round {line['round']}"


# -- alarms


def alarms_are_in_time(case: Case) -> Found:
    """I-4: work that may start has an alarm and an index entry not later than it."""
    held = case.held
    if held is None:
        return
    due = min(_due(case.rule.kind, case.body), default=None)
    if due is not None and (held.wake is None or held.wake > due):
        yield "I-4", f"work is due at {due}, the alarm is at {held.wake}"
    if held.moved:
        latest = max(case.clock, held.wake or 0) + LIMITS.hold
        if held.wake is not None and (held.entry is None or held.entry > latest):
            yield "I-4", f"a claim moved the index entry to {held.entry}, now is {case.clock}"
    elif held.entry != held.wake:
        yield "I-4", f"the alarm is at {held.wake}, the index entry at {held.entry}"


def _due(kind: str, body: dict[str, Any]) -> Iterator[int]:
    """The instants at which something may start, or a lease ends."""
    places = [run for run in (body.get("intake"), body.get("run")) if run]
    leases = [run["lease"][3] for run in places if run.get("lease")]
    if leases:
        yield from leases
        return
    if body.get("inbox"):
        places = places[:1]  # queued events go before the run (S-51)
    waiting = [run["due"] for run in places if run.get("due") is not None]
    if kind == "continuous":
        may_run = not body.get("paused") or (body.get("run") or {}).get("forced")
        if may_run:
            yield from waiting
        if not places and not body.get("paused"):
            yield from filter(None, [body.get("next_at")])
        return
    yield from waiting
    if waiting:
        return
    if kind == "task":
        yield from filter(None, [body.get("scheduled_at")])
    elif body.get("window"):
        yield body["window"]["due_at"]
    elif not places:
        yield from _expiry(body)


def _expiry(body: dict[str, Any]) -> Iterator[int]:
    """When an idle debounce has nothing left to be kept for."""
    outcome = body["outcome"]["at"] + OUTCOME_KEPT_MS if body.get("marked") else 0
    yield max([until for _, until in body.get("ids", ())] + [outcome])


def what_waits_for_nothing_gave_up(case: Case) -> Found:
    """I-4: a run that waits for nothing is parked, and then it has used up its attempts or its crashes."""
    for run in filter(None, (case.body.get("run"), case.body.get("intake"))):
        if run.get("lease") or run.get("due") is not None:
            continue
        attempt, crashes = run.get("attempt", 1), run.get("crashes", 0)
        if attempt < case.rule.attempts and crashes < case.rule.crashes:
            yield "I-4", f"run {run['number']} waits for nothing at attempt {attempt}, crashes {crashes}"


def inbox_is_worked_on(case: Case) -> Found:
    """I-4: queued events have somebody who applies them, or are parked."""
    if case.body.get("inbox") and not case.body.get("intake") and not (case.current.get("lease")):
        yield "I-4", "events are queued, and nothing is to apply them"


CHECKS = (
    lives_end,
    lives_end_with_the_round,
    hooks_follow_their_commit,
    telemetry_is_in_order,
    nothing_is_wrong_with_the_file,
    alarms_are_in_time,
    what_waits_for_nothing_gave_up,
    inbox_is_worked_on,
)
