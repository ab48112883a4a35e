"""Where a store cannot be, though SQLite would open it there."""

from __future__ import annotations

import os
from contextlib import suppress

from durable_jobs_sqlite._errors import StoreError

_MOUNTS = "/proc/self/mountinfo"
_ESCAPED = {ord(sign): f"\\{ord(sign):03o}" for sign in " \t\n\\"}


def check_place(path: str) -> None:
    """Raise `StoreError` if the file is such a one, before anything is made beside it.

    One that can only be read would get a log and an index of this user, of no use to who may write it. One
    that is mounted by itself, into a container say, would have its log in another folder than for others.
    """
    if _may(path, os.R_OK) and not _may(path, os.W_OK):
        raise StoreError(path, "it is read-only")
    if _is_mounted(path):
        raise StoreError(path, "it is mounted without its log; mount its folder instead")


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _is_mounted(path: str) -> bool:
    """Whether it is itself a mount point; never where the system does not tell."""
    name = os.fsencode(path.translate(_ESCAPED))
    with suppress(OSError), open(_MOUNTS, "rb") as mounts:
        return any(mount.split(b" ")[4] == name for mount in mounts)
    return False
