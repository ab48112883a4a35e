"""The clock of the machine, which somebody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock


def clock_set_back() -> AbstractContextManager[object]:
    """Set back by an hour, as far as this process can see."""
    return mock.patch.multiple(
        time, time=_earlier(time.time, 3_600), time_ns=_earlier(time.time_ns, 3_600 * 10**9)
    )


def _earlier(clock: Callable[[], Any], by: int) -> Callable[[], Any]:
    return lambda: clock() - by
