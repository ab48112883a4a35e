"""One recorded run on the real core and engine: requests by the real clients, hooks by its scripts.

Time is the recording's. Alarms go off only where the recording says so: the store hands out a due
instance when its alarm is delivered, and keeps the others to itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

from attrs import define, evolve, field
from durable_jobs_memory import MemoryBackend
from support.rig import EPOCH, Rig

from durable_jobs_core import Client, DurableJobsError, create_durable_jobs
from durable_jobs_core.backend import Answer, Batch, Write
from durable_jobs_core.codec import encode
from durable_jobs_core.record import AnyBody, Record
from durable_jobs_core.step import alarm_of
from durable_jobs_core.words import YEAR_MS, Key, Revision, to_datetime
from reference.jobs import reduced, register
from reference.words import shown, told, wire

AGAIN_MAX = 3
"""How often a script is followed in one step: one that asks for the past again and again has no end."""
LONG_MS = YEAR_MS
"""No recording is so long: nothing of the engine's own is to come between."""
_HOOKS = {"execute": "execute", "on_event": "onEvent", "on_idle": "onIdle", "on_error": "onError"}
_METHODS = {"getState": "get_state"}


class Fail(Exception):
    """A failure of the script, and a defect, which the original tells apart."""


class UnknownVerb(Exception):
    """There is no such kind, or it has no such request."""


class OneAlarm(MemoryBackend):
    """A store that claims only the instance whose alarm is delivered, due or not, and that once."""

    delivered: Key | None = None

    def exchange(self, lane: int, batch: Batch) -> Answer:
        answer = super().exchange(lane, evolve(batch, claim=None))
        row = None if self.delivered is None else self._store.rows.get(self.delivered)
        if batch.claim is None or row is None or (row.key.kind, row.key.job) not in batch.claim.limits:
            return answer
        self.delivered = None
        return evolve(answer, claimed=(row,))


@define(kw_only=True)
class Seen:
    """What ours did in a step, in the words of the recording."""

    key: Key
    script: Mapping[str, list[Any]]
    requests: list[Mapping[str, Any]] = field(factory=list)
    """What came of the requests from within its handlers, as recorded."""
    result: Any = None
    error: BaseException | None = None
    calls: list[dict[str, Any]] = field(factory=list)
    events: list[dict[str, Any]] = field(factory=list)
    due: int | None = None
    """Its alarm before the step."""
    alarm: int | None = None
    body: AnyBody | None = None
    created_at: int | None = None
    raised: list[str] = field(factory=list)
    """The hooks that failed."""
    untouched: bool = False
    """What is stored of it is what was stored before."""


