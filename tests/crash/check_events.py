"""Checks of events and batches: each event is where it may be, once, and in order."""

from __future__ import annotations

from itertools import pairwise

from crash.case import Case, Found
from crash.history import Attempt, Event
from crash.places import Place, places_of


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
    for end in case.terminations:
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


def events_are_in_order(case: Case) -> Found:
    """S-51: of two events, one accepted before the other was asked for is applied first, unless it failed."""
    state = case.body["state"][1] if case.body.get("state") else {}
    failed = {attempt.shown.get("event") for attempt in case.log.attempts if attempt.how == "raised"}
    events = {event.id: event for event in case.log.events if event.id not in failed}
    last = None
    for event in (events[id] for id in state.get("seen", ()) if id in events):
        if last is not None and event.accepted_pos is not None and event.accepted_pos < last.pos:
            yield (
                "S-51",
                f"event {event.id} was accepted before {last.id} was asked for, and applied after it",
            )
        if last is None or event.pos > last.pos:
            last = event


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


CHECKS = (events_are_once, events_are_in_order, batches_are_whole)
