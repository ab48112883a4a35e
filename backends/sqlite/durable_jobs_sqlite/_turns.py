"""Taking turns at the write lock.

SQLite's own waiting is not used: it sleeps longer the longer it has waited, so that one of two busy
processes starves. Here all look again after short random times, however long they have waited: even a
process that leaves the lock free for a moment only, now and then, lets others in. And one that has met
another lets it in on purpose: after a transaction it leaves the lock alone for as long as it held it.
Those who make a store have no such lock: each holds up all others while it tries, and they have to try
less and less often until one gets through.
"""

from __future__ import annotations

import random
import time

BUSY_MAX_SECONDS = 0.4
"""How long an exchange waits for the lock before its writes are refused."""

_WAIT_SECONDS = 0.000_25
_WAIT_MAX_SECONDS = 0.1
_REMEMBERED = 30


class Turns:
    """When this process may try for the lock. Times are of `time.monotonic`, in seconds.

    A meeting is remembered for the time of so many transactions (`_REMEMBERED`): two busy processes meet
    again and again, and share; a rare guest does not halve what a busy one can do.
    """

    def __init__(self) -> None:
        self._met = float("-inf")
        self._released = float("-inf")
        self._held = 0.0

    def give_way(self) -> None:
        """Called before the lock is tried for: lets others in, if there have been any of late."""
        now = time.monotonic()
        rest = self._released + self._held - now
        if rest > 0 and now - self._met < self._held * _REMEMBERED:
            time.sleep(rest)

    def meet(self) -> None:
        """Another process has the lock: wait a little."""
        self._met = time.monotonic()
        wait_a_little()

    def release(self, taken: float) -> None:
        """The lock, had since `taken`, was released."""
        self._released = time.monotonic()
        self._held = min(self._released - taken, BUSY_MAX_SECONDS / 4)


def wait_a_little(tries: int = 0) -> None:
    """Sleep for a short random time; after so many tries that held up others, for one that may be longer."""
    longest = min(_WAIT_SECONDS * 2.0 ** min(tries, 20), _WAIT_MAX_SECONDS)
    time.sleep(random.uniform(_WAIT_SECONDS / 2, longest + _WAIT_SECONDS / 2))
