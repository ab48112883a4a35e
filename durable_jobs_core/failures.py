"""Exceptions as data."""

from __future__ import annotations

from durable_jobs_core.words import Failure

MESSAGE_MAX = 2_000
STACK_MAX = 8_000


def describe(error: BaseException) -> Failure:
    """An exception as data. Never raises, reads no file, and keeps to the stated lengths."""
    message = _text(error)
    for leaf in leaves(error):
        if leaf is not error:
            message += f"\n  {type(leaf).__name__}: {_text(leaf)}"
    stack: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        stack.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}')
        trace = trace.tb_next
    return Failure(
        type(error).__name__,
        _clean(message, MESSAGE_MAX),
        _clean("\n".join(stack)[-STACK_MAX:], STACK_MAX) or None,  # the end says where it was raised
    )


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


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text could not be made)"


def _clean(text: str, longest: int) -> str:
    return text[:longest].encode(errors="replace").decode()
