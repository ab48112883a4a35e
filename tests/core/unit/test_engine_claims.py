"""Due work: which jobs are asked for, when, and how the slots are shared (D-4, S-69)."""

from __future__ import annotations

import pytest
from support.rig import EPOCH, Rig, client, greeted, start, writes
from support.samples import jobs, number, tick

from durable_jobs_core.backend import Answer, Committed, Row, Write
from durable_jobs_core.codec import Loaded, load
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.engine import exchanges, state
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.events import AddRequested, StartRequested, StatusRequested, TriggerRequested
from durable_jobs_core.words import Key

NAMES = ("a", "b", "c", "d")


def ticks(*names: str, **options: int) -> dict[tuple[str, str], object]:
    """Jobs under these names alone."""
    return {key: job for key, job in jobs(**{n: tick(**options) for n in names}).items() if key[1] in names}


def running(rig: Rig) -> list[str]:
    """The jobs whose hooks run, in the order they were called."""
    return [invoke.key.job for invoke in rig.invokes]


def claims(rig: Rig) -> int:
    """How many claims were sent so far."""
    return sum(batch.claim is not None for batch in rig.batches)


@pytest.mark.parametrize("concurrency", [1, 2, 100])
def test_an_input_costs_no_more_where_there_are_many_jobs(
    concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    free = Slots.free
    monkeypatch.setattr(Slots, "free", lambda self, job: looked.append(job) or free(self, job))
    costs: list[int] = []
    for many in (4, 40):
        rig = greeted(ticks(*(f"j{n}" for n in range(many))), concurrency=concurrency)
        rig.ask(Key("continuous", "j0", "a"), StartRequested(number(0)))  # takes a slot
        looked.clear()
        rig.ask(Key("continuous", "j0", "b"), StatusRequested())
        assert rig.engine.next_wakeup is not None
        costs.append(len(looked))

    assert costs[0] == costs[1]


@pytest.mark.parametrize("name", NAMES)
def test_S_69_a_free_slot_is_given_to_any_job_without_waiting_for_a_poll(name: str) -> None:
    rig = Rig(ticks(*NAMES), concurrency=1)
    start(rig, name, 1)

    rig.settle()

    assert running(rig) == [name]


def test_S_69_a_slot_that_becomes_free_is_given_to_another_job_that_is_due() -> None:
    rig = Rig(ticks("a", "b"), concurrency=1)
    start(rig, "a", 1)
    rig.settle()
    start(rig, "b", 1)
    rig.wait(5_000)
    assert running(rig) == ["a"]

    rig.finish()
    rig.settle()

    assert running(rig) == ["b"]


def test_S_69_no_jobs_backlog_keeps_anothers_free_slots_idle() -> None:
    rig = Rig(ticks("a", "b", concurrency=2))
    start(rig, "a", *range(20))
    rig.settle()
    start(rig, "b", 1)
    rig.nudge()
    rig.settle()

    assert sorted(running(rig)) == ["a", "a", "b"]


def test_S_69_two_backlogs_share_the_slots() -> None:
    rig = Rig(ticks("a", "b"), concurrency=4)
    start(rig, "a", *range(20))
    start(rig, "b", *range(20))

    rig.settle()

    assert sorted(running(rig)) == ["a", "a", "b", "b"]


def test_S_69_a_job_never_has_more_attempts_than_its_limit() -> None:
    rig = Rig(ticks("a", "b", concurrency=3), concurrency=5)
    start(rig, "a", *range(20))
    start(rig, "b", *range(20))
    for _ in range(30):
        rig.settle()
        assert running(rig).count("a") <= 3
        assert running(rig).count("b") <= 3
        assert len(rig.invokes) <= 5
        rig.finish()

    assert rig.slots_taken == len(rig.invokes) == 5 or rig.exchanges


def test_S_69_with_the_limit_reached_and_a_backlog_it_does_not_ask_in_vain() -> None:
    rig = Rig(ticks("a", "b", concurrency=1))
    start(rig, "a", *range(20))
    rig.settle()
    before = claims(rig)

    rig.wait(10_000)

    assert claims(rig) - before < 30  # polls for b, at most one in 750 ms, and two after a renewal


def test_S_69_a_backlog_is_worked_off_without_waiting_for_polls() -> None:
    rig = Rig(ticks("a"), concurrency=2)
    start(rig, "a", *range(50))
    rig.settle()
    for _ in range(50):
        rig.finish()
        rig.settle()

    assert (rig.t, rig.invokes, rig.slots_taken) == (0, [], 0)


@pytest.mark.parametrize("concurrency", [1, 100])
def test_an_idle_engine_asks_once_a_poll(concurrency: int) -> None:
    rig = greeted(ticks(*NAMES), concurrency=concurrency)
    before = claims(rig)

    rig.wait(60_000)

    rounds = (claims(rig) - before) / (4 if concurrency == 1 else 1)
    assert 60 <= rounds <= 81


@pytest.mark.parametrize("asked", [False, True], ids=["", "after a claim for another job"])
def test_new_starts_do_not_overtake_a_backlog_of_their_job(asked: bool) -> None:
    rig = greeted(ticks("a", "b", concurrency=1), poll=1_000_000)
    start(rig, "a", "first", "second")
    rig.nudge()
    rig.settle()
    rig.wait(10)
    if asked:
        rig.nudge()
        rig.settle()

    rig.call(Key("continuous", "b", "other"), StatusRequested())  # the lane is busy: it cannot claim yet
    rig.finish()
    rig.call(Key("continuous", "a", "new"), StartRequested(number(0)))
    rig.settle()

    assert [invoke.key.id for invoke in rig.invokes] == ["second"]


def test_a_start_runs_at_once_where_nothing_else_is_due() -> None:
    rig = greeted(ticks("a"), concurrency=1)
    rig.call(Key("continuous", "a", "new"), StartRequested(number(0)))
    rig.answer()

    assert running(rig) == ["a"]


def test_a_due_instant_of_its_own_commit_is_known_without_asking() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    rig.ask(Key("continuous", "a", "x"), StartRequested(number(0)))
    rig.finish()
    rig.settle()

    rig.wait(60_000)

    assert running(rig) == ["a"]
    assert rig.now() == EPOCH + 60_000


def test_work_that_fell_due_on_its_own_commit_without_a_slot_is_started_when_there_is_one() -> None:
    rig = greeted(ticks("a", "b"), concurrency=1, poll=1_000_000)
    rig.ask(Key("continuous", "a", "x"), StartRequested(number(0)))
    rig.ask(Key("continuous", "b", "y"), StartRequested(number(0)))
    assert running(rig) == ["a"]

    rig.finish()
    rig.settle()

    assert running(rig) == ["b"]


def test_a_hint_during_a_claim_is_not_lost() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    rig.nudge()
    answer = rig.perform(rig.exchanges[0])
    start(rig, "a", 1)
    rig.nudge()
    rig.answer(answer)

    rig.settle()

    assert running(rig) == ["a"]


def test_a_storm_of_hints_is_one_claim_at_a_time() -> None:
    rig = greeted(ticks("a"))
    before = claims(rig)
    for _ in range(100):
        rig.nudge()

    rig.settle()

    assert claims(rig) - before <= 2


def test_a_claim_that_was_lost_is_made_again() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    start(rig, "a", 1)
    rig.nudge()
    rig.fail()

    rig.wait(1_000)

    assert running(rig) == ["a"]


def test_a_claim_limited_by_its_bytes_goes_on_at_once() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    start(rig, "a", *range(3))
    rig.nudge()
    first, *others = rig.perform(rig.exchanges[0]).claimed
    for row in others:
        with rig.stores[0]._store.lock:
            rig.stores[0]._store._index(row.key, EPOCH)

    rig.answer(Answer(claimed=(first,), next_wake=EPOCH, clock=rig.now()))
    rig.settle()

    assert len(rig.invokes) == 3


@pytest.mark.parametrize(("drawn", "expected"), [(0, 1_000), (1, 999), (249, 751), (250, 1_000)])
def test_polls_are_spread_over_the_last_quarter_of_their_span(drawn: int, expected: int) -> None:
    rig = Rig(ticks("a"), poll=1_000)
    rig.draw(drawn)
    rig.settle()

    assert rig.engine.next_wakeup == expected


def test_a_poll_may_be_as_short_as_time_is_told() -> None:
    rig = greeted(ticks("a"), poll=1)
    before = claims(rig)

    rig.wait(50)

    assert claims(rig) - before == 50


def test_S_69_jobs_with_backlogs_take_turns() -> None:
    rig = Rig(ticks("a", "b", "c"), concurrency=1)
    for name in "abc":
        start(rig, name, *range(5))
    seen = ""
    for _ in range(9):
        rig.settle()
        seen += running(rig)[0]
        rig.finish()

    assert seen == "abcabcabc"


@pytest.mark.parametrize("turn", range(4))
def test_S_69_all_slots_are_offered_whosever_turn_it_is(turn: int) -> None:
    rig = Rig(ticks("a", "b", "c"), concurrency=1)
    for name in "abc":
        start(rig, name, *range(5))
    for _ in range(turn):
        rig.settle()
        rig.finish()
    rig.settle()
    rig.engine._state.slots._total = 6  # the slots of five attempts more

    rig.nudge()

    claim = rig.exchanges[0].batch.claim
    assert claim is not None
    assert sum(claim.limits.values()) == 5


def asked(rig: Rig) -> list[dict[str, int]]:
    """What was asked for, claim by claim."""
    return [
        {job: count for (_, job), count in batch.claim.limits.items()}
        for batch in rig.batches
        if batch.claim is not None
    ]


def test_S_69_each_job_is_asked_for_once_a_look() -> None:
    rig = Rig(ticks("a", "b", "c"), concurrency=2, poll=1_000_000)
    rig.settle()

    assert asked(rig) == [{"a": 1, "b": 1}, {"c": 2}]


@pytest.mark.parametrize("passed", [0, 500])
def test_S_69_a_backlog_without_a_slot_lets_the_others_be_asked_for_once_more(passed: int) -> None:
    rig = Rig(ticks("a", "b", concurrency=1), poll=1_000_000)
    start(rig, "a", *range(3))
    rig.t = passed

    rig.settle()

    assert (asked(rig), running(rig)) == ([{"a": 1, "b": 1}, {"b": 1}], ["a"])


def test_S_69_a_backlog_does_not_hide_when_another_job_falls_due() -> None:
    rig = greeted(ticks("a", "b", concurrency=1), poll=1_000_000)
    rig.ask(Key("continuous", "b", "x"), StartRequested(number(0)))
    rig.finish()
    rig.settle()
    start(rig, "a", *range(3))
    rig.nudge()
    rig.settle()
    assert running(rig) == ["a"]

    rig.wait(60_000)

    assert (running(rig), rig.now()) == (["a", "b"], EPOCH + 60_000)


def test_a_backend_that_has_more_and_gives_nothing_is_not_asked_again_at_once() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    rig.nudge()

    rig.answer(Answer(next_wake=EPOCH, clock=rig.now()))

    assert rig.exchanges == []


# -- alarms of its own commits


def latest_key(name: str) -> Key:
    return Key("debounce", "latest", name)


def test_D_4_of_the_alarms_it_commits_together_the_earliest_is_known() -> None:
    rig = greeted(poll=1_000_000)
    rig.call(latest_key("other"), StatusRequested())
    for name in "ab":
        rig.call(latest_key(name), AddRequested(event=1))
        rig.t += 500
    rig.answer()

    rig.wait(200)

    assert [invoke.key.id for invoke in rig.invokes] == ["a"]


def test_D_4_an_alarm_of_its_own_commit_is_not_asked_for_before_it_is_due() -> None:
    rig = greeted(ticks("a", start_immediately=False), concurrency=1, poll=1_000_000)
    before = claims(rig)
    rig.ask(Key("continuous", "a", "x"), StartRequested(number(0)))

    rig.wait(59_999)
    assert claims(rig) == before
    rig.wait(1)

    assert running(rig) == ["a"]


def test_D_4_alarms_of_a_job_without_a_slot_wait_for_one_and_nobody_is_asked_for_in_vain() -> None:
    rig = greeted(ticks("a", "b", concurrency=1), poll=1_000_000)
    before = claims(rig)
    for name in "xyz":
        rig.ask(Key("continuous", "a", name), StartRequested(number(0)))
    rig.wait(5_000)
    assert (running(rig), claims(rig)) == (["a"], before)

    rig.finish()
    rig.settle()

    assert running(rig) == ["a"]


def test_D_4_alarms_of_a_job_it_does_not_run_are_nothing_to_it() -> None:
    rig = greeted(ticks("a", "b", start_immediately=False), per_job={("continuous", "a"): 0}, poll=1_000_000)
    rig.call(Key("continuous", "b", "other"), StatusRequested())
    for name in "ab":
        rig.call(Key("continuous", name, "x"), StartRequested(number(0)))
    rig.settle()
    assert rig.engine.idle

    rig.wait(60_000)

    assert running(rig) == ["b"]


def test_D_7_a_claim_of_what_is_known_already_is_not_decoded_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(ticks("a"))
    start(rig, "a", 1)
    rig.settle()
    rig.finish()
    rig.settle()
    decoded: list[Key] = []

    def counted(job: AnyDefinition, row: Row) -> Loaded:
        decoded.append(row.key)
        return load(job, row)

    for module in (state, exchanges):
        monkeypatch.setattr(module, "load", counted)
    rig.wait(60_000)
    rig.settle()

    assert (running(rig), len(decoded)) == (["a"], 1)


def test_D_4_a_claim_that_was_used_is_not_put_back() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    start(rig, "a", 1)
    rig.nudge()
    rig.settle()
    rig.finish()
    rig.settle()

    assert all(isinstance(write, Write) for batch in rig.batches for write in batch.writes)
    assert rig.engine.idle


# -- lanes


def by_number(key: Key) -> int:
    return int(key.id) % 2


def two_lanes(**limits: int) -> Rig:
    return Rig(ticks("a", "b"), lanes=2, lane=by_number, **limits)


def test_S_69_the_backlog_of_a_lane_does_not_keep_another_lane_waiting() -> None:
    rig = two_lanes(concurrency=1)
    start(rig, "a", *range(0, 40, 2))
    start(rig, "a", 1)
    seen = []
    for _ in range(4):
        rig.settle()
        seen.append(rig.invokes[0].key.id)
        rig.finish()

    assert "1" in seen


def test_rule_7_S_69_a_lane_that_does_not_answer_leaves_slots_to_the_others() -> None:
    rig = two_lanes(concurrency=4)
    rig.settle()
    start(rig, "a", 1)
    rig.nudge()
    assert [exchange.batch.claim is not None for exchange in rig.exchanges] == [True, True]

    rig.answer(lane=1)
    rig.answer(lane=1)

    assert [invoke.key.id for invoke in rig.invokes] == ["1"]


@pytest.mark.parametrize("lanes", [2, 3, 7])
def test_rule_7_S_69_of_several_lanes_each_is_offered_half_of_what_is_free(lanes: int) -> None:
    rig = Rig(ticks("a"), lanes=lanes, concurrency=8)
    rig.settle()
    rig.wait(1_000, settle=False)

    offered = [sum(each.batch.claim.limits.values()) for each in rig.exchanges if each.batch.claim]

    assert offered == [4, 2, 1, 1][:lanes]


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_rule_7_S_69_a_lane_that_failed_is_offered_no_slot_before_it_has_answered(losses: int) -> None:
    rig = two_lanes(concurrency=2)
    rig.settle()
    rig.wait(1_000, settle=False)
    for _ in range(losses):
        rig.fail(lane=0)
        rig.wait(20_000, settle=False)
    asked = {exchange.lane: exchange.batch.claim is not None for exchange in rig.exchanges}

    start(rig, "a", 0)
    rig.settle()

    assert asked == {0: False, 1: True}
    assert [invoke.key.id for invoke in rig.invokes] == ["0"]


def test_rule_7_S_69_a_lane_that_has_never_answered_is_offered_no_slot() -> None:
    rig = two_lanes()
    rig.fail(lane=0)
    rig.answer(lane=1)
    rig.wait(1_000, settle=False)

    asked = {exchange.lane: exchange.batch.claim is not None for exchange in rig.exchanges}

    assert asked == {0: False, 1: True}


def test_rule_11_a_lane_that_failed_is_not_asked_for_nothing_once_the_engine_stops() -> None:
    rig = two_lanes()
    rig.settle()
    rig.wait(1_000, settle=False)
    rig.fail(lane=0)
    rig.stop()

    rig.settle()

    assert (rig.exchanges, rig.closed) == ([], True)


def test_each_lane_is_asked_for_its_own_work() -> None:
    rig = two_lanes()
    start(rig, "a", 0, 1)

    rig.settle()

    assert sorted(invoke.key.id for invoke in rig.invokes) == ["0", "1"]


# -- without jobs, and without slots


def test_an_engine_without_jobs_is_idle() -> None:
    rig = greeted({})

    assert rig.engine.idle


def test_a_job_with_the_limit_none_is_left_to_others() -> None:
    rig = Rig(ticks("a", "b"), per_job={("continuous", "a"): 0})
    start(rig, "a", 1)
    start(rig, "b", 1)

    rig.settle()

    assert running(rig) == ["b"]


def test_a_client_only_node_claims_nothing() -> None:
    rig = Rig(ticks("a"))
    other = client(rig)
    start(rig, "a", 1)

    other.wait(5_000)

    assert (claims(other), other.engine.next_wakeup, other.engine.idle) == (0, None, True)


def test_S_69_a_lease_that_lands_late_waits_for_a_slot_if_its_own_was_given_away() -> None:
    rig = greeted(ticks("a", "b", start_immediately=False), concurrency=1)
    a, b = Key("continuous", "a", "1"), Key("continuous", "b", "1")
    start(rig, "a", 1)
    start(rig, "b", 1)
    client(rig).ask(a, TriggerRequested())
    rig.nudge()
    while not writes(rig.exchanges[0]):
        rig.answer()
    triggered = rig.call(b, TriggerRequested())  # it is read with what becomes of the write
    lost = rig.fail()
    rig.wait(200)
    assert (running(rig), rig.result(triggered).triggered) == (["b"], True)

    assert isinstance(rig.perform(lost).outcomes[0], Committed)
    rig.wait(20_000)
    assert (running(rig), rig.slots_taken) == (["b"], 1)

    rig.finish()
    rig.wait(1_000)
    assert (running(rig), rig.slots_taken) == (["a"], 1)


@pytest.mark.parametrize(("node", "order"), [(0, [0, 1, 2]), (1, [1, 2, 0]), (5, [2, 0, 1]), (9, [0, 1, 2])])
def test_D_4_which_lane_is_asked_first_is_another_for_each_node(node: int, order: list[int]) -> None:
    rig = Rig(ticks("a"), node=node, lanes=3)

    assert [exchange.lane for exchange in rig.exchanges] == order


def test_lanes_are_asked_in_turn() -> None:
    rig = Rig(ticks("a"), lanes=3, lane=lambda key: int(key.id) % 3, concurrency=1)
    start(rig, "a", *range(18))
    seen = []
    for _ in range(9):
        rig.settle()
        seen.append(int(rig.invokes[0].key.id) % 3)
        rig.finish()

    first = seen[0]
    assert seen == [(first + turn) % 3 for turn in range(9)]


# -- several processes, one due run


def vain(rigs: list[Rig], runs: int) -> float:
    """How many claims came to nothing for each of so many runs, of which all processes are told at once."""
    before = sum(map(claims, rigs))
    for n in range(runs):
        start(rigs[0], "a", f"{n} {rigs[0].t}")
        for rig in rigs:
            rig.nudge()
        for rig in rigs:
            rig.wait(10)
            while rig.invokes:
                rig.finish()
            rig.settle()
    return (sum(map(claims, rigs)) - before - runs) / runs


def crew(count: int) -> list[Rig]:
    """Workers on one store."""
    first = greeted(ticks("a"), poll=1_000_000)
    return [
        first,
        *(greeted(ticks("a"), poll=1_000_000, node=n, stores=first.stores) for n in range(2, count + 1)),
    ]


def test_D_4_not_every_process_asks_for_each_due_run() -> None:
    rigs = crew(5)
    early = vain(rigs, 1)

    assert early >= 3
    assert vain(rigs, 100) < 0.8


def test_D_4_a_process_that_came_late_takes_over_from_the_one_that_came_first() -> None:
    rigs = crew(2)
    vain(rigs, 20)
    _, other = rigs
    start(other, "a", "left")
    other.nudge()
    other.wait(200)

    assert [invoke.key.id for invoke in other.invokes] == ["left"]


def test_a_hint_of_what_is_due_later_costs_no_more_than_a_moment() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    rig.nudge()
    rig.settle()
    start(rig, "a", 1)
    rig.nudge()
    rig.wait(8)

    assert running(rig) == ["a"]


@pytest.mark.parametrize(("ahead", "in_vain"), [(1, False), (128, False), (129, True), (None, True)])
def test_who_asks_a_moment_too_early_has_not_come_in_vain(ahead: int | None, in_vain: bool) -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    start(rig, "a", 1)
    wake = None if ahead is None else rig.now() + ahead
    store = rig.stores[0]._store
    with store.lock:
        store._index(Key("continuous", "a", "1"), wake)
    rig.nudge()
    rig.settle()

    assert (rig.engine._state.lanes[0].lookout.later > 0) is in_vain


def falls_due(rig: Rig, ahead: int) -> None:
    """The stored instance wants to be claimed in so many milliseconds."""
    store = rig.stores[0]._store
    with store.lock:
        store._index(Key("continuous", "a", "1"), rig.now() + ahead)


def later(rig: Rig) -> int:
    """How much later than the others it comes."""
    return rig.engine._state.lanes[0].lookout.later


@pytest.mark.parametrize("next_one", [10, 900_000])
def test_D_4_who_comes_at_the_instant_it_was_told_and_finds_nothing_has_come_in_vain(next_one: int) -> None:
    rig = Rig(ticks("a"), poll=1_000_000)
    start(rig, "a", 1)
    falls_due(rig, 1_000)
    rig.settle()
    falls_due(rig, 1_000 + next_one)  # another has taken it

    rig.wait(999)
    before = later(rig)
    rig.wait(1)

    assert (before, later(rig) > 0) == (0, True)


def test_D_4_the_end_of_its_own_hold_calls_nobody() -> None:
    rig = greeted(ticks("a"), poll=1_000_000, lease=900_000, hold=5_000)
    start(rig, "a", 1)
    rig.nudge()
    rig.settle()
    before = claims(rig)

    rig.wait(5_000)

    assert (running(rig), claims(rig) - before, later(rig)) == (["a"], 1, 0)


def test_D_4_who_finds_due_work_comes_at_once_again() -> None:
    rig = greeted(ticks("a"), poll=1_000_000)
    rig.nudge()
    rig.settle()
    vain = later(rig)
    start(rig, "a", 1)
    rig.nudge()
    rig.wait(200)

    assert (vain > 0, running(rig), later(rig)) == (True, ["a"], 0)


def test_a_claim_that_was_not_filled_is_not_made_again() -> None:
    rig = greeted(ticks("a", concurrency=4), poll=1_000_000)
    start(rig, "a", 1, 2)
    before = claims(rig)
    rig.nudge()
    rig.settle()

    assert (running(rig), claims(rig) - before) == (["a", "a"], 1)


def test_a_client_whose_first_exchange_was_lost_asks_again_though_nobody_calls() -> None:
    rig = Rig(worker=False)
    rig.fail()
    assert rig.exchanges == []

    wakeup = rig.engine.next_wakeup

    assert wakeup is not None
    assert 0 < wakeup <= 50
