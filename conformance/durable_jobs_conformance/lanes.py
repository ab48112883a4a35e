"""A batch that concerns several lanes, as an engine would ask it: one exchange with each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve

from durable_jobs_core.backend import Answer, Backend, Batch


def split(backend: Backend, batch: Batch) -> dict[int, Batch]:
    """What each lane is asked; a claim is made of all of them."""
    keys = [*(write.key for write in batch.writes), *batch.loads]
    lanes = range(backend.lanes) if batch.claim is not None else {backend.lane(key) for key in keys} or {0}
    return {
        lane: evolve(
            batch,
            writes=tuple(write for write in batch.writes if backend.lane(write.key) == lane),
            loads=tuple(key for key in batch.loads if backend.lane(key) == lane),
        )
        for lane in sorted(lanes)
    }


def join(backend: Backend, batch: Batch, answers: Mapping[int, Answer]) -> Answer:
    """What all lanes answered, in the order of the batch; the clock is the one that is behind."""
    outcomes = {lane: iter(answer.outcomes) for lane, answer in answers.items()}
    rows = {lane: iter(answer.rows) for lane, answer in answers.items()}
    wakes: Iterator[int] = (one.next_wake for one in answers.values() if one.next_wake is not None)
    return Answer(
        outcomes=tuple(next(outcomes[backend.lane(write.key)]) for write in batch.writes),
        rows=tuple(next(rows[backend.lane(key)]) for key in batch.loads),
        claimed=tuple(row for answer in answers.values() for row in answer.claimed),
        next_wake=min(wakes, default=None),
        clock=min(answer.clock for answer in answers.values()),
    )
