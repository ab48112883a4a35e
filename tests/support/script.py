"""A tiny command language over a `Bench`: tables and transcripts are written in it.

A script begins with a definition, `continuous every=1m retry=2x10s`, and goes on with commands:

    wait 30s · wake (to the alarm, which goes off) · alarm (goes off now) · crash (the lease ends)
    worker on|off · engine 2 (another node steps) · deploy KEY=VALUE… (another definition)
    start 0 · add 1 id=x · send paid id=x · trigger · pause · status · … (the requests; `state` as in clients)
    succeed state=3 schedule=10s cancel terminate=why · fail TEXT final · release · renew
    stale succeed|fail|release|renew (with the token before) · misfiled
    look (what the caller of the last trigger or flush is told by now)

`send` takes what its hooks ask for: `schedule=10s`, `fail`, and with a prefix `idle.fail`, `error.cancel`.
`add` of a debounce with a `reducer` takes `fail`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from support.steps import LEASE, Bench, T, append, asked, continuous, debounce, keep_latest, raises, task

from durable_jobs_core import events
from durable_jobs_core.durations import to_ms
from durable_jobs_core.effects import (
    CallHandler,
    CancelHandler,
    Delete,
    EmitTelemetry,
    Persist,
    Reply,
    SetAlarm,
    Transition,
)
from durable_jobs_core.errors import DurableJobsError
from durable_jobs_core.operations import HookCall, Operations
from durable_jobs_core.record import Stored
from durable_jobs_core.results import DeadLetter
from durable_jobs_core.retry import Retry
from durable_jobs_core.schedule import cron, every, skip
from durable_jobs_core.telemetry import TelemetryEvent
from durable_jobs_core.words import Failure, Token, from_datetime

NEVER_HELD = Token(0, 99)
_ALIASES = {
    "after": "flush_after",
    "exhausted": "on_exhausted",
    "inbox": "inbox_limit",
    "ids": "remember_ids",
    "ids_for": "remember_ids_for",
}
_SIMPLE = {
    "trigger", "pause", "resume", "reschedule", "flush", "clear", "dead_letters", "redrive", "discard",
}  # fmt: skip


def define(text: str) -> Any:
    """A definition: the kind, then its options."""
    kind, *words = shlex.split(text)
    options = dict(word.split("=", 1) if "=" in word else (word, "") for word in words)
    given: dict[str, Any] = {}
    for name, text in options.items():
        if name == "retry":
            given[name] = _retry(text)
        elif name in ("reducer", "on_idle", "on_error", "every", "aligned", "cron", "tz"):
            continue
        elif name == "later":
            given["start_immediately"] = False
        elif name == "skip":
            given["misfire"] = skip(text)
        elif name == "quiet":
            given.update(mode="quiet", max_wait=None)
        else:
            value: Any = int(text) if text.isdigit() else text
            given[_ALIASES.get(name, name)] = value
    if kind == "continuous":
        span = every(options.get("every", "1m"), align="start" if "aligned" in options else None)
        ticks = cron(options["cron"], tz=options.get("tz", "UTC")) if "cron" in options else span
        return continuous(ticks, **given)
    if kind == "debounce":
        return debounce(reducer="reducer" in options, **given)
    return task(*(hook for hook in ("on_idle", "on_error") if hook in options), **given)


def _retry(text: str) -> Retry | None:
    """`none`, or `ATTEMPTSxDELAY`."""
    if text == "none":
        return None
    attempts, delay = text.split("x")
    return Retry(max_attempts=int(attempts), delay=delay, jitter=0)


@attrs.define
class Script:
    """One instance under commands. `error`: what the last command raised."""

    job: str
    bench: Bench = attrs.field(init=False)
    error: DurableJobsError | None = None
    look: Callable[[], Any] | None = None

    def __attrs_post_init__(self) -> None:
        self.bench = Bench(define(self.job))

    def run(self, line: str) -> list[str]:
        """Run one command; what came of it, in lines."""
        name, *words = shlex.split(line)
        options = dict(word.split("=", 1) if "=" in word else (word, "") for word in words)
        before, done = self.bench.now, len(self.bench.seen)
        self.error = None
        if name == "look":
            assert self.look is not None, "nobody waits"
            told = self.look()
            return ["told    " + ("nothing yet" if told is None else _fields(told))]
        try:
            self._command(name, words, options)
        except DurableJobsError as error:
            self.error = error
        lines = [] if self.bench.now == before else [f"at      {_at(self.bench.now)}"]
        for seen in self.bench.seen[done:]:
            if seen.transition is not None:
                lines += _render(seen.transition, seen.after)
        if self.error is not None:
            lines.append(f"error   {type(self.error).__name__}: {self.error}")
        return lines

    def _command(self, name: str, words: list[str], options: dict[str, str]) -> None:
        bench = self.bench
        if name == "wait":
            bench.wait(to_ms(words[0], "wait"))
        elif name == "worker":
            bench.worker = words[0] == "on"
        elif name == "engine":
            bench.engine = int(words[0])
        elif name == "deploy":
            bench.definition = define(" ".join([self.job, *map(shlex.quote, words)]))
        elif name == "misfiled":
            bench.feed(events.AlarmMisfiled(None))
        elif name == "alarm":
            bench.fire()
        elif name in ("wake", "crash"):
            getattr(bench, name)()
        elif name == "stale":
            token = bench.calls[-2].token if len(bench.calls) > 1 else NEVER_HELD
            getattr(bench, words[0])(token=token)
        elif name == "succeed":
            bench.succeed(self._asked(options, ""))
        elif name == "fail":
            text = " ".join(word for word in words if word != "final")
            bench.fail(text or "boom", retryable="final" not in options)
        elif name in ("release", "renew"):
            getattr(bench, name)()
        else:
            self._request(name, words, options)

    def _request(self, name: str, words: list[str], options: dict[str, str]) -> None:
        bench = self.bench
        if name == "start":
            bench.start(int(words[0]) if words else 0)
        elif name == "add":
            bench.inline["on_event"] = raises(ValueError("no")) if "fail" in options else append
            bench.add(int(words[0]), options.get("id"))
        elif name == "send":
            for hook in ("on_event", "on_idle", "on_error"):
                prefix = "" if hook == "on_event" else hook[3:] + "."
                bench.inline[hook] = self._hook(options, prefix)
            bench.send(words[0], options.get("id"))
        elif name == "terminate":
            bench.terminate(words[0] if words else None)
        elif name == "status":
            bench.status()
        elif name == "state":
            bench.request(events.StateRequested())
        else:
            assert name in _SIMPLE, f"no command is called {name}"
            getattr(bench, name)()
            reply = next(e for e in bench.transition.then if isinstance(e, Reply))
            if reply.watch is not None:
                self.look = bench.waiting()

    def _hook(self, options: dict[str, str], prefix: str) -> Callable[[HookCall], Operations]:
        if prefix + "fail" in options:
            return raises(ValueError("no"))
        names = ("state", "schedule", "cancel", "terminate")
        if prefix == "" and not any(name in options for name in names):
            return keep_latest
        return lambda call: self._asked(options, prefix)

    def _asked(self, options: dict[str, str], prefix: str) -> Operations:
        state: Any = options.get(prefix + "state")
        if state is not None and self.bench.definition.kind == "continuous":
            state = int(state)
        after = options.get(prefix + "schedule")
        return asked(
            state,
            after=None if after is None else to_ms(after, "schedule"),
            cancel=prefix + "cancel" in options,
            terminate=options.get(prefix + "terminate"),
        )


def _at(instant: int) -> str:
    """An instant as the time since the bench began: `+1m30s`."""
    rest, text = abs(instant - T), ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return ("-" if instant < T else "+") + (text or "0s")


def _render(transition: Transition, phase: str) -> list[str]:
    """One step in lines: what it commits, then what may happen."""
    lines: list[str] = []
    for effect in transition.commit:
        if isinstance(effect, Persist):
            lines.append(f"commit  {phase}")
        elif isinstance(effect, Delete):
            lines.append("commit  delete")
        elif isinstance(effect, SetAlarm):
            lines[-1] += f", alarm {_at(effect.at)}"
        elif lines[-1] != "commit  delete":
            lines[-1] += ", no alarm"
    for effect in transition.then:
        if isinstance(effect, EmitTelemetry):
            lines += [f"emit    {_event(value)}" for value in effect.events]
        elif isinstance(effect, Reply):
            lines.append(f"reply   {_fields(effect.result)}")
        elif isinstance(effect, CallHandler):
            lines.append(f"call    {_call(effect.call)}")
        elif isinstance(effect, CancelHandler):
            lines.append("cancel  the handler")
    return lines or ["nothing"]


def _fields(result: Any) -> str:
    """A result by its type and what is not as usual."""
    told = []
    for its in attrs.fields(type(result)):
        value = getattr(result, its.name)
        if its.name == "instance_id" or (value == its.default and its.default is not attrs.NOTHING):
            continue
        told.append(f"{its.name}={_value(value)}")
    return " ".join([type(result).__name__, *told])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _at(from_datetime(value))
    if isinstance(value, Failure):
        return f"({value})"
    if isinstance(value, Stored):
        return str(value.value)
    if isinstance(value, DeadLetter):
        return f"[{value.event}: {value.error}]"
    if isinstance(value, tuple):
        return "".join(map(_value, value)) or "none"
    return str(value)


def _event(value: TelemetryEvent) -> str:
    """A telemetry value by its type, its number, and the fields that tell most."""
    facts = value.fields(with_state=False)
    told = [f"{name}={facts[name]}" for name in _TOLD if name in facts]
    return " ".join([value.type, "(no seq)" if value.seq is None else f"#{value.seq}", *told])


_TOLD = ("hook", "attempt", "attempts", "willRetry", "reason", "crashes", "trigger", "eventCount")


def _call(call: HookCall) -> str:
    """A call by what the hook is shown."""
    told = [f"run={call.run} attempt={call.attempt}"] if call.leased else ["(inline)"]
    if call.crashes:
        told.append(f"crashes={call.crashes}")
    if call.event is not None:
        told.append(f"event={call.event}")
    told.append(f"state={None if call.state is None else call.state.value}")
    if call.scheduled_for is not None:
        told.append(f"scheduled_for={_at(call.scheduled_for)}")
    if call.flush_reason is not None:
        told.append(f"events={call.event_count} reason={call.flush_reason}")
    if call.failure is not None:
        told.append(f"error=({call.failure})")
    return " ".join([call.hook, *told])


def effects(script: Script, since: int) -> str:
    """The effects of the last command in one line, for the tables: what is written, then the rest."""
    words, writes = [], "keep"
    for transition in (seen.transition for seen in script.bench.seen[since:]):
        if transition is None:
            continue
        if transition.commit:
            writes = "delete" if isinstance(transition.commit[0], Delete) else "write"
        for effect in transition.then:
            if isinstance(effect, EmitTelemetry):
                words += [value.type for value in effect.events]
            elif isinstance(effect, Reply):
                words.append("reply")
            elif isinstance(effect, CallHandler):
                words.append(f"{'call' if effect.token else 'inline'} {effect.call.hook}")
            elif isinstance(effect, CancelHandler):
                words.append("cancel")
    if script.error is not None:
        words.append(type(script.error).__name__)
    return ", ".join([writes, *words])


def due(script: Script) -> str:
    """The alarm as the tables write it: from now, `lease` at the end of a fresh one, `now` if overdue."""
    bench, alarm = script.bench, script.bench.alarm
    if alarm is None:
        return "none"
    if alarm <= bench.now:
        return "now"
    leased = bench.record is not None and bench.record.body.in_flight is not None
    return "lease" if leased and alarm == bench.now + LEASE else _at(T + alarm - bench.now)
