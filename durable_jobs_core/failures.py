"""Exceptions as data."""

from __future__ import annotations

from collections.abc import Iterator

from durable_jobs_core.errors import UNCHANGED, ValidationError
from durable_jobs_core.words import Failure

RAISED = (Exception, SystemExit)
"""What a user's function may raise and is a failure of it, wherever it is called (S-14)."""

MESSAGE_MAX = 2_000
STACK_MAX = 8_000


def describe(error: BaseException) -> Failure:
    """An exception as data, with its causes and, of a group, its leaves.

    Never raises, reads no file, quotes no state, and keeps to the stated lengths.
    """
    text = _text(error)
    message = [text]
    message += [f"  {_named(leaf)}" for leaf in leaves(error) if leaf is not error]
    causes = map(_named, _causes(error))
    message += [f"  caused by {cause}" for cause in causes if cause not in text]  # it may be quoted there
    stack: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        stack.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}')
        trace = trace.tb_next
    return Failure(
        type(error).__name__,
        _clean("\n".join(message)[:MESSAGE_MAX]),
        _clean("\n".join(stack)[-STACK_MAX:]) or None,  # the end says where it was raised
    )


def untried(failure: Failure, asked: str, why: BaseException) -> Failure:
    """A failure that is not tried again, for `asked`, a function of the policy, failed itself."""
    note = _clean(f"\n  not tried again, for {asked} failed with {_named(why)}"[: MESSAGE_MAX // 2])
    return Failure(failure.type, failure.message[: MESSAGE_MAX - len(note)] + note, failure.stack)


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, flattened; of any other, itself."""
    found: list[BaseException] = []
    left = [error]
    while left:  # not by recursion: a group may be nested deeper than the stack
        first = left.pop()
        if isinstance(first, BaseExceptionGroup):
            left.extend(reversed(first.exceptions))
        else:
            found.append(first)
    return found


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = _cause(cause)


def _cause(error: BaseException) -> BaseException | None:
    context = None if error.__suppress_context__ else error.__context__
    return error.__cause__ or context


def _named(error: BaseException) -> str:
    return str(Failure(type(error).__name__, _text(error)))


def _text(error: BaseException) -> str:
    try:
        if isinstance(error, ValidationError):
            return error.plain
        return str(error).removesuffix(UNCHANGED)  # whoever tells of the failure says so
    except RAISED:
        return "(its text could not be made)"


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()
