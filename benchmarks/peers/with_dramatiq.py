"""Dramatiq on Redis: its default middleware, worker threads in this process."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from protocol import NOTE, may_begin, runs, serve, shares, started

CALLERS = 4
THREADS = 8
SETTINGS = (
    f"AOF everysec; {CALLERS} sending threads, one worker process of {THREADS} threads (its default), no"
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


def accept(store: str, count: int) -> float:
    """From a few threads: more are slower."""
    _, actor = open_actor(store)

    def send(numbers: range) -> None:
        for number in numbers:
            actor.send(number, NOTE)

    with ThreadPoolExecutor(CALLERS) as pool:
        may_begin()
        began = time.perf_counter()
        list(pool.map(send, shares(count, CALLERS)))
        return time.perf_counter() - began


def drain(store: str, count: int) -> float:
    """A worker in this process."""
    broker, _ = open_actor(store)
    worker = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=100)
    began = time.perf_counter()
    worker.start()
    started()
    runs.wait()
    return time.perf_counter() - began


serve(SETTINGS, accept=accept, drain=drain)
