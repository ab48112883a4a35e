"""Huey on SQLite: one consumer with one thread, which is the fastest, as they share one lock of the file."""

from __future__ import annotations

from huey import SqliteHuey
from protocol import NOTE, Took, Watch, may_begin, runs, serve, started

SETTINGS = (
    "WAL, synchronous=FULL (fsync=True), results off, one worker thread, poll 10 ms; a job is deleted before"
    " it runs, so that a crash loses it: one commit in, one out"
)


def open_queue(store: str) -> tuple[SqliteHuey, object]:
    """The queue and its task."""
    huey = SqliteHuey(filename=store, fsync=True, results=False)

    @huey.task(name="count")
    def count(number: int, note: str) -> None:
        runs.one()

    return huey, count


def accept(store: str, count: int) -> Took:
    """One by one: all callers of a process share one connection."""
    _, task = open_queue(store)
    may_begin()
    watch = Watch()
    for number in range(count):
        task(number, NOTE)
    return watch.took()


def drain(store: str, count: int) -> Took:
    """A consumer in this process."""
    huey, _ = open_queue(store)
    consumer = huey.create_consumer(
        workers=1, periodic=False, initial_delay=0.01, max_delay=0.01, check_worker_health=False
    )
    watch = Watch()
    consumer.start()
    started()
    runs.wait()
    return watch.took()


serve(SETTINGS, accept=accept, drain=drain)
