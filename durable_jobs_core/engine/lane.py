"""One lane of the backend: what it is to be asked next, and the one exchange it has in flight."""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import get_args

from attrs import define, field

from durable_jobs_core._values import value
from durable_jobs_core.backend import BATCH_MAX_BYTES, BATCH_MAX_WRITES, Batch, Claim, Defer, Write
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.lookout import Lookout
from durable_jobs_core.engine.protocol import Trouble
from durable_jobs_core.events import HandlerEvent
from durable_jobs_core.words import Key

_BY_KEY = itemgetter(0)
_EVENT = attrgetter("entry.event")
_FIRST = frozenset(get_args(HandlerEvent))
BACKOFF_FIRST_MS = 50
BACKOFF_MAX_MS = 5_000


@value
class Flight:
    """An exchange in flight. `keepers`: of its writes, in order, `None` for a `Defer`; `stamp`: the
    engine's count when it left."""

    id: int
    batch: Batch
    keepers: tuple[Keeper | None, ...]
    stamp: int


@define(eq=False)
class Backoff:
    """How often in a row something failed (`times`), and when, on the driver's clock, to try again (`at`)."""

    times: int = 0
    at: int = 0

    def failed(self, t: int, entropy: int) -> None:
        """Wait before it is tried again, longer each time."""
        pause = min(BACKOFF_FIRST_MS << min(self.times, 10), BACKOFF_MAX_MS)
        self.times += 1
        self.at = t + pause // 2 + entropy % (pause // 2 + 1)


@define(eq=False)
class Lane:
    """What a lane is to be asked.

    `greeted`: it was asked something, if only the time; `asked_t`: when it was asked last, on the driver's
    clock; `lookout`: for due work; `asking`: of exchanges that were not answered; `writing`: of those whose
    writes were not taken, so that reads go on meanwhile; `max_writes`: halved when a batch fails, so that one
    bad write fails alone (D-3); `behind`: some writes were not in the last batch; `trouble`: why the backend
    could not do what it was asked last, if it could not.
    """

    id: int
    flight: Flight | None = None
    writes: dict[Key, Keeper] = field(factory=dict)
    loads: dict[Key, Keeper] = field(factory=dict)
    defers: dict[Key, Defer] = field(factory=dict)
    greeted: bool = False
    asked_t: int = 0
    lookout: Lookout = field(factory=Lookout)
    asking: Backoff = field(factory=Backoff)
    writing: Backoff = field(factory=Backoff)
    max_writes: int = BATCH_MAX_WRITES
    behind: bool = False
    trouble: Trouble | None = None

    @property
    def fails(self) -> bool:
        """Whether it did not answer last, or did not take what it was to write."""
        return self.asking.times > 0 or self.writing.times > 0

    @property
    def write_at(self) -> int:
        """When, on the driver's clock, it may be given writes."""
        return max(self.asking.at, self.writing.at)

    @property
    def work_at(self) -> int | None:
        """When to ask it, claims and settling apart; `None`: there is nothing to ask."""
        if not self.greeted or any(keeper.settle_after is None for keeper in self.loads.values()):
            return self.asking.at
        return self.write_at if self.writes or self.defers else None

    def can_build(self, t: int, now: int) -> bool:
        """Whether there is something to ask now."""
        work_at = self.work_at
        return (work_at is not None and work_at <= t) or self.has_settling(now)

    def has_settling(self, now: int) -> bool:
        """Whether a lost write can no longer land, so that its key is to be read."""
        return any(at < now for at in self.settle_times())

    def settle_times(self) -> list[int]:
        """The instants after which lost writes can no longer land."""
        after = (keeper.settle_after for keeper in self.loads.values())
        return [at for at in after if at is not None]

    def resize(self, sent: int, *, failed: bool) -> None:
        """Halve the batches after one that failed, double them after one that did not."""
        if failed and sent:
            self.max_writes = max(1, sent // 2)
        elif sent:
            self.max_writes = min(BATCH_MAX_WRITES, 2 * self.max_writes)

    def note_trouble(self, why: str) -> None:
        """Why it could not do what it was asked; empty if it could."""
        times = 1 if self.trouble is None else self.trouble.times + 1
        self.trouble = Trouble(why, times) if why else None

    def build(self, id: int, stamp: int, t: int, now: int, not_after: int, claim: Claim | None) -> Flight:
        """The next exchange: all that waits, as far as the limits of a batch go."""
        self.greeted = True
        settle = self._settling(now)
        if settle:
            batch = Batch(loads=tuple(settle), not_after=max(settle.values()), settle=True)
            self.flight = Flight(id, batch, (), stamp)
            return self.flight
        writes: list[tuple[Key, Write | Defer, Keeper | None]] = []
        size, most = 0, self.max_writes if self.write_at <= t else 0
        for keeper in self._in_order():
            if len(writes) >= most:
                break
            write = keeper.begin_write(not_after)
            blob = 0 if write.row is None else len(write.row.blob)
            if writes and size + blob > BATCH_MAX_BYTES:
                keeper.cancel_write()
                break
            size += blob
            writes.append((keeper.key, write, keeper))
            del self.writes[keeper.key]
            self.defers.pop(keeper.key, None)  # the write sets the index entry itself
        self.behind = bool(self.writes)
        for key in tuple(self.defers)[: most - len(writes)]:
            writes.append((key, self.defers.pop(key), None))
        writes.sort(key=_BY_KEY)
        loads = tuple([key for key, keeper in self.loads.items() if keeper.settle_after is None])
        for key in loads:
            del self.loads[key]
        batch = Batch(
            writes=tuple([write for _, write, _ in writes]),
            loads=loads,
            claim=claim,
            not_after=not_after,
        )
        self.flight = Flight(id, batch, tuple([keeper for _, _, keeper in writes]), stamp)
        return self.flight

    def _settling(self, now: int) -> dict[Key, int]:
        """The keys whose lost write can land no longer than until then: read in an exchange of their own."""
        ready = {
            key: keeper.settle_after
            for key, keeper in self.loads.items()
            if keeper.settle_after is not None and keeper.settle_after < now
        }
        for key in ready:
            del self.loads[key]
        return ready

    def _in_order(self) -> list[Keeper]:
        """The keepers with something to write: renewals and completions first (D-3)."""
        return sorted(self.writes.values(), key=_is_last)


def _is_last(keeper: Keeper) -> bool:
    return _FIRST.isdisjoint(map(type, map(_EVENT, keeper.steps)))
