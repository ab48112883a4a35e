"""The store of a simulation keeps to the port, as far as its engines use it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from durable_jobs_simulation.store import Store
from support.watching import BEGAN, ORDER, TICK

from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Defer,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.words import Job, Key

JOB = ("continuous", "tick")


class World:
    """A store, its clock, and what it has told."""

    def __init__(self, lanes: int = 1) -> None:
        self.now = BEGAN
        self.told: list[Any] = []
        watcher: Any = SimpleNamespace(
            committed=lambda engine, write, before: self.told.append(("committed", engine, write, before)),
            indexed=lambda key: self.told.append(("indexed", key)),
        )
        self.store = Store(lambda: self.now, watcher, lanes)

    def write(self, write: Write | Defer, not_after: int = BEGAN) -> Any:
        return self.store.write(7, write, not_after)

    def perform(self, *loads: Key, claim: Claim | None = None, lane: int = 0) -> Answer:
        batch = Batch(writes=(), loads=loads, claim=claim, not_after=BEGAN)
        return self.store.perform(batch, self.write, lane)


def row(key: Key = TICK, wake: int | None = BEGAN, *, number: int = 1, bytes: int = 10) -> Row:
    return Row(key, b"%d" % number, wake, "running", b"x" * bytes)


def put(one: Row, expected: bytes | None = None) -> Write:
    return Write(one.key, expected, one)


def claims(limits: dict[Job, int], *, until: int = BEGAN + 500, max_bytes: int = 1_000) -> Claim:
    return Claim(limits=limits, now=BEGAN, until=until, max_bytes=max_bytes)


@pytest.fixture
def world() -> World:
    return World()


def test_a_write_takes_effect_and_is_told_after_its_entry(world: World) -> None:
    write = put(row())

    assert world.write(write) == Committed()
    assert (world.store.rows, world.store.entries) == ({TICK: row()}, {TICK: BEGAN})
    assert world.told == [("indexed", TICK), ("committed", 7, write, None)]


@pytest.mark.parametrize("late", [0, 1])
def test_a_write_that_comes_too_late_is_refused(world: World, late: int) -> None:
    came = world.write(put(row()), not_after=BEGAN - late)

    assert isinstance(came, Refused if late else Committed)
    assert bool(world.store.rows) == bool(world.told) == (not late)


@pytest.mark.parametrize(
    "change", [put(row(number=2), b"0"), Defer(TICK, b"0", BEGAN + 9), Write(TICK, b"0", None)]
)
def test_a_write_over_another_revision_conflicts(world: World, change: Any) -> None:
    world.write(put(row()))
    world.told.clear()

    assert world.write(change) == Conflicted(row())
    assert (world.store.entries, world.told) == ({TICK: BEGAN}, [])


def test_a_row_is_replaced_put_off_and_deleted(world: World) -> None:
    world.write(put(row()))
    world.write(put(row(number=2, wake=None), b"1"))
    assert (world.store.rows[TICK], world.store.entries) == (row(number=2, wake=None), {})

    assert world.write(Defer(TICK, b"2", BEGAN + 9)) == Committed()
    assert world.store.entries == {TICK: BEGAN + 9}
    assert world.write(Defer(TICK, b"2", None)) == Committed()
    assert world.store.entries == {}

    assert world.write(Write(TICK, b"2", None)) == Committed()
    assert world.store.rows == {}
    assert world.write(Write(TICK, b"2", None)) == Conflicted(None)


def keys(answer: Answer) -> str:
    return "".join(row.key.id for row in answer.claimed)


def fill(world: World, wakes: dict[str, int], *, bytes: int = 10) -> None:
    for id, wake in wakes.items():
        world.write(put(row(TICK._replace(id=id), wake, bytes=bytes)))


def test_what_is_due_is_claimed_the_first_first(world: World) -> None:
    fill(world, {"a": BEGAN, "b": BEGAN - 2, "c": BEGAN - 1, "d": BEGAN + 1})

    first = world.perform(claim=claims({JOB: 2}))
    assert (keys(first), first.next_wake, first.clock) == ("bc", BEGAN, BEGAN)
    assert world.store.entries[TICK._replace(id="b")] == BEGAN + 500, "it is held"

    second = world.perform(claim=claims({JOB: 2}))
    assert (keys(second), second.next_wake) == ("a", BEGAN + 1)
    assert keys(world.perform(claim=claims({JOB: 2}))) == ""


def test_only_jobs_that_are_named_are_claimed(world: World) -> None:
    world.write(put(row()))
    world.write(put(row(ORDER, BEGAN - 5)))

    other = world.perform(claim=claims({("task", "others"): 5}))
    assert (keys(other), other.next_wake) == ("", None)
    both = world.perform(claim=claims({JOB: 1, ("task", "orders"): 1}, until=BEGAN + 7))
    assert [one.key for one in both.claimed] == [TICK, ORDER]
    assert both.next_wake == BEGAN + 7


@pytest.mark.parametrize(("most", "found"), [(1, "a"), (19, "a"), (20, "ab"), (29, "ab"), (30, "abc")])
def test_a_claim_brings_no_more_bytes_than_it_may_but_for_one_row(
    world: World, most: int, found: str
) -> None:
    fill(world, {"a": BEGAN - 3, "b": BEGAN - 2, "c": BEGAN - 1})

    assert keys(world.perform(claim=claims({JOB: 9}, max_bytes=most))) == found


def test_a_damaged_row_is_claimed_with_its_bytes(world: World) -> None:
    fill(world, {"a": BEGAN - 3, "b": BEGAN - 2})
    world.store.replace(Damaged(TICK, b"1", b"x" * 10, "checksum"), BEGAN - 3)

    answer = world.perform(claim=claims({JOB: 9}, max_bytes=19))
    assert [type(one) for one in answer.claimed] == [Damaged]


def test_a_row_that_is_read_is_filed_again_if_it_was_not(world: World) -> None:
    world.write(put(row()))
    world.write(Defer(TICK, b"1", None))

    assert world.perform(TICK, ORDER).rows == (row(), None)
    assert world.store.entries == {TICK: BEGAN}


def test_a_row_that_is_held_stays_so_when_it_is_read(world: World) -> None:
    world.write(put(row()))
    world.perform(claim=claims({JOB: 1}))
    world.perform(TICK)

    assert world.store.entries == {TICK: BEGAN + 500}


def test_each_lane_has_keys_of_its_own() -> None:
    world = World(lanes=3)
    ids = "abcdefgh"
    fill(world, dict.fromkeys(ids, BEGAN))
    found = [keys(world.perform(claim=claims({JOB: 9}), lane=lane)) for lane in range(3)]

    assert "".join(sorted("".join(found))) == ids
    for lane, its in enumerate(found):
        assert {world.store.lane(TICK._replace(id=id)) for id in its} == {lane}
    with pytest.raises(AssertionError, match="of one lane"):
        world.perform(TICK._replace(id=found[0][0]), lane=1)


def test_a_fork_is_a_store_of_its_own(world: World) -> None:
    world.write(put(row()))
    other = world.store.fork(lambda: BEGAN, world.store.watcher)
    world.write(Write(TICK, b"1", None))

    assert (other.rows, other.entries) == ({TICK: row()}, {TICK: BEGAN})
    batch = Batch(writes=(), loads=(), claim=claims({JOB: 1}), not_after=0)
    assert keys(other.perform(batch, lambda write: Committed())) == "a"
    assert keys(world.perform(claim=claims({JOB: 1}))) == ""
