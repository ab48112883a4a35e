"""What a backend is asked, counted."""

from __future__ import annotations

from typing import Any


class Counted:
    """A backend whose exchanges are counted; `commits`: those that changed something."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.exchanges = 0
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def exchange(self, lane: int, batch: Any) -> Any:
        """Perform, and count."""
        self.exchanges += 1
        answer = self._backend.exchange(lane, batch)
        self.commits += bool(batch.writes or answer.claimed)
        return answer
