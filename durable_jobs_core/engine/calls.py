"""The callers that wait for an answer: their number, their deadlines, and the runs they watch (S-38)."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from durable_jobs_core.effects import Watch
from durable_jobs_core.engine.entries import Entry
from durable_jobs_core.words import Key

POLL_FIRST_MS = 20
POLL_MAX_MS = 1_000


@define(eq=False)
class Call:
    """One caller. `gone`: it wants no answer any more. `watch`, `result`: once its request is committed
    and it waits for a run; `poll_at`: when to look for that run, `poll_ms` after the last look."""

    id: int
    key: Key
    entry: Entry
    deadline: int
    size: int
    gone: bool = False
    watch: Watch | None = None
    result: Any = None
    poll_at: int = 0
    poll_ms: int = POLL_FIRST_MS


@define(eq=False)
class Calls:
    """All callers: `by_id`, none of which is `None`, as inputs of the engine's own have it.
    `earliest`: no deadline and no look is due before it, on the driver's clock."""

    by_id: dict[int | None, Call] = field(factory=dict)
    watching: dict[Key, dict[int, Call]] = field(factory=dict)
    bytes: int = 0
    earliest: int | None = None

    def add(self, call: Call) -> None:
        """A caller came."""
        self.by_id[call.id] = call
        self.bytes += call.size
        self._note(call.deadline)

    def remove(self, id: int | None) -> Call | None:
        """A caller was answered, or went."""
        call = self.by_id.pop(id, None)
        if call is None:
            return None
        self.bytes -= call.size
        if call.watch is not None:
            del self.watching[call.key][call.id]
            if not self.watching[call.key]:
                del self.watching[call.key]
        return call

    def watch(self, call: Call, watch: Watch, result: Any, until: int, t: int) -> None:
        """From here on the caller waits for a run, until `until`."""
        call.watch, call.result, call.deadline = watch, result, until
        call.poll_at = t + call.poll_ms
        self.watching.setdefault(call.key, {})[call.id] = call
        self._note(min(until, call.poll_at))

    def _note(self, t: int) -> None:
        if self.earliest is None or t < self.earliest:
            self.earliest = t

    def hurry(self, t: int) -> None:
        """Something may have happened: look again for those who wait."""
        for calls in self.watching.values():
            for call in calls.values():
                call.poll_at = t
        if self.watching:
            self._note(t)

    def due(self, t: int) -> tuple[list[Call], list[Call]]:
        """The callers whose time is up, and those for whom to look again."""
        if self.earliest is None or t < self.earliest:
            return [], []
        expired: list[Call] = []
        polls: list[Call] = []
        self.earliest = None
        for call in self.by_id.values():
            if call.deadline <= t:
                expired.append(call)
                continue
            if call.watch is not None and call.poll_at <= t:
                polls.append(call)
                call.poll_ms = min(2 * call.poll_ms, POLL_MAX_MS)
                call.poll_at = t + call.poll_ms
            self._note(call.deadline if call.watch is None else min(call.deadline, call.poll_at))
        return expired, polls
