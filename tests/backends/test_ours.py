"""What our own backends do beyond the port, which leaves it open."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
from durable_jobs_conformance import Harness, Port
from durable_jobs_memory import MemoryBackend
from durable_jobs_runtime import open_backend
from support.harnesses import MEMORY, REDIS, REDIS_CLUSTER, REDIS_SHARDED, SQLITE

from durable_jobs_core.backend import BATCH_MAX_BYTES, Batch, Committed, Defer, Query, Refused, Row, Write
from durable_jobs_core.errors import StorageError, ValidationError
from durable_jobs_core.words import Key

KEY = Key("task", "mail", "a")


@pytest.fixture(
    params=[MEMORY, SQLITE, REDIS, REDIS_SHARDED, REDIS_CLUSTER], ids=lambda harness: harness.name
)
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    """A store of each kind."""
    harness: Harness = request.param
    store = harness.fresh()
    port = Port(store)
    yield port
    port.close_all()
    store.discard()


def test_r10_wait_ends_when_another_makes_work_due_sooner_than_that_of_any_job(port) -> None:
    other = port.again()
    late = [port.row("b", wake=1_000, job=job) for job in ("mail", "post")]
    port.ask(*(Write(row.key, None, row) for row in late))
    port.backend.wait(0)
    threading.Timer(0.03, other.create, ["a"], {"wake": 10}).start()
    began = time.monotonic()
    while port.next_wake(port.JOB, ("task", "post")) != 10:  # a hint may come for nothing
        port.backend.wait(20)
    assert time.monotonic() - began < 10


def test_r10_closing_one_handle_does_not_end_the_waits_of_another(port) -> None:
    other = port.again()
    other.backend.wait(0)
    port.backend.close()
    began = time.monotonic()
    other.backend.wait(0.1)
    other.backend.wait(0.1)
    assert time.monotonic() - began > 0.15


def test_r5_a_write_at_its_deadline_is_in_time() -> None:
    backend, row = MemoryBackend(lambda: 7), Row(KEY, b"r0", None, "idle", b"")
    batches = [Batch(writes=(Write(KEY, None, row),), not_after=deadline) for deadline in (6, 7)]
    refused, committed = (backend.exchange(0, batch).outcomes for batch in batches)
    assert isinstance(refused[0], Refused)
    assert committed == (Committed(),)


@pytest.mark.parametrize("port", [MEMORY], indirect=True, ids=lambda one: one.name)
def test_r8_alarms_that_are_moved_again_and_again_leave_a_small_index_that_is_right(port) -> None:
    moved, _ = port.create("a", "b", wake=5)
    for wake in range(10, 1_400):
        port.ask(Defer(moved.key, b"r0", wake))
    (entries,) = port.backend._store._due.values()
    assert len(entries) < 1_200
    assert port.claim(1_399, until=9_000) == ["b", "a"]
    assert port.next_wake() == 9_000


def test_r10_after_close_it_says_so(port) -> None:
    port.backend.close()
    for act in (port.ask, port.scan):
        with pytest.raises(StorageError, match="closed"):
            act()


def test_rows_are_listed_in_the_order_of_their_keys(port) -> None:
    keys = sorted(Key("task", job, id) for job in ("mail", "mail.") for id in ("b", "a", "ä", "a:b", "a\0"))
    port.ask(*(Write(key, None, Row(key, b"r0", None, "idle", b"")) for key in keys))
    assert [row.key for page in port.pages(3) for row in page.rows] == keys


@pytest.mark.parametrize("port", [SQLITE, REDIS, REDIS_CLUSTER], indirect=True, ids=lambda one: one.name)
def test_S_66_a_page_of_large_rows_is_short(port) -> None:
    blob = b"x" * (BATCH_MAX_BYTES // 50)
    keys = [Key("task", "mail", f"{n:03}") for n in range(250)]
    port.ask(*(Write(key, None, Row(key, b"r0", None, "idle", blob)) for key in keys))

    pages = list(port.pages(1_000))

    assert [row.key for page in pages for row in page.rows] == keys
    assert max(len(page.rows) for page in pages) <= 100


def test_all_jobs_that_have_instances_are_told(port) -> None:
    assert port.backend.health().jobs == ()
    keys = Key("debounce", "mail", "a"), Key("task", "mail", "a"), Key("task", "mail", "b")
    port.ask(*(Write(key, None, Row(key, b"r0", None, "idle", b"")) for key in keys))
    assert port.backend.health().jobs == (("debounce", "mail"), ("task", "mail"))
    port.ask(Write(keys[0], b"r0", None))
    assert port.backend.health().jobs == (("task", "mail"),)


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", "[1]", "7", '"abc"', "[1, 2, 3]", "null", '["task", "a"]', "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_S_62_S_66_scan_refuses_a_cursor_that_is_none(port, cursor) -> None:
    """It may come from the address of a page: a mistake of who asks, and no failure of the store."""
    with pytest.raises(ValidationError, match="after: expected what the page before gave, got str"):
        port.backend.scan(Query(), cursor, 5)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_S_62_S_66_scan_refuses_a_cursor_that_is_no_text(port, part) -> None:
    port.ask(Write(KEY, None, Row(KEY, b"r0", None, "idle", b"")))
    cursor = json.dumps([*KEY[:part], "\ud800", *KEY[part + 1 :]])
    with pytest.raises(ValidationError, match="after: expected what the page before gave, got str"):
        port.backend.scan(Query(), cursor, 5)


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
def test_an_option_that_there_is_not_is_refused_before_anything_is_opened(scheme) -> None:
    with pytest.raises(StorageError, match="nonesuch"):
        open_backend(f"{scheme}:///nowhere?nonesuch=1")
