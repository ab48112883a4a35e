"""The invariants of SPEC §9, as far as they show on the file and in the log.

Each check is a function of one `Case`, an instance with what the log and the file say of it, and gives
what is wrong. It is written from the specification and knows nothing of the product's tables: the stored
JSON is read as it is. `test_checker.py` shows of every check that it can fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from attrs import frozen
from crash.history import Attempt, Event, History, KeyHistory, Request
from crash.jobs import LIMITS, RULES, Rule
from crash.places import Place, places_of
from crash.store import Held, Store

OUTCOME_KEPT_MS = 60_000


@frozen
class Violation:
    """What is wrong with an instance, by the invariant's name."""

    invariant: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.key}: {self.what}"


@frozen(kw_only=True)
class Case:
    """One instance: what the log says, and what the file holds (`None`: nothing)."""

    key: str
    log: KeyHistory
    held: Held | None
    rule: Rule
    clock: int

    @property
    def body(self) -> dict[str, Any]:
        """The stored body, empty if there is none."""
        return {} if self.held is None else self.held.body

    @property
    def current(self) -> dict[str, Any]:
        """The stored unfinished run, empty if there is none."""
        run: dict[str, Any] = self.body.get("run") or {}
        return run

    def is_over(self, life: str, run: int, hook: str = "execute") -> bool:
        """Whether a run is not, or no longer, what the file says is to be done."""
        if self.held is None or self.held.life != life:
            return True
        return self.current.get("number") != run or self.current.get("hook") != hook


Found = Iterator[tuple[str, str]]


def check(history: History, store: Store, *, calm: bool = False) -> list[Violation]:
    """All violations. `calm`: the last round was to come to rest."""
    found = [Violation("file", "-", what) for what in store.damage]
    for key in sorted({*history.keys, *store.rows}):
        case = Case(
            key=key,
            log=history.of_key(key),
            held=store.rows.get(key),
            rule=RULES[key.split(":")[1]],
            clock=store.clock,
        )
        found += [Violation(name, key, what) for one in CHECKS for name, what in one(case)]
    for line in history.probed:
        if line["before"] != line["after"]:
            found.append(Violation("I-9", line["key"], "a refused request changed the stored bytes"))
    if calm:
        found += _rest(history)
    return found


# -- events


def events_are_once(case: Case) -> Found:
    """I-1, I-2, I-5, I-9: each event is where it may be, once."""
    drops = case.log.asked("terminate", "clear", "discard")
    vanished = 0
    for event in case.log.events:
        places = places_of(event.id, case.log, case.held)
        yield from _present(case, event, places)
        if event.accepted_pos is None:
            continue
        if _accepted_twice(case, event):
            yield "I-1", f"event {event.id} was accepted twice"
        if not places or not any(place.kept for place in places):
            if _by_policy(case, places):
                continue
            vanished += 1
            if not any(drop.pos > event.pos for drop in drops):
                name = "I-2" if places else "I-1"
                yield name, f"event {event.id} was accepted and is lost{_at(places)}"
    if case.rule.kind == "debounce" and all(drop.how == "answered" for drop in drops):
        dropped = sum(drop.result.get("discarded_events", 0) for drop in drops)
        if vanished > dropped:
            yield "I-1", f"{vanished} events are gone, {dropped} were said to be dropped"


def _present(case: Case, event: Event, places: list[Place]) -> Found:
    if event.is_refused and places:
        yield "I-9", f"event {event.id} was refused, and is there{_at(places)}"
    if len(places) > 1:
        name = "I-2" if case.rule.kind == "debounce" else "I-1"
        yield name, f"event {event.id} is in more than one place{_at(places)}"
    for place in places:
        if place.times > 1:
            yield "I-1", f"event {event.id} was applied {place.times} times{_at([place])}"
    for end in _terminations(case):
        if event.pos < end.pos and any(place.on_file for place in places):
            yield "I-5", f"event {event.id} outlived a terminate{_at(places)}"


def _accepted_twice(case: Case, event: Event) -> bool:
    times = [ask for ask in event.asks if ask.how == "answered"]
    return any(
        not any(first.pos < end.pos < again.answer_pos for end in case.log.asked("terminate"))
        for first, again in pairwise(times)
    )


def _by_policy(case: Case, places: list[Place]) -> bool:
    """Whether a batch gave up under a policy that says delete."""
    last = [place.last for place in places if place.last is not None]
    return case.rule.drops and any(a.how == "raised" and a.attempt >= case.rule.attempts for a in last)


def _at(places: list[Place]) -> str:
    return ": " + ", ".join(place.name for place in places) if places else ""


