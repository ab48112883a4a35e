"""Being asked to end: SIGTERM and SIGINT, heard by all who serve in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_listening: dict[object, Callable[[], object]] = {}
_before: dict[signal.Signals, Any] = {}


@contextmanager
def on_signals(ask: Callable[[], object]) -> Generator[None]:
    """Call `ask` at a signal, from wherever the main thread is just then.

    The handlers of the program are put back when the last who listens has gone. Raises `RuntimeError` in
    another thread than the main one, in which Python hears no signals.
    """
    here = threading.current_thread()
    if here is not threading.main_thread():
        raise RuntimeError(f"serve: expected the main thread, in which signals are heard, got {here.name!r}")
    if not _listening:
        _before.update({number: signal.signal(number, _tell) for number in SIGNALS})
    listener = object()
    _listening[listener] = ask
    try:
        yield
    finally:
        del _listening[listener]
        if not _listening:
            for number, handler in _before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def interrupt_at_once(when_closed: Callable[[Callable[[], object]], None]) -> None:
    """Let the next Ctrl-C be Python's own, which ends the program at once.

    `when_closed` is given what puts the program's own handler back, to be called in the main thread.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not None and before is not _tell:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        when_closed(partial(signal.signal, signal.SIGINT, before))


def _tell(number: int, frame: FrameType | None) -> None:
    for ask in tuple(_listening.values()):
        ask()
