"""Task: an event-driven state machine (SPEC §7).

Rules that keep this file readable:

1. Every transition is a cell of `TABLE`, or part of `advance`, which starts the first thing that is
   due: queued events, then the unfinished run, then the schedule. An `on_error` that takes over from
   `execute` is started by the commit that does so.
2. There are two places for work: `intake`, on the first event of the inbox, and `run`, which executes.
   At most one of them holds a lease. While one does, or the inbox is not empty, events queue.
3. The alarm is `deadline(body)` and is never set by hand.

An instance is IDLE, SCHEDULED, QUEUED (events wait to be applied), or has an unfinished run: PENDING
(due at an instant), RUNNING (a lease is out, of either place) or PARKED (given up, kept).

`_phases`: what is derived from a body; `_work`: `advance`, and what a hook asked for; `_requests`: what
clients ask; `_facts`: how leased hooks end. Below: the table.
"""

from __future__ import annotations

from durable_jobs_core.events import (
    AlarmFired,
    AlarmMisfiled,
    DeadLettersRequested,
    DiscardRequested,
    HandlerFailed,
    HandlerReleased,
    HandlerSucceeded,
    LeaseRenewed,
    RedriveRequested,
    SendRequested,
    StateRequested,
    StatusRequested,
    TerminateRequested,
    TriggerRequested,
)
from durable_jobs_core.kinds import _shared as shared
from durable_jobs_core.kinds._table import Table, fenced, stay, to
from durable_jobs_core.kinds.task._facts import fail, give_up, succeed
from durable_jobs_core.kinds.task._phases import Phase, deadline, phase_of, status_of
from durable_jobs_core.kinds.task._requests import (
    dead_letters,
    discard,
    queue,
    receive,
    redrive,
    state,
    status,
    terminate,
    trigger,
)
from durable_jobs_core.kinds.task._work import advance

__all__ = ["TABLE", "Phase", "advance", "deadline", "phase_of", "status_of"]

_ABSENT, _IDLE, _SCHEDULED, _QUEUED, _PENDING, _RUNNING, _PARKED = Phase
_EXISTING = (_IDLE, _SCHEDULED, _QUEUED, _PENDING, _RUNNING, _PARKED)

TABLE: Table = {
    SendRequested: {
        **{p: to(receive, _ABSENT, _IDLE, _SCHEDULED, _RUNNING) for p in (_ABSENT, _IDLE, _SCHEDULED)},
        **stay(queue, _RUNNING),
        _QUEUED: to(queue, _QUEUED, _RUNNING),
        _PENDING: to(receive, _ABSENT, _IDLE, _SCHEDULED, _PENDING, _RUNNING),
        _PARKED: to(receive, _ABSENT, _IDLE, _SCHEDULED, _PENDING, _RUNNING, _PARKED),
    },
    TriggerRequested: {
        **stay(shared.trigger_nothing, _ABSENT),
        _IDLE: to(trigger, _PENDING, _RUNNING),
        _SCHEDULED: to(trigger, _PENDING, _RUNNING),
        _QUEUED: to(trigger, _QUEUED, _RUNNING),
        _PENDING: to(trigger, _PENDING, _RUNNING),
        **stay(trigger, _RUNNING),
        _PARKED: to(trigger, _QUEUED, _PENDING, _RUNNING),
    },
    TerminateRequested: {
        **stay(shared.terminate_nothing, _ABSENT),
        **{phase: to(terminate, _ABSENT) for phase in _EXISTING},
    },
    StatusRequested: stay(status, *Phase),
    StateRequested: stay(state, *Phase),
    DeadLettersRequested: {
        **stay(shared.not_found, _ABSENT),
        **stay(dead_letters, *_EXISTING),
    },
    RedriveRequested: {
        **stay(shared.not_found, _ABSENT),
        _IDLE: to(redrive, _IDLE, _QUEUED, _RUNNING),
        _SCHEDULED: to(redrive, _SCHEDULED, _QUEUED, _RUNNING),
        _QUEUED: to(redrive, _QUEUED, _RUNNING),
        _PENDING: to(redrive, _PENDING, _QUEUED, _RUNNING),
        **stay(redrive, _RUNNING),
        _PARKED: to(redrive, _PARKED, _QUEUED, _RUNNING),
    },
    DiscardRequested: {
        **stay(shared.not_found, _ABSENT),
        **stay(discard, _IDLE),
        **{phase: to(discard, phase, _RUNNING) for phase in _EXISTING if phase is not _IDLE},
    },
    AlarmMisfiled: stay(shared.repair, *Phase),
    AlarmFired: {
        **stay(shared.wake, _ABSENT, _IDLE),
        _SCHEDULED: to(shared.wake, _SCHEDULED, _RUNNING),
        _QUEUED: to(shared.wake, _QUEUED, _RUNNING),
        _PENDING: to(shared.wake, _PENDING, _RUNNING),
        _RUNNING: to(shared.expire(give_up), _ABSENT, _IDLE, _SCHEDULED, _RUNNING, _PARKED),
        _PARKED: to(shared.wake, _PARKED, _RUNNING),
    },
    HandlerSucceeded: fenced(succeed, _ABSENT, *_EXISTING),
    HandlerFailed: fenced(fail, _ABSENT, *_EXISTING),
    HandlerReleased: fenced(shared.release, _QUEUED, _PENDING, _RUNNING),
    LeaseRenewed: fenced(shared.renew, _RUNNING),
}
