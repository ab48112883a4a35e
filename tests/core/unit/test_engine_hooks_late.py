"""`engine.hooks`: when a leased hook is called, and when it is not."""

from __future__ import annotations

from support.rig import LEASE, Rig, greeted, start
from support.samples import TICK


def leased(rig: Rig) -> None:
    """Bring a rig to where the write of a lease is on its way."""
    start(rig, "tick", "a")
    rig.nudge()
    rig.answer()
    assert rig.exchanges[0].batch.writes
    assert rig.invokes == []


def test_S_13_a_hook_is_called_while_its_lease_has_time() -> None:
    rig = greeted()
    leased(rig)
    answer = rig.perform(rig.exchanges[0])

    rig.t += LEASE * 9 // 10 - 1
    rig.answer(answer)

    assert [invoke.key for invoke in rig.invokes] == [TICK]


def test_S_13_a_hook_whose_lease_is_over_before_it_begins_is_handed_back_instead() -> None:
    rig = greeted()
    leased(rig)
    answer = rig.perform(rig.exchanges[0])
    first = rig.record(TICK).body.in_flight

    rig.t += LEASE * 9 // 10
    rig.answer(answer)
    assert rig.invokes == []
    rig.settle()

    run = rig.record(TICK).body.in_flight
    assert run is not None
    assert first is not None
    assert (run.number, run.attempt, run.crashes) == (first.number, 1, 0)
    assert run.lease != first.lease
    assert [invoke.key for invoke in rig.invokes] == [TICK]
    assert rig.slots_taken == 1


def test_S_11_a_hook_whose_run_was_taken_over_before_it_begins_is_not_called() -> None:
    rig = greeted()
    leased(rig)
    answer = rig.perform(rig.exchanges[0])
    other = greeted(rig.engine._state.jobs, node=2, stores=rig.stores, t=rig.t)

    rig.t = other.t = LEASE
    other.tick()
    other.settle()
    assert [invoke.ctx.crashes for invoke in other.invokes] == [1]  # type: ignore[union-attr]
    rig.answer(answer)
    rig.settle()

    assert rig.invokes == []
    assert rig.slots_taken == 0
