"""The account of the demo: what was promised to the client, beside what happened outside.

Pure: it compares the client's log of acknowledged events and the stored states with the effects that
the services have on record, by idempotency key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field, frozen
from demo_jobs import Order, Tokens


@frozen
class Effect:
    """A service did something: for which instance, under which key, and what."""

    service: str
    instance: str
    key: str
    facts: Mapping[str, Any]


@define
class Log:
    """What the client knows: its events that were acknowledged, in order, and how all ended.

    `webhooks`: deliveries by repository; `orders`: numbers of events by order; `refused`: webhooks sent
    a second time and refused; `tokens`, `order_states`: the stored states at the end; `first_token`: what
    each user began with; `runs`: the run count of each user.
    """

    first_token: str = "token of the login"
    webhooks: dict[str, list[str]] = field(factory=dict[str, list[str]])
    orders: dict[str, list[int]] = field(factory=dict[str, list[int]])
    refused: int = 0
    tokens: dict[str, Tokens | None] = field(factory=dict[str, Tokens | None])
    runs: dict[str, int] = field(factory=dict[str, int])
    order_states: dict[str, Order | None] = field(factory=dict[str, Order | None])


@frozen
class Check:
    """What was checked, in a sentence with its figures, and what is wrong: nothing, if it holds."""

    holds: str
    wrong: tuple[str, ...]


def verify(log: Log, effects: Iterable[Effect]) -> list[Check]:
    """Compare, and tell."""
    effects = list(effects)
    once = {effect.key: effect for effect in effects}
    return [
        _repeats(effects, once),
        _webhooks(log, _of("receiver", once)),
        _orders(log, _of("carrier", once)),
        _tokens(log, _of("oauth", once)),
    ]


def _of(service: str, once: Mapping[str, Effect]) -> dict[str, list[Effect]]:
    """The effects of a service by instance, each key once, in the order of the first time."""
    found: dict[str, list[Effect]] = {}
    for effect in once.values():
        if effect.service == service:
            found.setdefault(effect.instance, []).append(effect)
    return found


def _repeats(effects: list[Effect], once: Mapping[str, Effect]) -> Check:
    differ = sorted({effect.key for effect in effects if effect != once[effect.key]})
    repeats = len(effects) - len(once)
    return Check(
        f"{len(effects)} calls of services: {len(once)} effects, and {repeats} repeats after a failure or "
        "a kill, each with the key and content of the first",
        tuple(f"the key {key} came with different contents" for key in differ),
    )


def _webhooks(log: Log, batches: Mapping[str, list[Effect]]) -> Check:
    wrong: list[str] = []
    for repository in {*log.webhooks, *(instance.split(":", 2)[2] for instance in batches)}:
        sent = Counter(log.webhooks.get(repository, []))
        mine = batches.get(f"debounce:webhookBatcher:{repository}", [])
        got = Counter(delivery for batch in mine for delivery in batch.facts["webhooks"])
        wrong += _differences(repository, sent, got)
    total, windows = sum(map(len, log.webhooks.values())), sum(map(len, batches.values()))
    return Check(
        f"{total} webhooks acknowledged: each is in exactly one of {windows} batches "
        f"({log.refused} sent twice were refused)",
        tuple(wrong),
    )


def _differences(owner: str, sent: Counter[str], got: Counter[str]) -> list[str]:
    lost, extra = sorted(sent - got), sorted(got - sent)
    return [
        *(f"{owner}: {delivery} was acknowledged and is lost" for delivery in lost),
        *(f"{owner}: {delivery} was applied too often" for delivery in extra),
    ]


def _orders(log: Log, parcels: Mapping[str, list[Effect]]) -> Check:
    wrong: list[str] = []
    for order, numbers in log.orders.items():
        state = log.order_states.get(order) or Order()
        if list(state.applied) != numbers:
            wrong.append(f"{order}: acknowledged were the events {numbers}, applied {list(state.applied)}")
        if state.stage != "closed":
            wrong.append(f"{order}: it is {state.stage}, not closed")
        shipped = len(parcels.get(f"task:orders:{order}", []))
        if shipped != 1:
            wrong.append(f"{order}: it was shipped {shipped} times")
    total = sum(map(len, log.orders.values()))
    return Check(
        f"{total} order events acknowledged: each applied once, in order; "
        f"{len(log.orders)} orders each shipped once and closed",
        tuple(wrong),
    )


def _tokens(log: Log, rotations: Mapping[str, list[Effect]]) -> Check:
    wrong: list[str] = []
    for user, state in log.tokens.items():
        token = log.first_token
        mine = rotations.get(f"continuous:tokenRefresher:{user}", [])
        for rotation in mine:
            if rotation.facts["presented"] != token:
                wrong.append(f"{user}: {rotation.facts['presented']!r} was presented, not {token!r}")
            token = rotation.facts["issued"]
        if state != Tokens(token):
            wrong.append(f"{user}: {token!r} was issued last, {state} is stored")
        if len(mine) != log.runs[user]:
            wrong.append(f"{user}: {log.runs[user]} runs, {len(mine)} rotations")
    total = sum(map(len, rotations.values()))
    return Check(
        f"{total} tokens rotated: each run presented the token that the run before had stored",
        tuple(wrong),
    )
