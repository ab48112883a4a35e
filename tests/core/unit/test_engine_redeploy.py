"""An engine with a newer definition takes over what an older one left (S-8)."""

from __future__ import annotations

from support.rig import Rig
from support.samples import CHORE, chore, jobs, nothing

from durable_jobs_core.engine import HookRaised
from durable_jobs_core.events import SendRequested, TriggerRequested
from durable_jobs_core.retry import Retry


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
