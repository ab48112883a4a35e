"""The clients: typed requests to instances, the same for every driver (S-61).

A client holds no state. Each method checks its arguments, sends one request to the engine through the
driver's `Caller`, and gives back a typed result. A request that raises has changed nothing, except that
after `OutcomeUnknownError` no one can tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from attrs import evolve, frozen

from durable_jobs_core import events
from durable_jobs_core.checks import shown
from durable_jobs_core.definitions import AnyDefinition, Continuous, Debounce, Task
from durable_jobs_core.durations import Duration, to_ms
from durable_jobs_core.errors import InstanceNotFoundError, NewerVersionError, ValidationError
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.record import Stored
from durable_jobs_core.results import (
    AddResult,
    ClearResult,
    ContinuousStatus,
    DeadLettersResult,
    DebounceStatus,
    DiscardResult,
    FlushResult,
    InstanceStatus,
    PauseResult,
    RedriveResult,
    RescheduleResult,
    ResumeResult,
    SendResult,
    StartResult,
    StateResult,
    TaskStateResult,
    TaskStatus,
    TerminateResult,
    TriggerResult,
)
from durable_jobs_core.words import ID_MAX_BYTES, Json, Key, Kind

S = TypeVar("S")
E = TypeVar("E")
D = TypeVar("D", bound=AnyDefinition)
R = TypeVar("R")


@frozen(kw_only=True)
class Instance:
    """One line of a listing. `status`: an `InstanceStatus`, as of its last commit, or a word of a newer
    release; `alarm`: when it wants to be woken, or `None`."""

    key: Key
    status: str
    alarm: datetime | None

    @property
    def instance_id(self) -> str:
        """The printed key."""
        return str(self.key)


@frozen
class InstancePage:
    """One page of a listing; `after`: what to pass for the next one, `None` at the end."""

    instances: tuple[Instance, ...]
    after: str | None


class Caller(Protocol):
    """What a driver gives its clients."""

    async def call(
        self, key: Key, request: events.Request, *, wait_ms: int | None = None, size: int = 0
    ) -> Any:
        """The engine's reply to a request, or its error raised."""
        ...

    async def page(
        self, kind: Kind | None, job: str | None, status: str | None, after: str | None, limit: int
    ) -> InstancePage:
        """One page of the backend's rows."""
        ...


def check_id(value: object, subject: str) -> str:
    """An id: any non-empty text up to 512 bytes of UTF-8 (S-63); raises `ValidationError`."""
    if not isinstance(value, str) or not value:
        raise ValidationError.of(subject, "a non-empty str", shown(value))
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValidationError.of(subject, "text without lone surrogates", repr(value)[:80]) from None
    if size > ID_MAX_BYTES:
        raise ValidationError.of(subject, f"at most {ID_MAX_BYTES} bytes of UTF-8", f"{size} bytes")
    return value


def _maybe_id(value: object, subject: str) -> str | None:
    """`check_id` for what need not be given."""
    return None if value is None else check_id(value, subject)


def _wait_ms(wait: Duration | None) -> int | None:
    return None if wait is None else to_ms(wait, "wait")


class _JobClient(Generic[D]):
    """What the clients of all kinds share: one job, many instances."""

    _kind: Kind

    def __init__(self, caller: Caller, name: str, definition: D) -> None:
        self._caller = caller
        self._definition = definition
        self.name = name

    def _key(self, id: str) -> Key:
        return Key(self._kind, self.name, check_id(id, "id"))

    async def _ask(
        self,
        expected: type[R],
        id: str,
        request: events.Request,
        *,
        wait: Duration | None = None,
        size: int = 0,
    ) -> R:
        key = self._key(id)
        result = await self._caller.call(key, request, wait_ms=_wait_ms(wait), size=size)
        assert isinstance(result, expected), "the engine answers each request with its result"
        return result

    async def terminate(self, id: str, *, reason: str | None = None) -> TerminateResult:
        """End an instance and delete all of it; the id is free again (S-36).

        It does not wait for an attempt in flight, which is cancelled (`was_running`). `reason`: for the
        telemetry, at most 512 bytes.
        """
        return await self._ask(TerminateResult, id, events.TerminateRequested(_maybe_id(reason, "reason")))

    async def list(
        self, *, status: InstanceStatus | None = None, after: str | None = None, limit: int = 100
    ) -> InstancePage:
        """One page of this job's instances, by status if given (S-66). `limit`: 1 to 1,000.

        A page may hold fewer than `limit`, even none: there are more until its `after` is `None`.
        What changes its status meanwhile may be in two of several listings, or in none: look at all in one.
        """
        return await self._caller.page(self._kind, self.name, status, after, limit)

    def _decoded(self, result: R) -> R:
        """A result with the stored state decoded; raises `ValidationError` if it does not fit (S-6)."""
        assert isinstance(result, StateResult | TaskStateResult), "only these have a state"
        stored = result.state
        if not isinstance(stored, Stored):
            return result
        subject = f"state of {result.instance_id}"
        return evolve(result, state=self._definition.decode(stored, subject))

    def _encoded_event(self, event: object) -> tuple[Json, int]:
        definition = cast("Debounce[Any, Any] | Task[Any, Any]", self._definition)
        return definition.event.encode(event, f"event for {self._kind}:{self.name}")


