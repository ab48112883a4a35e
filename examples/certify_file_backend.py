"""Certify `file_backend.py`: `python -m durable_jobs_conformance certify_file_backend:HARNESS`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from durable_jobs_conformance import Harness, Store, certify
from file_backend import FileBackend


class Folder(Store):
    """A store in a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()

    def open(self) -> FileBackend:
        """Another handle, as another process would have."""
        return FileBackend(Path(self._folder.name))

    def discard(self) -> None:
        """Nothing is left."""
        self._folder.cleanup()


HARNESS = Harness("files", Folder, frozenset({"durable"}))

if __name__ == "__main__":
    print(certify(HARNESS))
