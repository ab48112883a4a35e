"""A SQLite file as a `Port`, the shorthand of the conformance kit for asking a backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from durable_jobs_conformance import Port, Store
from durable_jobs_sqlite import SQLiteBackend


class File(Store):
    """`jobs.db` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> SQLiteBackend:
        return SQLiteBackend.open(f"sqlite:///{self.folder}/jobs.db")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Port]:
    """A store in a file, `jobs.db` in `tmp_path`; its handles are closed after the test."""
    port = Port(File(tmp_path))
    yield port
    port.close_all()
