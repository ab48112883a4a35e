"""litequeue: a bare table on SQLite, without retries, schedules or a worker. The loop here is the worker."""

from __future__ import annotations

import json
import time

from litequeue import LiteQueue
from protocol import NOTE, Took, Watch, may_begin, runs, serve, started

BULK = 100
SETTINGS = (
    "WAL, synchronous=FULL (set on its connection; its own is NORMAL); put by hundreds in its transaction(),"
    " one pop() and one done() a job: a hundredth of a commit in, two out"
)


def open_queue(store: str) -> LiteQueue:
    """The queue, as durable as ours."""
    queue = LiteQueue(store)
    queue.conn.execute("PRAGMA synchronous = FULL")
    return queue


def accept(store: str, count: int) -> Took:
    """A hundred a transaction."""
    queue = open_queue(store)
    may_begin()
    watch = Watch()
    for first in range(0, count, BULK):
        with queue.transaction():
            for number in range(first, min(first + BULK, count)):
                queue.put(json.dumps({"number": number, "note": NOTE}))
    return watch.took()


def drain(store: str, count: int) -> Took:
    """Take one, run it, say that it is done."""
    queue = open_queue(store)
    watch = Watch()
    started()
    done = 0
    while done < count:
        message = queue.pop()
        if message is None:
            time.sleep(0.001)
            continue
        json.loads(message.data)
        runs.one()
        queue.done(message.message_id)
        done += 1
    return watch.took()


serve(SETTINGS, accept=accept, drain=drain)
