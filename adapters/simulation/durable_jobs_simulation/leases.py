"""What a lease that is taken must follow from: attempts and crashes that were counted, and its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable_jobs_core.engine import HookReturned
from durable_jobs_core.record import ContinuousBody, Record, Run
from durable_jobs_core.words import Job, Key, job_of
from durable_jobs_simulation import checks
from durable_jobs_simulation.history import Attempt, History
from durable_jobs_simulation.violation import Violated
from durable_jobs_simulation.watched import Watched

if TYPE_CHECKING:
    from durable_jobs_simulation.node import Node


def mixed(world: Watched) -> bool:
    """Whether nodes run different releases."""
    return world.faults.old_release > 0 and len(world.releases) > 1


def check_attempt(world: Watched, history: History, new: Attempt, after: Record) -> None:
    """I-6: attempts and crashes count what happened, and keep to the policy."""
    old = history.latest
    definition = world.releases[-1].by_key.get((history.key.kind, history.key.job))
    if definition is not None:
        most = 1 if definition.retry is None else definition.retry.max_attempts
        if not mixed(world) and new.attempt > most:
            raise Violated("I-6", f"attempt {new.attempt} of at most {most}")
        if new.crashes > definition.max_crashes:
            raise Violated("I-6", f"{new.crashes} crashes of at most {definition.max_crashes}")
    if old is None or (old.life, old.run, old.hook) != (new.life, new.run, new.hook):
        return
    if (new.attempt, new.crashes) == (1, 0):
        return
    failed, crashed = new.attempt - old.attempt, new.crashes - old.crashes
    if (failed, crashed) == (0, 0):
        if old.invoked and not old.stopping:
            raise Violated("I-6", f"attempt {new.attempt} began again and nothing was counted")
    elif (failed, crashed) == (0, 1):
        if after.at < old.until:
            raise Violated("S-14", f"a crash was counted {old.until - after.at} ms before the lease ended")
    elif (failed, crashed) == (1, 0):
        if old.outcome is None and old.invoked:
            raise Violated("I-6", f"attempt {new.attempt} follows one that has not ended")
    else:
        raise Violated("I-6", f"attempts went up by {failed} and crashes by {crashed}")


def check_counted(old: Attempt, after: Record) -> None:
    """I-6: an attempt that failed is counted, also if the next one has not begun. A revival counts anew."""
    if old.stopping or old.outcome is None or isinstance(old.outcome, HookReturned):
        return
    for run in checks.runs_of(after.body):
        same = (old.life, run.number, run.hook, run.attempt, run.crashes) == old.facts
        waits = run.lease is None and not run.parked
        if same and waits and run.first_at is not None:
            raise Violated("I-6", f"attempt {run.attempt} of run {run.number} failed and was not counted")


def check_slots(node: Node, key: Key) -> None:
    """S-69: there is a slot for one more attempt; threads that were left behind keep theirs."""
    running, most, beside, own = _slots(node, job_of(key))
    if running >= most:
        raise Violated("S-69", f"{key}: {running} attempts run already, of at most {most}")
    if own is not None and beside >= own:
        raise Violated("S-69", f"{key}: {beside} attempts of its job run already, of at most {own}")


def has_slot(node: Node, job: Job) -> bool:
    """The same, asked."""
    running, most, beside, own = _slots(node, job)
    return running < most and (own is None or beside < own)


def _slots(node: Node, job: Job) -> tuple[int, int, int, int | None]:
    """How many attempts run, and may at most; how many of a job."""
    jobs, limits = [job_of(run.invoke.key) for run in node.hooks if run.invoke.leased], node.world.limits
    own = limits.per_job.get(job, node.jobs.by_key[job].concurrency)
    return len(jobs), limits.concurrency, jobs.count(job), own


def check_early(world: Watched, new: Attempt, run: Run, before: Record | None) -> None:
    """S-13: no run is early by the store's clock, as far as the nodes' clocks go right."""
    if world.faults.drift:
        return
    now, waited = world.now, None
    if run.scheduled_for is not None and not run.forced:
        waited = run.scheduled_for
    resumes = before is not None and isinstance(before.body, ContinuousBody)  # that makes a retry due
    for old in () if before is None or resumes else checks.runs_of(before.body):
        if run.attempt > 1 and (old.number, old.hook, old.attempt) == (run.number, run.hook, run.attempt):
            waited = old.due
    if waited is not None and now < waited:
        raise Violated("S-13", f"run {new.run} began {waited - now} ms early")


def of_paused(run: Run, before: Record | None, after: Record) -> bool:
    """S-35: whether a tick or a retry of a paused instance starts; only what a trigger has asked for may."""
    bodies = (None if before is None else before.body, after.body)
    return not run.forced and all(isinstance(body, ContinuousBody) and body.paused for body in bodies)
