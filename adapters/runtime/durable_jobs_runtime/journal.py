"""A journal in a file (`durable_jobs_core.journal`): opt-in, bounded, and there after a SIGKILL."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection
from pathlib import Path

from durable_jobs_core.checks import shown
from durable_jobs_core.journal import Journal
from durable_jobs_core.words import Key
from durable_jobs_runtime.arguments import Arguments
from durable_jobs_runtime.log import say


class FileJournal(Journal):
    """Writes what happens to instances to a file, from which `durable_jobs_simulation` makes a test.

    `path`: a file of this process alone; it is appended to. `of`: names of jobs (`orders`) and printed keys
    of instances (`task:orders:7`), default all. `max_bytes`: of this file and the one before it, `path.1`.
    Raises `ValidationError` if one of them is of another type, or `max_bytes` below 2.
    It holds states and events as they are stored; the file is for its owner's eyes only.

    Each line is one write to the operating system, not synced: a killed process loses no line, a machine
    that goes down some. A file that cannot be written to harms no job; `dropped` counts the lines.
    """

    def __init__(
        self, path: str | Path, *, of: str | Collection[str] = (), max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        arguments = Arguments()
        arguments.expect(isinstance(path, str | os.PathLike), "path", "a path", shown(path))
        given = (of,) if isinstance(of, str) else of
        are_texts = isinstance(given, Collection) and all(isinstance(name, str) for name in given)
        arguments.expect(are_texts, "of", "a text or a list of texts", shown(of))
        arguments.count("max_bytes", max_bytes, 2)  # of two files
        arguments.check("FileJournal")
        names = frozenset(given)
        super().__init__(self._append, lambda key: _chosen(key, names))
        self.path = Path(path)
        self._half = max_bytes // 2
        self._lock = threading.RLock()
        """Runtimes that share a journal write and close in threads of their own, and a closed file's number
        may soon be another file's."""
        self._file: int | None = None
        self._size = 0

    def _append(self, line: bytes) -> None:
        with self._lock:
            try:
                if self._file is None:
                    self._open()
                if self._size and self._size + len(line) > self._half:
                    self.close()
                    self.path.replace(f"{self.path}.1")
                    self._open()
                assert self._file is not None, "it is open"
                self._size += len(line)
                if os.write(self._file, line) != len(line):
                    raise OSError("a line was cut short")
            except OSError:
                self.close()
                if not self.dropped:
                    say(logging.ERROR, "the journal %s cannot be written", self.path, with_error=True)
                raise

    def _open(self) -> None:
        """Open it, behind what an earlier process left; a line it left unfinished is ended."""
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._file, self._size = file, os.fstat(file).st_size
        if self._size and os.pread(file, 1, self._size - 1) != b"\n":
            self._size += os.write(file, b"\n")

    def close(self) -> None:
        """Close the file. What is told later opens it again."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)


def _chosen(key: Key, names: frozenset[str]) -> bool:
    return not names or key.job in names or str(key) in names
