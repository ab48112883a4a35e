"""What can be told from two records and nothing else: the alarm, the counts, and how to say them.

None of it uses the core's own rules: it says again, in its own words, what SPEC wants.
"""

from __future__ import annotations

from typing import NamedTuple

from durable_jobs_core.record import AnyBody, ContinuousBody, DebounceBody, Record, Run, Stored, TaskBody
from durable_jobs_simulation.trace import clock
from durable_jobs_simulation.violation import Violated


def runs_of(body: AnyBody) -> tuple[Run, ...]:
    """The unfinished runs, the work on a queued event among them."""
    runs = (body.intake, body.run) if isinstance(body, TaskBody) else (body.run,)
    return tuple(run for run in runs if run is not None)


def leased(record: Record | None) -> Run | None:
    """The run a lease is out for; more than one violates I-3."""
    if record is None:
        return None
    return _leased(record.body)


def _leased(body: AnyBody) -> Run | None:
    run = body.run
    run = run if run is not None and run.lease is not None else None
    intake = body.intake if isinstance(body, TaskBody) else None
    if intake is None or intake.lease is None:
        return run
    if run is not None:
        raise Violated("I-3", "2 leases at a time")
    return intake


def ends(before: Record, after: Record | None) -> bool:
    """Whether the life of a record is over with the one that takes its place."""
    return after is None or after.revision.life != before.revision.life


def state_of(body: AnyBody) -> Stored | None:
    """What a leased hook is shown as the state."""
    if isinstance(body, DebounceBody):
        return None if body.batch is None else body.batch.state
    return body.state


def starts_at(body: AnyBody) -> int | None:
    """The earliest instant at which something may start; `None`: never by itself (I-4)."""
    flying = _leased(body)
    if flying is not None and flying.lease is not None:
        return flying.lease.until
    if isinstance(body, ContinuousBody):
        return _continuous(body)
    if isinstance(body, DebounceBody):
        return _debounce(body)
    return _task(body)


def _continuous(body: ContinuousBody) -> int | None:
    if body.run is None:
        return None if body.paused else body.next_at
    return None if body.paused and not body.run.forced else body.run.due


def _debounce(body: DebounceBody) -> int | None:
    if body.run is not None and not body.run.parked:
        return body.run.due
    if body.window is not None:
        return body.window.due_at
    if body.run is not None:
        return None
    kept = [until for _, until in body.ids]
    kept += [body.outcome.at + 60_000] if body.marked and body.outcome is not None else []
    return max(kept, default=0)


def _task(body: TaskBody) -> int | None:
    if body.inbox and body.intake is None:
        return 0
    first = body.intake if body.inbox else body.run
    if first is not None and not first.parked:
        return first.due
    return body.scheduled_at


def check_alarm(record: Record, wake: int | None) -> None:
    """I-4: work that may start has an alarm not later than it, or than the commit if it is due already."""
    at, body = starts_at(record.body), record.body
    if at is not None and (wake is None or wake > max(at, record.at)):
        raise Violated("I-4", f"something may start at {at} and the alarm is {wake}")
    stops = isinstance(body, ContinuousBody) and body.run is None and not body.paused and body.next_at is None
    if stops and body.last_error is None:
        raise Violated("I-4", "the schedule has silently stopped")


def check_counts(before: Record, after: Record) -> None:
    """I-6: within a life counts only grow, and time does not go back."""
    if after.revision.number <= before.revision.number:
        raise Violated("I-3", f"the revision went from {before.revision.number} to {after.revision.number}")
    if after.at < before.at:
        raise Violated("S-7", f"time went back from {before.at} to {after.at}")
    if after.seq < before.seq:
        raise Violated("I-7", f"seq went back from {before.seq} to {after.seq}")
    for name in ("runs", "ended", "event_count", "execute_count"):
        was, is_ = getattr(before.body, name, 0), getattr(after.body, name, 0)
        if is_ < was:
            raise Violated("I-6", f"{name} went back from {was} to {is_}")
    for run in runs_of(after.body):
        if run.number > after.body.runs:
            raise Violated("I-6", f"run {run.number} of {after.body.runs}")


def check_window(before: DebounceBody, after: DebounceBody) -> None:
    """I-2: a window that closes is the batch, whole."""
    window, batch = before.window, after.batch
    if batch is None or (
        before.batch is not None and after.run and before.run and after.run.number == before.run.number
    ):
        return
    if window is None or window.started_at != batch.started_at:
        return
    if batch.count < window.count:
        raise Violated("I-2", f"a window of {window.count} events became a batch of {batch.count}")
    if batch.count == window.count and batch.state.value != window.state.value:
        raise Violated("I-2", "a window closed and the batch has another state")


def check_inbox(before: TaskBody, after: TaskBody) -> None:
    """S-51: only the first event leaves the inbox, the others keep their order, new ones are behind them."""
    was = before.inbox
    if was not in (after.inbox[: len(was)], (*was[:1], *after.inbox[: len(was) - 1])):
        raise Violated("S-51", f"the inbox went from {was} to {after.inbox}")


class Told(NamedTuple):
    """A record at an instant, to be told in a few words if anybody reads them."""

    record: Record | None
    now: int

    def __str__(self) -> str:
        return _tell(self.record, self.now)


def _tell(record: Record | None, now: int) -> str:
    if record is None:
        return "deleted"
    body, parts = record.body, list[str]()
    for run in runs_of(body):
        parts.append(_tell_run(run, now))
    if isinstance(body, ContinuousBody):
        parts.append(f"next {_in(body.next_at, now)}")
        parts += ["paused"] if body.paused else []
    elif isinstance(body, DebounceBody):
        if body.window is not None:
            parts.append(f"window of {body.window.count} due {_in(body.window.due_at, now)}")
        if body.batch is not None:
            parts.append(f"batch of {body.batch.count}")
        parts += [f"{len(body.ids)} ids"] if body.ids else []
    else:
        parts.append(f"scheduled {_in(body.scheduled_at, now)}")
        parts.append(f"events {body.event_count} inbox {len(body.inbox)} dead {len(body.dead)}")
    return f"#{record.revision.number} " + ", ".join(parts)


def _tell_run(run: Run, now: int) -> str:
    name = f"run {run.number} {run.hook} attempt {run.attempt}"
    if run.crashes:
        name += f" crashes {run.crashes}"
    if run.lease is not None:
        return f"{name} leased until {_in(run.lease.until, now)}"
    return f"{name} parked" if run.due is None else f"{name} due {_in(run.due, now)}"


def _in(instant: int | None, now: int) -> str:
    if instant is None:
        return "never"
    return f"+{clock(instant - now)}" if instant >= now else f"-{clock(now - instant)}"
