"""Whether nodes that are well do things in time, and no oftener: claims of due work, renewals of leases.

A node is well while nothing befalls it, its clock or its exchanges that may make it late: once the faults
are over, and before that if there are none of the sort. How late it may be then depends on limits, hooks and
load: only our own scenarios are held to it, so that no user is told of a fault that is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from durable_jobs_core.backend import Answer, Refused
from durable_jobs_core.engine import Answered, Exchange
from durable_jobs_core.record import Record
from durable_jobs_core.words import Job, Key, job_of
from durable_jobs_simulation import checks, leases
from durable_jobs_simulation.violation import Violated

if TYPE_CHECKING:
    from durable_jobs_simulation.node import Node
    from durable_jobs_simulation.world import World

SLACK_MS = 1_000
"""For exchanges on their way, for conflicts, and for who comes later than others."""
TURN_MS = 10
"""An engine with one slot asks for a job of a lane at a time."""
RECOVERS_MS = 5_000
"""An engine waits no longer than that after an exchange that failed. A lease in a write that was lost keeps
its slot for longer: until the write can no longer land."""
IN_VAIN_MAX = 50
"""So often an engine may be woken, or ask for due work, and nothing comes of it."""
MAKES_LATE = {
    *("stall", "drift", "outage", "partition", "lost_request", "lost_answer", "unknown", "slow", "full"),
    *("refused_transient", "refused_permanent", "damage", "newer", "old_release"),
}


class Pace:
    """Of one life of a node."""

    def __init__(self, node: Node) -> None:
        self._node, self._world, self.name = node, node.world, node.name
        self._well_at = node.world.now
        self._asked: dict[int, tuple[Exchange, bool]] = {}
        """What is in flight, and whether it may be late, or go wrong."""
        self._full: dict[Job, int] = {}
        """When there was last no slot for a job."""
        self._ended: dict[Key, int] = {}
        """When a handler of a key did."""
        self._ticked, self._woken = False, 0
        self._in_vain, self._vain_since, self._filed = 0, node.world.now, 0

    @property
    def well_since(self) -> int | None:
        """Since when nothing befalls it; `None` if something does."""
        ails = self._node.stalled or any(ails for _, ails in self._asked.values())
        well = self._node.up and not ails
        return max(self._well_at, self._world.prompt.even_since) if well else None

    def free_since(self, job: Job) -> int | None:
        """Since when it could have run a job."""
        node, since = self._node, self.well_since
        able = node.worker and not node.stopping and job in node.jobs.by_key and leases.has_slot(node, job)
        return max(since, self._full.get(job, 0)) if able and since is not None else None

    def held(self, key: Key, since: int) -> int:
        """For how long it has held in vain what it claimed at `since`: well, and without a handler of it."""
        well, node = self.well_since, self._node
        busy = any(run.invoke.leased and run.invoke.key == key for run in node.hooks)
        if self is not node.pace or busy or well is None or well > since:
            return 0
        return self._world.now - max(since, self._ended.get(key, 0))

    def frees(self, key: Key) -> None:
        """A hook is about to give its slot back."""
        self._ended[key] = self._world.now
        for job in self._node.jobs.by_key:
            if not leases.has_slot(self._node, job):
                self._full[job] = self._world.now

    def asks(self, exchange: Exchange) -> None:
        """An exchange leaves."""
        self._asked[exchange.id] = exchange, not self._world.prompt.even

    def hears(self, answered: Answered) -> None:
        """It has ended."""
        exchange, ailed = self._asked.pop(answered.exchange)
        batch, answer = exchange.batch, answered.answer
        if ailed or _refuses(answer):
            self._well_at = self._world.now + RECOVERS_MS + self._world.limits.exchange
        if batch.claim is not None and isinstance(answer, Answer):
            self._claimed(bool(batch.writes or batch.loads or answer.claimed))

    def _claimed(self, brought: bool) -> None:
        """D-4: what nobody has filed nobody asks for, but for the poll."""
        world = self._world
        if brought or self._filed != world.prompt.filed:
            self._in_vain, self._vain_since, self._filed = 0, world.now, world.prompt.filed
        self._in_vain += 1
        ms, jobs = world.now - self._vain_since, len(self._node.jobs.by_key)
        polls = 1 + 2 * ms // world.limits.poll
        if self._in_vain > IN_VAIN_MAX + polls * world.store.lanes * jobs:  # with one slot, a job at a time
            times = f"{self._in_vain} times in {ms} ms"
            world.prompt.blame("D-4", f"{self._node.name} asked {times} for due work, and there was none")

    def ticks(self) -> None:
        """It is woken, as it wanted to be."""
        self._ticked = True

    def acts(self, needs: bool) -> None:
        """Its needs are drained; whether there were any."""
        self._woken = self._woken + 1 if self._ticked and not needs else 0
        self._ticked = False
        if self._woken <= IN_VAIN_MAX:
            return
        timers = self._node.open_calls + len(self._node.hooks)  # they go off while the store is slow, too
        if self._woken > IN_VAIN_MAX * (1 + timers):
            times = f"{self._woken} times in a row"
            self._world.prompt.blame("engine", f"{self._node.name} was woken {times} for nothing")


def _refuses(answer: Answer | BaseException) -> bool:
    """Whether a write was not taken; without faults, one that came too late."""
    return isinstance(answer, Answer) and any(isinstance(outcome, Refused) for outcome in answer.outcomes)


class Promptness:
    """Of all nodes. `judges`: whether it is a violation to be late; `filed`: how often an index entry was
    set; `even`: nothing befalls the store, clocks and stored rows; `even_since`: since when, long enough for
    all to have recovered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._due: dict[Key, int] = {}
        """Since when an entry is due, or will be."""
        self._known: dict[Key, Pace] = {}
        """Who wrote the alarm that is filed, and so is not to be told of it by a poll."""
        self._claimed: dict[Key, tuple[Pace, int]] = {}
        """Who claimed what is held, and when."""
        self.judges = False
        self.filed = 0
        self.even = MAKES_LATE.isdisjoint(world.faults.rates())
        self.even_since = world.now

    def blame(self, rule: str, why: str) -> None:
        """Somebody was late, or came in vain."""
        if self.judges:
            raise Violated(rule, why)

    def calm(self) -> None:
        """The faults are over."""
        if not self.even:
            self.even, self.even_since = True, self._world.now + RECOVERS_MS

    def indexed(self, key: Key) -> None:
        """An entry is set, or taken out. S-69: it was not due for long while a node could have claimed it."""
        self.filed += 1
        world = self._world
        due, entry = self._due.pop(key, world.now), world.store.entries.get(key)
        if entry is not None:
            self._due[key] = max(entry, world.now)
        knows = self._known.pop(key, None)
        for node in world.nodes if due < world.now else ():
            free = node.pace.free_since(job_of(key)) if node.up else None
            late = 0 if free is None else world.now - max(due, free)
            turns = TURN_MS * len(node.jobs.by_key) * world.store.lanes
            if late > SLACK_MS + turns + (0 if node.pace is knows else world.limits.poll):
                self.blame("S-69", f"{key} was due for {late} ms, and {node.name} had a slot for it")
        self._let_go(key)

    def claimed(self, node: Node, keys: Iterable[Key]) -> None:
        """A node has claimed these."""
        self._claimed.update((key, (node.pace, self._world.now)) for key in keys)

    def _let_go(self, key: Key) -> None:
        """D-4: what is claimed is run, or put back; it is not held in vain."""
        pace, since = self._claimed.pop(key, (None, 0))
        ms = 0 if pace is None else pace.held(key, since)
        if pace is not None and ms > SLACK_MS:
            self.blame("D-4", f"{key} was claimed by {pace.name}, and neither run nor put back in {ms} ms")

    def closes(self, node: Node) -> None:
        """The same of one that closes."""
        for key, (pace, since) in self._claimed.items():
            if pace is node.pace and pace.held(key, since):
                self.blame("D-4", f"{key} was claimed by {pace.name}, which has closed and holds it")

    def committed(self, key: Key, engine: int, before: Record | None, after: Record | None) -> None:
        """A write has taken effect: a lease may be renewed by it."""
        writer, was, is_ = self._living(engine), checks.leased(before), checks.leased(after)
        if writer is not None:
            self._known[key] = writer.pace
        if was is None or was.lease is None or before is None or after is None or checks.ends(before, after):
            return
        holder, until = self._living(was.lease.token.engine), was.lease.until
        if holder is None or is_ is None or is_.lease is None or is_.lease.token != was.lease.token:
            return
        if is_.lease.until > until:
            self._check_renewal(key, holder, until)

    def _check_renewal(self, key: Key, holder: Node, until: int) -> None:
        """S-13: a lease is renewed when a third of it is over."""
        span, now, well = self._world.limits.lease, self._world.now, holder.pace.well_since
        third = until - span + span // 3
        if now < third and not self._world.faults.drift:
            self.blame("S-13", f"{key}: {holder.name} renewed its lease {third - now} ms early")
        if now > third + max(span // 10, SLACK_MS) and well is not None and well <= third:
            self.blame("S-13", f"{key}: {holder.name} renewed its lease {now - third} ms late")

    def _living(self, engine: int) -> Node | None:
        """The node that has that engine, if it lives."""
        return next((node for node in self._world.nodes if node.up and node.engine_id == engine), None)
