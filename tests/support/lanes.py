"""Engines whose lane is busy, or does not take what it is given."""

from __future__ import annotations

from typing import Any

from support.rig import Rig, greeted
from support.samples import START, TICK

from durable_jobs_core.events import AddRequested, StatusRequested
from durable_jobs_core.words import Key


def add(event: int = 1) -> AddRequested:
    """An event for a debounce."""
    return AddRequested(event=event)


def latest(name: object) -> Key:
    """Another instance of `latest`."""
    return Key("debounce", "latest", str(name))


def refused(rig: Rig, times: int = 1) -> Rig:
    """A rig whose writes are not taken: one waits, until half of the pause is over at least."""
    rig.draw(0)
    rig.call(TICK, START)
    rig.refuse(transient=True)
    for _ in range(times - 1):
        rig.wait(rig.engine._state.lanes[0].write_at - rig.t, settle=False)
        rig.refuse(transient=True)
    return rig


def reading(**options: Any) -> Rig:
    """An engine whose lane is busy: it reads another instance, and polls no more."""
    rig = greeted(poll=1_000_000, **options)
    rig.call(latest("other"), StatusRequested())
    assert [exchange.batch.loads for exchange in rig.exchanges] == [(latest("other"),)]
    return rig
