"""What is on the file, as plain values: the stored JSON, not what the product makes of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define, field
from durable_jobs_sqlite import SQLiteBackend
from durable_jobs_sqlite._rows import job_in

from durable_jobs_core.backend import Backend, Damaged, Query, Row
from durable_jobs_core.codec import decode
from durable_jobs_core.record import Record
from durable_jobs_core.words import Revision

_FRAME_BYTES = 12


@define(kw_only=True)
class Held:
    """One row. `entry`, `moved`: its index entry, and whether a claim has moved it."""

    key: str
    life: str
    revision: str = ""
    wake: int | None
    seq: int
    body: dict[str, Any]
    entry: int | None = None
    moved: bool = False


@define(kw_only=True)
class Store:
    """All rows by key; `clock`: the store's; `damage`: what is wrong with the file."""

    clock: int
    rows: dict[str, Held] = field(factory=dict)
    damage: list[str] = field(factory=list)


def rows_of(backend: Backend, damage: list[str] | None = None) -> dict[str, Held]:
    """The rows of an open backend."""
    rows: dict[str, Held] = {}
    after = None
    while True:
        page = backend.scan(Query(), after, 1_000)
        for row in page.rows:
            record = row if isinstance(row, Damaged) else decode(row)
            if isinstance(row, Row) and isinstance(record, Record):
                rows[str(row.key)] = _held(row)
            elif damage is not None:
                damage.append(f"{row.key}: {getattr(record, 'why', record)}")
        after = page.after
        if after is None:
            return rows


def _held(row: Row) -> Held:
    text = json.loads(row.blob[_FRAME_BYTES:])
    life = f"{Revision.from_bytes(row.revision).life:016x}"
    return Held(
        key=str(row.key),
        life=life,
        revision=row.revision.hex(),
        wake=row.wake,
        seq=text["seq"],
        body=text["body"],
    )


def look(folder: Path) -> Store:
    """What a killed process has left, read from a copy, so that the next one finds it as it was."""
    copy = folder / "copy"
    copy.mkdir(exist_ok=True)
    for old in copy.iterdir():
        old.unlink()
    for name in ("jobs.db", "jobs.db-wal"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, copy / name)
    if not (copy / "jobs.db").exists() or not _is_store(copy / "jobs.db"):
        return Store(clock=0)
    store = Store(clock=0)
    backend = SQLiteBackend.open(f"sqlite:///{copy / 'jobs.db'}")
    try:
        store.rows = rows_of(backend, store.damage)
        store.clock = backend.health().clock
    finally:
        backend.close()
    with closing(sqlite3.connect(copy / "jobs.db")) as connection:
        _read_entries(connection, store)
    return store


def _is_store(path: Path) -> bool:
    """Whether the process lived long enough to make the tables."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,)


def _read_entries(connection: sqlite3.Connection, store: Store) -> None:
    for cell, id, entry, moved in connection.execute("SELECT job, id, entry, held FROM rows"):
        kind, job = job_in(cell)
        held = store.rows.get(f"{kind}:{job}:{id}")
        if held is not None:
            held.entry, held.moved = entry, bool(moved)
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        store.damage.append(str(verdict))
