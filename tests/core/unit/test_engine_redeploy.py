"""An engine with a newer definition takes over what an older one left (S-8)."""

from __future__ import annotations

from collections import Counter

import pytest
from support.rig import Rig, greeted
from support.samples import CHORE, TICK, chore, jobs, nothing, tick

from durable_jobs_core import Continuous, every
from durable_jobs_core.engine import HookRaised
from durable_jobs_core.events import SendRequested, StartRequested, TriggerRequested
from durable_jobs_core.record import Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.words import Key


def test_S_8_an_engine_whose_definition_has_no_on_idle_any_more_outlives_one_that_is_due() -> None:
    older = Rig(jobs(chore=chore(on_idle=nothing, retry=Retry(max_attempts=2, delay="1 second", jitter=0))))
    call = older.call(CHORE, SendRequested(event=1))
    older.settle()
    older.finish()  # on_event
    older.finish()  # on_idle
    older.settle()
    assert older.result(call).created
    older.ask(CHORE, TriggerRequested())
    older.finish()  # execute
    older.settle()
    older.finish(HookRaised(ValueError("no")))  # on_idle: it waits for its retry
    older.settle()

    older.t += 2_000  # the older one is gone
    newer = Rig(jobs(chore=chore(retry=None)), node=2, stores=older.stores, t=older.t)
    newer.settle()

    assert newer.record(CHORE).body.run is None
    assert [event.type for event in newer.events] == ["job.failed"]


@pytest.mark.parametrize("nodes", [(1, 2), (2, 1), (63, 64), (64, 63)])
def test_S_6_while_an_older_release_runs_beside_it_the_newer_one_runs_its_instances(
    nodes: tuple[int, int],
) -> None:
    """The older one is quicker by 50 ms, and what it claims it can only put back."""
    releases = [
        Continuous.make(
            state=int,
            schedule=every("2 seconds"),
            execute=nothing,
            state_version=version,
            upcasters={1: int} if version == 2 else {},
        )
        for version in (1, 2)
    ]
    older = greeted(jobs(tick=releases[0]), node=nodes[0])
    newer = greeted(jobs(tick=releases[1]), node=nodes[1], stores=older.stores)
    newer.ask(TICK, StartRequested(Stored(2, 0)))

    for _ in range(1_200):
        for rig in (older, newer):
            rig.wait(50)
            while rig.invokes:
                rig.finish()
            rig.settle()

    assert newer.record(TICK).body.runs >= 25


def test_S_6_of_however_many_newer_records_each_is_held_longer_each_time() -> None:
    """As after a step back: more than the older release could remember came back each second, for ever."""
    newer = greeted(jobs(tick=tick(state_version=2)), worker=False)
    for number in range(1_001):
        newer.ask(Key("continuous", "tick", str(number)), StartRequested(Stored(2, 0)))
    older = greeted(node=2, stores=newer.stores)

    for _ in range(40):
        newer.wait(500)
        older.wait(500)

    seen = Counter(event.key for event in older.events)
    assert len(seen) == 1_001
    assert max(seen.values()) <= 5
