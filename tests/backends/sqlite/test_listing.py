"""Listing by pages (S-66)."""

from __future__ import annotations

import json
import sqlite3
from types import SimpleNamespace
from typing import Any, cast

import pytest
from durable_jobs_sqlite import SQLiteBackend, _listing

from durable_jobs_core.backend import Batch, Page, Query, Row, Write
from durable_jobs_core.errors import ValidationError
from durable_jobs_core.words import Key


@pytest.fixture
def rows(sqlite) -> list[Row]:
    """Rows of four jobs, some of them busy, in the order of their keys."""
    jobs = [("continuous", "z"), ("debounce", "a"), ("task", "a"), ("task", "b")]
    rows = [
        Row(Key(kind, job, f"{n:02}"), b"r", None, "busy" if n % 5 == 0 else "idle", b"")
        for kind, job in jobs
        for n in range(12)
    ]
    sqlite.ask(*(Write(row.key, None, row) for row in rows))
    return rows


def pages(port, limit: int, **query) -> list[Page]:
    return list(port.pages(limit, **query))


@pytest.mark.parametrize("limit", [1, 5, 12, 47, 48, 100])
def test_S_66_pages_are_in_the_order_of_the_keys_and_full(sqlite, rows, limit) -> None:
    found = pages(sqlite, limit)
    assert [row for page in found for row in page.rows] == rows
    assert all(len(page.rows) == limit for page in found[:-1])
    assert found[-1].after is None


@pytest.mark.parametrize(
    "query",
    [
        {"kind": "task"},
        {"job": "a"},
        {"kind": "task", "job": "a"},
        {"status": "busy"},
        {"kind": "debounce", "status": "idle"},
        {"kind": "task", "job": "none"},
    ],
)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_S_66_what_is_asked_for_is_listed_page_by_page(sqlite, rows, query, limit) -> None:
    wanted = [
        row
        for row in rows
        if all(getattr(row if name == "status" else row.key, name) == value for name, value in query.items())
    ]
    assert [row for page in pages(sqlite, limit, **query) for row in page.rows] == wanted


def test_S_66_a_page_looks_at_so_many_rows_only_and_may_be_short_or_empty(sqlite, rows, monkeypatch) -> None:
    monkeypatch.setattr(_listing, "LOOKED_AT_MAX", 3)
    found = pages(sqlite, 10, status="busy")
    assert [row for page in found for row in page.rows] == [row for row in rows if row.status == "busy"]
    assert any(page.rows == () and page.after is not None for page in found)
    assert len(found) == 16


def test_S_66_a_limit_below_one_is_one(sqlite, rows) -> None:
    assert sqlite.backend.scan(Query(), None, 0).rows == tuple(rows[:1])


def test_S_66_a_cursor_serves_another_process_and_another_query(sqlite, rows) -> None:
    page = sqlite.backend.scan(Query(), None, 30)
    rest = sqlite.again().backend.scan(Query(status="busy"), page.after, 100)
    assert rest.rows == tuple(row for row in rows[30:] if row.status == "busy")


def test_S_66_a_cursor_may_stand_where_no_row_is(sqlite, rows) -> None:
    between = json.dumps(["debounce", "zz", "x"])
    assert sqlite.backend.scan(Query(), between, 100).rows == tuple(rows[24:])
    last = json.dumps(["task", "b", "99"])
    assert sqlite.backend.scan(Query(), last, 100) == Page((), None)


@pytest.mark.parametrize("cursor", ["", "x", "1", "[]", '["task", "a"]', '["task", "a", 1]', "{}"])
def test_S_66_what_is_no_cursor_is_refused(sqlite, rows, cursor) -> None:
    with pytest.raises(ValidationError, match="after: expected what the page before gave"):
        sqlite.backend.scan(Query(), cursor, 5)


def test_health_lists_the_jobs_there_are_and_means_what_it_says(sqlite, rows, path) -> None:
    health = sqlite.backend.health()
    assert health.jobs == (("continuous", "z"), ("debounce", "a"), ("task", "a"), ("task", "b"))
    assert "survives a power cut" in health.durability
    assert health.warnings == ()
    normal = SQLiteBackend.open(f"sqlite:///{path}?synchronous=normal")
    assert "a power cut may take back the last ones" in normal.health().durability
    assert normal.health().clock - normal.exchange(0, Batch(not_after=0)).clock < 60_000
    normal.close()


def test_there_is_one_lane(sqlite) -> None:
    assert {sqlite.backend.lane(sqlite.key(id)) for id in "abc"} == set(range(sqlite.backend.lanes))


@pytest.mark.parametrize("found", [("t:mail", "t:mail"), ("t:mail", "t:a"), ("t:mail", None)])
def test_r9_an_index_that_tells_the_same_again_is_damaged_and_ends_the_list(found) -> None:
    """Or there would be no end of it."""
    answers = iter([*((cell,) for cell in found), None])
    connection = SimpleNamespace(execute=lambda *asked: SimpleNamespace(fetchone=lambda: next(answers)))
    listed = _listing.jobs(cast(Any, connection))
    assert next(listed) == ("task", "mail")
    with pytest.raises(sqlite3.DatabaseError, match="the index of keys is damaged"):
        next(listed)
