"""A bench for one `Keeper`: the keeper, what is stored of its key, and other engines that write too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve
from support import keepers
from support.samples import number

from durable_jobs_core.backend import Damaged, Write
from durable_jobs_core.codec import Loaded
from durable_jobs_core.context import close_context, open_context
from durable_jobs_core.effects import CallHandler, Reply, ReplyError
from durable_jobs_core.engine.entries import Entry, Released, Writing
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.events import AddRequested, Event, HandlerSucceeded, SendRequested
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.record import DebounceBody, Record
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Failure, Key, job_of

NODE = 7
OTHER = 9
LEASE_MS = 30_000
EXCHANGE_MS = 10_000


def add(event: int, event_id: str | None = None) -> AddRequested:
    """A request to a debounce."""
    return AddRequested(event=event, event_id=event_id)


class Bench:
    """`stored` is the truth; `now`, `stamp`: the instant, and the engine's count of inputs; `calls`: the
    inline hooks called."""

    def __init__(self, definition: Any, key: Key, *, may_start: bool = False, slots: int = 10) -> None:
        self.slots = Slots(slots, {})
        self.keeper = Keeper(key, definition, self.slots, NODE)
        self.stored: Loaded | None = None
        self.may_start = may_start
        self.now = 1_000_000
        self.stamp = 0
        self.highest = 0
        self.entropy = 0
        self.calls: list[HookCall] = []

    @property
    def record(self) -> Record:
        """What is stored, which is a record."""
        assert isinstance(self.stored, Record)
        return self.stored

    @property
    def slots_taken(self) -> int:
        """How many slots are taken."""
        return self.slots._sum

    # -- inputs

    def push(self, event: Any, **fields: Any) -> Entry:
        """Give the keeper an input; it is not stepped yet."""
        self.stamp += 1
        entry = Entry(event, self.stamp, **fields)
        self.keeper.push(entry)
        return entry

    def advance(self) -> list[Released]:
        """Step what can be stepped."""
        released = self.keeper.advance(self._env)
        keepers.check(self.keeper)
        self.highest = max(self.highest, self.keeper.number)
        call = inline_call(effects(released))
        if call is not None:
            self.calls.append(call)
        return released

    def ask(self, event: Any, **fields: Any) -> list[Released]:
        """Give the keeper an input and step it, reading first as often as it wants."""
        self.push(event, **fields)
        return self.proceed()

    def proceed(self) -> list[Released]:
        """Step what can be stepped, reading as often as the keeper wants."""
        released = self.advance()
        for _ in range(3):
            if self.keeper.reads is None or self.keeper.settle_after is not None:
                return released
            released += self.load() + self.advance()
        raise AssertionError("it reads for ever")

    def _env(self, keeper: Keeper, entry: Entry) -> Env:
        base = keeper.base.revision.number if isinstance(keeper.base, Record) else 0
        number = keeper.number if keeper.dirty else max(base, self.highest) + 1
        free = self.slots.free(job_of(keeper.key)) > 0 or entry.brings_slot
        return self._make_env(NODE, number, may_start=self.may_start and free)

    def _make_env(self, engine: int, number: int, *, may_start: bool) -> Env:
        self.entropy += 1
        return Env(
            key=self.keeper.key,
            now=self.now,
            entropy=self.entropy,
            number=number,
            engine=engine,
            may_start=may_start,
            lease_ms=LEASE_MS,
        )

    # -- the store

    def other(self, event: Any, engine: int = OTHER, *, may_start: bool = False) -> Any:
        """Another engine commits a step of `event`; returns what it answers."""
        before = None if self.stored is None else self.record
        number = 1 + max(self.highest, 0 if before is None else before.revision.number)
        env = self._make_env(engine, number, may_start=may_start)
        transition = step(self.keeper.definition, before, event, env)
        while (call := inline_call(transition.then)) is not None:
            event = evolve(event, outcomes=(*event.outcomes, self.run(call)))
            transition = step(self.keeper.definition, before, event, env)
        self.stored = transition.record
        return next((effect.result for effect in transition.then if isinstance(effect, Reply)), None)

    def run(self, call: HookCall) -> InlineOutcome:
        """Call an inline hook."""
        definition = self.keeper.definition
        ctx, args = open_context(definition, call)
        returned = definition.hooks[call.hook].call(*args)
        return InlineOutcome(call=call, operations=close_context(definition, ctx, returned))

    def land(self, writing: Writing) -> bool:
        """A write takes effect, if what is stored is what it was based on."""
        if revision(self.stored) != revision(writing.base):
            return False
        self.stored = writing.work
        return True

    def load(self, *, final: bool = False) -> list[Released]:
        """Answer the keeper's wish to read; `final`: no lost write can land any more."""
        released = self.keeper.loaded(self.stored, self.stamp, final=final)
        keepers.check(self.keeper)
        return released

    # -- the outcomes of the write that is handed out

    def write(self) -> tuple[Write, Writing]:
        """Hand out what was stepped."""
        write = self.keeper.begin_write(self.now + EXCHANGE_MS)
        assert self.keeper.writing is not None
        keepers.check(self.keeper)
        return write, self.keeper.writing

    def commit(self) -> list[Released]:
        """Write what was stepped: it lands, and that is answered."""
        _, writing = self.write()
        assert self.land(writing), "it would conflict"
        return self.keeper.committed(self.stamp)

    def conflict(self) -> list[Released]:
        """Write what was stepped: another write came first."""
        _, writing = self.write()
        assert revision(self.stored) != revision(writing.base), "it would land"
        return self.keeper.conflicted(self.stored, self.stamp)

    def lose(self, *, landed: bool = False) -> Writing:
        """Write what was stepped: no one can tell what became of it."""
        _, writing = self.write()
        if landed:
            assert self.land(writing), "it would conflict"
        self.keeper.outcome_unknown()
        return writing

    def finish(self, error: BaseException | None = None) -> list[Released]:
        """The inline hook called last ends, or raises; go on with what it left."""
        call = self.calls[-1]
        if error is None:
            outcome = self.run(call)
        else:
            outcome = InlineOutcome(call=call, failure=Failure(type(error).__name__, str(error)), error=error)
        self.keeper.inline_finished(outcome)
        return self.proceed()


