"""One lane: what the next exchange holds, in which order, within which limits (D-3)."""

from __future__ import annotations

import pytest
from support.bench import Bench
from support.samples import TICK, latest

from durable_jobs_core.backend import BATCH_MAX_BYTES, BATCH_MAX_WRITES, Claim, Defer
from durable_jobs_core.engine.entries import Reading, Writing
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import Backoff, Lane
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.events import AddRequested, Event, HandlerReleased, LeaseRenewed, TerminateRequested
from durable_jobs_core.words import Key, Token

CLAIM = Claim({("continuous", "tick"): 1}, 0, 5)
TOKEN = Token(1, 1)
DEFER = Defer(Key("debounce", "latest", "deferred"), b"r", 7)


def stepped(name: object, *, size: int = 0, first: Event | None = None) -> Keeper:
    """A keeper with something to write, of roughly `size` bytes; `first`: an event of its write."""
    bench = Bench(latest(), Key("debounce", "latest", str(name)))
    bench.ask(AddRequested(event="x" * size if size else 1))
    if first is not None:
        bench.keeper.stamp = 0
        bench.ask(first, urgent=True)
    return bench.keeper


def lane_of(*keepers: Keeper) -> Lane:
    """A lane with these to be written."""
    lane = Lane(0, greeted=True)
    lane.writes = {keeper.key: keeper for keeper in keepers}
    return lane


def reading(name: str, *, settle_after: int | None = None) -> Keeper:
    """A keeper that wants to be read."""
    keeper = Keeper(Key("debounce", "latest", name), latest(), Slots(10, {}), engine=1)
    keeper.reads = Reading.LOAD
    if settle_after is not None:
        keeper.lost = (Writing(None, None, None, 1, (), settle_after),)
        keeper.reads = Reading.SETTLE_LATE
    return keeper


def names(lane: Lane) -> list[str]:
    """The ids in the writes of the exchange in flight."""
    assert lane.flight is not None
    return [write.key.id for write in lane.flight.batch.writes]


# -- writes


def test_the_writes_of_a_batch_are_sorted_by_key() -> None:
    lane = lane_of(*map(stepped, "cab"))

    lane.build(1, 5, 0, 0, 99, None)

    assert names(lane) == ["a", "b", "c"]


def test_each_write_is_known_by_its_keeper() -> None:
    lane = lane_of(*map(stepped, "cab"))
    lane.defers[DEFER.key] = DEFER

    flight = lane.build(1, 5, 0, 0, 99, None)

    assert [keeper and keeper.key for keeper in flight.keepers] == [
        write.key if write is not DEFER else None for write in flight.batch.writes
    ]


def test_a_batch_has_at_most_so_many_writes() -> None:
    lane = lane_of(*(stepped(f"{i:04}") for i in range(BATCH_MAX_WRITES + 10)))

    lane.build(1, 5, 0, 0, 99, None)

    assert (len(names(lane)), len(lane.writes)) == (BATCH_MAX_WRITES, 10)


def test_a_batch_has_at_most_so_many_writes_index_entries_included() -> None:
    lane = lane_of(*(stepped(f"{i:04}") for i in range(BATCH_MAX_WRITES)))
    lane.defers[DEFER.key] = DEFER

    lane.build(1, 5, 0, 0, 99, None)

    assert (len(names(lane)), list(lane.defers.values())) == (BATCH_MAX_WRITES, [DEFER])