class ContinuousClient(_JobClient[Continuous[S]]):
    """Requests to the instances of a continuous job; `help(Client)` has what all of them may raise."""

    _kind: Kind = "continuous"

    async def start(self, id: str, input: S) -> StartResult:
        """Create an instance with `input` as its state; an existing one is left as it is (S-30).

        The answer follows the durable creation, not the first run. Raises `ValidationError`.
        """
        data, size = self._definition.state.encode(input, f"input of {self._kind}:{self.name}")
        stored = Stored(self._definition.state_version, data)
        return await self._ask(StartResult, id, events.StartRequested(stored), size=size)

    async def trigger(self, id: str, *, wait: Duration | None = None) -> TriggerResult:
        """Run now: join the attempt in flight, retry the waiting or parked run, or begin one (S-34).

        `wait`: be answered when the next attempt has ended, or after so long (S-38).
        """
        return await self._ask(TriggerResult, id, events.TriggerRequested(), wait=wait)

    async def pause(self, id: str) -> PauseResult:
        """Start no tick and no retry until `resume` (S-35). Raises `InvalidStateError` if parked."""
        return await self._ask(PauseResult, id, events.PauseRequested())

    async def resume(self, id: str) -> ResumeResult:
        """Go on after a `pause` (S-35). Raises `InvalidStateError` if parked."""
        return await self._ask(ResumeResult, id, events.ResumeRequested())

    @overload
    async def reschedule(self, id: str) -> RescheduleResult: ...

    @overload
    async def reschedule(self) -> int: ...

    async def reschedule(self, id: str | None = None) -> RescheduleResult | int:
        """Compute the due time anew, by the schedule in force: of one instance, or page by page of all.

        Of all, the answer is how many were waiting and were rescheduled (S-8); those that ended meanwhile,
        that are quarantined, or that a newer release alone may touch, are passed over. Raises
        `InstanceNotFoundError` for one that does not exist.
        """
        if id is not None:
            return await self._ask(RescheduleResult, id, events.RescheduleRequested())
        count, after = 0, None
        while True:
            page = await self.list(after=after)
            for instance in page.instances:
                if instance.status != "quarantined":
                    with suppress(InstanceNotFoundError, NewerVersionError):
                        count += (await self.reschedule(instance.key.id)).rescheduled
            after = page.after
            if after is None:
                return count

    async def status(self, id: str) -> ContinuousStatus:
        """Where an instance stands; `not_found` if there is none."""
        return await self._ask(ContinuousStatus, id, events.StatusRequested())

    async def get_state(self, id: str) -> StateResult[S]:
        """The stored state, `None` of no instance. Raises `ValidationError` if it does not fit the schema."""
        return self._decoded(await self._ask(StateResult, id, events.StateRequested()))


class DebounceClient(_JobClient["Debounce[E, S]"], Generic[E, S]):
    """Requests to the instances of a debounce; `help(Client)` has what all of them may raise."""

    _kind: Kind = "debounce"

    async def add(self, id: str, event: E, *, event_id: str | None = None) -> AddResult:
        """Add an event to the window, opening one if there is none (S-40).

        `event_id`: a repeated one raises `DuplicateEventError` (S-60). Raises `ValidationError`,
        `ExecutionError` if the reducer fails, `OverloadedError`.
        """
        data, size = self._encoded_event(event)
        request = events.AddRequested(event=data, event_id=_maybe_id(event_id, "event_id"))
        return await self._ask(AddResult, id, request, size=size)

    async def flush(self, id: str, *, wait: Duration | None = "30 seconds") -> FlushResult:
        """Make all that is held due now, the parked batch too, and wait for it (S-44).

        `wait`: how long at most; with `None` it is answered once all is due (S-38).
        """
        return await self._ask(FlushResult, id, events.FlushRequested(), wait=wait)

    async def clear(self, id: str) -> ClearResult:
        """Drop the window, and a batch that no attempt is executing now (S-44)."""
        return await self._ask(ClearResult, id, events.ClearRequested())

    async def status(self, id: str) -> DebounceStatus:
        """Where an instance stands; `not_found` if there is none."""
        return await self._ask(DebounceStatus, id, events.StatusRequested())

    async def get_state(self, id: str) -> StateResult[S]:
        """The window's state, else the batch's. Raises `ValidationError` if it does not fit."""
        return self._decoded(await self._ask(StateResult, id, events.StateRequested()))


