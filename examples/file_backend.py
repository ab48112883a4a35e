"""A backend of one's own, complete: a folder with one JSON file an instance (`docs/write-a-backend.md`).

The row and its index entry are one file, which `os.replace` changes at once; a lock file makes an exchange
one atom among processes. A claim reads the whole folder: it is made to be read, not to be fast.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from durable_jobs_core.backend import (
    Answer,
    Batch,
    Claim,
    Committed,
    Conflicted,
    Defer,
    Health,
    Outcome,
    Page,
    Query,
    Refused,
    Row,
    Write,
)
from durable_jobs_core.errors import StorageError
from durable_jobs_core.words import Key


class FileBackend:
    """A handle on a folder. `files://path` opens it."""

    lanes = 1

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._pid = folder, os.getpid()
        self._closed = threading.Event()

    @classmethod
    def open(cls, url: str) -> FileBackend:
        """What the entry point `durable_jobs.backends` names."""
        return cls(Path(url.partition("://")[2]))

    def lane(self, key: Key) -> int:
        """There is one lane."""
        return 0

    def exchange(self, lane: int, batch: Batch) -> Answer:
        """Writes, loads, claim, clock, each seeing the ones before (R-4)."""
        self._check_usable()
        with self._locked():
            outcomes = tuple(self._write(write, batch.not_after) for write in batch.writes)
            rows = tuple(self._load(key) for key in batch.loads)
            claimed = () if batch.claim is None else self._claim(batch.claim)
            next_wake = None if batch.claim is None else self._next_wake(batch.claim)
            return Answer(
                outcomes=outcomes, rows=rows, claimed=claimed, next_wake=next_wake, clock=self._clock()
            )

    def scan(self, query: Query, after: str | None, limit: int) -> Page:
        """Rows in the order of their files' names, which the cursor continues. Takes no lock (R-10)."""
        self._check_usable()
        found: list[tuple[str, Row]] = []
        for name in self._names():
            if after is not None and name <= after:
                continue
            stored = self._read(name)
            if stored is not None and _matches(query, stored[0]):
                if len(found) == limit:
                    return Page(tuple(row for _, row in found), found[-1][0])
                found.append((name, stored[0]))
        return Page(tuple(row for _, row in found), None)

    def wait(self, timeout: float) -> None:
        """Sleep: a hint may be lost, and this one always is. `close` ends it."""
        self._closed.wait(timeout)

    def health(self) -> Health:
        """A file that was replaced survives its writer; nothing was flushed for a power cut."""
        self._check_usable()
        return Health(durability="survives a crash of the process, not of the machine", clock=self._clock())

    def close(self) -> None:
        """End every `wait`; no file is held open between calls."""
        self._closed.set()

    # -- writes

    def _write(self, write: Write | Defer, not_after: int) -> Outcome:
        if self._clock() > not_after:
            return Refused("it came after its deadline", transient=True)
        name = _name(write.key)
        stored = self._read(name)
        row = None if stored is None else stored[0]
        if (None if row is None else row.revision) != write.expected:
            return Conflicted(row)
        if isinstance(write, Defer):
            assert row is not None
            self._put(row, write.wake)  # the entry only
        elif write.row is None:
            (self._folder / name).unlink()
        else:
            self._put(write.row, write.row.wake)
        return Committed()

    def _put(self, row: Row, entry: int | None) -> None:
        """Row and entry in one file, replaced in one go (R-1)."""
        cells = {
            "key": row.key,
            "revision": row.revision.hex(),
            "wake": row.wake,
            "entry": entry,
            "status": row.status,
            "blob": base64.b64encode(row.blob).decode(),
        }
        self._replace(_name(row.key), json.dumps(cells))

    def _replace(self, name: str, text: str) -> None:
        draft = self._folder / "draft"  # ours while we have the lock; what a crash leaves is overwritten
        draft.write_text(text)
        os.replace(draft, self._folder / name)

    # -- reads

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob("*.json"))

    def _read(self, name: str) -> tuple[Row, int | None] | None:
        """A row and its entry."""
        try:
            cells = json.loads((self._folder / name).read_text())
        except FileNotFoundError:
            return None
        blob = base64.b64decode(cells["blob"])
        revision = bytes.fromhex(cells["revision"])
        return Row(Key(*cells["key"]), revision, cells["wake"], cells["status"], blob), cells["entry"]

    def _load(self, key: Key) -> Row | None:
        stored = self._read(_name(key))
        if stored is None:
            return None
        row, entry = stored
        if entry is None and row.wake is not None:
            self._put(row, row.wake)  # an entry that is missing is put back
        return row

    def _entries(self, jobs: Any) -> list[tuple[int, Row]]:
        """The index of some jobs, earliest first."""
        stored = [stored for name in self._names() if (stored := self._read(name)) is not None]
        found = [(entry, row) for row, entry in stored if entry is not None and row.key[:2] in jobs]
        return sorted(found, key=lambda item: (item[0], item[1].key))

    def _claim(self, claim: Claim) -> tuple[Row, ...]:
        claimed: list[Row] = []
        left, size = dict(claim.limits), 0
        for entry, row in self._entries(claim.limits):
            job = (row.key.kind, row.key.job)
            if entry > claim.now or (claimed and size + len(row.blob) > claim.max_bytes):
                break
            if left[job] > 0:
                left[job] -= 1
                size += len(row.blob)
                self._put(row, claim.until)
                claimed.append(row)
        return tuple(claimed)

    def _next_wake(self, claim: Claim) -> int | None:
        return min((entry for entry, _ in self._entries(claim.limits)), default=None)

    # -- the lock and the clock

    @contextmanager
    def _locked(self) -> Generator[None]:
        """One exchange at a time in all processes; the kernel frees the lock of one that dies."""
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
            self._replace("clock", str(self._clock()))

    def _clock(self) -> int:
        """The wall clock, and never less than it was in an exchange before (R-8)."""
        try:
            before = int((self._folder / "clock").read_text())
        except FileNotFoundError:
            before = 0
        return max(before, int(time.time() * 1000))

    def _check_usable(self) -> None:
        if self._closed.is_set():
            raise StorageError("this backend is closed")
        if os.getpid() != self._pid:
            raise StorageError("it belongs to the process this one was forked from")


def _name(key: Key) -> str:
    """Ids may be 512 bytes of anything, and a file's name may not."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest() + ".json"


def _matches(query: Query, row: Row) -> bool:
    wanted, found = (query.kind, query.job, query.status), (row.key.kind, row.key.job, row.status)
    return all(want in (None, have) for want, have in zip(wanted, found, strict=True))
