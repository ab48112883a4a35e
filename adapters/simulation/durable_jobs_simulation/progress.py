"""How far long work is, on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

TERMINAL_S = 0.2
LINE_S = 60.0


class Progress:
    """One line of a terminal that is written over again and again; elsewhere, a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()

    def show(self, line: Callable[[], str]) -> None:
        """Show where it is, if it is time to."""
        if time.monotonic() - self._last < (TERMINAL_S if self._terminal else LINE_S):
            return
        self._last = time.monotonic()
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1  # what wraps cannot be written over
            self._write(f"\r\x1b[K{line()[:width]}\r")
        else:
            self._write(f"{line()}\n")

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        self._write(f"{line}\n")

    def clear(self) -> None:
        """Take the line away."""
        if self._terminal:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
