"""One key: what is known of it, what is to be done to it, and the one write it may have in flight.

A keeper steps the inputs of its key on a working copy and hands the result out as one write. It decides
nothing about batches, time or limits; the engine does. Its life is a circle:

    inputs ─▶ advance: step them on `work` ─▶ begin_write ─▶ committed | conflicted | refused | lost ─▶ …

* Replies and hooks of a step wait in `steps` until the write they rest on is committed (D-5).
* A conflict, and a refusal, put the inputs back in their order and step them again on what is there.
* After an unknown outcome nothing is stepped or answered until it is settled (D-6). A write that did
  not land may still land until the next commit; until then its inputs are `exposed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import define, field

from durable_jobs_core.backend import Damaged, Row, Write
from durable_jobs_core.codec import Loaded, encode
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import CallHandler, ReplyError, Then, Transition
from durable_jobs_core.engine.entries import (
    Entry,
    Reading,
    Released,
    Stepped,
    Writing,
    is_full,
    outcome_bytes,
)
from durable_jobs_core.engine.settling import revision, same, settle, unknown
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.engine.unreadable import Unreadable, answer, deletes
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.events import AddRequested, AlarmFired, StartRequested, TerminateRequested
from durable_jobs_core.operations import InlineOutcome
from durable_jobs_core.record import Record
from durable_jobs_core.step import Env, Stepping, step
from durable_jobs_core.words import Job, Key, job_of

MakeEnv: TypeAlias = Callable[["Keeper", Entry], Env]


# by name: to look one up in its class is slow in Python 3.11
_LOAD, _SETTLE, _SETTLE_LATE, _LOOK_LATE = Reading


@define(eq=False)
class Keeper:
    """The work on one key.

    `urgent`, `requests`: its inputs, the urgent ones first. `base`: what is stored; `row`: the same encoded,
    if at hand; `stamp`: the engine's count when it was read or committed, negative until then; `work`: the
    copy that is stepped, `wake` its alarm, `steps` what was stepped on it, `number` that of its revision.
    `calling`: an inline hook runs, for `inline` if that request still wants it, which holds all behind it.
    `writing`: the write handed out; `lost`: those on `base` that may still land; `reads`: why to read it.
    `resume_at`: step no sooner. `stepping`: `step`, or a journal's.

    It waits for one answer of the backend at a time. Nothing is stepped meanwhile, and it has

        waits for                  steps        lost    inputs, hook
        a write                    none         any     any
        `LOAD`                     if unread    any     any
        `SETTLE`, `SETTLE_LATE`    none         some    any
        `LOOK_LATE`                none         some    none
    """

    key: Key
    definition: AnyDefinition
    slots: Slots
    engine: int
    stepping: Stepping = step
    job: Job = field(init=False)
    base: Loaded | None = None
    stamp: int = -1
    row: Row | None = None
    work: Record | None = None
    wake: int | None = None
    urgent: list[Entry] = field(factory=list)
    requests: list[Entry] = field(factory=list)
    steps: list[Stepped] = field(factory=list)
    number: int = 0
    inline: Entry | None = None
    calling: bool = False
    reads: Reading | None = None
    writing: Writing | None = None
    lost: tuple[Writing, ...] = ()
    resume_at: int | None = None

    def __attrs_post_init__(self) -> None:
        self.job = job_of(self.key)

    @property
    def dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self.steps)

    @property
    def leases_since(self) -> int | None:
        """When a lease was taken that is not handed out yet."""
        if self.work is None or not any(stepped.leases for stepped in self.steps):
            return None
        run = self.work.body.in_flight
        return None if run is None or run.lease is None else run.lease.since

    @property
    def blocked(self) -> bool:
        """Whether stepping has to wait for an answer of the backend."""
        return self.writing is not None or self.reads is not None

    @property
    def settle_after(self) -> int | None:
        """Read it no sooner than when no lost write can land any more; `None`: at once."""
        if self.reads is not _SETTLE_LATE and self.reads is not _LOOK_LATE:
            return None
        return max(writing.not_after for writing in self.lost)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done and nothing is awaited."""
        awaited = self.writing or self.reads or self.lost or self.calling
        return not (awaited or self.steps or self.urgent or self.requests)

    def push(self, entry: Entry) -> None:
        """Add an input. A `terminate` does not wait for a hook that runs (S-36)."""
        if self.calling and isinstance(entry.event, TerminateRequested):
            entry.urgent = True
        if self.reads is _LOOK_LATE:
            self.reads = None
        (self.urgent if entry.urgent else self.requests).append(entry)

    # -- stepping

    def advance(self, make_env: MakeEnv) -> list[Released]:
        """Step what can be stepped; what it returns may be performed at once."""
        released: list[Released] = []
        while not (self.writing or self.reads or self.resume_at is not None or self._ends_life()):
            queue = self.urgent or (self.requests and self._open_requests())
            if not queue or not self._step(queue, make_env, released):
                break
        if self.lost and not (self.urgent or self.requests or self.steps or self.calling or self.blocked):
            # Nobody asks any more. A lease of ours that lands late is ours to keep: look once more.
            self.reads = _LOOK_LATE
        return released

    def _ends_life(self) -> bool:
        """Whether what was stepped ends a life: nothing more goes into that write (D-5)."""
        return bool(self.steps) and self.steps[-1].ends

    def _open_requests(self) -> list[Entry]:
        """The requests, if the first may be stepped: while a hook runs, only those before its own."""
        if self.calling and (self.inline is None or self.requests[0] is self.inline):
            return []
        return self.requests

    def _step(self, queue: list[Entry], make_env: MakeEnv, released: list[Released]) -> bool:
        """Step the first input of a queue; whether there may be more to do."""
        entry = queue[0]
        if self.stamp < 0 and not self._may_create_unread(entry):
            self.reads = _LOAD
            return False
        if self.base is not None and not isinstance(self.base, Record):
            return self._step_unreadable(queue, self.base, make_env, released)
        if isinstance(entry.event, AlarmFired) and self.leases_since is not None:
            return self._answer(queue, (), released)  # what nobody has yet cannot have ended
        env = make_env(self, entry)
        try:
            transition = self.stepping(self.definition, self.work, entry.event, env)
        except DurableJobsError as error:
            return self._answer(queue, (ReplyError(error),), released)
        if transition.writes:
            return self._take(queue, transition, env.number)
        if not _calls(transition.then):
            return self._answer(queue, transition.then, released)
        if self.calling or is_full(self.steps):
            return False
        self._call(entry, transition.then, released)
        return True

    def _take(self, queue: list[Entry], transition: Transition, number: int) -> bool:
        """An input that writes: the working copy is what its step has made of it."""
        ends = self.work is not None and (
            transition.record is None or transition.record.revision.life != self.work.revision.life
        )
        if ends and self.base is None:
            return False  # the creation is written first: one write never both begins and ends a life
        entry = queue.pop(0)
        leases = _calls(transition.then)
        if leases or entry.brings_slot:
            self._account(entry, leases)
        size = outcome_bytes(self.steps, entry)
        stepped = Stepped(entry, transition.then, writes=True, leases=leases, ends=ends, outcome_bytes=size)
        self.steps.append(stepped)
        self.work, self.wake, self.number = transition.record, transition.alarm, number
        return not ends

    def _may_create_unread(self, entry: Entry) -> bool:
        """Only steps that call no user code write "must not exist" unread (D-7)."""
        if isinstance(entry.event, AddRequested):
            return "on_event" not in self.definition.hooks
        return isinstance(entry.event, StartRequested)

    def _call(self, entry: Entry, then: tuple[Then, ...], released: list[Released]) -> None:
        """An inline hook is called. It holds the requests of the key, but no `terminate` (D-5)."""
        self.inline, self.calling = entry, True
        released.append(Released(entry, then, committed=False))
        for ending in [later for later in self.requests if isinstance(later.event, TerminateRequested)]:
            self.requests.remove(ending)
            self.push(ending)

    def _answer(self, queue: list[Entry], then: tuple[Then, ...], released: list[Released]) -> bool:
        """An input that writes nothing: answered with the pending write, or from a fresh record (D-7)."""
        entry = queue[0]
        if entry.exposed:
            then = (ReplyError(unknown(self.key)),)
        if self.dirty:
            self.steps.append(Stepped(entry, then, outcome_bytes=outcome_bytes(self.steps, entry)))
        elif not then or self.stamp >= entry.arrived:
            released.append(Released(entry, then, committed=False))
        else:
            self.reads = _LOAD
            return False
        queue.pop(0)
        self._account(entry, leases=False)
        return True

    def _step_unreadable(
        self, queue: list[Entry], found: Unreadable, make_env: MakeEnv, released: list[Released]
    ) -> bool:
        entry = queue[0]
        env = make_env(self, entry)
        then = answer(self.key, found, entry.event, env.now)
        if not deletes(found, entry.event):
            return self._answer(queue, then, released)
        queue.pop(0)
        self.steps.append(Stepped(entry, then, writes=True, ends=True))
        self.number = env.number
        return False

    def _account(self, entry: Entry, leases: bool) -> None:
        """Slots: an attempt that ends gives its slot back, unless a hook follows it."""
        if leases != entry.brings_slot:
            move = self.slots.take if leases else self.slots.give
            move(self.job)
        entry.brings_slot = False

    def inline_finished(self, outcome: InlineOutcome) -> None:
        """An inline hook has ended: its request, if it still wants it, is stepped again with it."""
        entry, self.inline, self.calling = self.inline, None, False
        if entry is not None:
            entry.add_outcome(outcome)

    def forget(self, entry: Entry) -> bool:
        """Give up on an input; whether it is certain that nothing of it happened or will."""
        if any(stepped.entry is entry for stepped in self.steps):
            self.rewind()
        if self.inline is entry:
            self.inline = None
        for queue in (self.requests, self.urgent):
            if entry in queue:
                queue.remove(entry)
                return not entry.exposed
        return False

    # -- writing

    def begin_write(self, not_after: int) -> Write:
        """Hand out the working copy as one write."""
        row = None if self.work is None else encode(self.key, self.work, self.wake)
        self.writing = Writing(self.base, self.work, row, self.number, tuple(self.steps), not_after)
        self.steps = []
        return Write(self.key, self._expected, row)

    @property
    def _expected(self) -> bytes | None:
        """The revision that is stored; a row has it packed."""
        if self.row is not None:
            return self.row.revision
        return None if self.base is None else revision(self.base)

    def cancel_write(self) -> None:
        """Take back a write that was not sent after all."""
        self.steps = list(self._taken_back().steps)

    def committed(self, stamp: int) -> tuple[Stepped, ...]:
        """The write is durable: what rests on it may be done."""
        writing = self._taken_back()
        if self.lost:
            self._clear_lost()
        self.know(writing.work, writing.row, stamp)
        return writing.steps

    def conflicted(
        self, found: Loaded | None, stamp: int, *, row: Row | Damaged | None = None
    ) -> list[Released]:
        """Another wrote first: its record is what there is, and the inputs are stepped again.

        What it shows of lost writes is seen to first: the other may have been one of those.
        """
        writing = self._taken_back()
        for stepped in writing.steps:
            stepped.entry.conflicts += 1
        self._put_back(writing.steps)
        return self._settle(found, row, stamp, final=False)

    def refused(self) -> tuple[Stepped, ...]:
        """Nothing happened: the inputs are to be stepped again. Returns what was in the write."""
        writing = self._taken_back()
        self._put_back(writing.steps)
        return writing.steps

    def outcome_unknown(self) -> None:
        """No one can tell yet: read back before anything else is done."""
        self.lost += (self._taken_back(),)
        self.reads = _SETTLE

    def loaded(
        self, found: Loaded | None, stamp: int, *, final: bool, row: Row | Damaged | None = None
    ) -> list[Released]:
        """What is stored now, decoded from `row`; `final`: no earlier write can land any more."""
        if self.dirty and same(found, self.base):
            self.reads, self.stamp = None, stamp
            return []
        if self.steps:
            self.rewind()
        return self._settle(found, row, stamp, final=final)

    def rewind(self) -> None:
        """Undo all that was stepped and not handed out."""
        steps, self.steps = self.steps, []
        self._put_back(steps)

    def _taken_back(self) -> Writing:
        writing, self.writing = self.writing, None
        assert writing is not None, "a write was handed out"
        return writing

    def _put_back(self, steps: Sequence[Stepped]) -> None:
        for stepped in steps:
            if stepped.leases:
                self.slots.give(self.job)
        self.urgent[:0] = [stepped.entry for stepped in steps if stepped.entry.urgent]
        self.requests[:0] = [stepped.entry for stepped in steps if not stepped.entry.urgent]
        self.work = self.base if isinstance(self.base, Record) else None

    def know(self, found: Loaded | None, row: Row | Damaged | None, stamp: int) -> None:
        """What is stored now, decoded from `row`: go on from there."""
        self.base, self.row = found, row if isinstance(row, Row) else None
        self.reads, self.stamp = None, stamp
        self.work = found if isinstance(found, Record) else None

    # -- settling

    def _settle(
        self, found: Loaded | None, row: Row | Damaged | None, stamp: int, *, final: bool
    ) -> list[Released]:
        """What is there now, held against the writes whose outcome is unknown (D-6)."""
        if not self.lost:
            self.know(found, row, stamp)
            return []
        settling = self.reads is _SETTLE or self.reads is _SETTLE_LATE
        settled = settle(self.lost, found, engine=self.engine, final=final)
        if settled.too_early:
            assert settling, "of others it was known that they are open, and few"
            self.reads = _SETTLE_LATE
            return []
        if settling:
            self._put_back(self.lost[-1].steps)
        self.know(found, row, stamp)
        if settled.open:
            for stepped in self.lost[-1].steps:
                stepped.entry.exposed = stepped.entry.exposed or stepped.writes
            return []
        self._clear_lost()
        return self._landed(settled.landed) + self._doubted(settled.unknown)

    def _landed(self, writing: Writing | None) -> list[Released]:
        """A lost write is committed after all: its inputs are done.

        Of a deletion it is certain only that the record is gone: what was read before it is read again.
        """
        if writing is None:
            return []
        done = [stepped for stepped in writing.steps if stepped.writes or writing.work is not None]
        self._remove({stepped.entry for stepped in done})
        for stepped in done:
            if stepped.leases:
                self.slots.take(self.job)
        return [Released(stepped.entry, stepped.then, committed=True) for stepped in done]

    def _doubted(self, entries: tuple[Entry, ...]) -> list[Released]:
        """No one can tell whether these happened: their callers are told so, and that is their end."""
        self._remove(set(entries))
        told = (ReplyError(unknown(self.key)),)
        return [Released(entry, told, committed=False) for entry in entries]

    def _remove(self, entries: set[Entry]) -> None:
        self.urgent = [entry for entry in self.urgent if entry not in entries]
        self.requests = [entry for entry in self.requests if entry not in entries]
        if self.inline in entries:
            self.inline = None

    def _clear_lost(self) -> None:
        """No lost write can land any more."""
        for writing in self.lost:
            for stepped in writing.steps:
                stepped.entry.exposed = False
        self.lost = ()


def _calls(then: tuple[Then, ...]) -> bool:
    """Whether a hook is to be called: after a commit a leased one, without a commit an inline one."""
    return CallHandler in map(type, then)
