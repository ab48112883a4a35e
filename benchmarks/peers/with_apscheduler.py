"""APScheduler 3 on SQLite. A store belongs to one process: end to end is one scheduler, given jobs."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from protocol import NOTE, Took, Watch, may_begin, runs, serve, started

SETTINGS = (
    "WAL, synchronous=FULL (set on an engine given to it; its own is a rollback journal), one thread pool of"
    " 10; a job is deleted when it is handed to a thread, so that a crash loses it: one commit in, one out"
)


def count(number: int, note: str) -> None:
    """The handler."""
    runs.one()


def open_scheduler(store: str) -> BackgroundScheduler:
    """A scheduler on the file, paused."""
    engine = sqlalchemy.create_engine(f"sqlite:///{store}")

    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(engine=engine)},
        job_defaults={"misfire_grace_time": None, "max_instances": 1},
    )
    scheduler.start(paused=True)
    return scheduler


def add(scheduler: BackgroundScheduler, numbers: int) -> None:
    """Jobs that are due at once."""
    for number in range(numbers):
        scheduler.add_job("__main__:count", args=(number, NOTE))


def accept(store: str, numbers: int) -> Took:
    """One by one: it has no bulk call, and one lock."""
    scheduler = open_scheduler(store)
    may_begin()
    watch = Watch()
    add(scheduler, numbers)
    return watch.took()


def drain(store: str, numbers: int) -> Took:
    """The scheduler goes on."""
    scheduler = open_scheduler(store)
    watch = Watch()
    scheduler.resume()
    started()
    runs.wait()
    return watch.took()


def both(store: str, numbers: int) -> Took:
    """One scheduler, of which the jobs are asked while it runs them."""
    scheduler = open_scheduler(store)
    scheduler.resume()
    started()
    watch = Watch()
    add(scheduler, numbers)
    runs.wait()
    return watch.took()


serve(SETTINGS, accept=accept, drain=drain, both=both)
