"""Our own backends, as the author of any other would show them to the conformance kit."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from durable_jobs_conformance import Harness, Store
from durable_jobs_memory import MemoryBackend
from durable_jobs_sqlite import SQLiteBackend
from durable_jobs_sqlite._rows import cell_of
from support.files import spoil

from durable_jobs_core.words import Key

_names = itertools.count()


class Memory(Store):
    """A store of a name of its own."""

    def __init__(self) -> None:
        self.name = f"store-{next(_names)}"

    def open(self) -> MemoryBackend:
        return MemoryBackend.open(f"memory://{self.name}")


class SQLite(Store):
    """A store in a folder of its own."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.db"

    def open(self) -> SQLiteBackend:
        return SQLiteBackend.open(f"sqlite:///{self.path}?synchronous=normal")

    def damage(self, key: Key) -> None:
        spoil(self.path, "UPDATE rows SET blob = 'x' WHERE job = ? AND id = ?", cell_of(key[:2]), key.id)

    def discard(self) -> None:
        self.folder.cleanup()


MEMORY = Harness("memory", Memory)
SQLITE = Harness("sqlite", SQLite, frozenset({"durable", "damage"}))
