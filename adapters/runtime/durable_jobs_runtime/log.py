"""The logger `durable_jobs`, and how a line is written to it."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from durable_jobs_core.words import Key, printable

LOGGER = logging.getLogger("durable_jobs")
TELL_SECONDS = 10.0
"""How seldom it is said that events are dropped, or that a tracker goes on failing."""


def say(level: int, text: str, *args: object, with_error: bool = False) -> None:
    """Log a line, though a handler of the user's raises; what others wrote, as an id, stays in the line."""
    with suppress(Exception):
        told = [printable(str(arg)) if isinstance(arg, str | Key) else arg for arg in args]
        LOGGER.log(level, text, *told, exc_info=with_error)


class Seldom:
    """Of what comes again and again, one is told in so many seconds, the first at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rests_until = 0.0

    def tells(self) -> bool:
        """Whether this one is told."""
        now = time.monotonic()
        if now < self._rests_until:
            return False
        self._rests_until = now + self._seconds
        return True
