"""RQ on Redis: the worker that does not fork for each job, which is its fastest."""

from __future__ import annotations

import logging

from protocol import NOTE, Took, Watch, may_begin, runs, serve, started
from redis import Redis
from rq import Queue, SimpleWorker

BULK = 500
SETTINGS = (
    f"AOF everysec; enqueue_many() of {BULK}, one SimpleWorker, results dropped (result_ttl=0); a job that"
    " its worker lost is found by a registry later"
)


def count(number: int, note: str) -> None:
    """The handler."""
    runs.one()


def accept(store: str, count: int) -> Took:
    """By the bulk call."""
    queue = Queue(connection=Redis.from_url(store))
    may_begin()
    watch = Watch()
    for first in range(0, count, BULK):
        numbers = range(first, min(first + BULK, count))
        queue.enqueue_many(
            [Queue.prepare_data("with_rq.count", (number, NOTE), result_ttl=0) for number in numbers]
        )
    return watch.took()


def drain(store: str, count: int) -> Took:
    """A worker in this process."""
    logging.disable(logging.INFO)
    connection = Redis.from_url(store)
    worker = SimpleWorker([Queue(connection=connection)], connection=connection, log_job_description=False)
    watch = Watch()
    started()
    worker.work(logging_level="WARNING", max_jobs=count)
    return watch.took()


if __name__ == "__main__":
    serve(SETTINGS, accept=accept, drain=drain)