def test_a_batch_has_at_most_so_many_bytes() -> None:
    lane = lane_of(*(stepped(i, size=BATCH_MAX_BYTES // 3) for i in range(4)))

    lane.build(1, 5, 0, 0, 99, None)

    assert (names(lane), [key.id for key in lane.writes]) == (["0", "1"], ["2", "3"])
    assert not any(keeper.writing for keeper in lane.writes.values())


def deleting(name: str) -> Keeper:
    """A keeper with a row to be deleted."""
    bench = Bench(latest(), Key("debounce", "latest", name))
    bench.other(AddRequested(event=1))
    bench.ask(TerminateRequested())
    return bench.keeper


def filling(name: str, size: int) -> Keeper:
    """A keeper whose row has exactly so many bytes."""
    row = stepped(name, size=1_000).begin_write(99).row
    assert row is not None
    return stepped(name, size=1_000 + size - len(row.blob))


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param([filling("b", 10_000)], "ab", id="exactly full"),
        pytest.param([filling("b", 10_000), deleting("c")], "abc", id="a deletion takes no bytes"),
        pytest.param([filling("b", 10_001)], "a", id="a byte too much"),
        pytest.param([filling("b", 10_001), filling("c", 500)], "a", id="what does not fit is not overtaken"),
    ],
)
def test_a_batch_has_exactly_so_many_bytes(others: list[Keeper], expected: str) -> None:
    lane = lane_of(filling("a", BATCH_MAX_BYTES - 10_000), *others)

    lane.build(1, 5, 0, 0, 99, None)

    assert (names(lane), lane.behind) == (list(expected), len(expected) <= len(others))
    assert not any(keeper.writing for keeper in lane.writes.values())


@pytest.mark.parametrize("other", [stepped("small"), deleting("small")], ids=["a write", "a deletion"])
def test_a_larger_write_goes_alone(other: Keeper) -> None:
    lane = lane_of(filling("big", BATCH_MAX_BYTES + 1), other)

    lane.build(1, 5, 0, 0, 99, None)

    assert names(lane) == ["big"]


@pytest.mark.parametrize(
    "event", [LeaseRenewed(Token(1, 1)), HandlerReleased(Token(1, 1))], ids=lambda e: type(e).__name__
)
def test_D_3_renewals_and_completions_go_first(event: Event) -> None:
    lane = lane_of(*map(stepped, "abc"), stepped("z", first=event))
    lane.max_writes = 2

    lane.build(1, 5, 0, 0, 99, None)

    assert names(lane) == ["a", "z"]


def test_D_3_renewals_and_completions_go_first_though_it_is_bytes_that_do_not_suffice() -> None:
    lane = lane_of(
        filling("a", BATCH_MAX_BYTES - 1_000), stepped("z", size=1_000, first=HandlerReleased(TOKEN))
    )

    lane.build(1, 5, 0, 0, 99, None)

    assert names(lane) == ["z"]


def test_an_index_entry_is_not_put_back_beside_a_write_of_the_same_key() -> None:
    lane = lane_of(stepped("a"))
    lane.defers[Key("debounce", "latest", "a")] = DEFER

    lane.build(1, 5, 0, 0, 99, None)

    assert (names(lane), lane.defers) == (["a"], {})


def test_the_deadline_is_in_the_batch_and_in_the_write() -> None:
    keeper = stepped("a")
    lane = lane_of(keeper)

    flight = lane.build(1, 5, 0, 0, 99, None)

    assert keeper.writing is not None
    assert (flight.batch.not_after, keeper.writing.not_after, flight.stamp) == (99, 99, 5)


# -- loads and claims


def test_loads_and_a_claim_go_with_the_writes() -> None:
    lane = lane_of(stepped("a"))
    keeper, later = reading("b"), reading("c", settle_after=40)
    lane.loads = {keeper.key: keeper, later.key: later}

    batch = lane.build(1, 5, 0, 0, 99, CLAIM).batch

    assert (len(batch.writes), batch.loads, batch.claim, batch.settle) == (1, (keeper.key,), CLAIM, False)
    assert (lane.work_at, lane.loads) == (None, {later.key: later})


def test_a_settling_read_goes_apart_with_the_latest_of_the_deadlines() -> None:
    lane = lane_of(stepped("a"))
    for keeper in (reading("b"), reading("c", settle_after=40), reading("d", settle_after=30)):
        lane.loads[keeper.key] = keeper
    late = reading("e", settle_after=50)
    lane.loads[late.key] = late

    batch = lane.build(1, 5, 0, 50, 99, None).batch

    assert ([key.id for key in batch.loads], batch.not_after, batch.settle) == (["c", "d"], 40, True)
    assert (batch.writes, batch.claim) == ((), None)
    assert [key.id for key in lane.loads] == ["b", "e"]


@pytest.mark.parametrize(("now", "expected"), [(40, False), (41, True)])
def test_a_settling_read_is_made_after_the_deadline(now: int, expected: bool) -> None:
    lane = Lane(0, greeted=True)
    keeper = reading("b", settle_after=40)
    lane.loads[keeper.key] = keeper

    assert (lane.has_settling(now), lane.can_build(0, now), lane.work_at) == (expected, expected, None)
    assert lane.settle_times() == [40]


@pytest.mark.parametrize(
    ("lane", "expected"),
    [
        pytest.param(Lane(0), True, id="not greeted"),
        pytest.param(Lane(0, greeted=True), False, id="nothing"),
        pytest.param(lane_of(stepped("a")), True, id="a write"),
        pytest.param(Lane(0, greeted=True, defers={DEFER.key: DEFER}), True, id="an index entry"),
        pytest.param(Lane(0, greeted=True, loads={TICK: reading("a")}), True, id="a read"),
    ],
)
def test_whether_there_is_something_to_ask(lane: Lane, expected: bool) -> None:
    assert lane.can_build(0, 0) is expected


# -- backing off, halving


def test_the_pause_after_a_failure_doubles_up_to_a_limit() -> None:
    backoff, shortest = Backoff(), []
    for _ in range(13):
        backoff.failed(0, 0)
        shortest.append(backoff.at)

    assert shortest == [25, 50, 100, 200, 400, 800, 1_600, *[2_500] * 6]


def test_the_pause_is_jittered() -> None:
    pauses = set()
    for entropy in range(100):
        backoff = Backoff()
        backoff.failed(0, entropy)
        pauses.add(backoff.at)

    assert (min(pauses), max(pauses), len(pauses)) == (25, 50, 26)


@pytest.mark.parametrize(
    ("before", "sent", "failed", "after"),
    [
        pytest.param(512, 9, True, 4, id="halved"),
        pytest.param(512, 1, True, 1, id="never less than one"),
        pytest.param(4, 4, False, 8, id="doubled"),
        pytest.param(512, 4, False, 512, id="never more than a batch"),
        pytest.param(4, 0, True, 4, id="a failure without writes says nothing"),
        pytest.param(4, 0, False, 4, id="nor does a success without writes"),
    ],
)
def test_D_3_batches_are_halved_and_doubled(before: int, sent: int, failed: bool, after: int) -> None:
    lane = Lane(0, max_writes=before)

    lane.resize(sent, failed=failed)

    assert lane.max_writes == after
