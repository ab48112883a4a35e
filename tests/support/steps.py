"""A bench for one instance: the real `step` on a virtual clock, without an engine.

    bench = Bench(continuous())
    bench.start(0)                      # one step, committed; returns the reply, or raises its error
    bench.fail("boom")                  # the outcome of the leased hook in flight
    assert bench.phase == "pending"

A bench calls no hook of a definition. The outcome of a leased hook is what a test says it is; inline
hooks are functions of the `HookCall` in `bench.inline`. After each step it has `transition`, `calls`,
`telemetry` and `alarm` to look at, and every law of `support.laws` has been checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from attrs import define, evolve, field
from support.laws import checked_step, with_outcome

from durable_jobs_core import events
from durable_jobs_core.definitions import AnyDefinition, Continuous, Debounce, Task
from durable_jobs_core.effects import CallHandler, EmitTelemetry, Reply, ReplyError, Transition
from durable_jobs_core.errors import DurableJobsError, ValidationError
from durable_jobs_core.failures import describe
from durable_jobs_core.kinds import KINDS
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations, ScheduleChange, Termination
from durable_jobs_core.record import Lease, Record, Run, Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.schedule import Schedule, every
from durable_jobs_core.step import Env, alarm_of, observe
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Failure, Json, Key, Token

T = 1_700_000_000_000
"""The instant at which every bench begins."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
LEASE = 30 * SECOND
RETRY = Retry(max_attempts=3, delay="10 seconds", jitter=0)
"""The policy of these definitions unless a test says otherwise: three attempts, ten seconds apart."""

MIDDLE = 2**63
"""The entropy that jitters nothing."""


def continuous(schedule: Schedule | None = None, **options: Any) -> Continuous[int]:
    """A continuous job, every minute by default."""
    options.setdefault("retry", RETRY)
    return Continuous.make(state=int, schedule=schedule or every("1 minute"), execute=_never, **options)


def debounce(*, reducer: bool = False, flush_after: str = "30 seconds", **options: Any) -> Debounce[Any, Any]:
    """A debounce; with `reducer`, its state is what `bench.inline["on_event"]` makes of the events."""
    options.setdefault("retry", RETRY)
    if reducer:
        options.update(state=list[int], on_event=_never)
    return Debounce.make(event=int, flush_after=flush_after, execute=_never, **options)


def task(*hooks: str, **options: Any) -> Task[Any, Any]:
    """A task with `on_event`, `execute`, and the further `hooks` named."""
    options.setdefault("retry", RETRY)
    further: dict[str, Any] = dict.fromkeys(hooks, _never)
    return Task.make(state=str, event=str, on_event=_never, execute=_never, **further, **options)


def _never(*arguments: Any) -> Any:
    raise AssertionError("a bench calls no hook of a definition")


def asked(
    state: Json = None,
    *,
    after: int | None = None,
    at: int | None = None,
    cancel: bool = False,
    terminate: str | None = None,
) -> Operations:
    """What a hook asked for: a new `state`; a schedule `after` ms, or `at` an instant, or none."""
    schedule = ScheduleChange(at, after) if cancel or after is not None or at is not None else None
    return Operations(
        state=None if state is None else Stored(1, state),
        schedule=schedule,
        terminate=None if terminate is None else Termination(terminate),
    )


def append(call: HookCall) -> Operations:
    """A reducer: the list of the events."""
    before: Any = [] if call.state is None else call.state.value
    return asked([*before, call.event])


def keep_latest(call: HookCall) -> Operations:
    """An `on_event` of a task: the event is the state."""
    return asked(call.event)


def nothing(call: HookCall) -> Operations:
    """A hook that asks for nothing."""
    return asked()


def returns(operations: Operations) -> Callable[[HookCall], Operations]:
    """An inline hook with that outcome."""
    return lambda call: operations


def raises(error: Exception) -> Callable[[HookCall], Operations]:
    """An inline hook that fails."""

    def fails(call: HookCall) -> Operations:
        raise error

    return fails


class Seen(NamedTuple):
    """One step: the type of its event, the phases before and after, the transition unless refused."""

    event: type
    before: str
    after: str
    transition: Transition | None


