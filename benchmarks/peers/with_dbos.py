"""DBOS on SQLite: durable workflows of one function, taken from a queue."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient
from protocol import NOTE, Took, Watch, may_begin, runs, serve, started

BULK = 100
QUEUE = "jobs"
SETTINGS = (
    f"WAL, synchronous=FULL (set on an engine given to it; its own is a rollback journal),"
    f" enqueue_in_transaction() of {BULK}, one worker process, poll 10 ms; a workflow"
    " that its worker lost is recovered at its next start"
)


def open_engine(store: str) -> sqlalchemy.Engine:
    """What DBOS would make, and as durable as ours."""
    engine = sqlalchemy.create_engine(f"sqlite:///{store}")

    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "busy_timeout = 30000",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def open_dbos(store: str) -> None:
    """Make the tables; with the queue and the workflow."""
    DBOS(config={"name": "bench", "system_database_engine": open_engine(store), "console_log_level": "ERROR"})

    @DBOS.workflow(name="count")
    def count(number: int, note: str) -> None:
        runs.one()


def accept(store: str, count: int) -> Took:
    """A hundred a transaction, which the caller opens."""
    open_dbos(store)
    DBOS.launch()
    DBOS.destroy()
    engine = open_engine(store)
    client = DBOSClient(system_database_engine=engine)
    may_begin()
    watch = Watch()
    for first in range(0, count, BULK):
        with engine.begin() as connection:
            for number in range(first, min(first + BULK, count)):
                options = {"queue_name": QUEUE, "workflow_name": "count"}
                client.enqueue_in_transaction(connection, options, number, NOTE)
    return watch.took()


def drain(store: str, count: int) -> Took:
    """An application that takes from the queue."""
    open_dbos(store)
    DBOS.launch()
    watch = Watch()
    DBOS.register_queue(QUEUE, polling_interval_sec=0.01)
    started()
    runs.wait()
    return watch.took()


serve(SETTINGS, accept=accept, drain=drain)