class TaskClient(_JobClient["Task[E, S]"], Generic[E, S]):
    """Requests to the instances of a task; `help(Client)` has what all of them may raise."""

    _kind: Kind = "task"

    async def send(self, id: str, event: E, *, event_id: str | None = None) -> SendResult:
        """Apply an event, creating the instance if there is none; behind an attempt, queue it (S-50).

        `event_id`: a repeated one raises `DuplicateEventError` (S-60). Raises `ValidationError`,
        `ExecutionError` if `on_event` fails and nothing handles it, `OverloadedError`.
        """
        data, size = self._encoded_event(event)
        request = events.SendRequested(event=data, event_id=_maybe_id(event_id, "event_id"))
        return await self._ask(SendResult, id, request, size=size)

    async def trigger(self, id: str, *, wait: Duration | None = None) -> TriggerResult:
        """Run `execute` now, or what waits or is parked of the unfinished run; a pending schedule stays in
        place (S-53). While `execute` or its `on_error` is in flight, that is joined and nothing begins: what
        may not be missed is an event, for `send`. `wait` as for continuous jobs.
        """
        return await self._ask(TriggerResult, id, events.TriggerRequested(), wait=wait)

    async def dead_letters(self, id: str) -> DeadLettersResult:
        """The events that were given up. Raises `InstanceNotFoundError`."""
        return await self._ask(DeadLettersResult, id, events.DeadLettersRequested())

    async def redrive(self, id: str) -> RedriveResult:
        """Put all dead letters back at the end of the inbox, or none if it has no room (`OverloadedError`).

        Raises `InstanceNotFoundError`.
        """
        return await self._ask(RedriveResult, id, events.RedriveRequested())

    async def discard(self, id: str) -> DiscardResult:
        """Drop all dead letters. Raises `InstanceNotFoundError`.

        A task that has parked for want of room for them stays so until it is triggered (S-25).
        """
        return await self._ask(DiscardResult, id, events.DiscardRequested())

    async def status(self, id: str) -> TaskStatus:
        """Where an instance stands; `not_found` if there is none."""
        return await self._ask(TaskStatus, id, events.StatusRequested())

    async def get_state(self, id: str) -> TaskStateResult[S]:
        """The stored state and schedule. Raises `ValidationError` if it does not fit the schema."""
        return self._decoded(await self._ask(TaskStateResult, id, events.StateRequested()))


class Client:
    """Clients by job. Pass the definition for checked types, or the name it is registered under.

    A request is answered once it is stored, and one that raises has changed nothing; but after
    `OutcomeUnknownError`, or if you cancel it, no one can tell: repeat it with the same `event_id` (S-3).
    Besides what its method names it may raise `ValidationError` for an id that is none, `NewerVersionError`,
    and, to be repeated later, `OverloadedError`, `StorageError`, `ClosedError` (S-61). An instance that
    there is not is a normal answer, unless a method says otherwise.
    """

    def __init__(self, jobs: Jobs, caller: Caller) -> None:
        self._jobs = jobs
        self._caller = caller

    @overload
    def continuous(self, job: Continuous[S]) -> ContinuousClient[S]: ...

    @overload
    def continuous(self, job: str) -> ContinuousClient[Any]: ...

    def continuous(self, job: Continuous[Any] | str) -> ContinuousClient[Any]:
        """The client of a continuous job; raises `JobNotFoundError`."""
        name, definition = self._jobs.find("continuous", job)
        return ContinuousClient(self._caller, name, cast("Continuous[Any]", definition))

    @overload
    def debounce(self, job: Debounce[E, S]) -> DebounceClient[E, S]: ...

    @overload
    def debounce(self, job: str) -> DebounceClient[Any, Any]: ...

    def debounce(self, job: Debounce[Any, Any] | str) -> DebounceClient[Any, Any]:
        """The client of a debounce; raises `JobNotFoundError`."""
        name, definition = self._jobs.find("debounce", job)
        return DebounceClient(self._caller, name, cast("Debounce[Any, Any]", definition))

    @overload
    def task(self, job: Task[E, S]) -> TaskClient[E, S]: ...

    @overload
    def task(self, job: str) -> TaskClient[Any, Any]: ...

    def task(self, job: Task[Any, Any] | str) -> TaskClient[Any, Any]:
        """The client of a task; raises `JobNotFoundError`."""
        name, definition = self._jobs.find("task", job)
        return TaskClient(self._caller, name, cast("Task[Any, Any]", definition))

    async def list(
        self,
        *,
        kind: Kind | None = None,
        job: str | None = None,
        status: InstanceStatus | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> InstancePage:
        """One page of all instances in the store, unregistered jobs included (S-66, S-8).

        A page may hold fewer than `limit`, 1 to 1,000, even none: there are more until its `after` is
        `None`. Raises `ValidationError` for an `after` that no page gave.
        """
        return await self._caller.page(kind, job, status, after, limit)

    async def instances(
        self, *, kind: Kind | None = None, job: str | None = None, status: InstanceStatus | None = None
    ) -> AsyncIterator[Instance]:
        """All instances, page by page."""
        after: str | None = None
        while True:
            page = await self.list(kind=kind, job=job, status=status, after=after)
            for instance in page.instances:
                yield instance
            after = page.after
            if after is None:
                return
