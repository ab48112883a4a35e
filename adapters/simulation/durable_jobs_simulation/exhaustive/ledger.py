"""What became of the events themselves, told from stored contents alone (I-1, I-2, I-9).

In a scope the state of a debounce or task is the list of the events it has seen, each one unlike others.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field

from durable_jobs_core.engine import Reply
from durable_jobs_core.errors import OutcomeUnknownError
from durable_jobs_core.events import AddRequested, ClearRequested, Request, SendRequested, TerminateRequested
from durable_jobs_core.record import DebounceBody, Record, Stored, TaskBody
from durable_jobs_core.words import Key
from durable_jobs_simulation.exhaustive.forking import changes
from durable_jobs_simulation.violation import Violated

Said = tuple[Key, Any]
SAYS, ENDS = (AddRequested, SendRequested), (TerminateRequested, ClearRequested)


@define(eq=False)
class Ledger:
    """Events, by key and number. `open`: requests that are not answered; `seen`: were in a committed record;
    `gone`: are in it no more; `executed`: were in a batch that `execute` returned for; `refused`: their
    senders were told so; `ending`: keys whose end, or clearing, was asked for; `passing`: open ones that one
    write may both have taken and ended, so that no record shows them."""

    open: dict[int, tuple[Key, Request]] = field(factory=dict[int, tuple[Key, Request]])
    seen: set[Said] = field(factory=set[Said])
    gone: set[Said] = field(factory=set[Said])
    executed: set[Said] = field(factory=set[Said])
    refused: set[Said] = field(factory=set[Said])
    ending: set[Key] = field(factory=set[Key])
    passing: set[Said] = field(factory=set[Said])

    def called(self, call: int, key: Key, request: Request) -> None:
        """A request was made."""
        self.open[call] = key, request
        asked = [one for of, one in self.open.values() if of == key]
        if isinstance(request, ENDS):
            self.ending.add(key)
            self.passing.update((key, one.event) for one in asked if isinstance(one, SAYS))
        elif isinstance(request, SAYS) and any(isinstance(one, ENDS) for one in asked):
            self.passing.add((key, request.event))

    def replied(self, reply: Reply) -> None:
        """An answer was given: to a request, and only one."""
        key, request = self.open.pop(reply.call)
        if not isinstance(request, SAYS):
            return
        said = key, request.event
        if reply.error is None and said not in self.seen and said not in self.passing:
            raise Violated("I-1", f"event {said[1]} was acknowledged and is nowhere")
        if reply.error is not None and not isinstance(reply.error, OutcomeUnknownError):
            if said in self.seen:
                raise Violated("I-9", f"event {said[1]} was refused and is there")
            self.refused.add(said)
        self.passing.discard(said)

    def ran(self, key: Key, state: Stored | None) -> None:
        """`execute` has returned, and was shown this."""
        if key.kind == "debounce" and state is not None:
            self.executed.update((key, number) for number in _list(state.value))

    def committed(self, key: Key, before: Record | None, after: Record | None) -> None:
        """A record was written over another."""
        was, counts = set(_numbers(before)), Counter(_numbers(after))
        is_ = set(counts)
        for number, count in sorted(counts.items()):
            if count > 1:
                raise Violated("I-1", f"event {number} is there twice")
            if (key, number) in self.refused:
                raise Violated("I-9", f"event {number} was refused and is there")
            if (key, number) in self.gone:
                raise Violated("I-2", f"event {number} is there again")
        self.seen.update((key, number) for number in is_)
        for number in sorted(was - is_):
            self.gone.add((key, number))
            if (key, number) not in self.executed and key not in self.ending:
                raise Violated("I-1", f"event {number} was lost")


def _numbers(record: Record | None) -> list[Any]:
    """The events a record holds."""
    body = None if record is None else record.body
    numbers: list[Any] = []
    if isinstance(body, DebounceBody):
        for part in (body.batch, body.window):
            numbers += [] if part is None else _list(part.state.value)
    elif isinstance(body, TaskBody):
        numbers += [] if body.state is None else _list(body.state.value)
        numbers += [queued.event for queued in body.inbox]
        numbers += [dead.event for dead in body.dead]
    return numbers


def _list(value: Any) -> list[Any]:
    assert isinstance(value, list), "the state of a scope's job is a list of events"
    return list(value)


changes(Ledger)
