"""What the definitions of the three kinds share: fields, options, and the checks of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypedDict, TypeVar

from attrs import frozen

from durable_jobs_core.checks import (
    NO_YIELD,
    NOT_GIVEN,
    check,
    check_function,
    check_plain,
    check_whole,
    is_async,
    yields,
)
from durable_jobs_core.durations import Duration, defined_ms, maybe_ms
from durable_jobs_core.errors import DefinitionError
from durable_jobs_core.failures import RAISED
from durable_jobs_core.record import Stored
from durable_jobs_core.retry import Retry
from durable_jobs_core.schema import STRICT, Codec, Schema, StrictCodec, read_json
from durable_jobs_core.words import GivenJson, Hook, Kind

S = TypeVar("S")
E = TypeVar("E")
# Of `make` and `job`: with those of their class, type checkers take them for unknown where one writes
# `Continuous.make` and not `Continuous[int].make`.
State = TypeVar("State")
Event = TypeVar("Event")
Upcaster: TypeAlias = Callable[[Any], GivenJson]
OnExhausted = Literal["park", "continue", "terminate"]

DEFAULT_RETRY = Retry()
HOOK_TIMEOUT_MS = 30_000
IDS_MAX = 128
IDS_FOR_MS = 86_400_000


@frozen
class HookFunction:
    """A user's hook and how to call it: in the event loop, or in a thread if it is a plain `def`."""

    call: Callable[..., Any]
    is_async: bool


class JobOptions(TypedDict, total=False):
    """The options that all kinds share; `Continuous`, `Debounce` and `Task` explain theirs."""

    retry: Retry | None
    timeout: Duration | None
    max_crashes: int
    concurrency: int | None
    state_version: int
    upcasters: Mapping[int, Upcaster]
    codec: Codec


class EventOptions(JobOptions, total=False):
    """Further options of the kinds that take events, and so have other hooks than `execute`."""

    hook_timeout: Duration | None
    remember_ids: int
    remember_ids_for: Duration


@frozen(kw_only=True, eq=False)
class Definition(Generic[S]):
    """What the three kinds share: the options of `make`, checked, with spans in milliseconds."""

    kind: ClassVar[Kind]

    state: Schema
    hooks: Mapping[Hook, HookFunction]
    retry: Retry | None
    on_exhausted: OnExhausted
    timeout_ms: int | None
    hook_timeout_ms: int | None
    max_crashes: int
    concurrency: int | None
    state_version: int
    upcasters: Mapping[int, Upcaster]

    def __repr__(self) -> str:
        execute = self.hooks["execute"].call
        return f"<{type(self).__name__} with execute={getattr(execute, '__qualname__', execute)}>"

    def timeout_of(self, hook: Hook) -> int | None:
        """How long one call of a hook may take, in milliseconds."""
        return self.timeout_ms if hook == "execute" else self.hook_timeout_ms

    def upcast(self, stored: Stored) -> Stored:
        """A state under the current version (S-6). Raises what an upcaster raises, and for what is no JSON.

        An upcaster may change what it is given, which is a copy.
        """
        version, value = stored.version, stored.value
        while version < self.state_version:
            value = read_json(self.upcasters[version](read_json(value)))
            version += 1
        return Stored(version, value)

    def decode(self, stored: Stored, *subject: object) -> S:
        """The value of a state. Raises `ValidationError` if it does not fit, or its upcaster fails: what it
        says under an older version is another thing, even where it would fit (S-6)."""
        has_upcaster = stored.version in self.upcasters
        how = "and upcast" if has_upcaster else _AS_IT_IS
        subject = (*subject, "stored under state_version", stored.version, how)
        if has_upcaster:
            try:
                stored = self.upcast(stored)
            except RAISED as error:
                raise self.state.refuse(subject, error).with_traceback(error.__traceback__) from error
        value: S = self.state.decode(stored.value, *subject)
        return value


_AS_IT_IS = "(if its class has changed since: raise state_version, and give an upcaster)"


