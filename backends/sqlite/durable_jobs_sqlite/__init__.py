"""The SQLite backend: one file, durable, shared by any number of processes of one machine.

    sqlite:///jobs.db                        relative to the current directory
    sqlite:////var/lib/app/jobs.db           absolute
    sqlite:///jobs.db?synchronous=normal     faster commits; a power cut may take back the last ones

The file and its `-wal` and `-shm` companions belong together while a process has it open: do not copy,
move or delete one of them then. It is not for network file systems.
"""

from __future__ import annotations

from durable_jobs_sqlite._backend import SQLiteBackend
from durable_jobs_sqlite._errors import NewerStoreError, StoreError, StoreLostError

__all__ = ["NewerStoreError", "SQLiteBackend", "StoreError", "StoreLostError"]
