"""Where an event is: in the record, in a batch that was handed over, or in a life that has ended."""

from __future__ import annotations

from attrs import frozen
from crash.history import Attempt, KeyHistory
from crash.store import Held


@frozen(kw_only=True)
class Place:
    """One place. `times`: how often the event is there; `on_file`: it is in the record; `kept`: the event
    is safe or done there; `last`: the last attempt of a batch that is over."""

    name: str
    times: int = 1
    on_file: bool = False
    kept: bool = True
    last: Attempt | None = None


def places_of(event: str, log: KeyHistory, held: Held | None) -> list[Place]:
    """All places of an event; one that was taken once has exactly one."""
    if log.key.startswith("debounce:"):
        return _in_debounce(event, log, held)
    return _in_task(event, log, held)


def _in_debounce(event: str, log: KeyHistory, held: Held | None) -> list[Place]:
    places: dict[str, Place] = {}
    for attempt in log.handed_over.get(event, ()):
        name = f"batch {attempt.run} of {attempt.life}"
        times, done = attempt.shown["events"].count(event), attempt.how == "returned"
        places[name] = Place(name=name, times=times, kept=done, last=attempt)
    body = {} if held is None else held.body
    batch, window = body.get("batch"), body.get("window")
    if held is not None and batch and event in batch["state"][1]:
        name = f"batch {body['run']['number']} of {held.life}"
        places[name] = Place(name=name, times=batch["state"][1].count(event), on_file=True)
    if window and event in window["state"][1]:
        places["window"] = Place(name="window", times=window["state"][1].count(event), on_file=True)
    return list(places.values())


def _in_task(event: str, log: KeyHistory, held: Held | None) -> list[Place]:
    body = {} if held is None else held.body
    state = body["state"][1] if body.get("state") else {}
    lists = {
        "seen": state.get("seen", []),
        "handled": state.get("handled", []),
        "inbox": [queued["id"] for queued in body.get("inbox", ())],
        "dead": [dead["id"] for dead in body.get("dead", ())],
    }
    places = [
        Place(name=name, times=ids.count(event), on_file=True) for name, ids in lists.items() if event in ids
    ]
    mark = state.get("mark")
    ends = log.ended_with.get(event, [])
    lives = {
        end.shown["mark"]
        for end in ends
        if end.shown.get("mark") not in (None, mark) and event in [*end.shown["seen"], *end.shown["handled"]]
    }
    places += [Place(name=f"life {life}") for life in sorted(lives)]
    if not places and any(end.shown.get("event") == event for end in ends):
        places.append(Place(name="the end of a life"))
    return places