def _terminations(case: Case) -> list[Request]:
    return [end for end in case.log.asked("terminate") if end.result.get("terminated")]


def batches_are_whole(case: Case) -> Found:
    """I-2: every attempt of a batch is given the same events; I-6: as many as it says."""
    if case.rule.kind != "debounce":
        return
    for attempts in _by_run(case).values():
        first = attempts[0]
        if any(attempt.shown["events"] != first.shown["events"] for attempt in attempts):
            yield "I-2", f"run {first.run} of {first.life} was given different events under one key"
        if first.shown["count"] != len(first.shown["events"]):
            yield "I-6", f"run {first.run}: event_count {first.shown['count']} for {first.shown['events']}"
    for name in ("window", "batch"):
        part = case.body.get(name)
        if part and part["count"] != len(part["state"][1]):
            yield "I-6", f"the {name} counts {part['count']} events and holds {len(part['state'][1])}"


def _by_run(case: Case) -> dict[tuple[str, int], list[Attempt]]:
    runs: dict[tuple[str, int], list[Attempt]] = {}
    for attempt in case.log.leased:
        runs.setdefault((attempt.life, attempt.run), []).append(attempt)
    return runs


# -- attempts


def attempts_are_alone(case: Case) -> Found:
    """I-3: no two attempts of a life at once, unless the first had lost its lease."""
    for first, second in pairwise(case.log.leased):
        same = first.round == second.round and first.life == second.life
        overlap = first.end_pos is None or first.end_pos > second.pos
        if same and overlap and not _may_be_over(case, first, second):
            yield "I-3", f"run {second.run} began while run {first.run} of the same life was executed"


def _may_be_over(case: Case, first: Attempt, second: Attempt) -> bool:
    """Whether the lease of the first attempt may have ended, by time, before the second began."""
    if first.by != second.by and first.round in case.log.stalled:
        return True
    return second.at - first.at > LIMITS.lease / 2


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
    possible = second.round - first.round + _may_be_over(case, first, second)
    handed_back = first.round in case.log.told_to_stop and first.how in ("cancelled", "raised")
    if first.round in case.log.stopped and first.how == "cancelled":
        possible -= 1  # it was handed back for certain
    if second.attempt == 1 and second.crashes <= possible:
        return ""  # revived: from the beginning
    if crashes < 0 or crashes > possible:
        return f"{crashes} crashes counted in {second.round - first.round} rounds"
    if step == 0:
        return "" if crashes or handed_back else f"attempt {second.attempt} was made again, and not counted"
    if step == 1:
        return "" if first.how == "raised" else f"attempt {second.attempt} follows one that did not fail"
    return f"attempt {second.attempt} follows attempt {first.attempt}"


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


# -- lives


def lives_end(case: Case) -> Found:
    """I-5: after a terminate nothing of what was there appears; I-7: what was started is there."""
    for end in _terminations(case):
        dead = {attempt.life for attempt in case.log.leased if attempt.pos < end.pos}
        if case.held is not None and case.held.life in dead:
            yield "I-5", "a life is stored that was terminated"
        late = [a for a in case.log.leased if a.life in dead and a.pos > end.answer_pos]
        in_flight = 1 if end.result.get("was_running") else 0
        if len(late) > in_flight or any(attempt.round != end.round for attempt in late):
            yield "I-5", f"run {late[-1].run} of a terminated life began"
    created = case.log.asked("start", "add", "send")
    ended = _terminations(case)
    if ended and case.held is not None and all(request.pos < ended[-1].pos for request in created):
        yield "I-5", "it was terminated, and is there"
    started = [request for request in case.log.asked("start") if request.how == "answered"]
    gone = any(end.pos > started[-1].pos for end in case.log.asked("terminate")) if started else True
    if case.held is None and not gone:
        yield "I-7", "it was started, and is not there"


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


# -- coming to rest


def _rest(history: History) -> Iterator[Violation]:
    """I-8: with no more faults, everything due has been done."""
    ends = [line for line in history.settled if line["round"] == history.last_round]
    if not ends:
        yield Violation("I-8", "-", "the last round did not come to rest")
    for line in ends:
        for key, what in line["left"]:
            yield Violation("I-8", key, f"there is work left: {what}")


CHECKS = (
    events_are_once,
    batches_are_whole,
    attempts_are_alone,
    attempts_follow_the_policy,
    counts_are_the_facts,
    lives_end,
    hooks_follow_their_commit,
    telemetry_is_in_order,
    nothing_is_wrong_with_the_file,
    alarms_are_in_time,
    what_waits_for_nothing_gave_up,
    inbox_is_worked_on,
)
