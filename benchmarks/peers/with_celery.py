"""Celery on Redis: tasks run in the worker's own thread, which is the fastest for tasks as short as these."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery
from protocol import NOTE, Took, Watch, may_begin, runs, serve, shares, started

CALLERS = 4
SETTINGS = (
    f"AOF everysec; {CALLERS} sending threads, one worker process (solo pool, prefetch 100; no gossip, mingle"
    " or heartbeat), results ignored; a task is acknowledged before it runs, so that a crash loses it"
)


def open_app(store: str) -> tuple[Celery, Any]:
    """The application and its task."""
    app = Celery("bench", broker=store, set_as_current=True)
    app.conf.update(
        worker_prefetch_multiplier=100,
        task_ignore_result=True,
        broker_pool_limit=CALLERS,
        broker_connection_retry_on_startup=True,
        worker_enable_remote_control=False,
    )

    @app.task(name="count")
    def count(number: int, note: str) -> None:
        runs.one()

    return app, count


def accept(store: str, count: int) -> Took:
    """From a few threads."""
    _, task = open_app(store)

    def send(numbers: range) -> None:
        for number in numbers:
            task.delay(number, NOTE)

    with ThreadPoolExecutor(CALLERS) as pool:
        may_begin()
        watch = Watch()
        list(pool.map(send, shares(count, CALLERS)))
        return watch.took()


def drain(store: str, count: int) -> Took:
    """A worker in this process."""
    app, _ = open_app(store)
    options = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    worker = app.WorkController(pool="solo", concurrency=1, loglevel="ERROR", **options)
    watch = Watch()
    threading.Thread(target=worker.start, daemon=True).start()
    started()
    runs.wait()
    return watch.took()


serve(SETTINGS, accept=accept, drain=drain)
