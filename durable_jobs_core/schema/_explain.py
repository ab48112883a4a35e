"""The leaves of a cattrs error, as issues: what is wrong, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from cattrs import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from durable_jobs_core.errors import Issue
from durable_jobs_core.failures import leaves
from durable_jobs_core.schema._scalars import Misfit

_OWN = Misfit, ForbiddenExtraKeysError


def type_name(type_: Any) -> str:
    """The name of a type, as a person would write it."""
    if isinstance(type_, str):
        return repr(type_)  # a name in quotes, of which no one knows what it names
    name = None if get_args(type_) else getattr(type_, "__name__", None)
    return name or str(type_).replace("typing.", "")


def explain(error: BaseException, type_: Any) -> tuple[Issue, ...]:
    """All that was wrong with a value of `type_`, by the exception it made."""
    return tuple(_issues(error, "$", type_))


def cause_of(error: BaseException) -> BaseException | None:
    """The exception, if there is more to it than its issues say: it comes from a validator or a codec."""
    is_told = all(isinstance(leaf, _OWN) or _is_missing_field(leaf) for leaf in leaves(error))
    return None if is_told else error


def _is_missing_field(error: BaseException) -> bool:
    """Whether the code that cattrs writes for a class looked for one; else users' code looked for its own."""
    trace = error.__traceback__
    if not isinstance(error, KeyError) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename.startswith("<cattrs generated")


def _issues(error: BaseException, path: str, type_: Any) -> Iterator[Issue]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, bare = error.group_exceptions()
        for child, note in noted:
            name = getattr(note, "name", None)
            step = f".{name}" if name is not None else f"[{note.index!r}]"
            yield from _issues(child, path + step, note.type)
        for child in bare:
            yield from _issues(child, path, type_)
    elif isinstance(error, Misfit):
        yield Issue(path + error.path, error.expected, *error.got)
    elif _is_missing_field(error):
        yield Issue(path, type_name(type_), f"nothing: the field {error} is missing")
    elif isinstance(error, ForbiddenExtraKeysError):
        extra = ", ".join(sorted(map(repr, error.extra_fields)))
        yield Issue(path, f"only the fields of {type_name(type_)}", f"also {extra}")
    else:
        yield Issue(path, f"a valid {type_name(type_)}", f"{type(error).__name__}: {error}")
