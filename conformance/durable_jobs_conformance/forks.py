"""Forked children, which end with the block that made them."""

from __future__ import annotations

import os
import signal
import warnings
from ast import literal_eval
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from typing import Any, TextIO, TypeVar, cast

from durable_jobs_conformance.harness import Store
from durable_jobs_conformance.port import Broken, Port

Body = TypeVar("Body", bound=Callable[..., None])


def forking(body: Body) -> Body:
    """A check that forks. Where that is not possible there is nothing to look at."""
    return body if hasattr(os, "fork") else cast(Body, wraps(body)(lambda *_: None))


@contextmanager
def forked(act: Callable[[int], None]) -> Generator[tuple[int, TextIO]]:
    """A child that does `act(say)`, `say` being the end of a pipe: its id, and what it says."""
    reader, say = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it does little, and takes no lock of ours
        child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            act(say)
        except BaseException as error:
            with suppress(OSError):
                os.write(say, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(0)
    os.close(say)
    try:
        with os.fdopen(reader) as said:
            yield child, said
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def in_processes(store: Store, work: Callable[[Port, int], object], count: int) -> list[Any]:
    """What `work` gives in each of so many processes, literals: they begin at once, each with a handle of its
    own. None should be open here."""
    waits, begin = os.pipe()

    def act(number: int, say: int) -> None:
        os.read(waits, 1)
        port = Port(store)
        done = repr(work(port, number))
        port.close_all()
        os.write(say, done.encode())

    try:
        with ExitStack() as stack:
            children = [stack.enter_context(forked(partial(act, number))) for number in range(count)]
            os.write(begin, b"." * count)
            return [_read(said.read()) for _, said in children]
    finally:
        os.close(waits)
        os.close(begin)


def _read(text: str) -> Any:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        raise Broken("a process that ends well", text or "a process that ended, or did not in 30 s") from None
