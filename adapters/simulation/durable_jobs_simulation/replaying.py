"""How a journal is stepped again: the steps on the shipped core, the hooks on virtual time.

Each line is a step: it is made again with the record, the instant and the event it had then. Where the event
is the end of a hook, the hook is called again with what it was shown, and what it does now is taken. As long
as all is as it was, what comes of a step must be what its line says. Once a hook has done something else, the
instance goes its own way: it is given the same requests at the same instants, and the hooks it then wants
are called.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from durable_jobs_core.codec import as_json, from_json, upcast
from durable_jobs_core.definitions import AnyDefinition, HookFunction
from durable_jobs_core.effects import CallHandler, Transition
from durable_jobs_core.engine import HookOutcome, Input, Invoke, Limits
from durable_jobs_core.engine import handlers as ends
from durable_jobs_core.engine.keeper import Keeper
from durable_jobs_core.engine.slots import Slots
from durable_jobs_core.errors import DurableJobsError, ValidationError
from durable_jobs_core.events import (
    AddRequested,
    Event,
    HandlerFailed,
    HandlerSucceeded,
    SendRequested,
    StartRequested,
)
from durable_jobs_core.failures import describe
from durable_jobs_core.jobs import Jobs
from durable_jobs_core.journal import Line, Written, outcome_of
from durable_jobs_core.operations import HookCall, InlineOutcome, Operations
from durable_jobs_core.record import Record
from durable_jobs_core.schema import to_json
from durable_jobs_core.step import Env, step
from durable_jobs_core.words import Failure, Key, Token
from durable_jobs_simulation.faults import Faults
from durable_jobs_simulation.hooks import HookRun
from durable_jobs_simulation.node import Node
from durable_jobs_simulation.simulation import begin, entered
from durable_jobs_simulation.tasks import SimulationError

Ending: TypeAlias = Operations | Failure


@frozen(kw_only=True)
class CalledAgain:
    """A hook that was called again.

    `line`: which tells of its end, or else of its call; `was`, `now`: how it ended then and now; `was` is
    `None` if the journal does not tell; `error`: what it raised now.
    """

    line: int
    call: HookCall
    was: Ending | None
    now: Ending
    error: BaseException | None = field(default=None, repr=False)

    @property
    def same(self) -> bool:
        """Whether it ended as it did then, as far as the journal tells."""
        if isinstance(self.was, Failure) and isinstance(self.now, Failure):
            return str(self.was) == str(self.now)
        return self.was in (None, self.now)

    @property
    def what(self) -> str:
        """What it did now, in a line."""
        run = f" run {self.call.run} attempt {self.call.attempt}" if self.call.leased else ""
        return f"{self.call.hook}{run} of {self.call.key} {_said(self.now)}"

    def __str__(self) -> str:
        then = "as then" if self.same else f"then it {_said(self.was)}"
        if self.was is None:
            then = "the journal does not tell how it ended then"
        return f"line {self.line}: {self.what}; {then}"


def _said(ending: Ending | None) -> str:
    if isinstance(ending, Failure):
        return f"raised {ending}".splitlines()[0]
    asked = () if ending is None else (ending.state, ending.schedule, ending.terminate)
    return "returned" + "".join(f", {one}" for one in asked if one is not None)


class Stage(Node):
    """Where hooks are called: a node without an engine."""

    def __init__(self, jobs: Jobs) -> None:
        self.simulation = begin(jobs, seed=0, faults=Faults(), nodes=0, clients=1, limits=Limits())
        self.simulation._world.calm = True  # what went wrong is in the journal
        super().__init__(self.simulation._world, "replay", worker=False)
        self.up = True
        self._outcome: HookOutcome | None = None
        self._trace: Any = None

    def again(
        self, definition: AnyDefinition, call: HookCall, token: Token | None
    ) -> tuple[Any, Ending, BaseException | None]:
        """Call a hook and wait for its end: the event (inline: the outcome) that tells of it, how it ended,
        and what it raised."""
        try:
            invocation, invoke = ends.prepare(0, Keeper(call.key, definition, Slots(1, {}), 0), call, token)
        except ValidationError as error:
            if token is not None:
                failed = ends.unreadable(definition, error, token)
                return failed, failed.failure, error
            said = describe(error)
            return InlineOutcome(call=call, failure=said, error=error, unreadable=True), said, error
        outcome = self._run(invoke, call.at)
        tell = ends.inline_outcome if token is None else ends.leased_event
        event, result = tell(invocation, outcome), ends.result_of(invocation, outcome)
        if isinstance(result, Operations):
            return event, result, None
        assert isinstance(event, HandlerFailed | InlineOutcome), "nothing has cancelled it"
        assert event.failure is not None, "it raised"
        return event, event.failure, result.with_traceback(self._trace)

    def _run(self, invoke: Invoke, at: int) -> HookOutcome:
        world = self.world
        while world.goes_on(at):
            world.step()
        world.now = max(world.now, at)
        self._outcome = self._trace = None
        HookRun(self, evolve(invoke, function=self._traced(invoke.function))).start()
        while self._outcome is None:
            if not world.step():
                raise SimulationError(f"{invoke.hook} of {invoke.key} waits for what never comes")
        return self._outcome

    def _traced(self, function: HookFunction) -> HookFunction:
        """The same; it keeps the traceback, which a simulation takes away."""

        @contextmanager
        def traced() -> Generator[None]:
            try:
                yield
            except BaseException as error:
                self._trace = error.__traceback__
                raise

        async def awaited(*args: Any) -> Any:
            with traced():
                return await function.call(*args)

        def called(*args: Any) -> Any:
            with traced():
                return function.call(*args)

        return HookFunction(awaited if function.is_async else called, function.is_async)

    def finished(self, run: HookRun, outcome: HookOutcome) -> None:
        self._outcome = outcome

    def returned(self, run: HookRun) -> None:
        """A thread that was left behind."""

    def feed(self, input: Input) -> None:
        """There is nobody to tell."""


class Replaying:
    """One replay. `called`: the hooks; `difference`: what went another way though all was as it was;
    `broke`: the bug that the library had then, and still has; `mended`: it has it no more; `records`: what
    the instances are now.

    `_ours`: what a record of the journal is here, where that is another; `_calls`: by key and token;
    `_ended`: what hooks came to; `_tells`: of which leases the journal has the end.
    """

    def __init__(self, jobs: Jobs, steps: list[Line], writes: list[Written]) -> None:
        self.called: list[CalledAgain] = []
        self.difference: str | None = None
        self.broke: Exception | None = None
        self.mended = False
        self.records: dict[Key, Record | None] = {}
        self._jobs = jobs
        self._stage = Stage(jobs)
        self._ours: dict[tuple[Key, bytes], Record | None] = {}
        self._calls: dict[tuple[Key, Token], HookCall] = {}
        self._ended: dict[object, tuple[Any, bool]] = {}
        ended = (line for line in steps if isinstance(line.event, HandlerSucceeded | HandlerFailed))
        self._tells = {(line.env.key, line.event.token) for line in ended}  # type: ignore[union-attr]
        self._landed = {(write.key, write.revision) for write in writes if write.became == "committed"}
        self._landed |= {(line.env.key, _revision(line.before)) for line in steps}

    def run(self, steps: list[Line]) -> None:
        """Make all steps, up to the first that goes another way."""
        try:
            with entered(self._stage.simulation):
                for line in steps:
                    self._step(line)
                    if self.difference is not None or self.broke is not None:
                        break
        finally:
            self._stage.simulation._bury()

    def _step(self, line: Line) -> None:
        key = line.env.key
        definition = self._jobs.by_key.get((key.kind, key.job))
        if definition is None:
            raise SimulationError(f"line {line.number}: no {key.kind} job is registered as {key.job!r}")
        then = _record(line, definition, line.before)
        place = (key, to_json(line.before))
        before = self._ours.get(place, then)
        event, same = self._event(line, definition, before)
        came = _try(definition, before, event, line.env)
        if same and _json(key, before) == _json(key, then):
            self._compare(line, definition, came)
        record = before if isinstance(came, Exception) else self._follow(line, definition, came)
        if "after" in line.came:
            place = (key, to_json(line.came["after"]))
        self._ours[place] = self.records[key] = record

    def _compare(self, line: Line, definition: AnyDefinition, came: Transition | Exception) -> None:
        """All is as it was then: so must be what comes of it."""
        key, was, now = line.env.key, dict(line.came), outcome_of(line.env.key, came)
        if "after" in was:  # it may be of an older release
            was["after"] = _json(key, _record(line, definition, was["after"]))
        if "broke" in was and isinstance(came, Exception) and not isinstance(came, DurableJobsError):
            self.broke = came
        elif "broke" in was:
            self.mended = True
        elif was != now:
            what = f"line {line.number}: {type(line.event).__name__} of {key}"
            self.difference = f"{what}: {_first_difference(was, now)}"

    def _event(self, line: Line, definition: AnyDefinition, before: Record | None) -> tuple[Event, bool]:
        """The event of a line, by what its hook does now; and whether that is what it did then."""
        event = _current(definition, line.event)
        if isinstance(event, HandlerSucceeded | HandlerFailed):
            call = self._calls.get((line.env.key, event.token))
            if call is None:
                return event, True  # it was called before the journal began
            was = event.operations if isinstance(event, HandlerSucceeded) else event.failure
            return self._call(line, definition, call, event.token, was)
        if (
            isinstance(event, AddRequested | SendRequested)
            and event.outcomes
            and not _asked(line, inline=True)
        ):
            return self._inline(line, definition, before, event)
        return event, True

    def _inline(
        self,
        line: Line,
        definition: AnyDefinition,
        before: Record | None,
        event: AddRequested | SendRequested,
    ) -> tuple[Event, bool]:
        """A request whose inline hook had ended: its hook is called, until its step asks for no more."""
        recorded, outcomes = event.outcomes, list[InlineOutcome]()
        all_same = True
        while True:
            event = evolve(event, outcomes=tuple(outcomes))
            came = _try(definition, before, event, line.env)
            asked = None if isinstance(came, Exception) or came.writes else _call_of(came)
            if asked is None:
                return event, all_same
            was = next((one for one in recorded if one.call == asked.call), None)
            call, ending = (asked.call, None) if was is None else (was.call, was.operations or was.failure)
            if was is not None and was.failure is not None and str(was.failure) == _cut_short(call):
                self._call(line, definition, call, None, None)
                outcomes.append(was)  # that was the end of its worker, not its own
                continue
            outcome, same = self._call(line, definition, call, None, ending)
            outcomes.append(outcome)
            all_same = all_same and same

    def _follow(self, line: Line, definition: AnyDefinition, came: Transition) -> Record | None:
        """Call the leased hook that a step asks for, if the journal has no end of it."""
        key = line.env.key
        while came.writes and (asked := _call_of(came)) is not None and asked.token is not None:
            self._calls[key, asked.token] = asked.call
            if _asked(line, inline=False):  # as then: its end will come, or it was cut off
                landed = (key, _revision(line.came["after"])) in self._landed
                if landed and (key, asked.token) not in self._tells:
                    self._call(line, definition, asked.call, asked.token, None)
                break
            event, _ = self._call(line, definition, asked.call, asked.token, None)
            came = step(definition, came.record, event, evolve(line.env, may_start=True))
        return came.record

    def _call(
        self, line: Line, definition: AnyDefinition, call: HookCall, token: Token | None, was: Ending | None
    ) -> tuple[Any, bool]:
        """Call a hook, but once: what tells of its end, and whether that is as it was."""
        name = (token, repr(call))
        if name not in self._ended:
            event, now, error = self._stage.again(definition, call, token)
            called = CalledAgain(line=line.number, call=call, was=was, now=now, error=error)
            self.called.append(called)
            self._ended[name] = event, called.same
        return self._ended[name]


def _current(definition: AnyDefinition, event: Event) -> Event:
    """An event with the states in it as this release knows them."""

    def current(holder: Any) -> Any:
        if holder is None or holder.state is None:
            return holder
        return evolve(holder, state=upcast(definition, holder.state))

    if isinstance(event, HandlerSucceeded):
        return evolve(event, operations=current(event.operations))
    if isinstance(event, StartRequested):
        return evolve(event, input=upcast(definition, event.input))
    if isinstance(event, AddRequested | SendRequested) and event.outcomes:
        told = (evolve(o, call=current(o.call), operations=current(o.operations)) for o in event.outcomes)
        return evolve(event, outcomes=tuple(told))
    return event


def _try(definition: AnyDefinition, record: Record | None, event: Event, env: Env) -> Transition | Exception:
    try:
        return step(definition, record, event, env)
    except Exception as error:
        return error


def _record(line: Line, definition: AnyDefinition, data: Any) -> Record | None:
    try:
        found = None if data is None else from_json(definition, line.env.key, data)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise SimulationError(f"line {line.number}: no record is there: {error!r}") from error
    if found is not None and not isinstance(found, Record):
        raise SimulationError(f"line {line.number}: the record cannot be read: {found}")
    return found


def _json(key: Key, record: Record | None) -> Any:
    return None if record is None else as_json(key, record)


def _revision(record: Any) -> str | None:
    return None if record is None else record["revision"]


def _call_of(came: Transition) -> CallHandler | None:
    return next((effect for effect in came.then if isinstance(effect, CallHandler)), None)


def _cut_short(call: HookCall) -> str:
    """What an inline hook that was cancelled at a shutdown is said to have raised."""
    return f"RuntimeError: {call.hook} was cancelled"


def _asked(line: Line, *, inline: bool) -> bool:
    """Whether the step asked for a hook then: an inline one without a commit, a leased one with it."""
    then: Any = line.came.get("then", ())
    return inline == ("after" not in line.came) and any(effect.startswith("call ") for effect in then)


def _first_difference(was: Any, now: Any, path: str = "") -> str:
    """Where two values of JSON differ first."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                return _first_difference(was.get(name), now.get(name), f"{path}.{name}".lstrip("."))
    return f"{path} is {now!r}, and was {was!r}"
