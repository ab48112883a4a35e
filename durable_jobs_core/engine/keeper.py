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

from collections.abc import Callable
from typing import TypeAlias

from attrs import define, evolve, field

from durable_jobs_core._values import value
from durable_jobs_core.backend import Defer, Row, Write
from durable_jobs_core.codec import Loaded, encode
from durable_jobs_core.definitions import AnyDefinition
from durable_jobs_core.effects import CallHandler, ReplyError, Then
from durable_jobs_core.engine.settling import Verdict, judge
from durable_jobs_core.engine.slots import Slots, job_of
from durable_jobs_core.engine.unreadable import answer, deletes, revision_of
from durable_jobs_core.errors import DurableJobsError, OutcomeUnknownError
from durable_jobs_core.events import (
    AddRequested,
    Event,
    SendRequested,
    StartRequested,
)
from durable_jobs_core.operations import HookCall, InlineOutcome
from durable_jobs_core.record import Record
from durable_jobs_core.step import Env, alarm_of, step
from durable_jobs_core.words import Key, Revision


@define(eq=False)
class Entry:
    """One input of a key.

    `arrived`: when, in the engine's count of inputs; `call`: of the caller, if it has one; `wait_ms`:
    how long the caller waits for a run; `conflicts`: how often it was stepped in vain; `exposed`: it is
    in a write that may still land; `brings_slot`: it ends an attempt, whose slot it may use again;
    `urgent`: it overtakes inline hooks.
    """

    event: Event
    arrived: int
    urgent: bool = False
    call: int | None = None
    wait_ms: int | None = None
    conflicts: int = 0
    exposed: bool = False
    brings_slot: bool = False


@value
class Stepped:
    """An input that was stepped, and what is to follow once the write is committed.

    `writes`: it changed the working copy; `leases`: it took a lease, and so a slot.
    """

    entry: Entry
    then: tuple[Then, ...]
    writes: bool = False
    leases: bool = False


@value
class Released:
    """What may be done now for an input: `then`, resting on a commit or on a fresh record."""

    entry: Entry
    then: tuple[Then, ...]
    committed: bool


@define(eq=False)
class Writing:
    """A write handed out: what it was based on, what it leaves, and whose it is."""

    base: Loaded | None
    row: Row | None
    work: Record | None
    number: int
    steps: list[Stepped]
    not_after: int = 0


MakeEnv: TypeAlias = Callable[["Keeper", Entry], Env]