def inline_call(then: Iterable[Any]) -> HookCall | None:
    """The inline hook to be called, if there is one."""
    return next((e.call for e in then if isinstance(e, CallHandler) and e.token is None), None)


def revision(found: Loaded | None) -> bytes | None:
    """What a write compares."""
    if isinstance(found, Record):
        return found.revision.to_bytes()
    if found is None:
        return None
    return found.revision if isinstance(found, Damaged) else found.row.revision


def effects(released: list[Released]) -> list[Any]:
    """What may be done, in order."""
    return [effect for item in released for effect in item.then]


def answers(released: list[Released]) -> list[Any]:
    """The results and the errors, in order."""
    given: list[Any] = []
    for effect in effects(released):
        if isinstance(effect, Reply):
            given.append(effect.result)
        elif isinstance(effect, ReplyError):
            given.append(effect.error)
    return given


def error_types(released: list[Released]) -> list[type[DurableJobsError]]:
    """The types of the errors answered."""
    return [type(answer) for answer in answers(released) if isinstance(answer, DurableJobsError)]


def send(event: int) -> SendRequested:
    """A request to a task."""
    return SendRequested(event=event)


def debounce(bench: Bench) -> DebounceBody:
    """What is stored of a debounce."""
    body = bench.record.body
    assert isinstance(body, DebounceBody)
    return body


def running(definition: object, key: Key, *requests: Event) -> Bench:
    """An instance whose attempt is in flight on this engine."""
    bench = Bench(definition, key)
    for request in requests[:-1]:
        bench.other(request)
    bench.may_start = True
    bench.ask(requests[-1])
    bench.commit()
    assert bench.slots_taken == 1
    return bench


def succeeded(bench: Bench, state: int | None = None) -> HandlerSucceeded:
    """The success of the attempt in flight."""
    run = bench.record.body.in_flight
    assert run is not None
    assert run.lease is not None
    asked = Operations(state=None if state is None else number(state))
    return HandlerSucceeded(run.lease.token, asked)
