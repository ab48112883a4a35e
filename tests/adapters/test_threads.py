"""Threads that are kept for more work, and end when none comes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from durable_jobs_runtime import threads


def test_a_thread_that_has_nothing_to_do_ends_and_the_next_call_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.0)
    pool, used = threads.ThreadPool(), queue.SimpleQueue[threading.Thread]()
    for _ in range(3):
        pool.run(threading.current_thread, (), lambda thread, error: used.put(thread))
        thread = used.get(timeout=10)
        thread.join(10)
        assert not thread.is_alive()


def test_a_call_that_comes_as_a_thread_gives_up_waiting_is_made_by_it() -> None:
    pool, used = threads.ThreadPool(), queue.SimpleQueue[threading.Thread]()

    def run() -> None:
        pool.run(threading.current_thread, (), lambda thread, error: used.put(thread))

    class Work(queue.SimpleQueue[Callable[[], None]]):
        waits = 0

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            Work.waits += 1
            if Work.waits == 1:
                run()
                raise queue.Empty
            return super().get(block, timeout)

    pool._work = Work()
    run()
    first, second = (used.get(timeout=10) for _ in range(2))
    assert first is second
    pool.close()
    first.join(10)
    assert not first.is_alive()
