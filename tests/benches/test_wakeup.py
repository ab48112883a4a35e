"""Work that one process makes due runs in another that waits, which costs next to nothing while it does.

The safety poll is so far away here that what is not told to the worker would never run.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from support.needs import A_REDIS
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.wakeup import measure, settled, stores

COUNT = 12
POLL_MS = 10**9
IDLE_MAX = 0.2
"""Of a core, with much to spare: what does not wait, but looks again and again, takes one whole."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["SQLite", pytest.param("Redis", marks=A_REDIS)])
def test_what_another_process_makes_due_wakes_a_worker_that_costs_nothing_while_it_waits(store: str) -> None:
    with stores() as found:
        woken = measure(found[store], workers=2, count=COUNT, idle_seconds=3, gap=0.02, poll=POLL_MS)

    assert len(woken.times) == COUNT
    assert woken.idle_exchanges == 0
    assert max(woken.idle) < IDLE_MAX


class Counting:
    """A worker that has made so many exchanges when it is asked, and two more each time after that."""

    def __init__(self, *first: int) -> None:
        self._left, self._made = list(first), 0

    def exchanges(self) -> int:
        self._made = self._left.pop(0) if self._left else self._made + 2
        return self._made


def test_who_only_polls_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    monkeypatch.setattr(time, "sleep", looks.append)
    crew: list[Any] = [Counting(10, 40, 60), Counting(5, 7, 9)]

    assert settled(crew, poll=1_000) == 62 + 11
    assert len(looks) == 3
