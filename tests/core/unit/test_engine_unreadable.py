"""Records that this release cannot read: what each event on them is answered (S-6)."""

from __future__ import annotations

from typing import get_args

import pytest
from support.samples import CHORE, LATEST, TICK, number

from durable_jobs_core.backend import Damaged, Row
from durable_jobs_core.codec import Newer
from durable_jobs_core.effects import EmitTelemetry, Reply, ReplyError
from durable_jobs_core.engine.unreadable import Unreadable, answer, deletes
from durable_jobs_core.errors import NewerVersionError, StorageError
from durable_jobs_core.events import (
    AddRequested,
    AlarmFired,
    Event,
    Request,
    SendRequested,
    StartRequested,
    StatusRequested,
    TerminateRequested,
)
from durable_jobs_core.telemetry import JobNewer, JobQuarantined, JobTerminated
from durable_jobs_core.words import Key

NEWER = Newer(Row(TICK, b"newer", None, "running", b""), "state version", 3, 2)
DAMAGED = Damaged(TICK, b"damaged", b"", "checksum")


def request(kind: type) -> Event:
    """A request of that type."""
    if kind is StartRequested:
        return StartRequested(number(0))
    made: Event = kind(event=1) if kind in (AddRequested, SendRequested) else kind()
    return made


REQUESTS = [request(kind) for kind in get_args(Request)]


@pytest.mark.parametrize("event", REQUESTS, ids=lambda event: type(event).__name__)
def test_S_6_every_request_to_a_newer_record_is_refused_with_its_version(event: Event) -> None:
    (effect,) = answer(TICK, NEWER, event, 5)

    assert isinstance(effect, ReplyError)
    assert isinstance(effect.error, NewerVersionError)
    assert (effect.error.what, effect.error.found, effect.error.known) == ("state version", 3, 2)


def test_S_6_a_newer_record_that_is_due_is_reported() -> None:
    (effect,) = answer(TICK, NEWER, AlarmFired(), 5)

    assert effect == EmitTelemetry(
        (JobNewer(key=TICK, at=5, life=0, seq=None, what="state version", found=3, known=2),)
    )


@pytest.mark.parametrize(
    "event",
    [event for event in REQUESTS if not isinstance(event, StatusRequested | TerminateRequested)],
    ids=lambda event: type(event).__name__,
)
def test_S_6_every_other_request_to_a_quarantined_record_is_refused(event: Event) -> None:
    (effect,) = answer(TICK, DAMAGED, event, 5)

    assert isinstance(effect, ReplyError)
    assert isinstance(effect.error, StorageError)
    assert "checksum" in str(effect.error)


@pytest.mark.parametrize("key", [TICK, LATEST, CHORE], ids=lambda key: key.kind)
def test_S_6_the_status_of_a_quarantined_record_says_so(key: Key) -> None:
    (effect,) = answer(key, DAMAGED, StatusRequested(), 5)

    assert isinstance(effect, Reply)
    assert (effect.result.status, effect.result.instance_id) == ("quarantined", str(key))


def test_S_6_terminate_of_a_quarantined_record_is_answered_and_reported() -> None:
    emitted, reply = answer(TICK, DAMAGED, TerminateRequested("rubbish"), 5)

    assert emitted == EmitTelemetry(
        (JobTerminated(key=TICK, at=5, life=0, seq=None, reason="rubbish", run_count=0),)
    )
    assert isinstance(reply, Reply)
    assert (reply.result.terminated, reply.result.reason) == (True, "rubbish")


def test_S_6_a_quarantined_record_that_is_due_is_reported() -> None:
    (effect,) = answer(TICK, DAMAGED, AlarmFired(), 5)

    assert effect == EmitTelemetry((JobQuarantined(key=TICK, at=5, life=0, seq=None, why="checksum"),))


@pytest.mark.parametrize(
    ("found", "event", "expected"),
    [
        (DAMAGED, TerminateRequested(), True),
        (DAMAGED, StatusRequested(), False),
        (NEWER, TerminateRequested(), False),
    ],
)
def test_S_6_only_terminate_deletes_and_only_what_is_damaged(
    found: Unreadable, event: Event, expected: bool
) -> None:
    assert deletes(found, event) is expected