def _maybe_span(options: Mapping[str, Any], name: str, default: int | None) -> int | None:
    """The milliseconds, at least 1, of an optional duration; `None` is one where the caller says so."""
    value = options.get(name, NOT_GIVEN)
    return default if value is NOT_GIVEN else maybe_ms(value, name, 1)


def count(options: Mapping[str, Any], name: str, default: Any) -> Any:
    """A whole number of at least 1, or `None` where that is the default."""
    value = options.get(name, default)
    if value is None and default is None:
        return None
    check_whole(value, name, 1)
    return value


def choice(options: Mapping[str, Any], name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    value: str = options.get(name, default)
    check(value in choices, name, "one of " + ", ".join(map(repr, choices)), value)
    return value


def on_exhausted(options: Mapping[str, Any]) -> str:
    """What happens when a run gives up."""
    return choice(options, "on_exhausted", "park", ("park", "continue", "terminate"))


def taking_events(event: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the kinds that take events, checked."""
    remember_for = options.get("remember_ids_for", NOT_GIVEN)
    return {
        "event": schema(event, "event", options),
        "ids_max": count(options, "remember_ids", IDS_MAX),
        "ids_for_ms": IDS_FOR_MS
        if remember_for is NOT_GIVEN
        else defined_ms(remember_for, "remember_ids_for"),
    }


def schema(type_: Any, name: str, options: Mapping[str, Any]) -> Schema:
    """The schema of a declared type, which must have a form."""
    check(type_ is not None, name, "a type", type_)
    codec = options.get("codec", STRICT)
    methods = [getattr(codec, method, None) for method in ("encode", "decode", "schema")]
    check(
        all(map(callable, methods)) and not issubclass(type(codec), type),
        "codec",
        "an object with encode, decode and schema",
        codec,
    )
    if isinstance(codec, StrictCodec):
        try:
            codec.check(type_)
        except DefinitionError as error:
            raise DefinitionError(f"{name}: {error}") from error
    return Schema(type_, codec)


def common(state: Any, hooks: Mapping[Hook, HookFunction], options: Any, allowed: type) -> dict[str, Any]:
    """The fields that all kinds share, checked."""
    for name in options.keys() - allowed.__annotations__.keys():
        known = ", ".join(sorted(allowed.__annotations__))
        raise DefinitionError(
            f"{name}: expected an option of this kind of job, got another word; there are {known}"
        )
    retry = options.get("retry", DEFAULT_RETRY)
    check(retry is None or isinstance(retry, Retry), "retry", "a Retry or None", retry)
    version = count(options, "state_version", 1)
    return {
        "state": schema(state, "state", options),
        "hooks": MappingProxyType(hooks),
        "retry": retry,
        "on_exhausted": on_exhausted(options),
        "timeout_ms": _maybe_span(options, "timeout", None),
        "hook_timeout_ms": _maybe_span(options, "hook_timeout", HOOK_TIMEOUT_MS),
        "max_crashes": count(options, "max_crashes", 5),
        "concurrency": count(options, "concurrency", None),
        "state_version": version,
        "upcasters": _upcasters(options.get("upcasters", {}), version),
    }


def _upcasters(given: Any, version: int) -> Mapping[int, Upcaster]:
    expected = f"functions by versions below {version}"
    ok = isinstance(given, Mapping) and all(type(old) is int and 1 <= old < version for old in given)
    check(ok, "upcasters", expected, given)
    gaps = given and set(range(min(given), version)) - given.keys()  # where states would be left half way
    check(not gaps, "upcasters", f"{expected}, from {min(given, default=1)} on each", given)
    for upcaster in given.values():
        check_plain(upcaster, "upcasters", expected, "state")
    return MappingProxyType(dict(given))


def hook(name: Hook, call: Callable[..., Any], *arguments: str) -> HookFunction:
    """A hook that can be called with these arguments."""
    check_function(call, name, "a function", *arguments)
    check(not yields(call), name, NO_YIELD, call)
    return HookFunction(call, is_async(call))
