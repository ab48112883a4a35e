"""Where the original stands, read from its recorded storage, and ours standing in the same place.

After a difference ours is put where the original stands, so that every later step is judged by
itself, not by what an earlier one left. What the original has and ours never does (an orphan of a
refused request, what a terminated handler left behind) has no counterpart: there is no instance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from durable_jobs_core.definitions import AnyDefinition, Continuous, Debounce
from durable_jobs_core.record import (
    AnyBody,
    Batch,
    ContinuousBody,
    DebounceBody,
    FlushReason,
    Run,
    Stored,
    TaskBody,
    Window,
)
from durable_jobs_core.schedule import first_due
from durable_jobs_core.words import Kind


@frozen(kw_only=True)
class Place:
    """Where one instance of the original stands after a step.

    `failed`: its last flush failed and was not retried; `reason`: why its batch is being flushed.
    """

    kind: Kind
    job: str
    storage: Mapping[str, Any] = field(factory=dict)
    alarm: float | None = None
    failed: bool = False
    reason: FlushReason = "flushAfter"

    def after(self, out: Mapping[str, Any]) -> Place:
        """The place after a step."""
        failed, reason = self.failed, self.reason
        for call in out["calls"]:
            if self.kind == "debounce" and call["handler"] == "execute":
                first = call["ctx"]["attempt"] == 1
                reason = call["ctx"]["flushReason"] if first and not failed else reason
                failed = "error" in out
        if out["op"] in ("fire_alarm", "flush") and "error" in out:
            failed = True
        if not out["storage"].get("deb:count"):
            failed = False
        return evolve(self, storage=out["storage"], alarm=out["alarm"], failed=failed, reason=reason)

    @property
    def exists(self) -> bool:
        """There is an instance, be it an orphan."""
        return "meta" in self.storage

    @property
    def unfinished(self) -> bool:
        """It holds a batch, or a run, that has failed."""
        return self.attempt is not None or self.failed

    @property
    def orphan(self) -> bool:
        """A refused request has left an instance without a window or a state."""
        unborn = {"continuous": self.storage.get("meta", {}).get("status") == "initializing"}
        unborn["debounce"] = not self.storage.get("deb:count")
        return self.exists and unborn.get(self.kind, False)

    @property
    def stopped(self) -> bool:
        """It has a status that the original obeys and never writes."""
        return self.storage.get("meta", {}).get("status") in ("stopped", "terminated")

    @property
    def unregistered(self) -> bool:
        """Its job is not registered under the name it has."""
        return self.exists and self.storage["meta"].get("name") != self.job

    @property
    def residue(self) -> bool:
        """There is no instance, and something of it is left."""
        return not self.exists and bool(self.storage)

    @property
    def stuck(self) -> bool:
        """It has work, and nothing will wake it."""
        has_work = self.kind == "continuous" or bool(self.storage.get("deb:count"))
        return self.exists and self.alarm is None and not self.orphan and has_work

    @property
    def stale(self) -> bool:
        """A schedule that has fired is still there (section 13, B26)."""
        return self.alarm is None and "task:scheduledAt" in self.storage

    @property
    def attempt(self) -> int | None:
        """The attempt it waits for."""
        waits = self.exists and not self.stuck and not self.failed
        return self.storage.get("retry:attempt") if waits else None

    def view(self) -> dict[str, Any]:
        """What is compared as its state."""
        if not self.exists:
            return {"exists": False}
        get = self.storage.get
        view = {"exists": True, "state": get("state")}
        if self.kind == "continuous":
            return {**view, "runCount": get("cont:runCount", 0), "attempt": self.attempt}
        if self.kind == "debounce":
            started = get("deb:startedAt")
            count = get("deb:count", 0)
            held = count if self.failed or self.attempt is not None else 0
            return {**view, "eventCount": count, "held": held, "startedAt": started, "attempt": self.attempt}
        counts = {"eventCount": get("task:eventCount", 0), "executeCount": get("task:execCount", 0)}
        scheduled = None if self.stale else get("task:scheduledAt")
        created = get("task:createdAt", self.storage["meta"]["createdAt"])
        view.update(counts, createdAt=created, scheduledAt=scheduled)
        return {**view, "parked": False}

    def body(self, definition: AnyDefinition, now: int) -> AnyBody | None:
        """Ours standing there; `now`: when a run that the original lost is seen to be over."""
        if not self.exists or self.orphan:
            return None
        get, alarm = dict[str, Any](self.storage).get, _whole(self.alarm)
        state = Stored(1, get("state"))
        run = None
        if self.attempt is not None:
            number = max(1, get("cont:runCount", 1))
            run = Run(
                number=number,
                hook="execute",
                attempt=self.attempt,
                due=alarm,
                first_at=_whole(get("retry:startedAt")),
            )
        if isinstance(definition, Continuous):
            next_at = first_due(definition.schedule, now) if alarm is None else alarm
            if run is not None:
                next_at = run.first_at if run.first_at is not None else alarm
                run = evolve(run, scheduled_for=next_at)
            runs = get("cont:runCount", 0)
            return ContinuousBody(
                state=state, next_at=next_at, runs=runs, run=run, last_run_at=_whole(get("cont:lastAt"))
            )
        if isinstance(definition, Debounce):
            count, started = int(get("deb:count", 0)), _whole(get("deb:startedAt")) or now
            if self.failed:
                run = Run(number=1, hook="execute")
            if run is not None:
                batch = Batch(state=state, count=count, started_at=started, reason=self.reason)
                return DebounceBody(batch=batch, run=run, runs=run.number)
            due = now + definition.flush_after_ms if alarm is None else alarm
            return DebounceBody(window=Window(state=state, count=count, started_at=started, due_at=due))
        return TaskBody(
            state=None if get("state") is None else state,
            scheduled_at=None if self.stale else _whole(get("task:scheduledAt")),
            event_count=get("task:eventCount", 0),
            execute_count=get("task:execCount", 0),
            runs=get("task:execCount", 0),
        )


def _whole(instant: Any) -> int | None:
    return None if instant is None else math.floor(instant)


def view_of(body: AnyBody | None, created_at: int | None) -> dict[str, Any]:
    """What is compared as the state of ours."""
    if body is None or (isinstance(body, DebounceBody) and body.window is None and body.batch is None):
        return {"exists": False}
    attempt = None if body.run is None or body.run.parked else body.run.attempt
    if attempt == 1 and body.run is not None and body.run.lease is None:
        attempt = None
    if isinstance(body, ContinuousBody):
        return {"exists": True, "state": body.state.value, "runCount": body.runs, "attempt": attempt}
    if isinstance(body, DebounceBody):
        held = [part for part in (body.batch, body.window) if part is not None]
        return {
            "exists": True,
            "state": held[-1].state.value,
            "eventCount": sum(part.count for part in held),
            "held": 0 if body.batch is None else body.batch.count,
            "startedAt": held[0].started_at,
            "attempt": attempt,
        }
    return {
        "exists": True,
        "state": None if body.state is None else body.state.value,
        "eventCount": body.event_count,
        "executeCount": body.execute_count,
        "createdAt": created_at,
        "scheduledAt": body.scheduled_at,
        "parked": body.run is not None and body.run.parked,
    }


def has_work(body: AnyBody | None) -> bool:
    """Whether ours has something to do by itself, for which it needs an alarm (I-4)."""
    if body is None or (body.run is not None and body.run.parked):
        return False
    if isinstance(body, ContinuousBody):
        return not body.paused
    if isinstance(body, DebounceBody):
        return body.window is not None or body.run is not None
    return bool(body.inbox) or body.run is not None or body.scheduled_at is not None