@define(eq=False)
class Keeper:
    """The work on one key.

    `base`: what is stored, if `known`; `stamp`: the engine's count when it was read or committed; `size`:
    of its text; `work`: the copy that is stepped, `steps` what was stepped on it, `ended` if that ended
    its life, `number` that of its revision. `calling`: an inline hook runs, for `inline` if that request
    still wants it. `writing`: the write handed out; `settling`: the one whose outcome is unknown, to be
    read again after `settle_after`; `lost`: those that may still land. `resume_at`: step no sooner.
    """

    key: Key
    definition: AnyDefinition
    slots: Slots
    engine: int
    base: Loaded | None = None
    known: bool = False
    stamp: int = -1
    size: int = 0
    work: Record | None = None
    urgent: list[Entry] = field(factory=list)
    requests: list[Entry] = field(factory=list)
    steps: list[Stepped] = field(factory=list)
    number: int = 0
    ended: bool = False
    inline: Entry | None = None
    calling: bool = False
    wants_load: bool = False
    writing: Writing | None = None
    settling: Writing | None = None
    settle_after: int | None = None
    lost: list[Writing] = field(factory=list)
    resume_at: int | None = None

    @property
    def dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self.steps)

    @property
    def blocked(self) -> bool:
        """Whether stepping has to wait for an answer of the backend."""
        return self.writing is not None or self.settling is not None or self.wants_load

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done and nothing is awaited."""
        waits = self.urgent or self.requests or self.steps or self.lost
        return not (waits or self.blocked or self.calling)

    def push(self, entry: Entry) -> None:
        """Add an input."""
        (self.urgent if entry.urgent else self.requests).append(entry)

    # -- stepping

    def advance(self, make_env: MakeEnv) -> list[Released]:
        """Step what can be stepped; what it returns may be performed at once."""
        released: list[Released] = []
        while not self.blocked and not self.ended and self.resume_at is None:
            queue = self.urgent or ([] if self.calling else self.requests)
            if not queue or not self._step(queue, make_env, released):
                break
        return released

    def _step(self, queue: list[Entry], make_env: MakeEnv, released: list[Released]) -> bool:
        """Step the first input of a queue; whether there may be more to do."""
        entry = queue[0]
        if not self.known and not self._may_create_unread(entry):
            self.wants_load = True
            return False
        if self.base is not None and not isinstance(self.base, Record):
            return self._step_unreadable(queue, self.base, make_env, released)
        env = make_env(self, entry)
        try:
            transition = step(self.definition, self.work, entry.event, env)
        except DurableJobsError as error:
            return self._answer(queue, (ReplyError(error),), released)
        if not transition.commit:
            call = _inline_call(transition.then)
            if call is None:
                return self._answer(queue, transition.then, released)
            self.inline, self.calling = entry, True
            released.append(Released(entry, transition.then, committed=False))
            return True
        life_ends = self.work is not None and (
            transition.record is None or transition.record.revision.life != self.work.revision.life
        )
        if life_ends and self.base is None:
            return False  # the creation is written first: one write never both begins and ends a life
        queue.pop(0)
        leases = any(isinstance(effect, CallHandler) for effect in transition.then)
        self._account(entry, leases)
        self.steps.append(Stepped(entry, transition.then, writes=True, leases=leases))
        self.work, self.number, self.ended = transition.record, env.number, life_ends
        return not life_ends

    def _may_create_unread(self, entry: Entry) -> bool:
        """Only steps that call no user code write "must not exist" unread (D-7)."""
        if isinstance(entry.event, AddRequested):
            return "on_event" not in self.definition.hooks
        return isinstance(entry.event, StartRequested)

    def _answer(self, queue: list[Entry], then: tuple[Then, ...], released: list[Released]) -> bool:
        """An input that writes nothing: answered with the pending write, or from a fresh record (D-7)."""
        entry = queue[0]
        if entry.exposed:
            then = (ReplyError(_unknown(self.key)),)
        if self.dirty:
            self.steps.append(Stepped(entry, then))
        elif not then or (self.known and self.stamp >= entry.arrived):
            released.append(Released(entry, then, committed=False))
        else:
            self.wants_load = True
            return False
        queue.pop(0)
        self._account(entry, leases=False)
        return True

    def _step_unreadable(
        self, queue: list[Entry], found: Loaded, make_env: MakeEnv, released: list[Released]
    ) -> bool:
        assert not isinstance(found, Record), "it can be read"
        entry = queue[0]
        env = make_env(self, entry)
        then = answer(self.key, found, entry.event, env.now)
        if not deletes(found, entry.event):
            return self._answer(queue, then, released)
        queue.pop(0)
        self.steps.append(Stepped(entry, then, writes=True))
        self.work, self.number, self.ended = None, env.number, True
        return False

    def _account(self, entry: Entry, leases: bool) -> None:
        """Slots: an attempt that ends gives its slot back, unless a hook follows it."""
        job = job_of(self.key)
        if leases and not entry.brings_slot:
            self.slots.take(job)
        elif entry.brings_slot and not leases:
            self.slots.give(job)
        entry.brings_slot = False

    def inline_finished(self, outcome: InlineOutcome) -> None:
        """An inline hook has ended: its request, if it still wants it, is stepped again with it."""
        entry, self.inline, self.calling = self.inline, None, False
        if entry is not None:
            assert isinstance(entry.event, AddRequested | SendRequested), "only these have hooks"
            outcomes = (*entry.event.outcomes, outcome)
            entry.event = evolve(entry.event, outcomes=outcomes)

    def forget(self, entry: Entry) -> bool:
        """Give up on an input; whether it is certain that nothing of it happened or will."""
        if self.inline is entry:
            self.inline = None
        if any(stepped.entry is entry for stepped in self.steps):
            self.rewind()
        for queue in (self.requests, self.urgent):
            if entry in queue:
                queue.remove(entry)
                return not entry.exposed
        return False

    # -- writing

    def begin_write(self, not_after: int) -> Write:
        """Hand out the working copy as one write."""
        base = self.base
        row = None
        if self.work is not None:
            row = encode(self.key, self.work, alarm_of(self.key.kind, self.work))
        self.writing = Writing(base, row, self.work, self.number, self.steps, not_after)
        self.steps = []
        return Write(self.key, None if base is None else _revision(base), row)

    def cancel_write(self) -> None:
        """Take back a write that was not sent after all."""
        writing, self.writing = self.writing, None
        assert writing is not None, "a write was handed out"
        self.steps = writing.steps

    def committed(self, stamp: int) -> list[Released]:
        """The write is durable: what rests on it may be done."""
        writing, self.writing = self.writing, None
        assert writing is not None, "a write was handed out"
        self._clear_lost()
        self._rebase(writing.work, stamp)
        self.size = 0 if writing.row is None else len(writing.row.blob)
        return _release(writing)

    def conflicted(self, found: Loaded | None, stamp: int) -> list[Released]:
        """Another wrote first: its record is what there is, and the inputs are stepped again."""
        writing, self.writing = self.writing, None
        assert writing is not None, "a write was handed out"
        for stepped in writing.steps:
            stepped.entry.conflicts += 1
        self._put_back(writing.steps)
        self.lost.append(writing)
        return self._fence(found, stamp)

    def refused(self) -> list[Stepped]:
        """Nothing happened: the inputs are to be stepped again. Returns what was in the write."""
        writing, self.writing = self.writing, None
        assert writing is not None, "a write was handed out"
        self._put_back(writing.steps)
        return writing.steps

    def outcome_unknown(self) -> None:
        """No one can tell yet: read back before anything else is done."""
        self.settling, self.writing = self.writing, None
        self.wants_load = True

    def loaded(self, found: Loaded | None, stamp: int, *, final: bool) -> list[Released]:
        """What is stored now; `final`: no earlier write can land any more."""
        if self.writing is not None:
            return []
        self.wants_load = False
        if self.settling is not None:
            return self._settle(self.settling, found, stamp, final)
        if self.dirty and _same(found, self.base):
            self.stamp = stamp
            return []
        self.rewind()
        return self._fence(found, stamp)

    def rewind(self) -> None:
        """Undo all that was stepped and not handed out."""
        steps, self.steps = self.steps, []
        self._put_back(steps)

    def _put_back(self, steps: list[Stepped]) -> None:
        self._drop_leases(steps)
        self.urgent[:0] = [stepped.entry for stepped in steps if stepped.entry.urgent]
        self.requests[:0] = [stepped.entry for stepped in steps if not stepped.entry.urgent]
        self.work, self.ended = self.base if isinstance(self.base, Record) else None, False

    def _drop_leases(self, steps: list[Stepped]) -> None:
        for stepped in steps:
            if stepped.leases:
                self.slots.give(job_of(self.key))

    def _rebase(self, found: Loaded | None, stamp: int) -> None:
        self.base, self.known, self.stamp = found, True, stamp
        self.work, self.ended = found if isinstance(found, Record) else None, False

    # -- settling

    def _settle(self, writing: Writing, found: Loaded | None, stamp: int, final: bool) -> list[Released]:
        verdict = judge(
            base=None if writing.base is None else _any_revision(writing.base),
            written=None if writing.work is None else writing.work.revision,
            deleted=writing.work is None,
            engine=self.engine,
            number=writing.number,
            found=found,
            final=final,
        )
        if verdict is Verdict.TOO_EARLY:
            self.settle_after, self.wants_load = writing.not_after, True
            return []
        self.settling, self.settle_after = None, None
        if verdict is Verdict.COMMITTED:
            self._clear_lost()
            self._rebase(found, stamp)
            return _release(writing)
        if verdict is Verdict.NOT_LANDED:
            self._put_back(writing.steps)
            self.lost.append(writing)
            return self._fence(found, stamp)
        self._clear_lost()
        self._rebase(found, stamp)
        told = [stepped for stepped in writing.steps if stepped.writes]
        self._put_back([stepped for stepped in writing.steps if not stepped.writes])
        self._drop_leases(told)
        unknown = (ReplyError(_unknown(self.key)),)
        return [Released(stepped.entry, unknown, committed=False) for stepped in told]

    def _fence(self, found: Loaded | None, stamp: int) -> list[Released]:
        """What is there now may be a lost write that landed late, or may fence those that did not."""
        before = self.base
        self._rebase(found, stamp)
        if not self.lost:
            return []
        number = found.wrote(self.engine) if isinstance(found, Record) else None
        landed = next((writing for writing in self.lost if writing.number == number), None)
        if landed is None and _same(found, before):
            for stepped in self.lost[-1].steps:
                stepped.entry.exposed = stepped.writes
            return []
        self._clear_lost()
        if landed is None:
            return []
        done = [stepped.entry for stepped in landed.steps]
        self.urgent = [entry for entry in self.urgent if entry not in done]
        self.requests = [entry for entry in self.requests if entry not in done]
        if self.inline in done:
            self.inline = None
        for stepped in landed.steps:
            if stepped.leases:
                self.slots.take(job_of(self.key))
        return _release(landed)

    def _clear_lost(self) -> None:
        """No lost write can land any more."""
        for writing in self.lost:
            for stepped in writing.steps:
                stepped.entry.exposed = False
        self.lost.clear()

    # -- asking

    def defer(self, hold_until: int | None) -> Defer | None:
        """The index entry of what is stored, put back to its alarm, or to `hold_until` if unreadable."""
        if isinstance(self.base, Record):
            wake = alarm_of(self.key.kind, self.base)
            return Defer(self.key, self.base.revision.to_bytes(), wake)
        return None if self.base is None else Defer(self.key, revision_of(self.base), hold_until)


def _release(writing: Writing) -> list[Released]:
    for stepped in writing.steps:
        stepped.entry.exposed = False
    return [Released(stepped.entry, stepped.then, committed=True) for stepped in writing.steps]


def _inline_call(then: tuple[Then, ...]) -> HookCall | None:
    for effect in then:
        if isinstance(effect, CallHandler) and effect.token is None:
            return effect.call
    return None


def _unknown(key: Key) -> OutcomeUnknownError:
    return OutcomeUnknownError(f"whether the request reached {key} is not known")


def _any_revision(base: Loaded) -> Revision | bytes:
    return base.revision if isinstance(base, Record) else revision_of(base)


def _revision(base: Loaded) -> bytes:
    return base.revision.to_bytes() if isinstance(base, Record) else revision_of(base)


def _same(one: Loaded | None, other: Loaded | None) -> bool:
    """Whether two loads found the same stored revision."""
    if one is None or other is None:
        return one is other
    return _revision(one) == _revision(other)