class Player:
    """A store, an engine, and a script at a time."""

    def __init__(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        self.specs = specs
        taken, self.refused = register(specs, self._hook)
        self.jobs = create_durable_jobs(taken)
        self.store = OneAlarm(lambda: self.now)
        self.nodes = 0
        self.frames: list[Seen] = []
        self._begin(0)

    def _begin(self, t: int) -> None:
        """A new engine on the store, as if the process had been started again."""
        self.nodes += 1
        self._told = 0
        limits: Any = {"poll": LONG_MS, "exchange": LONG_MS, "lease": LONG_MS}
        self.rig = Rig(self.jobs.by_key, node=self.nodes, stores=[self.store], t=t, **limits)
        self.rig.settle()

    @property
    def now(self) -> int:
        """The instant of the recording."""
        return EPOCH + self.rig.t

    def set_time(self, instant: float) -> None:
        """It is `instant`, or the whole millisecond before it; time may go back."""
        t = math.floor(instant) - EPOCH
        if t < self.rig.t:
            self._begin(t)
        elif t > self.rig.t:
            self.rig.wait(t - self.rig.t)

    def record(self, key: Key) -> Record | None:
        """What is stored."""
        return None if self.rig.row(key) is None else self.rig.record(key)

    def overdue(self, key: Key) -> bool:
        """Whether its alarm has passed."""
        row = self.rig.row(key)
        return row is not None and row.wake is not None and row.wake <= self.now

    def put(self, key: Key, body: AnyBody | None, created_at: int) -> None:
        """Make the instance stand there, as another process would have written it."""
        row = self.rig.row(key)
        expected = None if row is None else row.revision
        self._begin(self.rig.t)
        if body is None:
            new = None
        else:
            revision = Revision(self.nodes, 1, 10_000 + self.nodes)
            record = Record(
                revision=revision,
                writers=((revision.engine, revision.number),),
                created_at=created_at,
                at=min(self.now, max(created_at, 0)),
                seq=0,
                body=body,
            )
            new = encode(key, record, alarm_of(key.kind, record))
        if row is not None or new is not None:
            self.store.exchange(0, Batch(writes=(Write(key, expected, new),), not_after=self.now))

    # -- steps

    def play(
        self,
        op: Mapping[str, Any],
        key: Key,
        out: Mapping[str, Any],
        *,
        delivers: bool = True,
        registered: bool = True,
    ) -> Seen:
        """Do one operation, with every hook it calls; `out`: what is recorded of it.

        The alarm of a job that is not registered goes off in an engine that does not have it.
        """
        self._hear()
        row = self.rig.row(key)
        within = [
            step["nested"] for call in out.get("calls", ()) for step in call["steps"] if "nested" in step
        ]
        seen = Seen(
            key=key,
            script=op.get("script") or {},
            requests=within,
            due=None if row is None else row.wake,
        )
        waits = all(frame.key != key for frame in self.frames)
        self.frames.append(seen)
        try:
            if op["op"] == "fire_alarm":
                seen.result = {"fired": delivers}
                if len(self.frames) == 1:
                    self._begin(self.rig.t)  # one that has asked in vain comes a little later the next time
                self.store.delivered = key if delivers else None
                if registered:
                    self.rig.nudge()
                    self._run()
                else:
                    Rig({}, node=0, stores=[self.store], t=self.rig.t).settle()
                self.store.delivered = None
            elif op["op"] != "alarms":
                seen.result = told(key, self._ask(op, key, waits))
        except (DurableJobsError, UnknownVerb) as error:
            seen.error = error
        self._run()
        self._hear()
        self.frames.pop()
        seen.untouched = row == self.rig.row(key)
        row, record = self.rig.row(key), self.record(key)
        seen.alarm = None if row is None else row.wake
        seen.body, seen.created_at = (None, None) if record is None else (record.body, record.created_at)
        return seen

    def _ask(self, op: Mapping[str, Any], key: Key, waits: bool) -> Any:
        """One request by the client of its kind; raises what the client raises."""
        name = op["op"]
        client_of = getattr(Client(self.jobs, self), key.kind, None)
        client = None if client_of is None else client_of(key.job)
        method = getattr(client, _METHODS.get(name, name), None)
        if method is None:
            raise UnknownVerb(name)
        if name == "start":
            return drive(method(key.id, op.get("input", ...)))  # `...` fits nowhere, as what is missing
        if name in ("add", "send"):
            event = self.jobs.by_name[key.job].event.decode(op.get("event"), "event")  # type: ignore[union-attr]
            return drive(method(key.id, event))
        if name in ("trigger", "flush"):
            return drive(method(key.id, wait=timedelta(milliseconds=LONG_MS) if waits else None))
        if name == "terminate":
            return drive(method(key.id, reason=op.get("reason")))
        return drive(method(key.id))

    async def call(self, key: Key, request: Any, *, wait_ms: int | None = None, size: int = 0) -> Any:
        """What a driver does for its clients."""
        call = self.rig.call(key, request, deadline=LONG_MS, wait_ms=wait_ms, size=size)
        self._run()
        result = self.rig.result(call)
        if isinstance(result, BaseException):
            raise result
        return result

    async def page(self, *args: Any) -> Any:
        """No recording lists."""
        raise NotImplementedError

    def _run(self) -> None:
        """Exchanges and hooks, until there are none but those that wait for this one."""
        self.rig.settle()
        while self.rig.invokes:
            self.rig.finish()
            self.rig.settle()

    def _hear(self) -> None:
        """What telemetry was told since, to the step that is on."""
        new = self.rig.events[self._told :]
        self._told = len(self.rig.events)
        if self.frames:
            self.frames[-1].events += map(wire, new)

    # -- hooks

    def _hook(self, job: str, name: str) -> Callable[..., Any]:
        spec = self.specs[job]

        def hook(*args: Any) -> Any:
            ctx, given = args[-1], args[0]
            handler, frame = _HOOKS[name], self.frames[-1]
            if spec["kind"] == "debounce":
                given = getattr(ctx, "event", None)

            def show() -> dict[str, Any]:
                return shown(spec["kind"], handler, ctx, given, self.now)

            steps: list[Any] = []
            frame.calls.append({"handler": handler, "ctx": show(), "steps": steps})
            try:
                again = sum(call["handler"] == handler for call in frame.calls) > AGAIN_MAX
                value = self._interpret([] if again else frame.script.get(handler, []), ctx, show, steps)
            except Exception:
                frame.raised.append(handler)
                raise
            if handler == "onEvent" and spec["kind"] == "debounce":
                return reduced(spec["reducer"], ctx.event, ctx.state) if value is None else value
            return None

        return hook

    def _interpret(self, script: list[Any], ctx: Any, show: Callable[[], Any], steps: list[Any]) -> Any:
        value = None
        for name, *args in script:
            if name == "read":
                steps.append(show())
            elif name == "call":
                steps.append({"nested": self._request(args[0])})
            elif name == "advance":
                self.rig.wait(args[0])
            elif name == "terminate_caught":
                try:
                    ctx.terminate(*args)
                except BaseException:  # the user's catch-all
                    steps.append({"caught": "TerminateSignal"})
            elif name == "return":
                value = args[0]
            elif name == "fail_if_attempt_le":
                if ctx.attempt <= args[0]:
                    raise Fail(args[1])
            elif name in _RAISES:
                raise _RAISES[name](*args)
            else:
                _DOES[name](ctx, *args)
        return value

    def _request(self, op: Mapping[str, Any]) -> tuple[Mapping[str, Any], Key, Seen]:
        """A request from within a handler; time goes on as it is recorded to have."""
        key, requests = key_of(op, self.specs), self.frames[-1].requests
        out: Mapping[str, Any] = requests.pop(0) if requests else {}
        for call in out.get("calls", [])[:1]:
            self.set_time(max(self.now, call["ctx"].get("now", self.now)))
        delivers = bool(out.get("result", {}).get("fired", True))
        seen = self.play(op, key, out, delivers=delivers)
        self.set_time(max(self.now, out.get("now", self.now)))
        return op, key, seen


def _inc(ctx: Any, k: float) -> None:
    ctx.update_state(lambda state: {**(state or {}), "n": (state or {"n": 0})["n"] + k})


_DOES: dict[str, Callable[..., Any]] = {
    "set": lambda ctx, state: ctx.set_state(state),
    "inc": _inc,
    "schedule": lambda ctx, ms: ctx.schedule(timedelta(milliseconds=ms)),
    "schedule_str": lambda ctx, text: ctx.schedule(text),
    "schedule_at": lambda ctx, at: ctx.schedule(to_datetime(at)),
    "schedule_date": lambda ctx, at: ctx.schedule(to_datetime(at)),
    "cancel_schedule": lambda ctx: ctx.cancel_schedule(),
    "terminate": lambda ctx, reason=None: ctx.terminate(reason),
}
_RAISES: dict[str, Callable[..., BaseException]] = {
    "fail": Fail,
    "fail_tagged": Fail,
    "fail_string": Fail,
    "fail_object": lambda value: Fail(str(value)),
    "fail_uncloneable": lambda: Fail(lambda: 1),
    "die": RuntimeError,
    "throw": TypeError,
}


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def key_of(op: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]]) -> Key:
    """The instance an operation is about."""
    job = op["job"]
    kind: Any = op.get("kind") or specs[job]["kind"]
    return Key(kind, job, op["id"])
