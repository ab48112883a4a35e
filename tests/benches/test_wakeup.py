"""Work that one process makes due runs in another that waits, which costs next to nothing while it does.

The safety poll is so far away here that what is not told to the worker would never run.
"""

from __future__ import annotations

import sys

import pytest
from support.redis_servers import find
from support.scripts import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.wakeup import measure, stores

COUNT = 12
POLL_MS = 10**9
IDLE_MAX = 0.2
"""Of a core, with much to spare: what does not wait, but looks again and again, takes one whole."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["SQLite", "Redis"])
def test_what_another_process_makes_due_wakes_a_worker_that_costs_nothing_while_it_waits(store: str) -> None:
    if store == "Redis" and find("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with stores() as found:
        woken = measure(found[store], workers=2, count=COUNT, idle_seconds=3, gap=0.02, poll=POLL_MS)

    assert len(woken.times) == COUNT
    assert woken.idle_exchanges == 0
    assert max(woken.idle) < IDLE_MAX