@define
class Bench:
    """One instance under the real `step`.

    `worker`: it may start runs; `engine`: who writes; `record`: as it is stored; `transition`: the last
    one; `telemetry`: all that was emitted; `calls`: all leased calls; `shown`: all inline calls.
    """

    definition: AnyDefinition
    id: str = "a"
    now: int = T
    worker: bool = True
    engine: int = 1
    number: int = 0
    record: Record | None = None
    transition: Transition = field(factory=lambda: Transition(None, ()))
    seen: list[Seen] = field(factory=list)
    telemetry: list[TelemetryEvent] = field(factory=list)
    calls: list[CallHandler] = field(factory=list)
    shown: list[HookCall] = field(factory=list)
    inline: dict[str, Callable[[HookCall], Operations]] = field(factory=dict)
    job: str = "job"

    def __attrs_post_init__(self) -> None:
        on_event = append if isinstance(self.definition, Debounce) else keep_latest
        self.inline = {"on_event": on_event, "on_idle": nothing, "on_error": nothing, **self.inline}

    # -- what there is

    @property
    def key(self) -> Key:
        """The instance."""
        return Key(self.definition.kind, self.job, self.id)

    @property
    def body(self) -> Any:
        """The body of the record; there must be one."""
        assert self.record is not None, "there is no instance"
        return self.record.body

    @property
    def phase(self) -> str:
        """The phase, as a word."""
        body = None if self.record is None else self.record.body
        phase: str = KINDS[self.definition.kind].phase_of(body).value
        return phase

    @property
    def alarm(self) -> int | None:
        """When the instance wants to be woken."""
        return None if self.record is None else alarm_of(self.definition.kind, self.record)

    @property
    def in_flight(self) -> Run:
        """The run that holds the lease."""
        run = self.body.in_flight
        assert run is not None, f"no attempt is in flight: {self.phase}"
        return run

    @property
    def lease(self) -> Lease:
        """The lease of the attempt in flight."""
        assert self.in_flight.lease is not None
        return self.in_flight.lease

    @property
    def call(self) -> HookCall:
        """The latest leased call."""
        return self.calls[-1].call

    @property
    def emitted(self) -> list[str]:
        """The types of what the last step emitted."""
        values = (e.events for e in self.transition.then if isinstance(e, EmitTelemetry))
        return [value.type for group in values for value in group]

    @property
    def state(self) -> Json:
        """The user's state, as a client is answered."""
        found = self.request(events.StateRequested()).state
        return None if found is None else found.value

    def last(self, type_: type[TelemetryEvent]) -> Any:
        """The latest telemetry value of a type."""
        return next(value for value in reversed(self.telemetry) if isinstance(value, type_))

    # -- stepping

    def env(self, **changes: Any) -> Env:
        """What the next step is told of the world."""
        env = Env(
            key=self.key,
            now=self.now,
            entropy=MIDDLE + self.number,
            number=self.number,
            engine=self.engine,
            may_start=self.worker,
            lease_ms=LEASE,
        )
        return evolve(env, **changes)

    def feed(self, event: events.Event) -> Transition:
        """One step, committed at once."""
        self.number += 1
        before = self.phase
        try:
            transition = checked_step(self.definition, self.record, event, self.env())
        except DurableJobsError:
            self.seen.append(Seen(type(event), before, before, None))
            raise
        self.transition, self.record = transition, transition.record
        self.seen.append(Seen(type(event), before, self.phase, transition))
        for effect in transition.then:
            if isinstance(effect, EmitTelemetry):
                self.telemetry.extend(effect.events)
            elif isinstance(effect, CallHandler):
                if effect.token is not None:
                    self.calls.append(effect)
                else:
                    self.shown.append(effect.call)
        return transition

    def request(self, request: Any) -> Any:
        """Step a request, calling inline hooks as it asks for them; its reply, or its error raised."""
        while True:
            for effect in self.feed(request).then:
                if isinstance(effect, Reply):
                    assert effect.result.instance_id == str(self.key)
                    return effect.result
                if isinstance(effect, ReplyError):
                    raise effect.error from effect.cause
                if isinstance(effect, CallHandler) and effect.token is None:
                    request = with_outcome(request, self._call_inline(effect.call))
                    break
            else:
                raise AssertionError("a request is answered, or asks for a hook")

    def _call_inline(self, call: HookCall) -> InlineOutcome:
        try:
            return InlineOutcome(call=call, operations=self.inline[call.hook](call))
        except ValidationError as error:  # as the engine says that stored state does not decode
            return InlineOutcome(call=call, failure=describe(error), error=error, unreadable=True)
        except Exception as error:
            return InlineOutcome(call=call, failure=describe(error), error=error)

    def waiting(self) -> Callable[[], Any]:
        """A look at what the caller of the last request, which waits, is told as things stand."""
        reply = next(e for e in self.transition.then if isinstance(e, Reply))
        assert reply.watch is not None, "nobody waits for that"
        watch, result = reply.watch, reply.result
        return lambda: observe(watch, self.record, result)

    # -- facts

    def wait(self, ms: int) -> None:
        """Let time go on."""
        self.now += ms

    def fire(self) -> None:
        """The alarm goes off now, whether it should or not."""
        self.feed(events.AlarmFired())

    def wake(self) -> None:
        """Let time go on to the alarm, which goes off."""
        assert self.alarm is not None, "there is no alarm"
        self.now = max(self.now, self.alarm)
        self.fire()

    def succeed(self, operations: Operations | None = None, *, token: Token | None = None) -> None:
        """The leased hook returned."""
        self.feed(events.HandlerSucceeded(token or self.lease.token, operations or asked()))

    def fail(self, message: str = "boom", *, retryable: bool = True, token: Token | None = None) -> None:
        """The leased hook raised."""
        failure = Failure("Error", message, "a stack")
        self.feed(events.HandlerFailed(token or self.lease.token, failure, retryable))

    def fail_for_good(self) -> None:
        """The leased hook raised what is not tried again."""
        self.fail(retryable=False)

    def misread(self) -> None:
        """The leased hook was not called: what is stored does not decode."""
        failure = Failure("ValidationError", "it does not fit")
        self.feed(events.HandlerFailed(self.lease.token, failure, unreadable=True))

    def release(self, *, token: Token | None = None) -> None:
        """The leased hook was handed back."""
        self.feed(events.HandlerReleased(token or self.lease.token))

    def renew(self, *, token: Token | None = None) -> None:
        """The lease is to end later."""
        self.feed(events.LeaseRenewed(token or self.lease.token))

    def crash(self) -> None:
        """The worker is gone: the lease ends without completion."""
        self.now = max(self.now, self.lease.until)
        self.fire()

    # -- requests

    def start(self, state: Json = 0) -> Any:
        """`start` of a continuous instance."""
        return self.request(events.StartRequested(Stored(1, state)))

    def add(self, event: Json = 1, id: str | None = None) -> Any:
        """`add` to a debounce."""
        return self.request(events.AddRequested(event=event, event_id=id))

    def send(self, event: Json = "e", id: str | None = None) -> Any:
        """`send` to a task."""
        return self.request(events.SendRequested(event=event, event_id=id))

    def trigger(self) -> Any:
        """`trigger`."""
        return self.request(events.TriggerRequested())

    def flush(self) -> Any:
        """`flush`."""
        return self.request(events.FlushRequested())

    def clear(self) -> Any:
        """`clear`."""
        return self.request(events.ClearRequested())

    def pause(self) -> Any:
        """`pause`."""
        return self.request(events.PauseRequested())

    def resume(self) -> Any:
        """`resume`."""
        return self.request(events.ResumeRequested())

    def reschedule(self) -> Any:
        """`reschedule`."""
        return self.request(events.RescheduleRequested())

    def terminate(self, reason: str | None = None) -> Any:
        """`terminate`."""
        return self.request(events.TerminateRequested(reason))

    def status(self) -> Any:
        """`status`."""
        return self.request(events.StatusRequested())

    def dead_letters(self) -> Any:
        """`dead_letters`."""
        return self.request(events.DeadLettersRequested())

    def redrive(self) -> Any:
        """`redrive`."""
        return self.request(events.RedriveRequested())

    def discard(self) -> Any:
        """`discard`."""
        return self.request(events.DiscardRequested())


GRID = every("1 minute", align="start")
