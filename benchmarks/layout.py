"""How to lay out instances in SQLite: `python -m benchmarks.layout`. The figures are in ADR 1.

Each layout gets the same rows: an id that tells nothing of the order, a record of 300 bytes, an alarm. They
are created 100 a commit, then claimed and completed 100 at a time (two commits), due in the order in which
they were created or in a random one, with WAL and synchronous=FULL. The rounds take the layouts in turn; the
table has the medians. With `--pages` it is pages of several sizes instead, with records of several sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

BATCH = 100
NOW = 1_800_000_000_000
HOLD = 5_000
CELLS = "job TEXT, id TEXT, revision BLOB, wake INTEGER, entry INTEGER, held INTEGER, status TEXT"
BY_NUMBER = (
    f"CREATE TABLE rows (n INTEGER PRIMARY KEY, {CELLS}, blob BLOB) STRICT;"
    " CREATE UNIQUE INDEX rows_key ON rows (job, id)"
)
BY_KEY = f"CREATE TABLE rows ({CELLS}, blob BLOB, PRIMARY KEY (job, id)) STRICT, WITHOUT ROWID"
DUE = "CREATE INDEX rows_due ON rows (job, entry) WHERE entry IS NOT NULL"
COVERING = DUE.replace("entry)", "entry, id, revision, wake, status, blob)")


class Layout(NamedTuple):
    """`statements` that make it; `place`: the condition by which a claim finds a row again; its `page`."""

    statements: str
    place: str
    page: int = 4_096


AT_NUMBER = "n = :n"
AT_KEY = "job = 't:mail' AND id = :id"
LAYOUTS = {
    "by number": Layout(f"{BY_NUMBER}; {DUE}", AT_NUMBER),
    "by number, covering": Layout(f"{BY_NUMBER}; {COVERING}", AT_NUMBER),
    "by key": Layout(f"{BY_KEY}; {DUE}", AT_KEY),
    "by key, covering": Layout(f"{BY_KEY}; {COVERING}", AT_KEY),
}
PAGES = {
    f"pages of {size:,}": Layout(f"{BY_NUMBER}; {DUE}", AT_NUMBER, size) for size in (1_024, 2_048, 4_096)
}
RECORDS = 300, 1_000, 3_000, 10_000, 100_000
LOG_BYTES = 4_096_000
"""A log of so many bytes is moved into the file."""
ROWS_BYTES = 60_000_000
"""Of large records there are fewer."""


class Figures(NamedTuple):
    """Rows a second, and bytes of the file a row."""

    created: float
    drained: float
    size: float


def measure(path: str, layout: Layout, wakes: Sequence[int], record: int) -> Figures:
    """One layout, once, with records of so many bytes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {layout.page}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // layout.page}")
        connection.executescript(layout.statements)
        began = time.perf_counter()
        create(connection, wakes, record)
        created = time.perf_counter()
        drained = drain(connection, layout.place)
        ended = time.perf_counter()
        assert drained == len(wakes)
    return Figures(
        len(wakes) / (created - began), len(wakes) / (ended - created), os.path.getsize(path) / len(wakes)
    )


def create(connection: sqlite3.Connection, wakes: Sequence[int], record: int) -> None:
    """Insert rows, a hundred a commit."""
    for first in range(0, len(wakes), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO rows (job, id, revision, wake, entry, held, status, blob)"
            " VALUES ('t:mail', :id, x'00', :wake, :wake, 0, 'idle', :blob)",
            [
                {"id": name(n), "wake": wakes[n], "blob": os.urandom(record)}
                for n in range(first, min(first + BATCH, len(wakes)))
            ],
        )
        connection.execute("COMMIT")


def drain(connection: sqlite3.Connection, place: str) -> int:
    """Claim and complete everything, a hundred at a time; how many rows there were."""
    drained = 0
    for claimed in iter(lambda: claim(connection, place), []):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE rows SET revision = x'01', wake = NULL, entry = NULL, status = 'done', blob = :blob"
            f" WHERE {AT_KEY} AND revision = x'00'",
            [{"id": id, "blob": blob} for id, _, blob in claimed],
        )
        connection.execute("COMMIT")
        drained += len(claimed)
    return drained


def claim(connection: sqlite3.Connection, place: str) -> list[tuple[str, int, bytes]]:
    """Take what is due earliest, and move its entries out of the way."""
    connection.execute("BEGIN IMMEDIATE")
    claimed = connection.execute(
        f"SELECT id, {'n' if place is AT_NUMBER else '0'}, blob FROM rows"
        " WHERE job = 't:mail' AND entry <= ? ORDER BY entry LIMIT ?",
        (NOW, BATCH),
    ).fetchall()
    moved = [{"id": id, "n": n, "entry": NOW + HOLD} for id, n, _ in claimed]
    connection.executemany(f"UPDATE rows SET entry = :entry, held = 1 WHERE {place}", moved)
    connection.execute("COMMIT")
    return claimed


def name(n: int) -> str:
    """An id that tells nothing of the order of creation."""
    return hashlib.blake2b(b"%d" % n, digest_size=12).hexdigest()


def orders(count: int) -> Iterator[tuple[str, list[int]]]:
    """The orders in which rows fall due."""
    wakes = [NOW - 10**9 + n for n in range(count)]
    yield "as created", wakes
    random.Random(1).shuffle(wakes := wakes.copy())
    yield "at random", wakes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pages", action="store_true")
    arguments = parser.parse_args()
    print(f"SQLite {sqlite3.sqlite_version}, {arguments.rows:,} rows, medians of {arguments.rounds} rounds")
    print(f"{'layout':<22}{'due':<12}{'record':>8}{'created/s':>10}{'drained/s':>10}{'bytes a row':>13}")
    layouts, records = (PAGES, RECORDS) if arguments.pages else (LAYOUTS, RECORDS[:1])
    for record in records:
        for order, wakes in orders(min(arguments.rows, ROWS_BYTES // record)):
            compare(layouts, order, wakes, record, arguments.rounds)


def compare(
    layouts: Mapping[str, Layout], order: str, wakes: Sequence[int], record: int, rounds: int
) -> None:
    """Take layouts in turn, and print a line of each."""
    found: dict[str, list[Figures]] = {layout: [] for layout in layouts}
    for _ in range(rounds):
        for title, layout in layouts.items():
            with tempfile.TemporaryDirectory(prefix="layout-") as folder:
                found[title].append(measure(f"{folder}/layout.db", layout, wakes, record))
    for title, figures in found.items():
        created, drained, size = map(statistics.median, zip(*figures, strict=True))
        print(
            f"{title:<22}{order:<12}{record:>8,}{created:>10,.0f}{drained:>10,.0f}{size:>13,.0f}", flush=True
        )


if __name__ == "__main__":
    main()
