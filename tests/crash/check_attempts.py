"""Checks of attempts: alone, counted, within their policy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from crash.case import Case, Found
from crash.history import Attempt
from crash.jobs import LIMITS


def attempts_are_alone(case: Case) -> Found:
    """I-3: no two attempts of a life at once, unless the first had lost its lease."""
    for first, second in pairwise(case.log.leased):
        same = first.round == second.round and first.life == second.life
        overlap = first.end_pos is None or first.end_pos > second.pos
        if same and overlap and not _may_be_over(first, second):
            yield "I-3", f"run {second.run} began while run {first.run} of the same life was executed"


def _may_be_over(first: Attempt, second: Attempt) -> bool:
    """Whether the lease of the first attempt may have ended, by time, before the second was leased."""
    return second.since - first.since > LIMITS.lease / 2


def attempts_follow_the_policy(case: Case) -> Found:
    """I-6: attempts and crashes are counted, each for a reason, up to the limit."""
    groups: dict[tuple[str, int, str], list[Attempt]] = {}
    for attempt in case.log.leased:
        groups.setdefault((attempt.life, attempt.run, attempt.hook), []).append(attempt)
        said = f"{attempt.hook} of run {attempt.run}, attempt {attempt.attempt}, crashes {attempt.crashes}"
        if attempt.attempt > case.rule.attempts:
            yield "I-6", f"{said}: at most {case.rule.attempts} attempts were allowed"
        if attempt.crashes >= case.rule.crashes:
            yield "I-6", f"{said}: at most {case.rule.crashes} crashes were allowed"
    for attempts in groups.values():
        for first, second in pairwise(attempts):
            why = _uncounted(case, first, second)
            if why:
                yield "I-6", f"{first.hook} of run {first.run}: {why}"


def _uncounted(case: Case, first: Attempt, second: Attempt) -> str:
    """What is wrong with the second attempt of a hook following the first."""
    step, crashes = second.attempt - first.attempt, second.crashes - first.crashes
    kills = max(0, second.round - first.round)  # who stalls may begin late
    possible = kills + _may_be_over(first, second)
    handed_back = first.round in case.log.told_to_stop and first.how in ("cancelled", "raised")
    if _is_handed_back(case, first):
        possible = second.round - first.round - 1 + (case.log.opened[second.round] > 1)
    if second.attempt == 1 and second.crashes <= possible:
        return ""  # revived: from the beginning
    if crashes < 0 or crashes > possible:
        return f"{crashes} crashes counted in {second.round - first.round} rounds"
    if step == 0:
        return "" if crashes or handed_back else f"attempt {second.attempt} was made again, and not counted"
    if step == 1:
        return "" if first.how == "raised" else f"attempt {second.attempt} follows one that did not fail"
    return f"attempt {second.attempt} follows attempt {first.attempt}"


def _is_handed_back(case: Case, attempt: Attempt) -> bool:
    """Whether an attempt was handed back for certain: cancelled at a shutdown, within its lease."""
    in_time = attempt.end_at is not None and attempt.end_at - attempt.at < LIMITS.lease / 2
    return attempt.round in case.log.stopped and attempt.how == "cancelled" and in_time


def counts_are_the_facts(case: Case) -> Found:
    """I-6: what is counted in the record is what was done."""
    if case.held is None or case.rule.kind == "debounce":
        return
    runs = case.log.runs(case.held.life)
    state = case.body["state"][1] if case.body.get("state") else {}
    done = 0
    for number, attempts in runs.items():
        if case.is_over(case.held.life, number):
            done += attempts[-1].how == "returned"
            if attempts[-1].how not in ("returned", "raised"):
                yield "I-6", f"run {number} is over, and its last attempt did not end"
    begun = {*runs, *({case.current["number"]} if case.current.get("hook") == "execute" else ())}
    if case.rule.kind == "continuous":
        yield from _continuous_counts(case, begun, done, state)
    else:
        yield from _task_counts(case, len(begun), done, state)


def _continuous_counts(case: Case, begun: set[int], done: int, state: dict[str, Any]) -> Found:
    count = case.body.get("runs", 0)
    if begun != set(range(1, count + 1)):
        yield "I-6", f"run_count is {count}, and these runs have begun: {sorted(begun)}"
    if state["n"] != done:
        yield "I-6", f"{done} runs succeeded, and the state says {state['n']}"
    for attempt in case.log.leased:
        if attempt.shown["run_count"] != attempt.run:
            yield "I-6", f"run {attempt.run} was told it is run {attempt.shown['run_count']}"


def _task_counts(case: Case, begun: int, done: int, state: dict[str, Any]) -> Found:
    count, events = case.body.get("execute_count", 0), case.body.get("event_count", 0)
    applied = len(state.get("seen", ())) + len(state.get("handled", ()))
    if count != begun:
        yield "I-6", f"execute_count is {count}, and {begun} runs have begun"
    if state.get("executed", 0) != done:
        yield "I-6", f"{done} executions succeeded, and the state says {state.get('executed', 0)}"
    if events != applied:
        yield "I-6", f"event_count is {events}, and {applied} events were applied"


CHECKS = (attempts_are_alone, attempts_follow_the_policy, counts_are_the_facts)
