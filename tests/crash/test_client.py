"""What the client of the crash test asks again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from attrs import frozen
from crash.client import Asker
from crash.log import Log

from durable_jobs_core import OutcomeUnknownError


@frozen
class Sent:
    """What `send` gives."""

    created: bool


@pytest.mark.parametrize(("key", "asked"), [("task:ledger:a", 2), ("task:mender:a", 1)])
def test_S_3_an_event_is_sent_again_unless_the_end_of_a_life_forgets_its_id(
    tmp_path: Path, key: str, asked: int
) -> None:
    sent: list[str] = []

    async def send(id: str, event: object, *, event_id: str) -> Sent:
        sent.append(event_id)
        if len(sent) == 1:
            raise OutcomeUnknownError(key)
        return Sent(created=True)

    runtime = SimpleNamespace(client=SimpleNamespace(task=lambda job: SimpleNamespace(send=send)))
    trio.run(Asker(runtime, Log(tmp_path / "log", 1)).ask, "send", key, "e1")
    assert sent == ["e1"] * asked
