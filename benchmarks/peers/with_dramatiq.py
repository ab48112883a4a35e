"""Dramatiq on Redis: its default middleware, worker threads in this process."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from protocol import NOTE, Took, Watch, may_begin, runs, serve, started

THREADS = 8
SETTINGS = (
    f"AOF everysec; one sender, one worker process of {THREADS} threads (its default), no"
    " results; a job is acknowledged when it has run"
)


def open_actor(store: str) -> tuple[Any, Any]:
    """The broker and its actor."""
    broker = RedisBroker(url=store)
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name="count")
    def count(number: int, note: str) -> None:
        runs.one()

    return broker, count


def accept(store: str, count: int) -> Took:
    """One by one: from several threads it is slower."""
    _, actor = open_actor(store)
    may_begin()
    watch = Watch()
    for number in range(count):
        actor.send(number, NOTE)
    return watch.took()


def drain(store: str, count: int) -> Took:
    """A worker in this process."""
    broker, _ = open_actor(store)
    worker = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=100)
    watch = Watch()
    worker.start()
    started()
    runs.wait()
    return watch.took()


serve(SETTINGS, accept=accept, drain=drain)
