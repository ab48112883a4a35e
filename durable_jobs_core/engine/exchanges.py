"""Exchanges: what each lane is asked, and what its answers mean."""

from __future__ import annotations

from durable_jobs_core.backend import (
    Answer,
    Claim,
    Committed,
    Conflicted,
    Damaged,
    Refused,
    Row,
    Unknown,
    Write,
    flaw,
)
from durable_jobs_core.codec import Loaded, Newer, load
from durable_jobs_core.engine import callers
from durable_jobs_core.engine.entries import Entry, Released
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lane import BACKOFF_MAX_MS, SHY_MAX_MS, Flight, Lane
from durable_jobs_core.engine.protocol import Answered, Exchange
from durable_jobs_core.engine.state import State
from durable_jobs_core.engine.turn import note_key, perform, rebased, turn
from durable_jobs_core.errors import StorageError
from durable_jobs_core.events import AlarmFired, AlarmMisfiled, HandlerEvent
from durable_jobs_core.failures import describe
from durable_jobs_core.record import Record
from durable_jobs_core.step import alarm_of
from durable_jobs_core.telemetry import HistoryRegressed
from durable_jobs_core.words import Job, Key, job_of

CONFLICTS_AT_ONCE = 2
"""After so many conflicts a key waits a moment before it is stepped again (D-3)."""

_FIRED = AlarmFired()


# -- asking


def send(state: State, lane: Lane) -> None:
    """Give the lane its next exchange, if it has none in flight and there is something to ask."""
    if lane.flight is not None or lane.asking.at > state.t or state.gives_up(lane):
        return
    if not state.clock.known:
        _ask(state, lane, 0, None)  # what time is it?
        return
    now = state.clock.now
    if lane.behind or state.t - lane.asked_t > state.limits.lease // 10:
        _lease_anew(state, lane, now)
    due = _is_claim_due(state, lane, now)
    if due or lane.can_build(state.t, now):
        _ask(state, lane, now, _claim(state, lane, now) if due and lane.trusted else None)


def _ask(state: State, lane: Lane, now: int, claim: Claim | None) -> None:
    flight = lane.build(state.new_id(), state.stamp, state.t, now, now + state.limits.exchange, claim)
    lane.asked_t = state.t
    state.needs.append(Exchange(flight.id, lane.id, flight.batch))


def _lease_anew(state: State, lane: Lane, now: int) -> None:
    """A lease that waited for its turn is taken anew: it would reach its handler half over, or as a crash."""
    for keeper in tuple(lane.writes.values()):
        since = keeper.leases_since
        if since is not None and now - since > state.limits.lease // 10:
            keeper.rewind()
            state.ready[keeper.key] = keeper
    turn(state)


def claim_at(state: State, lane: Lane) -> int | None:
    """When, on the driver's clock, a lane that is not busy is to be asked for due work; `None`: not now."""
    if state.stop_at is not None or not state.slots.any_free(state.runnable):
        return None
    at = state.t if state.slots.any_free(lane.unasked) else _look_at(state, lane)
    return max(at, lane.write_at)  # a claim is a write, too


def _look_at(state: State, lane: Lane) -> int:
    """When something may have fallen due."""
    if lane.next_wake is None:
        return lane.poll_at
    return min(lane.poll_at, state.clock.t_of(lane.next_wake + lane.later))


def _is_claim_due(state: State, lane: Lane, now: int) -> bool:
    at = claim_at(state, lane)
    return at is not None and at <= state.t and not lane.has_settling(now)


