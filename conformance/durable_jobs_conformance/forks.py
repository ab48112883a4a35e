"""Forked children, which end with the block that made them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TextIO


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
