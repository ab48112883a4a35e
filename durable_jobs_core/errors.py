"""Every error of the library, under one base (S-61).

    DurableJobsError
    ├── DefinitionError          a job, schedule or policy that can never work; raised where it is written
    ├── JobNotFoundError         no job of that kind is registered under the name
    ├── InstanceNotFoundError    the operation needs an instance and there is none
    ├── InvalidStateError        the request is illegal in the state the instance is in
    ├── ValidationError          a value does not fit its schema, or is refused at the edge
    ├── ExecutionError           an inline hook raised; the event it was called for was not taken
    ├── DuplicateEventError      the event id was accepted before
    ├── OverloadedError          a queue, window or inbox is full
    ├── StorageError             the backend could not do it
    ├── OutcomeUnknownError      the write may or may not have happened, and no one can tell
    ├── NewerVersionError        the record was written by a newer release
    ├── SchedulerError           a schedule has no next instant
    ├── ClosedError              the runtime is shutting down or closed
    └── DriverError              a driver broke the engine's contract

`changed` says what the error means for the instance: `False`, nothing was changed; `None`, unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from attrs import frozen

from durable_jobs_core.words import Failure, Key

UNCHANGED = " (nothing was changed)"
NAMED_MAX = 20


class DurableJobsError(Exception):
    """The base of all errors of this library. `changed`: `False`, nothing was; `None`, no one can tell."""

    changed: bool | None = False

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.changed is None else text + UNCHANGED

    def __reduce__(self) -> tuple[Any, ...]:
        """With its fields, so that it reaches another process whole: `args` is only the text."""
        return _again, (type(self), self.args), vars(self)


def _again(cls: type[DurableJobsError], args: tuple[Any, ...]) -> DurableJobsError:
    return cls.__new__(cls, *args)


class DefinitionError(DurableJobsError, ValueError):
    """A definition that can never work was refused where it was written."""

    __str__ = Exception.__str__


class JobNotFoundError(DurableJobsError):
    """No job of this kind is registered under this name; `other_kind`: of which one there is, if any."""

    def __init__(
        self,
        kind: str,
        name: str,
        registered: tuple[str, ...] = (),
        other_kind: str | None = None,
        hint: str = "",
    ) -> None:
        self.kind, self.name, self.registered, self.other_kind = kind, name, registered, other_kind
        known = ", ".join(registered) or "none"
        tail = f"; {name!r} is a {other_kind} job" if other_kind else hint and f"; {hint}"
        super().__init__(f"no {kind} job is registered as {name!r}; registered: {known}{tail}")


class InstanceNotFoundError(DurableJobsError):
    """The operation needs an instance, and there is none under this key."""

    def __init__(self, key: Key) -> None:
        self.key = key
        super().__init__(f"{key} does not exist")


class InvalidStateError(DurableJobsError):
    """The request is illegal in the state the instance is in (S-5)."""

    def __init__(self, key: Key, state: str, request: str, hint: str = "") -> None:
        self.key, self.state, self.request = key, state, request
        tail = f"; {hint}" if hint else ""
        super().__init__(f"{request} is not possible while {key} is {state}{tail}")


@frozen
class Issue:
    """One thing wrong with a value: where (`$.items[2].n`, `$`: all of it), what was expected, what came;
    `value`: the beginning of what it looks like, which may be a secret."""

    path: str
    expected: str
    got: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.plain} {self.value}".rstrip()

    @property
    def plain(self) -> str:
        """The text without the value."""
        where = "" if self.path == "$" else f"{self.path}: "
        return f"{where}expected {self.expected}, got {self.got}"


class ValidationError(DurableJobsError, ValueError):
    """A value, the `subject`, does not fit its schema, or is of a sort that is refused at the edge (S-62);
    `issues`: all that is wrong with it, of which the text names the first twenty."""

    def __init__(self, subject: str, issues: tuple[Issue, ...]) -> None:
        self.subject, self.issues = subject, issues
        super().__init__(self._text(str))

    @classmethod
    def of(cls, subject: str, expected: str, got: str, value: str = "") -> ValidationError:
        """What to raise for a value that is wrong as a whole."""
        return cls(subject, (Issue("$", expected, got, value),))

    @property
    def plain(self) -> str:
        """The text without the values: a state is for nobody who reads logs."""
        return self._text(attrgetter("plain"))

    def _text(self, shown: Callable[[Issue], str]) -> str:
        more = f"; and {len(self.issues) - NAMED_MAX} more" if len(self.issues) > NAMED_MAX else ""
        return f"{self.subject}: " + "; ".join(map(shown, self.issues[:NAMED_MAX])) + more


class ExecutionError(DurableJobsError):
    """An inline hook raised; the event it was called for was not taken (S-10).

    `failure` is the error as data; the original exception, where it was raised in this process, is
    the `__cause__`.
    """

    def __init__(self, key: Key, hook: str, failure: Failure) -> None:
        self.key, self.hook, self.failure = key, hook, failure
        super().__init__(f"{hook} of {key} failed: {failure}")


class DuplicateEventError(DurableJobsError):
    """An event with this id was accepted before (S-60)."""

    def __init__(self, key: Key, event_id: str) -> None:
        self.key, self.event_id = key, event_id
        super().__init__(f"{key} has already taken an event with the id {event_id!r}")


class OverloadedError(DurableJobsError):
    """A queue, window or inbox is full; nothing was stored. Try again later."""

    def __init__(self, what: str, limit: int, current: int) -> None:
        self.what, self.limit, self.current = what, limit, current
        super().__init__(f"{what} is full: {current} of at most {limit}")


class StorageError(DurableJobsError):
    """The backend could not do it, or not in time; nothing happened, and it may be repeated later (S-3)."""


class OutcomeUnknownError(DurableJobsError):
    """The write may or may not have happened (S-3). Repeat the request with the same `event_id`."""

    changed = None


class NewerVersionError(DurableJobsError):
    """The record was written by a newer release, which alone may touch it: end the deployment (S-6)."""

    def __init__(self, key: Key, what: str, found: int, known: int) -> None:
        self.key, self.what, self.found, self.known = key, what, found, known
        why = f"this release knows {known}, and only newer code may touch it"
        super().__init__(f"{key} is stored with {what} {found}; {why}")


class SchedulerError(DurableJobsError):
    """A schedule has no next instant: it would lie beyond the end of the calendar."""


class ClosedError(DurableJobsError):
    """The runtime is shutting down or closed; the request was not begun, and may be repeated elsewhere."""


class DriverError(DurableJobsError):
    """A driver broke the engine's contract; the engine is as it was before the call."""