def _claim(state: State, lane: Lane, now: int) -> Claim:
    jobs, poll = state.runnable, state.limits.poll
    if _look_at(state, lane) <= state.t:
        lane.called = lane.told_wake is not None and lane.told_wake <= now
        lane.look_again(jobs, state.t + poll - state.entropy() % max(1, poll // 4))
    order = jobs[lane.turn :] + jobs[: lane.turn]
    asked = [job for job in order if job in lane.unasked]
    limits = state.slots.offer(asked, lane.hot, among=min(2, len(state.lanes)))
    lane.unasked -= limits.keys()
    for job, count in limits.items():
        state.slots.take(job, count)
    assert limits, "one of them has a slot, or nobody asks"
    lane.turn = (jobs.index(next(reversed(limits))) + 1) % len(jobs)
    state.lane_turn = (lane.id + 1) % len(state.lanes)
    return Claim(limits, now, now + state.limits.hold)


# -- hearing


def answered(state: State, answered: Answered) -> None:
    """An exchange has ended."""
    lane = next(lane for lane in state.lanes if lane.flight and lane.flight.id == answered.exchange)
    flight, lane.flight = lane.flight, None
    assert flight is not None, "checked"
    claim = flight.batch.claim
    if claim is not None:
        for job, count in claim.limits.items():
            state.slots.give(job, count)
    answer = answered.answer
    trouble: str | None
    if isinstance(answer, BaseException):
        trouble = str(describe(answer))
    elif (trouble := flaw(answer, flight.batch)) is not None:
        answer = StorageError(trouble)
    if state.journal is not None:
        state.journal.answered(flight.batch.writes, answer)
    if isinstance(answer, BaseException):
        assert trouble is not None, "why it is no answer"
        _lost(state, lane, flight, trouble)
        return
    lane.trusted = True
    state.clock.told(answer.clock, lane.asked_t)
    _take_outcomes(state, lane, flight, answer)
    for key, row in zip(flight.batch.loads, answer.rows, strict=True):
        keeper = state.keepers.get(key)
        if keeper is not None:
            _loaded(state, keeper, row, flight)
    if claim is not None:
        _take_claimed(state, lane, flight, claim, answer)


def _lost(state: State, lane: Lane, flight: Flight, trouble: str) -> None:
    """No answer: the writes are unknown, the loads are to be asked again."""
    lane.asking.failed(state.t, state.entropy())
    lane.note_trouble(trouble)
    lane.resize(len(flight.batch.writes), failed=True)
    if flight.batch.claim is not None:
        lane.trusted = len(state.lanes) == 1
        lane.unasked.update(flight.batch.claim.limits)
    for keeper in flight.keepers:
        if keeper is not None:
            keeper.outcome_unknown()
            state.ready[keeper.key] = keeper
    for key in flight.batch.loads:
        if key in state.keepers:
            state.ready[key] = state.keepers[key]
    if not state.clock.known:
        lane.greeted = False


def _take_outcomes(state: State, lane: Lane, flight: Flight, answer: Answer) -> None:
    failed = wait = False
    trouble = ""
    wakes: dict[Job, int] = {}
    for write, keeper, outcome in zip(flight.batch.writes, flight.keepers, answer.outcomes, strict=True):
        if keeper is None:  # nothing rests on an index entry
            if isinstance(outcome, (Refused, Unknown)):
                trouble = outcome.reason
            continue
        assert isinstance(write, Write), "it is of a keeper"
        if isinstance(outcome, Committed):
            if write.row is not None and write.row.wake is not None:
                wakes[keeper.job] = min(write.row.wake, wakes.get(keeper.job, write.row.wake))
            for stepped in keeper.committed(flight.stamp):
                perform(state, keeper, stepped.entry, stepped.then, committed=True)
            rebased(state, keeper)
        elif isinstance(outcome, Conflicted):
            found = _found(state, keeper, outcome.row)
            released = keeper.conflicted(found, flight.stamp, row=outcome.row)
            _release(state, keeper, released)
            _delay_after_conflict(state, keeper)
        elif isinstance(outcome, Refused):
            failed, wait, trouble = True, wait or outcome.transient, outcome.reason
            _refuse(state, keeper, outcome, alone=len(flight.batch.writes) == 1)
        else:
            failed = wait = True
            trouble = outcome.reason
            keeper.outcome_unknown()
            state.ready[keeper.key] = keeper
    _note_wakes(state, lane, wakes)
    lane.resize(len(flight.batch.writes), failed=failed)
    lane.asking.times = 0
    if wait:
        lane.writing.failed(state.t, state.entropy())
    elif lane.writing.at <= lane.asked_t:
        lane.writing.times = 0
    if trouble or not lane.writing.times:
        lane.note_trouble(trouble)


def _note_wakes(state: State, lane: Lane, wakes: dict[Job, int]) -> None:
    """This engine committed alarms, of each job the earliest: it need not be told of them."""
    for job, wake in wakes.items():
        if job not in state.runnable:
            continue
        if state.slots.free(job) > 0:
            lane.note_wake(wake)
        else:
            lane.unasked.add(job)  # a slot may come after the instant


def _release(state: State, keeper: Keeper, released: list[Released]) -> None:
    for item in released:
        perform(state, keeper, item.entry, item.then, committed=item.committed)
    rebased(state, keeper)


def _refuse(state: State, keeper: Keeper, outcome: Refused, *, alone: bool) -> None:
    """Nothing happened. If it can help, again later; else what was asked fails, alone (D-3)."""
    state.ready[keeper.key] = keeper
    for stepped in keeper.refused():
        entry = stepped.entry
        if entry.call is not None and entry.call not in state.calls.by_id:
            keeper.forget(entry)  # who asked was told that no one can tell, and others of the key wait
        elif alone and stepped.writes and not outcome.transient:
            _fail(state, keeper, entry, outcome.reason)


def _fail(state: State, keeper: Keeper, entry: Entry, reason: str) -> None:
    """An input cannot be written: its caller is told, and it is over, unless a handler has ended by it."""
    if isinstance(entry.event, HandlerEvent):  # kept until it is committed, stale or settled
        entry.conflicts += 1
        _delay(state, keeper, min(100 << min(entry.conflicts, 6), BACKOFF_MAX_MS))
        return
    key = f"{keeper.key}"
    where = "" if reason.startswith(key) else f"{key}: "
    callers.give_up(state, keeper, entry, StorageError(where + reason))


def _delay_after_conflict(state: State, keeper: Keeper) -> None:
    first = next(iter((*keeper.urgent, *keeper.requests)), None)
    if first is not None and first.conflicts > CONFLICTS_AT_ONCE:
        _delay(state, keeper, 1 << min(first.conflicts, 9))


def _delay(state: State, keeper: Keeper, longest: int) -> None:
    """Step the key again in a while, up to `longest` milliseconds."""
    state.delay(keeper, state.t + 1 + state.entropy() % longest)


def _loaded(state: State, keeper: Keeper, row: Row | Damaged | None, flight: Flight) -> None:
    found = _found(state, keeper, row)
    released = keeper.loaded(found, flight.stamp, final=flight.batch.settle, row=row)
    _release(state, keeper, released)


def _take_claimed(state: State, lane: Lane, flight: Flight, claim: Claim, answer: Answer) -> None:
    """Due runs: each is an alarm that fires now."""
    counts = dict.fromkeys(claim.limits, 0)
    useful = False
    for row in answer.claimed:
        job = job_of(row.key)
        counts[job] = counts.get(job, 0) + 1
        if job not in state.jobs:
            continue
        keeper = state.keeper(row.key)
        state.push(keeper, Entry(_FIRED, flight.stamp, urgent=True))  # its row is as fresh (D-7)
        _loaded(state, keeper, row, flight)
        useful = useful or not isinstance(keeper.base, Newer)
    lane.asked = True
    if useful:
        lane.came_first()
    elif answer.claimed:
        lane.gives_way()
    elif lane.called or (lane.hinted and not _is_near(answer.next_wake, claim.now)):
        lane.came_in_vain(state.node)
    lane.called = lane.hinted = False
    lane.told_wake = None if answer.next_wake == claim.until else answer.next_wake
    full = {job for job, limit in claim.limits.items() if counts[job] >= limit}
    lane.hot = (lane.hot - claim.limits.keys()) | full
    lane.unasked |= full
    if answer.next_wake is not None and answer.next_wake > claim.now:
        lane.note_wake(answer.next_wake)
    elif answer.next_wake is not None and answer.claimed:
        lane.unasked.update(claim.limits)  # there is more, and when the others fall due was not told


def _is_near(instant: int | None, now: int) -> bool:
    """Whether something falls due in a moment, of which a hint has told: then nobody has taken it."""
    return instant is not None and instant - now <= SHY_MAX_MS


def _found(state: State, keeper: Keeper, row: Row | Damaged | None) -> Loaded | None:
    """What was read, decoded."""
    try:
        return _decoded(state, keeper, row)
    except Exception as error:
        note_key(error, keeper.key)
        raise


def _decoded(state: State, keeper: Keeper, row: Row | Damaged | None) -> Loaded | None:
    """The same. A wrong alarm is to be repaired, a step back in history reported."""
    if row is None or isinstance(row, Damaged):
        return row
    found = keeper.base if row == keeper.row else load(keeper.definition, row)
    if not isinstance(found, Record):
        return found
    if row.wake != alarm_of(keeper.key.kind, found):
        state.push_fact(keeper, AlarmMisfiled(row.wake))
    base = keeper.base
    if isinstance(base, Record) and base.revision.life == found.revision.life:
        if not found.may_follow(base):
            _say_regressed(state, keeper.key, found, base)
    return found


def _say_regressed(state: State, key: Key, found: Record, expected: Record) -> None:
    state.emitted.append(
        HistoryRegressed(
            key=key,
            at=state.clock.now,
            life=found.revision.life,
            seq=None,
            found=found.revision.number,
            expected=expected.revision.number,
        )
    )
