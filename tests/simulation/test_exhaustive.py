"""The exhaustive checker: the small scopes are finished, hold all invariants, and find planted faults."""

from __future__ import annotations

import pickle
from itertools import islice

import pytest
from durable_jobs_simulation import Violation
from durable_jobs_simulation.cli import main
from durable_jobs_simulation.exhaustive import SCOPES, SMALL, check
from durable_jobs_simulation.exhaustive.forking import fork
from durable_jobs_simulation.exhaustive.parts import Action, Seat
from durable_jobs_simulation.exhaustive.world import World
from shelf.all import PLANTED

STATES = {
    "continuous": 2260,
    "debounce": 4544,
    "task": 3528,
    "unknown": 1636,
    "terminate": 807,
    "compete": 804,
    "inbox": 134,
    "idle": 153,
    "shutdown": 1837,
    "threads": 838,
    "flush": 180,
    "clear": 144,
    "stall": 4479,
    "pause": 3688,
}
"""How many distinct states each scope has, at least: a scope that checks nothing has few."""


@pytest.mark.parametrize("name", SMALL)
def test_I_1_I_2_I_3_I_4_I_5_I_6_I_7_I_8_I_9_hold_in_all_states_of_a_small_scope(name: str) -> None:
    report = check(SCOPES[name])

    assert report.violation is None
    assert report.finished
    assert report.states >= STATES[name]
    assert report.rested > report.states // 20
    spent = {what for what, left in SCOPES[name].budgets.items() if left}
    assert spent | {"call", "perform", "answer", "return"} <= report.hits.keys()


@pytest.mark.parametrize(
    ("scope", "name", "invariants"),
    [
        ("unknown", "takes_an_unknown_write_for_committed", "I-1 I-7"),
        ("terminate", "terminates_without_deleting", "I-5"),
        ("task", "answers_a_send_and_forgets_it", "I-1 I-7"),
        ("continuous", "acknowledges_before_the_commit", "I-1 I-7"),
        ("terminate", "keeps_a_key_that_is_gone", "engine"),
        ("unknown", "keeps_the_slots_of_a_lost_claim", "S-69"),
    ],
)
def test_a_planted_fault_is_found_by_a_shortest_trace(
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
    name: str,
    invariants: str,
) -> None:
    (wrong,) = (planted for planted in PLANTED if planted.name == name)
    for place in wrong.places:
        place.put(monkeypatch, wrong.make)

    report = check(SCOPES[scope])
    found, nearest = report.violation, report.nearest
    assert isinstance(found, Violation)
    assert nearest is not None
    assert found.invariant in invariants.split()
    assert found.trace.violation is not None
    assert found.trace.violation in found.trace.text()
    # nothing is found in fewer actions: the search is breadth-first
    assert check(SCOPES[scope], depth=nearest - 1).violation is None


def test_a_fork_goes_its_own_way() -> None:
    world = World(SCOPES["task"])
    before, commits = world.digest(), world.observer.counts["commits"]

    other = world.fork()
    while (action := next(iter(other.actions()))).what != "crash":
        other.do(action)

    assert other.observer.counts["commits"] > commits
    assert world.observer.counts["commits"] == commits
    assert other.digest() != before
    assert world.digest() == before


@pytest.mark.parametrize("name", ["task", "compete"])
def test_turns_that_are_made_once_are_those_that_each_world_would_make(name: str) -> None:
    shared = World(SCOPES[name])
    paths: list[tuple[list[Action], World]] = [([], shared)]
    for path, world in islice(iter(paths), 600):  # it grows meanwhile
        for action in world.actions():
            child = world.fork()
            child.do(action)
            paths.append(([*path, action], child))
    assert len(shared.stage.turns) < sum(len(path) for path, _ in paths)

    for path, world in paths[::9]:
        alone = World(SCOPES[name])
        for action in path:
            alone.do(action)
        assert [seat.node.same for seat in alone.seats] == [seat.node.same for seat in world.seats]
        assert alone.digest() == world.digest()


def test_states_that_differ_by_names_and_time_alone_are_one() -> None:
    scope = SCOPES["compete"]
    one, other = World(scope), World(scope)
    other.now += 1_000
    for world, order in ((one, (0, 1)), (other, (1, 0))):
        world.left["crash"] = 2
        for node in order:
            world.do(Action("crash", node))

    assert one.seats[0].node.engine_id != other.seats[0].node.engine_id
    assert one.digest() == other.digest()


def test_rows_that_an_engine_remembers_are_part_of_a_state() -> None:
    world = World(SCOPES["continuous"])
    while not world.seats[0].node.engine._state.cache.entries:
        world.do(next(action for action in world.actions() if action.what != "crash"))

    other = world.fork()
    node = fork(world.seats[0].node, {})
    node.engine._state.cache.entries.clear()
    node.tell()
    other.seats = (Seat(node),)

    assert other.digest() != world.digest()


def test_a_bounded_search_is_not_called_finished() -> None:
    report = check(SCOPES["continuous"], states=50)

    assert not report.finished
    assert "NOT finished" in str(report)


def test_scopes_are_gone_through_in_several_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "flush", "clear", "--processes", "2"]) == 0

    said = capsys.readouterr().out
    states = [check(SCOPES[name]).states for name in ("flush", "clear")]
    assert f"{sum(states)} distinct states in 2 scopes" in said
    assert "cut off, and so not exhaustive: none" in said
    finished = next(line for line in said.splitlines() if line.startswith("finished: "))
    assert set(finished.removeprefix("finished: ").split(", ")) == {"flush", "clear"}


def test_what_a_scope_leaves_of_the_budget_is_left_to_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    whole = check(SCOPES["clear"]).states

    assert main(["check", "clear", "continuous", "--states", str(whole * 3)]) == 0

    said = capsys.readouterr().out.splitlines()
    assert "finished: clear" in said
    assert "cut off, and so not exhaustive: continuous" in said
    assert int(said[1].split()[1]) >= whole * 2


def test_too_few_states_are_an_error_if_scopes_were_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "continuous", "--minutes", "0", "--states", "50"]) == 1

    said = capsys.readouterr().out
    assert "finished: none" in said
    assert "fewer states than the 50 asked for" in said


def test_a_violation_is_told_with_its_trace_and_crosses_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (wrong,) = (planted for planted in PLANTED if planted.name == "terminates_without_deleting")
    for place in wrong.places:
        place.put(monkeypatch, wrong.make)

    assert main(["check", "terminate"]) == 1

    said = capsys.readouterr().out
    assert "VIOLATED I-5" in said
    assert "violated: terminate" in said
    violation = check(SCOPES["terminate"]).violation
    assert violation is not None
    again = pickle.loads(pickle.dumps(violation))
    assert (str(again), again.trace.text()) == (str(violation), violation.trace.text())


def test_a_node_that_stalls_may_answer_late() -> None:
    assert check(SCOPES["stall-large"], depth=6).violation is None
