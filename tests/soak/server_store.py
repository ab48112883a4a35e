"""What a server holds, as plain values."""

from __future__ import annotations

from typing import Any

from crash.store import Store, rows_of

from durable_jobs_core.backend import Backend


def look_at(backend: Backend, client: Any, namespace: str) -> Store:
    """All rows, with their index entries. `client`: of the server, or of each of a cluster's together."""
    store = Store(clock=backend.health().clock)
    store.rows = rows_of(backend, store.damage)
    for due in client.scan_iter(f"{{{namespace}:*}}:due:*", 1_000):
        tag, _, job = due.decode().partition("due:")
        for id, entry in client.zrange(due, 0, -1, withscores=True):
            held = store.rows.get(f"{job}:{id.decode()}")
            if held is None:
                store.damage.append(f"{due!r} has an entry {id!r} without a row")
            else:
                held.entry = int(entry)
                held.moved = client.hexists(f"{tag}row:{job}:{id.decode()}", "held")
    return store
