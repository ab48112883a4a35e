"""The event ids an instance remembers (S-60): newest last, each with the instant it is forgotten."""

from __future__ import annotations

from typing import TypeAlias

from durable_jobs_core.errors import DuplicateEventError
from durable_jobs_core.words import Key

Ids: TypeAlias = tuple[tuple[str, int], ...]


def register(key: Key, ids: Ids, event_id: str | None, *, now: int, limit: int, for_ms: int) -> Ids:
    """The ids that are not forgotten yet with one more, at most `limit` of them.

    Raises `DuplicateEventError` if it is remembered.
    """
    if event_id is None:
        return ids
    ids = tuple(entry for entry in ids if entry[1] > now)
    if any(known == event_id for known, _ in ids):
        raise DuplicateEventError(key, event_id)
    return (*ids, (event_id, now + for_ms))[-limit:]
