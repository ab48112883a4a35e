"""What is under way in a node when a fault befalls it: all of it is struck, or one request alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from durable_jobs_simulation.under_way import UnderWay
from support.watching import BOX, ORDER, TICK

from durable_jobs_core.backend import Batch, Claim, Write
from durable_jobs_core.engine import Emit, Exchange, Invoke
from durable_jobs_core.words import Key

Places = list[tuple[str, str]]


class Node:
    """One that runs tasks, and what is said to have struck it."""

    def __init__(self) -> None:
        self.kinds = ("task",)
        self.hooks: tuple[Any, ...] = ()
        self.struck: list[tuple[str, Places]] = []
        fate = SimpleNamespace(struck=lambda fault, places: self.struck.append((fault, sorted(places))))
        self.world = SimpleNamespace(fate=fate, observer=SimpleNamespace(stored=lambda key: None))

    def by(self, fault: str) -> Places:
        """Where the latest fault struck, which is that one."""
        name, places = self.struck[-1]
        assert name == fault
        return places


@pytest.fixture
def node() -> Node:
    return Node()


def under_way(node: Any, *lasting: str) -> UnderWay:
    return UnderWay(node, list(lasting))


def exchange(*writes: Key, loads: tuple[Key, ...] = (), claims: bool = False) -> Exchange:
    claim = Claim(limits={("task", "orders"): 1}, now=0, until=0, max_bytes=1) if claims else None
    deletions = tuple(Write(key, b"", None) for key in writes)
    return Exchange(id=1, lane=0, batch=Batch(writes=deletions, loads=loads, claim=claim, not_after=0))


def invoke(key: Key, *, leased: bool = True) -> Invoke:
    made = object.__new__(Invoke)
    object.__setattr__(made, "key", key)
    object.__setattr__(made, "leased", leased)
    return made


def test_of_a_node_that_does_nothing_its_alarms_are_struck(node: Node) -> None:
    under_way(node).strike("crash")

    assert node.by("crash") == [("claim", "task")]


def test_all_that_is_under_way_is_struck_and_the_need_in_hand(node: Node) -> None:
    at = under_way(node)
    at.exchange = exchange(TICK, loads=(BOX,), claims=True)
    node.hooks = (
        SimpleNamespace(ended=False, invoke=invoke(ORDER)),
        SimpleNamespace(ended=True, invoke=invoke(TICK)),
    )
    at.told(BOX, "command")
    at.strike("crash", Emit((SimpleNamespace(key=BOX),)))  # type: ignore[arg-type]

    places = [("purge", "continuous"), ("load", "debounce"), ("claim", "task"), ("handler", "task")]
    assert node.by("crash") == sorted([*places, ("command", "debounce"), ("telemetry", "debounce")])


def test_one_request_is_struck_wherever_it_is(node: Node) -> None:
    at = under_way(node)
    at.exchange = exchange(TICK, loads=(BOX,), claims=True)
    at.calls = {1: TICK, 2: BOX, 3: ORDER}
    at.told(BOX, "command")

    for call, places in (
        (1, [("purge", "continuous")]),
        (2, [("command", "debounce"), ("load", "debounce")]),
    ):
        at.strike_call("abandoned", call)
        assert node.by("abandoned") == places
    at.strike_call("abandoned", 3)
    assert node.by("abandoned") == [("claim", "task")], "it waits for something that is due"


@pytest.mark.parametrize("need", [exchange(BOX), exchange(loads=(BOX,)), invoke(BOX)])
def test_what_a_node_was_told_waits_until_it_acts_on_it(node: Node, need: Any) -> None:
    at = under_way(node)
    for key in (BOX, ORDER):
        at.told(key, "command")
    at.acts(need)

    assert at.waiting == {ORDER: "command"}


def test_what_lasts_strikes_all_that_is_told_and_needed(node: Node) -> None:
    at = under_way(node, "drift")
    at.told(BOX, "command")
    assert node.by("drift") == [("command", "debounce")]

    at.acts(invoke(ORDER, leased=False))
    assert node.by("drift") == [("step", "task")]
